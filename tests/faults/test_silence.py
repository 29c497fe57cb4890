"""What does not go on, and what takes too long: each rule once, with a whole TESPES and simulated Pulsars."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from faults import wall_clock
from faults.world import ENDED_WITHIN_S, SETTINGS, World
from stores import in_sqlite
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

HURRIED = {"unreceived_s": 0.3, "withdraw_s": 0.8, "unanswered_s": 0.5, "staging_s": 0.6}


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """A time of day that tests can set."""
    with wall_clock.replaced():
        yield


@pytest.fixture
async def world(rabbitmq: PrivateRabbitMQ, tmp_path: Path, clock: None) -> AsyncIterator[World]:
    """A world without Pulsars, on SQLite, in which nobody is very patient."""
    settings = {**SETTINGS, "patience": {**SETTINGS["patience"], **HURRIED}}
    async with World(in_sqlite(tmp_path), rabbitmq.url, settings=settings) as made:
        yield made


async def begin(world: World) -> None:
    """TESPES runs, by the world's clock."""
    wall_clock.use(world.clock)
    await world.start()


async def says(world: World, task_id: str, words: str) -> None:
    """In time, the task's log says that."""
    async with asyncio.timeout(ENDED_WITHIN_S):
        while words not in said(await world.get(task_id)):  # noqa: ASYNC110 - as any client would
            await asyncio.sleep(0.05)


def said(task: dict[str, Any]) -> str:
    """All that a task's log says."""
    return " | ".join(line for log in task.get("logs", ()) for line in log.get("system_logs", ()))


async def test_a_job_that_nobody_picks_up_goes_elsewhere(world: World) -> None:
    """The task says why it does not go on, then another Pulsar gets it; the one that let it lie gets nothing for a while."""
    lying = await world.add_site()
    await world.add_site()
    await begin(world)
    await world.becomes(await world.submit("true", resources={"backend_parameters": {"pulsar": "site0"}}))
    await lying.pulsar.kill()
    tasks = [await world.submit("true") for _ in range(3)]
    ended = [await world.becomes(task_id) for task_id in tasks]
    assert [task["state"] for task in ended] == ["COMPLETE"] * 3
    assert "Pulsar site0 has not picked up the job for 0.3 s" in "".join(map(said, ended))
    later = await world.becomes(await world.submit("true"))
    assert (later["state"], later["logs"][0]["metadata"]["pulsar"], len(later["logs"])) == ("COMPLETE", "site1", 1)
    await world.mend()
    await world.check()


async def test_the_only_pulsar_is_waited_for(world: World) -> None:
    """However long it takes; then the same attempt runs."""
    site = await world.add_site()
    await site.pulsar.kill()
    await begin(world)
    task_id = await world.submit("true")
    await says(world, task_id, "has not picked up the job")
    await site.pulsar.start()
    task = await world.becomes(task_id)
    assert (task["state"], len(task["logs"])) == ("COMPLETE", 1)
    await world.check()


async def test_staging_for_ever_is_a_failure(world: World) -> None:
    """TESPES gives Pulsar nothing to stage: another attempt follows."""
    site = await world.add_site()
    site.pulsar.habits.stages_for_ever = True
    await begin(world)
    task_id = await world.submit("true")
    await says(world, task_id, "with nothing to stage")
    site.pulsar.habits.stages_for_ever = False
    task = await world.becomes(task_id)
    assert task["state"] == "COMPLETE"
    assert len(task["logs"]) > 1
    await world.check()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"running_s": "1"}, "ran longer than the 1 s that it may (running_s)"),
        ({"total_s": "1"}, "took longer than the 1 s that it may in all (total_s)"),
    ],
)
async def test_a_task_that_runs_too_long_is_stopped(world: World, limits: dict[str, str], reason: str) -> None:
    """Its executor is killed, and the limit is the reason."""
    await world.add_site()
    await begin(world)
    task = await world.becomes(await world.submit("sleep", "1000", resources={"backend_parameters": limits}))
    assert task["state"] == "SYSTEM_ERROR"
    assert reason in said(task)
    await world.check()


async def test_a_task_that_waits_too_long_is_over(world: World) -> None:
    """There is no place for it; a clock that is set meanwhile makes no difference, neither way."""
    await world.add_site(slots=1)
    await begin(world)
    first = await world.submit("sleep", "3")
    await world.runs(first)
    asked = {"backend_parameters": {"queued_s": "1"}}
    world.clock.offset = timedelta(hours=1)
    second = await world.submit("true", resources=asked)
    world.clock.offset = timedelta(hours=-1)
    task = await world.becomes(second)
    assert task["state"] == "SYSTEM_ERROR"
    assert "waited longer than the 1 s that it may (queued_s)" in said(task)
    assert (await world.becomes(first))["state"] == "COMPLETE"
    await world.check()


async def test_what_a_removed_pulsar_had_goes_elsewhere_unless_it_runs(world: World) -> None:
    """Nobody claimed it: at once. A runner at work goes on and ends the task by its own result."""
    running_at = await world.add_site()
    await world.add_site()
    await begin(world)
    running = await world.submit("sleep", "3", resources={"backend_parameters": {"pulsar": "site0"}})
    await world.runs(running)
    await running_at.pulsar.kill()
    lying = await world.submit("true")
    await world.becomes(lying, "QUEUED")
    await world.restart(without="site0")
    there = await world.becomes(lying)
    assert (there["state"], there["logs"][-1]["metadata"]["pulsar"]) == ("COMPLETE", "site1")
    ended = await world.becomes(running)
    assert (ended["state"], len(ended["logs"])) == ("COMPLETE", 1)
    assert "Pulsar site0 is not in the settings any more" in said(ended)
