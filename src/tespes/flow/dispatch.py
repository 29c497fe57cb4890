"""Drive every live task to its end: ask `next_step`, do it, write down what came of it.

Dispatch follows the log and keeps a timer for each task. First the event, then the effect: an attempt is in the log
before its job is sent, and what was sent before a crash is simply sent again. One process at a time does this, as long as it
holds the lease; whoever takes it begins with what the log and the view say.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice

import structlog

from tespes import errors, events
from tespes.events import Entry
from tespes.flow.effects import Effects, Means
from tespes.flow.execute import KnownTask, Tasks, now
from tespes.flow.explain import Reasons
from tespes.flow.follow import follow, patiently
from tespes.flow.lanes import Lanes
from tespes.flow.lead import Lease
from tespes.flow.places import Places
from tespes.flow.resume import begin
from tespes.flow.room import Room
from tespes.flow.signs import Signs
from tespes.flow.timers import Timers
from tespes.flow.watch import LISTEN_S, Watch
from tespes.store import Store
from tespes.task import Step, next_step
from tespes.task.state import Ended, Received, Scheduled
from tespes.task.steps import Ask, Delay, Expire, GiveUp, Kill, Place, Rest, Send, WaitUntil

_AT_ONCE = 64
_AT_ONE_PULSAR = 16
_LOOK_S = 2.0
_IN_LANE_S = 60.0
_SIGNS_AT_ONCE = 1000
_SEATED_AT_ONCE = 500
_UNAVAILABLE_S = (1.0, 10.0)
_FAILED_S = (1.0, 60.0)
_UNREADABLE_S = (60.0, 3600.0)

_log = structlog.get_logger(__name__)


class Dispatch:
    """The follower that makes things happen, for one tenure of its lease.

    `room` is who waits and who has a place; `position` is up to which position of the log it has seen what happened.
    """

    def __init__(self, store: Store, tasks: Tasks, signs: Signs, room: Room, means: Means) -> None:
        self._log = store.log
        self._documents = store.documents
        self._lanes = Lanes(_AT_ONE_PULSAR)
        self._tasks = tasks
        self._signs = signs
        self._means = means
        self.room = room
        self.position = 0
        self._places = Places(room, means.pulsars, time.monotonic)
        self._watch = Watch(time.monotonic, now)
        self._due: dict[str, None] = {}
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers = Timers()
        self._woken = asyncio.Event()

    async def run(self, lease: Lease) -> None:
        """Work until cancelled.

        :raises errors.LeaseLost: another process does now; perhaps in an exception group
        """
        effects = Effects(self._tasks, self._watch, self._means, lease)
        after = await patiently("dispatch", self._resume)
        self._signs.noted = self._watch.heard
        for name, link in self._means.links.items():
            link.connected = partial(self._reconnected, name)
        async with asyncio.TaskGroup() as group:
            group.create_task(follow("dispatch", self._log, after, self._see))
            group.create_task(self._explain(effects))
            group.create_task(self._listen())
            while True:
                await self._wait()
                for task_id in self._take():
                    self._busy.add(task_id)
                    group.create_task(self._advance(task_id, effects))

    async def _resume(self) -> int:
        """Every task that lives is looked at once and has its place, or waits for one, before any place is given."""
        begun = await begin(self._log, self._documents)
        for start in range(0, len(begun.live), _SEATED_AT_ONCE):
            seated = begun.live[start : start + _SEATED_AT_ONCE]
            for known in await asyncio.gather(*map(self._tasks.load, seated), return_exceptions=True):
                if isinstance(known, errors.Unavailable):
                    raise known
                if isinstance(known, KnownTask):
                    self._seat(known)
        self._due.update(dict.fromkeys((*begun.live, *begun.ended)))
        self.position = begun.position
        _log.info("dispatch resumes", position=begun.position, live=len(begun.live))
        return begun.position

    def _seat(self, known: KnownTask) -> None:
        """What a task that was there before means for the places. What is wrong with it is said when it is its turn."""
        with contextlib.suppress(Exception):
            self._places.seat(known)
            if not isinstance(known.state, Ended) and isinstance(self._next(known), Place):
                self._places.wait(known)

    async def _see(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if not events.is_task(entry.commit.stream):
                continue
            if entry.commit.version == 1:
                self._watch.born(entry.commit.stream)
            self._due[entry.commit.stream] = None
        self.position = entries[-1].position
        self._woken.set()

    async def _wait(self) -> None:
        """Until something is due."""
        if len(self._busy) < _AT_ONCE and any(task_id not in self._busy for task_id in self._due):
            return
        self._woken.clear()
        pause_s = min(self._timers.next_s() - time.monotonic(), _LOOK_S)
        try:
            async with asyncio.timeout(max(pause_s, 0.001)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _take(self) -> list[str]:
        """What is due and not being worked on, oldest first."""
        self._due.update(dict.fromkeys(self._timers.take(time.monotonic())))
        free = _AT_ONCE - len(self._busy)
        taken = list(islice((task_id for task_id in self._due if task_id not in self._busy), free))
        for task_id in taken:
            del self._due[task_id]
        return taken

    async def _advance(self, task_id: str, effects: Effects) -> None:
        """Do what is to be done about a task, until there is nothing more to do now."""
        try:
            at_s = await self._work(task_id, effects)
            self._failures.pop(task_id, None)
        except errors.LeaseLost:
            raise
        except errors.Unavailable as error:
            at_s = self._again(task_id, _UNAVAILABLE_S)
            if isinstance(error, errors.StoreUnavailable):
                self._watch.missed()
            _log.warning("a step has to wait", task_id=task_id, reason=str(error))
        except (errors.CorruptLog, errors.UnknownEvent) as error:
            at_s = self._again(task_id, _UNREADABLE_S)
            _log.warning("a task cannot be read", task_id=task_id, reason=str(error))
        except Exception:  # noqa: BLE001 - the rim: logged, and the task comes back
            at_s = self._again(task_id, _FAILED_S)
            _log.exception("a step failed and is tried again", task_id=task_id, failures=self._failures[task_id])
        finally:
            self._busy.discard(task_id)
            self._woken.set()
        self._timers.set(task_id, at_s)
        self._choose()

    def _again(self, task_id: str, pause_s: tuple[float, float]) -> float:
        """When to try again what failed: the pause doubles each time."""
        failures = self._failures[task_id] = self._failures.get(task_id, 0) + 1
        return time.monotonic() + min(pause_s[0] * 2.0 ** min(failures - 1, 10), pause_s[1])

    async def _work(self, task_id: str, effects: Effects) -> float:
        """Steps, one after the other; when to come back."""
        while True:
            known = await self._tasks.load(task_id)
            if known is None:
                return math.inf
            step = await self._step(known)
            match step:
                case Rest():
                    self._forget(task_id)
                    return math.inf
                case WaitUntil(at_s):
                    return at_s
                case Place(again_s):
                    if not await self._place(known, effects):
                        return again_s
                case Send() | Ask() | Kill():
                    if not await self._say(known, step, effects):
                        return time.monotonic() + _IN_LANE_S
                case Delay() | GiveUp() | Expire():
                    await effects.do(known, step)
                    self._shun(known, step)

    async def _say(self, known: KnownTask, step: Send | Ask | Kill, effects: Effects) -> bool:
        """Tell a Pulsar, unless too many do at the moment: then it is done as soon as one of them is through."""
        pulsar = step.attempt.pulsar
        if not self._lanes.enter(pulsar, known.id):
            return False
        try:
            await effects.do(known, step)
        finally:
            self._due.update(dict.fromkeys(self._lanes.leave(pulsar)))
            self._woken.set()
        return True

    def _shun(self, known: KnownTask, step: Step) -> None:
        """A Pulsar that let a job lie does not get it right again, if another can have it."""
        if isinstance(step, GiveUp) and isinstance(known.state, Scheduled | Received) and self._places.reach(known).elsewhere:
            self._places.shun(step.attempt.pulsar)

    async def _step(self, known: KnownTask) -> Step:
        """The next step; what silence leads to, only after other processes were asked what they heard."""
        self._places.seat(known)
        step = self._next(known)
        if isinstance(step, Ask | Kill | Delay | GiveUp):
            await self._hear([step.attempt.job_id])
            return self._next(known)
        return step

    def _next(self, known: KnownTask) -> Step:
        contact = self._watch.look(known.id, known.state)
        return next_step(known.state, contact, time.monotonic(), self._means.patience, self._places.reach(known))

    async def _place(self, known: KnownTask, effects: Effects) -> bool:
        """Whether it was this task's turn, and there was a place."""
        self._places.wait(known)
        self._choose()
        pulsar = self._places.chosen(known.id)
        if pulsar is not None:
            await effects.schedule(known.id, pulsar)
        return pulsar is not None

    def _choose(self) -> None:
        """Those whose turn has come are due."""
        for task_id in self._places.choose():
            if task_id not in self._busy:
                self._due[task_id] = None
                self._woken.set()

    def _reconnected(self, pulsar: str) -> None:
        """What could not be sent may be sent now, and what nobody read may be sent again."""
        self._due.update(dict.fromkeys((*self._failures, *self._places.at(pulsar))))
        self._choose()
        self._woken.set()

    def _forget(self, task_id: str) -> None:
        self._watch.forget(task_id)
        self._failures.pop(task_id, None)

    async def _listen(self) -> None:
        """See what other processes have heard of all jobs, every few seconds."""
        while True:
            await asyncio.sleep(LISTEN_S)
            jobs = self._watch.jobs()
            try:
                await self._log.head()
                for start in range(0, max(len(jobs), 1), _SIGNS_AT_ONCE):
                    await self._hear(jobs[start : start + _SIGNS_AT_ONCE])
            except errors.Unavailable as error:
                self._watch.missed()
                _log.warning("signs of life could not be read", reason=str(error))

    async def _hear(self, job_ids: Sequence[str]) -> None:
        for job_id, sign in (await self._signs.get(job_ids)).items():
            self._watch.seen(job_id, sign)
        self._watch.listened()

    async def _explain(self, effects: Effects) -> None:
        """A task that waits says why."""
        reasons = Reasons()
        while True:
            await asyncio.sleep(_LOOK_S)
            self._choose()
            untold = reasons.untold(self._places.reasons(), time.monotonic())
            for start in range(0, len(untold), _AT_ONCE):
                await asyncio.gather(*(_defer(effects, *each) for each in untold[start : start + _AT_ONCE]))


async def _defer(effects: Effects, task_id: str, reason: str) -> None:
    try:
        await effects.defer(task_id, reason)
    except errors.Unavailable as error:
        _log.warning("a reason could not be written down", task_id=task_id, reason=str(error))
