"""Leave out of an environment what TESPES never reads: botocore describes hundreds of services, TESPES speaks to S3."""

import shutil
import sys
from pathlib import Path

KEPT = {"s3", "sts", "sso", "sso-oidc"}  # the last three: ways to credentials

for service in Path(sys.argv[1]).glob("lib/python3*/site-packages/botocore/data/*/"):
    if service.name not in KEPT:
        shutil.rmtree(service)
