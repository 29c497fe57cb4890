"""One example of each event, published in `events/`; up to the cancel they are the history of a task."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tespes import tes
from tespes.events import service, types
from tespes.events.record import Meta, Recorded

_BEGIN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
_TASK = "5b1f0c3e8d7a4f6fa1b2c3d4e5f60718"
_SHA256 = "03ba204e50d126e4674c005e04d82e84c21366780af1f43bd54a37816b6ab340"


def _at(seconds: float) -> datetime:
    return _BEGIN + timedelta(seconds=seconds)


_SUBMITTED = tes.Task(
    name="md5sum",
    inputs=(tes.Input(url="ftp://files.example.org/holy_file", path="/data/file1"),),
    outputs=(tes.Output(url="ftp://files.example.org/outfile-1", path="/data/outfile"),),
    executors=(tes.Executor(image="alpine", command=("md5sum",), stdin="/data/file1", stdout="/data/outfile"),),
    tags={"project": "demo"},
)

EXAMPLES: tuple[types.Event, ...] = (
    types.TaskCreated(task=_SUBMITTED),
    types.TaskDeferred(reason="all places are taken at site-a"),
    types.AttemptScheduled(attempt=1, job_id=f"{_TASK}-1", pulsar="site-a", runtime="docker"),
    types.AttemptReceived(attempt=1),
    types.AttemptClaimed(attempt=1, run_id="0f" * 16, host="node-7", python="3.11.2"),
    types.ExecutorStarted(attempt=1, executor=0, at=_at(1.2)),
    types.ExecutorEnded(
        attempt=1,
        executor=0,
        exit_code=0,
        started_at=_at(1.2),
        ended_at=_at(1.25),
        stderr="",
        kept=(types.Kept(place="stdout", sha256=_SHA256, size_bytes=8192),),
    ),
    types.AttemptOrphaned(attempt=1, reason=f"Pulsar site-a lost the job {_TASK}-1"),
    types.TaskCancelRequested(),
    types.AttemptEnded(
        attempt=1,
        outcome=types.Outcome.KILLED,
        reason="the task was canceled",
        inputs=(types.File(path="/data/file1", url="ftp://files.example.org/holy_file", size_bytes=12, sha256=_SHA256),),
        outputs=(types.File(path="/data/outfile", url="ftp://files.example.org/outfile-1", size_bytes=36, sha256=_SHA256),),
        notes=("docker: disk_gb is not enforced",),
    ),
    types.TaskCanceled(),
    types.LateMessageRecorded(attempt=1, status="succeeded", source=types.Source.RUNNER),
    types.TaskCompleted(),
    types.TaskExecutorFailed(executor=0, exit_code=1),
    types.TaskSystemFailed(reason="input /data/file1: ftp://files.example.org/holy_file: 550 no such file"),
    types.TaskPreempted(reason=f"Pulsar site-a lost the job {_TASK}-3"),
    types.AttemptDelayed(attempt=1, reason="Pulsar site-a has not answered for 60 s"),
    types.AttemptExpired(attempt=1, reason="it ran for longer than 3600 s"),
    types.DataRedacted(position=1, index=0, reason="a password was in it", fields=("task.executors.0.env",), sha256=_SHA256),
    service.PulsarDrained(pulsar="site-a", reason="the cluster is cooled down on Sunday"),
    service.PulsarEnabled(pulsar="site-a"),
    service.LeaseTaken(name="dispatch", holder="tes1.example.org:4711:9f3c21ab"),
    service.HeadSigned(first=1, position=1000, hash=_SHA256, root=_SHA256, key=_SHA256, signature=_SHA256 * 2),
    service.LogRestored(position=1000, hash=_SHA256),
    service.WebhookParked(webhook="portal", position=1234, reason="https://portal.example.org/tes: 500"),
    service.WebhookResumed(webhook="portal"),
)


def of(name: str) -> types.Event:
    """The example of an event type.

    :raises KeyError: there is none
    """
    return {type(event).__name__: event for event in EXAMPLES}[name]


def history() -> Iterator[Recorded]:
    """The examples up to the cancel, as a task's history."""
    meta = Meta(at=_BEGIN, actor="anonymous", owner="anonymous")
    for index, event in enumerate(EXAMPLES[:12]):
        yield Recorded(event, _TASK, index + 1, index + 1, meta)
