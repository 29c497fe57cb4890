"""The job that is sent to Pulsar: the runner, bundled, where to call back, and a token for one attempt. Not the plan.

Pulsar pastes the command line into a bash script; in parentheses, newlines and heredocs are safe there (Pulsar
reference: managers/util/job_script). The token goes through the heredoc: it is in no argument vector.
"""

import base64
import functools
import hashlib
import hmac
import importlib.util
import io
import json
import marshal
import shlex
import zipfile
from dataclasses import dataclass
from importlib import resources

_PYTHONS = "python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python"
_TOO_OLD = 97
_END = "__TESPES__"

_BOOTSTRAP = """\
import sys
if sys.version_info < (3, 8):
    sys.exit({too_old})
import base64, json, os
os.umask(0o077)
bundle = os.path.abspath("tespes-runner.zip")
with open(bundle, "wb") as file:
    file.write(base64.b64decode("{bundle}"))
sys.path.insert(0, bundle)
from tespes_runner.__main__ import main
main(json.loads(base64.b64decode("{order}")))
"""

_SCRIPT = """\
(
for python in {pythons}; do
command -v "$python" >/dev/null 2>&1 || continue
"$python" -I -S - <<'{end}'
{bootstrap}{end}
status=$?
[ $status -eq {too_old} ] || exit $status
done
printf '%s\\n' {no_python}
)"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every runner is told before it claims.

    :param claim_timeout_s: how long it tries to reach TESPES; :param report_patience_s: how long it tries to deliver
    """

    claim_timeout_s: float = 60.0
    report_patience_s: float = 120.0


def command_line(job_id: str, callback_url: str, token: str, terms: Terms) -> str:
    """The job's shell fragment."""
    order = {
        "job_id": job_id,
        "callback_url": callback_url,
        "token": token,
        "claim_timeout_s": terms.claim_timeout_s,
        "report_patience_s": terms.report_patience_s,
    }
    encoded = base64.b64encode(json.dumps(order).encode()).decode()
    bootstrap = _BOOTSTRAP.format(too_old=_TOO_OLD, bundle=_bundle(), order=encoded)
    return _SCRIPT.format(
        pythons=_PYTHONS,
        end=_END,
        bootstrap=bootstrap,
        too_old=_TOO_OLD,
        no_python=shlex.quote(_no_python_result(job_id)),
    )


def token(key: bytes, job_id: str) -> str:
    """The token of one attempt: derived, so that sending a job again after a crash sends the same."""
    return hmac.new(key, job_id.encode(), hashlib.sha256).hexdigest()


@functools.cache
def _bundle() -> str:
    """The package `tespes.runner` as a zip archive in base64.

    Each module is there as source, for any Python, and compiled for ours: a node with the same version need not compile
    it for every job, which halves a small job's cost.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for module in sorted(resources.files("tespes.runner").iterdir(), key=lambda entry: entry.name):
            if module.name.endswith(".py"):
                source = module.read_bytes()
                bundle.writestr(zipfile.ZipInfo(f"tespes_runner/{module.name}"), source, zipfile.ZIP_DEFLATED)
                compiled = _compiled(source, module.name)
                bundle.writestr(zipfile.ZipInfo(f"tespes_runner/{module.name}c"), compiled, zipfile.ZIP_DEFLATED)
    return base64.b64encode(archive.getvalue()).decode()


def _compiled(source: bytes, name: str) -> bytes:
    """A `.pyc` whose source is not checked (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    unchecked_hash = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + unchecked_hash + importlib.util.source_hash(source) + marshal.dumps(code)


def _no_python_result(job_id: str) -> str:
    """The result line of a node where no runner can run."""
    result = {
        "tespes": 1,
        "job_id": job_id,
        "run_id": "",
        "outcome": "system_failed",
        "reason": "no Python 3.8 or newer was found on the node: install python3 where Pulsar's PATH finds it",
        "phase": "claim",
        "retryable": True,
        "executors": [],
        "inputs": [],
        "outputs": [],
        "notes": [],
    }
    return json.dumps(result)
