"""What Pulsars say becomes commands. A message is acknowledged after its append; until then it is tried again here."""

import asyncio
from datetime import timedelta

import structlog

from tespes import errors
from tespes.flow.attend import Results
from tespes.flow.execute import By, KnownTask, Tasks, now
from tespes.flow.jobs import Job, job
from tespes.flow.watch import Watch
from tespes.pulsar import Link, result, wire
from tespes.task import commands
from tespes.task.state import Canceling, Claimed, Ended, State, Waiting

_AGAIN_S = (0.1, 5.0)
_SIGNALS = 128

_log = structlog.get_logger(__name__)


class Listener:
    """The ear at one Pulsar.

    :param runner_silence_s: a runner heard within that time is alive, whatever Pulsar says
    """

    def __init__(self, name: str, tasks: Tasks, results: Results, watch: Watch, runner_silence_s: float) -> None:
        self._by = By(f"pulsar:{name}")
        self._name = name
        self._tasks = tasks
        self._results = results
        self._watch = watch
        self._silence = timedelta(seconds=runner_silence_s)
        self.link: Link | None = None

    async def handle(self, queue: str, body: bytes) -> str | None:
        """Do what a message asks for; the reason, if nobody can do anything with it (see Link)."""
        pause = _AGAIN_S[0]
        while True:
            try:
                return await self._handle(queue, body)
            except errors.Unavailable as error:
                _log.warning("a message waits", pulsar=self._name, queue=queue, reason=str(error))
            except Exception as error:  # noqa: BLE001 - the rim: logged, and the message goes to the dead letters
                _log.exception("a message cannot be handled", pulsar=self._name, queue=queue)
                return f"{type(error).__name__}: {error}"
            await asyncio.sleep(pause)
            pause = min(pause * 2, _AGAIN_S[1])

    async def _handle(self, queue: str, body: bytes) -> str | None:
        match queue:
            case "setup_ack":
                return await self._receipt(body)
            case "status_update":
                return await self._status(body)
            case _:
                return None

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
        found = await self._find(message.job_id)
        if isinstance(found, str):
            return found
        if message.final:
            await self._final(*found, message)
        else:
            await self._sign_of_life(*found)
        if message.acknowledge is not None and self.link is not None:
            await self.link.acknowledge(message.acknowledge)
        return None

    async def _find(self, job_id: str) -> tuple[Job, KnownTask] | str:
        named = job(job_id)
        known = await self._tasks.recall(named.task_id) if named else None
        if named is None or known is None:
            return f"the job {job_id} is not known here"
        return named, known

    async def _sign_of_life(self, named: Job, known: KnownTask) -> None:
        if _attempt(known.state) != named.attempt:
            return
        self._watch.heard(named.task_id, named.attempt, now(), runner=False)
        await self._tasks.execute(named.task_id, commands.RecordReceipt(attempt=named.attempt), self._by)

    async def _final(self, named: Job, known: KnownTask, message: wire.Status) -> None:
        """The words of the runner that claimed count if there are any; else Pulsar's."""
        said = result.read(message.last_line)
        if said is None or said.job_id != named.id:
            await self._tasks.execute(named.task_id, self._status_of(named, message, message.status), self._by)
        elif _is_anothers(said, known.state):
            await self._superseded(named, known, message)
        else:
            await self._record(named, known, said, message)

    async def _superseded(self, named: Job, known: KnownTask, message: wire.Status) -> None:
        """A node that starts a job twice ends with a runner that was turned away: what became of the first is unknown."""
        if not isinstance(known.state, Ended):
            await self._tasks.execute(named.task_id, self._status_of(named, message, "lost"), self._by)

    async def _record(self, named: Job, known: KnownTask, said: result.Result, message: wire.Status) -> None:
        """What cannot be written down must not leave the task running for ever: the job is over in any case."""
        try:
            await self._results.record(named, known, said, self._by)
        except errors.Unavailable:
            raise
        except Exception as error:
            status = self._status_of(named, message, message.status, f"result unreadable: {error}")
            await self._tasks.execute(named.task_id, status, self._by)
            raise

    def _status_of(self, named: Job, message: wire.Status, status: str, reason: str | None = None) -> commands.RecordStatus:
        at = now()
        # Without any heartbeat since this process began, `since` makes the runner as old as the watch.
        heard = self._watch.runner_at(named.task_id, named.attempt, at - self._silence)
        return commands.RecordStatus(
            attempt=named.attempt,
            status=commands.PulsarStatus(status),
            reason=reason or _reason(self._name, message),
            runner_alive=at - heard < self._silence,
        )


def _attempt(state: State) -> int | None:
    """The number of the attempt that is under way, if one is."""
    return None if isinstance(state, Waiting | Ended) else state.attempt.number


def _is_anothers(said: result.Result, state: State) -> bool:
    """Whether the result is of a run that was turned away, or never claimed."""
    if said.outcome == "superseded":
        return True
    claimed = state.claimed if isinstance(state, Canceling) else state
    return isinstance(claimed, Claimed) and claimed.run_id != said.run_id


def _reason(pulsar: str, message: wire.Status) -> str:
    match message.status:
        case "lost":
            return f"Pulsar {pulsar} lost the job {message.job_id}"
        case "cancelled":
            return f"the job {message.job_id} was killed at Pulsar {pulsar}"
        case "failed":
            return f"Pulsar {pulsar} could not run the job {message.job_id} (its log says why)"
        case _ if message.last_line:
            return f"result unreadable: the job {message.job_id} ended with {_ended(message.returncode)}"
        case _:
            return f"the runner died without a result: the job {message.job_id} ended with {_ended(message.returncode)}"


def _ended(returncode: int | None) -> str:
    if returncode is None:
        return "an unknown exit code"
    if returncode < 0 or returncode > _SIGNALS:
        return f"signal {-returncode if returncode < 0 else returncode - _SIGNALS}"
    return f"exit code {returncode}"
