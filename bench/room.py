"""Who goes next among a hundred thousand tasks that wait."""

import gc
import random
import time
import tracemalloc

from bench import report
from bench.bench import Bench
from bench.report import at_most
from tespes import events, task, tes
from tespes.flow.execute import KnownTask, now
from tespes.flow.ids import new_id
from tespes.flow.room import Room
from tespes.pulsar import Site

_OWNERS = 200
_PRIORITIES = 3
_CPUS = (1, 2, 4, 8)
_SLOTS = 500
_TURNS = 2_000
_HOW = """\
{waiting:,} tasks of {owners} owners wait for two Pulsars of {slots} places and 2,000 cores each, with one of {priorities}
priorities and 1, 2, 4 or 8 cores. Then, {turns:,} times, a task that has a place ends, and the one that goes next is asked for.
What is measured is the dispatcher's memory of places (`flow/room.py`) alone, without the tasks themselves."""


async def measure(bench: Bench) -> report.Group:
    """Adding, asking, saying why."""
    waiting = 10_000 if bench.quick else 100_000
    how = _HOW.format(waiting=waiting, owners=_OWNERS, slots=_SLOTS, priorities=_PRIORITIES, turns=_TURNS)
    group = report.Group("Placement among many tasks that wait", how)
    chance = random.Random(7)
    rounds = [_round([_known(chance) for _ in range(waiting)], chance) for _ in range(bench.rounds)]
    added, turns, full, reasons, size = zip(*rounds, strict=True)
    group.add("one more task waits: mean", "us", added)
    group.add("a place becomes free and the next goes: p50", "us", [report.percentile(taken, 50) for taken in turns])
    group.add(
        "a place becomes free and the next goes: p99", "us", [report.percentile(taken, 99) for taken in turns], at_most(1000)
    )
    group.add("asked when all is full: mean", "us", full)
    group.add("why each of them waits, all of them", "ms", reasons)
    group.add("memory for one that waits", "bytes", size)
    return group


def _round(tasks: list[KnownTask], chance: random.Random) -> tuple[float, list[float], float, float, float]:
    sites = [Site(name, "amqp://127.0.0.1/", name, None, _SLOTS, {}, "http://127.0.0.1", cpus=2_000) for name in ("a", "b")]
    room = Room({site.name: site for site in sites})
    usable: dict[str, str | None] = {site.name: None for site in sites}
    size = _size(tasks)
    gc.collect()
    begin = time.perf_counter()
    for each in tasks:
        room.wait(each)
    added = (time.perf_counter() - begin) / len(tasks) * 1e6
    placed = []
    while found := room.next(usable):
        placed.append(found[0])
    begin = time.perf_counter()
    for _ in range(_TURNS):
        room.next(usable)
    full = (time.perf_counter() - begin) / _TURNS * 1e6
    turns = [_turn(room, usable, placed, chance) for _ in range(_TURNS)]
    begin = time.perf_counter()
    for _ in room.reasons(usable):
        pass
    return added, turns, full, (time.perf_counter() - begin) * 1000, size


def _turn(room: Room, usable: dict[str, str | None], placed: list[str], chance: random.Random) -> float:
    """Microseconds until everybody who has room now has gone."""
    ended = placed.pop(chance.randrange(len(placed)))
    begin = time.perf_counter()
    room.leave(ended)
    while found := room.next(usable):
        placed.append(found[0])
    return (time.perf_counter() - begin) * 1e6


def _size(tasks: list[KnownTask]) -> float:
    """Bytes for each of them, in a room of its own."""
    tracemalloc.start()
    room = Room({})
    for each in tasks:
        room.wait(each)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(tasks)


def _known(chance: random.Random) -> KnownTask:
    asked = tes.Resources(cpu_cores=chance.choice(_CPUS), backend_parameters={"priority": str(chance.randrange(_PRIORITIES))})
    submitted = tes.Task(executors=(tes.Executor(image="none", command=("true",)),), resources=asked)
    state = task.evolve(None, events.TaskCreated(task=submitted), now())
    if state is None:
        raise RuntimeError("a task that was created has no state")
    return KnownTask(new_id().replace("-", ""), f"owner-{chance.randrange(_OWNERS)}", submitted, (), state)
