"""Drive every live task to its end: ask `next_step`, do it, write down what came of it.

Dispatch follows the log and keeps a timer for each task. First the event, then the effect: an attempt is in the log
before its job is sent, and what was sent before a crash is simply sent again.
"""

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from tespes import errors, tes
from tespes.events import Entry
from tespes.flow.execute import By, Tasks, now
from tespes.flow.follow import follow
from tespes.flow.watch import Watch
from tespes.projections import TASK_VIEW
from tespes.pulsar import Link, Terms, job
from tespes.store import Documents, Log, conditions
from tespes.task import Patience, commands, next_step
from tespes.task.next_step import Ask, GiveUp, Kill, Place, Rest, Send, Step, WaitUntil
from tespes.task.state import Attempt, Ended, State, Waiting

_AT_ONCE = 64
_AGAIN_S = 1.0
_EXPLAIN_AFTER_S = 2.0
_EXPLAIN_AGAIN_S = 60.0
_CONFIRM_KILL_S = 0.2
_CONTAINER_GONE_S = 1.5  # what the reaper of a killed runner needs to remove a container, with some to spare
_BY = By("tespes:dispatch")
_LIVE = conditions.OneOf("state", frozenset(state.value for state in tes.State if state not in tes.TERMINAL))

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What dispatch works with.

    :param links: to the Pulsars, by name; :param key: what attempts' tokens are derived from
    """

    links: Mapping[str, Link]
    key: bytes
    terms: Terms
    patience: Patience


class Dispatch:
    """The follower that makes things happen."""

    def __init__(self, log: Log, documents: Documents, tasks: Tasks, watch: Watch, means: Means) -> None:
        self._log = log
        self._documents = documents
        self._tasks = tasks
        self._watch = watch
        self._means = means
        self._due: dict[str, None] = {}
        self._busy: set[str] = set()
        self._timers: list[tuple[datetime, str]] = []
        self._woken = asyncio.Event()
        self._told: dict[str, tuple[str, datetime]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        after = await self._resume()
        for link in self._means.links.values():
            link.connected = self._place_another
        async with asyncio.TaskGroup() as group:
            group.create_task(follow("dispatch", self._log, after, self._see))
            group.create_task(self._explain())
            while True:
                await self._wait()
                for task_id in self._take():
                    self._busy.add(task_id)
                    group.create_task(self._advance(task_id))

    async def _resume(self) -> int:
        """Every task that the view does not show as ended is looked at; what is newer than the view is followed."""
        position = await self._documents.position(TASK_VIEW)
        before = None
        while page := await self._documents.page(TASK_VIEW, (_LIVE,), before=before, limit=1000, whole=False):
            before = page[-1]["position"]
            self._due.update((each["id"], None) for each in page)
        self._due = dict.fromkeys(reversed(self._due))
        _log.info("dispatch resumes", position=position, live=len(self._due))
        return position

    async def _see(self, entries: Sequence[Entry]) -> None:
        self._due.update((entry.commit.stream, None) for entry in entries)
        self._woken.set()

    async def _wait(self) -> None:
        """Until something is due."""
        if self._due and len(self._busy) < _AT_ONCE and any(task_id not in self._busy for task_id in self._due):
            return
        self._woken.clear()
        pause = (self._timers[0][0] - now()).total_seconds() if self._timers else 60.0
        try:
            async with asyncio.timeout(max(pause, 0.001)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _take(self) -> list[str]:
        """What is due and not being worked on, oldest first."""
        while self._timers and self._timers[0][0] <= now():
            self._due[heapq.heappop(self._timers)[1]] = None
        free = _AT_ONCE - len(self._busy)
        taken = [task_id for task_id in self._due if task_id not in self._busy][:free]
        for task_id in taken:
            del self._due[task_id]
        return taken

    async def _advance(self, task_id: str) -> None:
        """Do what is to be done about a task, until there is nothing more to do now."""
        try:
            at = await self._work(task_id)
        except errors.Unavailable as error:
            _log.warning("a step has to wait", task_id=task_id, reason=str(error))
            at = now() + timedelta(seconds=_AGAIN_S)
        except Exception:  # noqa: BLE001 - the rim: logged, and the task comes back
            _log.exception("a step failed and is tried again", task_id=task_id)
            at = now() + timedelta(seconds=_AGAIN_S)
        else:
            self._place_another()
        finally:
            self._busy.discard(task_id)
            self._woken.set()
        if at is not None:
            heapq.heappush(self._timers, (at, task_id))

    async def _work(self, task_id: str) -> datetime | None:  # noqa: C901 - one case for each step
        """Steps, one after the other; when to come back, if that is known."""
        while True:
            known = await self._tasks.load(task_id)
            if known is None:
                return None
            self._watch.see(task_id, known.state, now())
            step = self._step(task_id, known.state)
            match step:
                case Rest():
                    self._watch.forget(task_id)
                    return None
                case WaitUntil(at):
                    return at
                case Place():
                    if not await self._place(task_id):
                        return None
                case Send(attempt):
                    await self._send(task_id, attempt)
                case Ask(attempt):
                    await self._link(attempt).ask(attempt.job_id)
                    self._said(task_id, attempt, asked=1)
                case Kill(attempt):
                    await self._kill(task_id, attempt)
                case GiveUp(attempt, reason):
                    await self._tasks.execute(task_id, commands.GiveUpAttempt(attempt=attempt.number, reason=reason), _BY)

    def _step(self, task_id: str, state: State) -> Step:
        match state:
            case Waiting(loose=loose):
                number, since = loose.number if loose else state.attempts + 1, state.not_before
            case Ended():
                number, since = state.attempts, now()
            case _:
                number, since = state.attempt.number, state.attempt.scheduled_at
        contact = self._watch.contact(task_id, number, since)
        return next_step(state, contact, now(), self._means.patience)

    async def _place(self, task_id: str) -> bool:
        """Whether there was a place. The oldest task that waits goes first: this one only if it is that."""
        pulsar = self._free()
        if pulsar is None or next(iter(self._watch.waiting), task_id) != task_id:
            return False
        self._watch.take(task_id, pulsar)
        self._place_another()
        runtime = self._means.links[pulsar].site.runtime_kind
        command = commands.ScheduleAttempt(task_id=task_id, pulsar=pulsar, runtime=runtime)
        await self._tasks.execute(task_id, command, _BY)
        return True

    def _free(self) -> str | None:
        return self._watch.free(name for name, link in self._means.links.items() if link.up.is_set())

    def _place_another(self) -> None:
        """A place may have become free: the task that has waited longest is due."""
        if self._watch.waiting and self._free() is not None:
            self._due[next(iter(self._watch.waiting))] = None
            self._woken.set()

    async def _send(self, task_id: str, attempt: Attempt) -> None:
        link, means = self._link(attempt), self._means
        token = job.token(means.key, attempt.job_id)
        await link.submit(attempt.job_id, job.command_line(attempt.job_id, link.site.callback_url, token, means.terms))
        self._said(task_id, attempt, sent=1)

    async def _kill(self, task_id: str, attempt: Attempt) -> None:
        """Pulsar never says `cancelled` unasked: kill, give it a moment, ask. What it confirms is the end of the job alone."""
        link = self._link(attempt)
        await link.kill(attempt.job_id)
        self._said(task_id, attempt, killed=1)
        await asyncio.sleep(_CONTAINER_GONE_S if attempt.containers_outlive_it else _CONFIRM_KILL_S)
        await link.ask(attempt.job_id)

    def _said(self, task_id: str, attempt: Attempt, *, sent: int = 0, asked: int = 0, killed: int = 0) -> None:
        known = self._watch.contact(task_id, attempt.number, attempt.scheduled_at)
        said = replace(known, sent=known.sent + sent, asked=known.asked + asked, killed=known.killed + killed)
        self._watch.note(task_id, attempt.number, replace(said, last_at=now()))

    def _link(self, attempt: Attempt) -> Link:
        link = self._means.links.get(attempt.pulsar)
        if link is None:
            raise errors.BrokerUnavailable(f"Pulsar {attempt.pulsar} is not in the settings any more")
        return link

    async def _explain(self) -> None:
        """A task that waits says why, as soon as it has waited a moment; another reason not before a while."""
        while True:
            await asyncio.sleep(_EXPLAIN_AFTER_S)
            self._place_another()
            untold = self._untold(now(), self._reason())
            for start in range(0, len(untold), _AT_ONCE):
                some = untold[start : start + _AT_ONCE]
                await asyncio.gather(*(self._defer(task_id, reason) for task_id, reason in some))

    def _untold(self, at: datetime, reason: str) -> list[tuple[str, str]]:
        """The waiting tasks that have not said this reason yet."""
        waiting, told = self._watch.waiting, self._told
        self._told = {task_id: said for task_id, said in told.items() if task_id in waiting}
        due, again = at - timedelta(seconds=_EXPLAIN_AFTER_S), at - timedelta(seconds=_EXPLAIN_AGAIN_S)
        untold = [
            task_id
            for task_id, since in waiting.items()
            if since <= due and (task_id not in told or (told[task_id][0] != reason and told[task_id][1] <= again))
        ]
        self._told.update((task_id, (reason, at)) for task_id in untold)
        return [(task_id, reason) for task_id in untold]

    async def _defer(self, task_id: str, reason: str) -> None:
        try:
            known = await self._tasks.load(task_id)
            if known is not None and isinstance(known.state, Waiting) and known.state.attempts == 0:
                await self._tasks.execute(task_id, commands.DeferTask(reason=reason), _BY)
        except errors.Unavailable as error:
            _log.warning("a reason could not be written down", task_id=task_id, reason=str(error))

    def _reason(self) -> str:
        links = self._means.links
        if not links:
            return "no Pulsar is configured: name one under [default.pulsars] in the settings"
        if not any(link.up.is_set() for link in links.values()):
            return f"RabbitMQ does not answer for {', '.join(links)}"
        return f"all places are taken at {', '.join(links)}"
