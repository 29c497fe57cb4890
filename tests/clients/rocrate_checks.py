"""RO-Crates as others read them: `roc-validator` holds them to Process Run Crate 0.5, `rocrate` reads them back.

Prints a JSON object for each crate that is named: what does not hold, with its severity, and the names of its actions.
Nothing is fetched: the one JSON-LD context that crates name is put into the validator's cache, from the package `rocrate`.
"""

import json
import logging
import sys
import tempfile
from importlib import resources
from pathlib import Path

from requests_cache import CachedRequest, CachedResponse
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def settings(crate: str, cache: Path) -> ValidationSettings:
    """Everything that the profile demands and recommends, but that the files are there."""
    chosen = ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="process-run-crate",
        requirement_severity=Severity.RECOMMENDED,
        skip_availability_check=True,
        offline=True,
        cache_path=cache,
    )
    content = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
    headers = {"Content-Type": "application/ld+json"}
    request = CachedRequest(method="GET", url=CONTEXT)
    response = CachedResponse(status_code=200, url=CONTEXT, content=content, headers=headers, request=request)
    HttpRequester().session.cache.save_response(response)
    return chosen


def main() -> None:
    """See the module."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as directory:
        for crate in sys.argv[1:]:
            found = services.validate(settings(crate, Path(directory) / "cache"))
            issues = [[each.severity.name, each.check.identifier, each.message] for each in found.get_issues()]
            actions = [each["name"] for each in ROCrate(crate).contextual_entities if each.type == "CreateAction"]
            print(json.dumps({"issues": issues, "actions": actions}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
