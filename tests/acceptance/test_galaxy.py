"""Galaxy's clients of TES: pydantic-tes, and Pulsar's module that uses it, with the settings made for them."""

import json
import subprocess

import pytest
from pydantictes.api import TesClient
from pydantictes.models import TesExecutor, TesState, TesTask

from servers import PULSAR, ROOT, Counter, Tespes, until

pytestmark = pytest.mark.servers

SETTINGS = {"TESPES_HTTP__LEGACY_STATES": "true", "TESPES_HTTP__MINIMAL_INCLUDES_EXECUTORS": "true"}


def test_pulsars_own_module_runs_and_kills_a_job(server: Tespes) -> None:
    """Three executors share the staging volume, in `/`; Pulsar's client reads `complete`, and `cancelled` after its kill."""
    command = [str(PULSAR.with_name("python")), str(ROOT / "tests" / "clients" / "galaxy_job.py"), server.url]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr[-3000:]
    done, killed = (json.loads(line) for line in ran.stdout.splitlines())
    assert done["end"] == {"status": "complete", "complete": "true"}
    assert killed["end"] == {"status": "cancelled", "complete": "true"}
    task = server.task(done["id"])
    assert [entry["exit_code"] for entry in task["logs"][0]["logs"]] == [0, 0, 0]
    assert task["logs"][0]["logs"][2]["stdout"] == "output\n"
    assert (task["name"], task["volumes"]) == ("pulsar-galaxy-42", ["/pulsar_staging/"])


def test_pydantic_tes_reads_minimal_and_cancels(server: Tespes, counter: Counter) -> None:
    """`http.minimal_includes_executors`: its model of a task fits MINIMAL; `http.legacy_states`: it knows every state."""
    client = TesClient(server.url)
    executor = TesExecutor(image="alpine", command=counter.command)
    created = client.create_task(TesTask(executors=[executor]))
    until(lambda: client.get_task(created, "MINIMAL").state is TesState.RUNNING and counter.runs == 1)
    assert client.get_task(created, "MINIMAL") == TesTask(id=created.id, state=TesState.RUNNING, executors=[executor])
    client.cancel_task(created)
    until(lambda: client.get_task(created, "MINIMAL").state is TesState.CANCELED)
