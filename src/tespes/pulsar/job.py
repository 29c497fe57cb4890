"""The job that is sent to Pulsar: the runner, bundled, where to call back, and a token for one attempt. Not the plan.

Pulsar pastes the command line into a bash script; in parentheses, newlines and heredocs are safe there (Pulsar
reference: managers/util/job_script). The token goes through the heredoc: it is in no argument vector.
"""

import base64
import hashlib
import hmac
import json
import shlex
from dataclasses import dataclass

from tespes.pulsar.bundle import PACKAGE, bundle

_PYTHONS = "python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python"
_TOO_OLD = 97
_END = "__TESPES__"

_BOOTSTRAP = """\
import base64, json, os, zlib
os.umask(0o077)
bundle = os.path.abspath("tespes-runner.zip")
with open(bundle, "wb") as file:
    file.write(zlib.decompress(base64.b64decode("{bundle}")))
sys.path.insert(0, bundle)
from {package}.__main__ import main
main(json.loads(base64.b64decode("{order}")))
"""

_SCRIPT = """\
(
for python in {pythons}; do
command -v "$python" >/dev/null 2>&1 || continue
"$python" -I -S - <<'{end}'
{program}{end}
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
    return shell(_BOOTSTRAP.format(package=PACKAGE, bundle=bundle(), order=encoded), _no_python_result(job_id))


def shell(program: str, no_python: str) -> str:
    """A shell fragment that runs a program in the first Python of the node that is new enough.

    :param no_python: what it prints if there is none
    """
    too_old = f"import sys\nif sys.version_info < (3, 8):\n    sys.exit({_TOO_OLD})\n"
    return _SCRIPT.format(
        pythons=_PYTHONS, end=_END, program=too_old + program, too_old=_TOO_OLD, no_python=shlex.quote(no_python)
    )


def token(key: bytes, job_id: str) -> str:
    """The token of one attempt: derived, so that sending a job again after a crash sends the same."""
    return hmac.new(key, job_id.encode(), hashlib.sha256).hexdigest()


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
