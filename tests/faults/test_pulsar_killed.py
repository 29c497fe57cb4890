"""A real Pulsar, killed in mid-job on queued_python: it says `lost`, and the task ends from the same attempt."""

import pytest

from servers import Counter, Loop, Tespes, until
from tespes.local.pulsar import LocalPulsar

pytestmark = pytest.mark.servers


def test_the_attempt_that_pulsar_lost_ends_the_task(
    tespes: Tespes, counter: Counter, pulsar: LocalPulsar, loop_thread: Loop
) -> None:
    """The job lives on without Pulsar, and its result comes by HTTP: COMPLETE, after one run (Pulsar reference, section 5)."""
    tespes.start()
    task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: counter.runs == 1)
    loop_thread.run(pulsar.restart())
    until(lambda: "lost the job" in str(tespes.task(task_id)["logs"][0].get("system_logs")), within_s=40)
    assert tespes.state(task_id) == "RUNNING"
    counter.release()
    task = tespes.ended(task_id)
    assert (task["state"], len(task["logs"]), counter.runs) == ("COMPLETE", 1, 1)
