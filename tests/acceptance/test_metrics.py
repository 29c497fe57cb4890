"""What a real task leaves in the numbers: a real Pulsar, real storage, TESPES as a process."""

import urllib.request
from pathlib import Path

import pytest

import scraped
from scraped import Scraped
from servers import Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers

INPUT, OUTPUT = b"Hello World!" * 10_000, "outfile-metrics"


def scrape(tespes: Tespes) -> Scraped:
    """What it says now."""
    with urllib.request.urlopen(f"{tespes.url}/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        return scraped.read(answer.read().decode())


@pytest.mark.parametrize("tespes", ["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)], indirect=True)
def test_a_task_is_seen_from_its_creation_to_its_end(tespes: Tespes, ftp: LocalFTP) -> None:
    """Its events, its attempt, its bytes each way, its requests; afterwards nobody has a place and nobody is behind."""
    (ftp.directory / "infile-metrics").write_bytes(INPUT)
    host = ftp.url.rpartition("@")[2]
    tespes.start()
    copies = {
        "inputs": [{"url": f"ftp://{host}/infile-metrics", "path": "/data/in"}],
        "outputs": [{"url": f"ftp://{host}/{OUTPUT}", "path": "/data/out"}],
        "executors": [{"image": "any", "command": ["head", "-c", "1000", "/data/in"], "stdout": "/data/out"}],
    }
    fails = {"executors": [{"image": "any", "command": ["sh", "-c", "exit 3"]}]}
    assert [tespes.ended(tespes.submit(task))["state"] for task in (copies, fails)] == ["COMPLETE", "EXECUTOR_ERROR"]
    until(lambda: scrape(tespes)("tespes_tasks", state="RUNNING") == 0)
    until(lambda: scrape(tespes)("tespes_pulsar_places_taken", pulsar="real") == 0)
    for follower in ("dispatch", "feed", "publish", "task_view", "usage"):
        until(lambda: scrape(tespes)("tespes_follower_lag_commits", follower=follower) == 0)  # noqa: B023 - called at once
    seen = scrape(tespes)
    for kind in ("TaskCompleted", "TaskExecutorFailed"):
        assert seen("tespes_events_total", type=kind) == 1
    for kind in ("TaskCreated", "AttemptScheduled", "AttemptClaimed", "AttemptEnded"):
        assert seen("tespes_events_total", type=kind) == 2
    assert seen("tespes_attempts_ended_total", outcome="succeeded") == 1
    assert seen("tespes_attempts_ended_total", outcome="executor_failed") == 1
    assert seen("tespes_transfer_bytes_total", direction="in", scheme="ftp") == len(INPUT)
    assert seen("tespes_transfer_bytes_total", direction="out", scheme="ftp") == 1000
    posts = {"method": "POST", "route": "/v1/tasks", "status": "2xx"}
    assert seen("tespes_http_request_duration_seconds_count", **posts) == 2
    assert 0 < seen("tespes_http_request_duration_seconds_sum", **posts) < 30
    assert seen("tespes_append_batch_commits_sum") == seen("tespes_log_position")
    assert seen("tespes_pulsar_places", pulsar="real") == 8
    assert seen("tespes_pulsar_up", pulsar="real") == 1
    assert seen("tespes_pulsar_queue_consumers", pulsar="real", queue="setup") >= 1
    assert seen("tespes_pulsar_queue_consumers", pulsar="real", queue="status_update") >= 1
    assert seen("process_resident_memory_bytes") > 10 * 2**20
    assert tespes.process is not None
    assert abs(seen("process_open_fds") - len(list(Path(f"/proc/{tespes.process.pid}/fd").iterdir()))) < 20
