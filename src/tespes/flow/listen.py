"""What Pulsars say becomes commands. A message is acknowledged after its append; until then it is tried again here."""

import asyncio
import signal

import structlog

from tespes import errors
from tespes.flow.attend import Results
from tespes.flow.execute import By, KnownTask, Tasks
from tespes.flow.jobs import Job, job
from tespes.flow.signs import Signs
from tespes.pulsar import Link, result, wire
from tespes.task import commands
from tespes.task.state import Canceling, Claimed, Ended, Expiring, State

_AGAIN_S = (0.1, 5.0)
_SIGNALS = 128
_SHOWN = 80

_log = structlog.get_logger(__name__)


class Listener:
    """The ear at one Pulsar."""

    def __init__(self, name: str, tasks: Tasks, results: Results, signs: Signs) -> None:
        self._by = By(f"pulsar:{name}")
        self._name = name
        self._tasks = tasks
        self._results = results
        self._signs = signs
        self.link: Link | None = None

    async def handle(self, queue: str, body: bytes) -> str | None:
        """Do what a message asks for; the reason, if nobody can do anything with it (see pulsar.promise.Handler)."""
        pause = _AGAIN_S[0]
        while True:
            try:
                return await self._handle(queue, body)
            except errors.Unavailable as error:
                _log.warning("a message waits", pulsar=self._name, queue=queue, reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _AGAIN_S[1])

    async def _handle(self, queue: str, body: bytes) -> str | None:
        match queue:
            case "setup_ack":
                return await self._receipt(body)
            case "status_update":
                return await self._status(body)
            case _:
                message = wire.read_receipt(body)
                return message.reason if isinstance(message, wire.Rubbish) else None

    async def _receipt(self, body: bytes) -> str | None:
        message = wire.read_receipt(body)
        if isinstance(message, wire.Rubbish):
            return message.reason
        found = await self._find(message.job_id)
        if isinstance(found, str):
            return found
        await self._sign_of_life(*found)
        return None

    async def _status(self, body: bytes) -> str | None:
        message = wire.read_status(body)
        if isinstance(message, wire.Rubbish):
            return message.reason
        reason = None if wire.is_probe(message.job_id) else await self._said(message)
        if reason is None and message.acknowledge is not None and self.link is not None:
            await self.link.acknowledge(message.acknowledge)
        return reason

    async def _said(self, message: wire.Status) -> str | None:
        found = await self._find(message.job_id)
        if isinstance(found, str):
            return found
        if message.final:
            await self._final(*found, message)
        else:
            await self._sign_of_life(*found, message.status)
        return None

    async def _find(self, job_id: str) -> tuple[Job, KnownTask] | str:
        named = job(job_id)
        known = await self._tasks.recall(named.task_id) if named else None
        if named is None or known is None:
            return f"the job {job_id[:_SHOWN]} is not known here: does another TESPES have the same queues?"
        return named, known

    async def _sign_of_life(self, named: Job, known: KnownTask, status: str | None = None) -> None:
        if isinstance(known.state, Ended):
            return
        self._signs.pulsar(named.id, status)
        await self._tasks.execute(named.task_id, commands.RecordReceipt(attempt=named.attempt), self._by)

    async def _final(self, named: Job, known: KnownTask, message: wire.Status) -> None:
        """The words of the runner that claimed count if there are any; else Pulsar's."""
        said = result.read(message.last_line)
        if said is None or said.job_id != named.id:
            await self._over(named, message, message.status)
            return
        known = await self._tasks.load(named.task_id) or known
        if _is_anothers(named, said, known.state):
            await self._superseded(named, message)
        else:
            await self._record(named, known, said, message)

    async def _superseded(self, named: Job, message: wire.Status) -> None:
        """A node that starts a job twice ends with a runner that was turned away."""
        known = await self._tasks.load(named.task_id)
        if known is not None and not isinstance(known.state, Ended):
            reason = f"the job {named.id} was started twice at Pulsar {self._name}: what becomes of its first run is not known"
            await self._over(named, message, "lost", reason)

    async def _over(self, named: Job, message: wire.Status, status: str, reason: str | None = None) -> None:
        """Pulsar's own words about the end of a job."""
        self._signs.pulsar(named.id, status)
        command = commands.RecordStatus(
            attempt=named.attempt, status=commands.PulsarStatus(status), reason=reason or _reason(self._name, message)
        )
        await self._tasks.execute(named.task_id, command, self._by)

    async def _record(self, named: Job, known: KnownTask, said: result.Result, message: wire.Status) -> None:
        """What cannot be written down must not leave the task running for ever: the job is over in any case."""
        try:
            await self._results.record(named, known, said, self._by)
        except errors.Unavailable:
            raise
        except Exception as error:
            await self._over(named, message, message.status, f"result unreadable: {error}")
            raise


def _is_anothers(named: Job, said: result.Result, state: State) -> bool:
    """Whether a run says so that was turned away; what the one says that claimed the attempt is its end, whatever it is."""
    claimed = state.claimed if isinstance(state, Expiring | Canceling) else state
    if isinstance(claimed, Claimed) and claimed.attempt.number == named.attempt:
        return claimed.run_id != said.run_id
    return said.outcome == "superseded"


def _reason(pulsar: str, message: wire.Status) -> str:
    match message.status:
        case "lost":
            return f"Pulsar {pulsar} lost the job {message.job_id}"
        case "cancelled":
            return f"the job {message.job_id} was killed at Pulsar {pulsar}"
        case "failed":
            return f"Pulsar {pulsar} could not run the job {message.job_id} (its log says why)"
        case "complete" if message.returncode is None and not message.last_line:
            return (
                f"the job {message.job_id} ended without a result and with no exit code: "
                "the batch system may have ended it (time or memory limit)"
            )
        case _ if message.last_line:
            return f"result unreadable: the job {message.job_id} ended with {_ended(message.returncode)}"
        case _:
            return f"the runner died without a result: the job {message.job_id} ended with {_ended(message.returncode)}"


def _ended(returncode: int | None) -> str:
    if returncode is None:
        return "an unknown exit code"
    if returncode < 0 or returncode > _SIGNALS:
        return _signal(-returncode if returncode < 0 else returncode - _SIGNALS)
    return f"exit code {returncode}"


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
