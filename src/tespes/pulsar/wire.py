"""What is said between TESPES and a Pulsar: queue names and messages, as plain functions.

Everything here follows Pulsar 0.16's message-queue interface (client/amqp_exchange.py, messaging/bind_amqp.py,
managers/stateful.py). A message that is not a JSON object with the right content type kills Pulsar's consumer for ever,
so nothing else is ever built here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tespes.pulsar.lenient import UNREADABLE

EXCHANGE = "pulsar"
CONTENT_TYPE = "application/json"
COMMANDS = ("setup", "kill", "status")
ANSWERS = ("status_update", "setup_ack", "kill_ack", "status_ack")
FINAL = frozenset({"complete", "failed", "cancelled", "lost"})
STATUSES = FINAL | {"preprocessing", "queued", "running", "postprocessing"}  # pulsar/managers/status.py
PROBE = "doctor."  # what the names of jobs begin with that are no task's
MOST_BYTES = 16 * 2**20  # Pulsar cuts both streams of a job at 1 MiB (`maximum_stream_size`); escaped, six times that
_ENCODINGS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
_SHOWN = 80


def prefix(manager: str, key_prefix: str | None) -> str:
    """What a Pulsar's queue names begin with: its `amqp_key_prefix`, else made of the manager's name."""
    if key_prefix:
        return key_prefix
    return "pulsar_" if manager == "_default_" else f"pulsar_{manager}_"


def is_probe(job_id: str) -> bool:
    """Whether the job is no task's, but one by which somebody looks at a Pulsar (see `probe`)."""
    return job_id.startswith(PROBE)


def queue(queue_prefix: str, name: str) -> str:
    """The name of a queue, which is also its routing key."""
    return f"{queue_prefix}_{name}"


def setup(job_id: str, command_line: str, submit_params: Mapping[str, str] | None = None) -> bytes:
    """Submit a job. Pulsar answers with a receipt (`Receipt`) before it does anything; the job id is the receipt's id.

    :param submit_params: what a batch system is told of it; other managers of Pulsar do not read them
    """
    message = {
        "job_id": job_id,
        "command_line": command_line,
        "setup_params": {"job_id": job_id},
        "remote_staging": {},
        "submit_params": dict(submit_params or {}),
        "acknowledge_uuid": job_id,
        "acknowledge_queue": "setup_ack",
        "acknowledge_submit_queue": "setup",
    }
    return orjson.dumps(message)


def kill(job_id: str) -> bytes:
    """Stop a job with SIGKILL. Ignored if the job is unknown or still staging, so it is repeated until confirmed."""
    return orjson.dumps({"job_id": job_id})


def status_request(job_id: str) -> bytes:
    """Ask for a job's status; the answer comes as a status update. An unknown job is `lost`."""
    return orjson.dumps({"request": "status", "job_id": job_id, "force_noack": True})


def acknowledgement(acknowledge_uuid: str) -> bytes:
    """Tell a Pulsar with `amqp_acknowledge` that its message arrived."""
    return orjson.dumps({"acknowledge_uuid_response": acknowledge_uuid})


@dataclass(frozen=True, slots=True)
class Receipt:
    """Pulsar has the setup message of this job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """An acknowledgement that Pulsar waits for: this uuid to that queue."""

    uuid: str
    queue: str


@dataclass(frozen=True, slots=True)
class Status:
    """A status update.

    :param status: in Pulsar's words; `final` if it is one that ends a job
    :param returncode: of the job's shell, if it was written
    :param last_line: the last line of the job's own output: the runner's result, if it got that far
    :param acknowledge: what Pulsar wants in return, if anything
    """

    job_id: str
    status: str
    final: bool
    returncode: int | None
    last_line: str
    acknowledge: Acknowledge | None


@dataclass(frozen=True, slots=True)
class Rubbish:
    """No message of Pulsar's, and why."""

    reason: str


def refused(
    content_type: str | None, content_encoding: str | None, headers: Mapping[str, Any], size_bytes: int
) -> Rubbish | None:
    """What is wrong with a message before anybody looks into it, if anything is."""
    if size_bytes > MOST_BYTES:
        return Rubbish(f"{size_bytes:,} bytes, at most {MOST_BYTES:,} are expected")
    if UNREADABLE in headers:
        return Rubbish(f"its properties cannot be read: {str(headers[UNREADABLE])[:_SHOWN]}")
    if content_type and content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        return Rubbish(f"the content type {content_type[:_SHOWN]!r}, {CONTENT_TYPE} is expected")
    if (content_encoding or "").lower() not in _ENCODINGS:
        return Rubbish(f"the content encoding {str(content_encoding)[:_SHOWN]!r}, utf-8 is expected")
    if headers.get("compression"):
        return Rubbish("it is packed, as its header 'compression' says")
    return None


def read_receipt(body: bytes) -> Receipt | Rubbish:
    """A message of the queue `setup_ack`."""
    message = _object(body)
    if isinstance(message, Rubbish):
        return message
    job_id = message.get("acknowledge_uuid_response")
    return Receipt(job_id) if isinstance(job_id, str) else Rubbish("acknowledge_uuid_response is missing or no text")


def read_status(body: bytes) -> Status | Rubbish:
    """A message of the queue `status_update`."""
    message = _object(body)
    if isinstance(message, Rubbish):
        return message
    job_id, status = message.get("job_id"), message.get("status")
    if not isinstance(job_id, str) or not isinstance(status, str):
        return Rubbish("job_id or status is missing or no text")
    if status not in STATUSES:
        return Rubbish(f"the status {status[:_SHOWN]!r}, which no Pulsar known here has")
    returncode = message.get("returncode")
    return Status(
        job_id=job_id,
        status=status,
        final=status in FINAL,
        returncode=returncode if isinstance(returncode, int) and not isinstance(returncode, bool) else None,
        last_line=_last_line(message.get("job_stdout")),
        acknowledge=_acknowledge(message),
    )


def _object(body: bytes) -> dict[str, Any] | Rubbish:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Rubbish(f"not JSON: {error}")
    return message if isinstance(message, dict) else Rubbish("not a JSON object")


def _last_line(output: Any) -> str:
    lines = output.rstrip().rsplit("\n", 1) if isinstance(output, str) else [""]
    return lines[-1].strip()


def _acknowledge(message: dict[str, Any]) -> Acknowledge | None:
    uuid, answer_queue = message.get("acknowledge_uuid"), message.get("acknowledge_queue")
    if isinstance(uuid, str) and isinstance(answer_queue, str):
        return Acknowledge(uuid, answer_queue)
    return None
