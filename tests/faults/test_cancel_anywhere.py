"""A cancel at every moment of a task's life: it ends CANCELED, and from then on nothing of it runs (law 9).

The check of all laws at the end compares the log with what the simulated Pulsar's nodes wrote down.
"""

import asyncio

import pytest

from faults.world import Site, World
from simulated.runner import Node

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what crashed was not tidied up
    pytest.mark.parametrize("place", ["sqlite"], indirect=True),
]

LONG = ("sleep", "30")


async def canceled(world: World, task_id: str) -> list[str]:
    """It ends CANCELED, all laws hold; what happened to it."""
    await world.cancel(task_id)
    await world.becomes(task_id, "CANCELED")
    assert not [run for run in world.record.alive() if run.task_id == task_id]
    seen = await world.check()
    return seen.types(task_id)


@pytest.mark.slow
async def test_before_there_is_a_place(world: World) -> None:
    """No attempt was made."""
    await world.add_site(slots=1)
    await world.start()
    first = await world.submit(*LONG)
    await world.runs(first)
    waiting = await world.submit(*LONG)
    assert "AttemptScheduled" not in await _canceled_beside(world, waiting, first)


async def _canceled_beside(world: World, task_id: str, other: str) -> list[str]:
    await world.cancel(task_id)
    await world.becomes(task_id, "CANCELED")
    await canceled(world, other)
    return (await world.look()).types(task_id)


async def test_while_the_job_waits_for_a_pulsar_that_is_down(world: World) -> None:
    """CANCELED at once. When the Pulsar starts, the runner is turned away."""
    site = await world.add_site()
    await world.start()
    await site.pulsar.kill()
    task_id = await world.submit(*LONG)
    await _happened(world, task_id, "AttemptScheduled")
    assert "AttemptClaimed" not in await canceled(world, task_id)
    await site.pulsar.start()
    await world.until(lambda: all(run.ended for run in world.record.of(task_id)))
    await world.check()


async def test_between_the_receipt_and_the_claim(world: World) -> None:
    """The runner cannot reach TESPES; when it can, the gate is shut."""
    site = await world.add_site()
    site.http.shut()
    await world.start()
    task_id = await world.submit(*LONG)
    await world.until(lambda: world.record.of(task_id))
    await world.cancel(task_id)
    await world.becomes(task_id, "CANCELED")
    site.http.open()
    await world.until(lambda: all(run.ended for run in world.record.of(task_id)))
    assert "AttemptClaimed" not in (await world.check()).types(task_id)


@pytest.mark.parametrize("runtime", [pytest.param("sandbox", marks=pytest.mark.slow), "docker"])
async def test_while_it_runs(world: World, runtime: str) -> None:
    """The runner hears of it and stops."""
    await world.add_site(runtime=runtime)
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    await canceled(world, task_id)


@pytest.mark.parametrize("phase", ["staging in", pytest.param("staging out", marks=pytest.mark.slow)])
async def test_while_files_are_moved(world: World, phase: str) -> None:
    """Before the first executor, and after the last."""
    site = await world.add_site()
    await world.start()
    node = _node(site)
    node.staging_in_s, node.staging_out_s = (30.0, 0.0) if phase == "staging in" else (0.0, 30.0)
    task_id = await world.submit("true")
    await world.until(lambda: any(run.claimed for run in world.record.of(task_id)))
    if phase == "staging out":
        await world.until(lambda: any(each.ended for run in world.record.of(task_id) for each in run.containers))
    types = await canceled(world, task_id)
    assert ("ExecutorEnded" in types) is (phase == "staging out")


@pytest.mark.slow
async def test_while_its_pulsar_is_down(world: World) -> None:
    """The orphan's runner hears of it by HTTP, and that is enough."""
    site = await world.add_site()
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    await site.pulsar.kill()
    await canceled(world, task_id)


@pytest.mark.parametrize("runtime", ["sandbox", pytest.param("docker", marks=pytest.mark.slow)])
async def test_while_the_runner_hears_nothing(world: World, runtime: str) -> None:
    """The node cannot reach TESPES: Pulsar is told to kill, until it says that it has."""
    site = await world.add_site(runtime=runtime)
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    site.http.shut()
    await canceled(world, task_id)


@pytest.mark.slow
async def test_while_the_pulsar_of_a_deaf_runner_is_down(world: World) -> None:
    """Nobody can be told: CANCELING, until the Pulsar is back; it finds the orphan and kills it."""
    site = await world.add_site()
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    site.http.shut()
    await site.pulsar.kill()
    await world.cancel(task_id)
    assert await world.state(task_id) == "CANCELING"
    await site.pulsar.start()
    await world.becomes(task_id, "CANCELED")
    await world.check()


@pytest.mark.slow
async def test_while_rabbitmq_is_away(world: World) -> None:
    """What the runner says by HTTP is enough."""
    site = await world.add_site()
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    life = world.processes[0].life
    assert life is not None
    for way in (life.amqp, site.amqp):
        way.shut()
    await canceled(world, task_id)


@pytest.mark.slow
async def test_right_before_tespes_crashes(world: World) -> None:
    """What was answered is in the log: it is carried out after the restart."""
    await world.add_site()
    await world.start()
    task_id = await world.submit(*LONG)
    await world.runs(task_id)
    await world.cancel(task_id)
    await world.restart()
    await world.becomes(task_id, "CANCELED")
    await world.check()


async def test_when_the_answer_to_the_claim_was_lost(world: World) -> None:
    """The runner that comes again is told to go; its job's end is the end, though it calls itself superseded."""
    site = await world.add_site()
    await world.start()
    site.http.delay_s = 0.3
    task_id = await world.submit(*LONG)
    await world.becomes(task_id, "INITIALIZING", "RUNNING")
    await _happened(world, task_id, "AttemptClaimed")
    site.http.shut()
    await world.cancel(task_id)
    site.http.delay_s = 0.0
    site.http.open()
    await world.becomes(task_id, "CANCELED")
    await world.check()


async def _happened(world: World, task_id: str, event: str) -> None:
    async with asyncio.timeout(10):
        while event not in (await world.look()).types(task_id):  # noqa: ASYNC110 - only looking tells
            await asyncio.sleep(0.01)


def _node(site: Site) -> Node:
    assert site.pulsar.node is not None
    return site.pulsar.node
