"""The log is sealed from time to time: all of it, each commit once, whoever does it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import sealed
from stores import Place
from tespes import events
from tespes.events import seal
from tespes.flow import audit, checks
from tespes.flow import seal as sealing
from tespes.flow.health import Level
from tespes.flow.lead import Lease
from tespes.flow.reading import Known
from tespes.flow.seal import HEADS_FILE, Pace, Sealer
from tespes.store import Store

OFTEN = Pace(1000, 0.05)


async def seals(opened: Store) -> list[events.HeadSigned]:
    """All that are in the log."""
    found = [events.decode(entry.commit.events[0]) for entry in await opened.log.read_stream(seal.STREAM)]
    return [head for head in found if isinstance(head, events.HeadSigned)]


async def test_each_commit_is_under_one_seal(a_store: Store, tmp_path: Path) -> None:
    """One seal begins where the other ends, after so many commits or so many seconds, and through a restart."""
    async with sealed.sealing(a_store, tmp_path):
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    await sealed.write(a_store)
    async with sealed.sealing(a_store, tmp_path, OFTEN):
        await sealed.all_sealed(a_store)
    found = await seals(a_store)
    assert [head.first for head in found] == [1, *(head.position + 1 for head in found[:-1])]
    assert (await audit.verify(a_store, Known(sealed.PUBLIC))).flaws == ()


async def test_where_nothing_is_new_nothing_is_sealed(a_store: Store, tmp_path: Path) -> None:
    """A seal is no news: an idle service does not fill its log."""
    async with sealed.sealing(a_store, tmp_path, OFTEN):
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
        before = await seals(a_store)
        await asyncio.sleep(4 * OFTEN.seconds)
        assert await seals(a_store) == before
    async with sealed.sealing(a_store, tmp_path, Pace(1, 0.05)):
        await asyncio.sleep(0.2)
        assert await seals(a_store) == before


async def test_two_that_seal_at_once_do_not_seal_twice(place: Place, tmp_path: Path) -> None:
    """Without a lease that keeps them apart: the stream's versions do, and one of them stops."""
    async with place.open() as opened:
        both = [
            asyncio.create_task(Sealer(opened.log, sealed.KEY, OFTEN, tmp_path / name).run(Lease(None, float("inf"))))
            for name in ("a", "b")
        ]
        for _ in range(3):
            await sealed.write(opened)
            await asyncio.sleep(2 * OFTEN.seconds)
        await asyncio.gather(*map(sealed.stop, both))
        assert any(each.cancelled() for each in both)
        found = await seals(opened)
        assert [head.first for head in found] == [1, *(head.position + 1 for head in found[:-1])]
        assert (await audit.verify(opened, Known(sealed.PUBLIC))).flaws == ()


async def all_kept(opened: Store, heads: Path) -> None:
    """Wait until all is sealed, and the seals are in the file."""
    await sealed.all_sealed(opened)
    async with asyncio.timeout(20):
        while not heads.is_file() or set(sealing.heads([heads])) != set(await seals(opened)):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def test_seals_are_kept_outside_of_the_database_too(a_store: Store, tmp_path: Path) -> None:
    """A line for each, also of one that a crash left out, and behind a line that a crash cut off."""
    async with sealed.sealing(a_store, tmp_path, OFTEN) as heads:
        await sealed.write(a_store)
        await all_kept(a_store, heads)
    found = await seals(a_store)
    lines = heads.read_text().splitlines()
    assert [json.loads(line)["position"] for line in lines] == [head.position for head in found]
    heads.write_text("\n".join(lines[:-1]) + '\n{"first":')
    async with sealed.sealing(a_store, tmp_path, OFTEN):
        await sealed.write(a_store)
        await all_kept(a_store, heads)


@asynccontextmanager
async def refusing(opened: Store, directory: Path) -> AsyncIterator[Sealer]:
    """A sealer that is at work, and has said that something is wrong with the log."""
    sealer = Sealer(opened.log, sealed.KEY, OFTEN, directory / HEADS_FILE)
    before = await opened.log.newest(seal.STREAM)
    running = asyncio.create_task(sealer.run(Lease(None, float("inf"))))
    try:
        async with asyncio.timeout(20):
            while sealer.trouble is None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
        assert (await checks.sealing(sealer)()).level is Level.DEGRADED
        assert await opened.log.newest(seal.STREAM) == before
        yield sealer
        assert not running.done()
    finally:
        await sealed.stop(running)


async def test_what_was_not_written_so_is_not_sealed(place: Place, tmp_path: Path) -> None:
    """What follows the last seal was changed: a signature would say that it is what was written."""
    async with place.open() as opened:
        await sealed.write(opened)
    stored = place.stored()
    stored[1]["events"][0]["data"] = stored[1]["events"][0]["data"].replace("sandbox", "docker").replace("no place", "none")
    stored[1]["meta"]["actor"] = "somebody else"
    place.tamper(stored)
    async with place.open() as opened, refusing(opened, tmp_path) as sealer:
        assert "position 2" in str(sealer.trouble)


async def test_a_log_that_is_not_what_was_sealed_is_not_sealed_on(place: Place, tmp_path: Path) -> None:
    """Its end was cut off while nobody looked, with the last seals: the file beside the database tells."""
    async with place.open() as opened, sealed.sealing(opened, tmp_path):
        await sealed.write(opened)
        await sealed.all_sealed(opened)
    place.tamper(place.stored()[:3])
    async with place.open() as opened, refusing(opened, tmp_path) as sealer:
        assert "is not what was sealed" in str(sealer.trouble)


async def test_a_seal_that_a_newer_release_made_ends_nothing(a_store: Store, tmp_path: Path) -> None:
    """It cannot be read here: the log is not sealed, this is said, and everything else goes on."""
    newer = replace(events.encode(seal.sealed(1, ["ab" * 32], sealed.KEY)), v=2)
    commit = replace(events.commit("1" * 32, seal.STREAM, 1, [events.TaskCancelRequested()], sealed.META), events=(newer,))
    await a_store.log.append(commit)
    async with refusing(a_store, tmp_path) as sealer:
        assert "version 2" in str(sealer.trouble)


async def test_a_file_that_cannot_be_written_stops_no_seal(a_store: Store, tmp_path: Path) -> None:
    """The log is sealed all the same."""
    (tmp_path / "no directory").touch()
    async with sealed.sealing(a_store, tmp_path / "no directory", OFTEN):
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    assert (await audit.verify(a_store, Known(sealed.PUBLIC))).flaws == ()
