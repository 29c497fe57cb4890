"""The log is sealed from time to time: all of it, each commit once, whoever does it."""

import asyncio
import json
from pathlib import Path

import sealed
from stores import Place
from tespes import events
from tespes.events import seal
from tespes.flow import audit
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


async def test_seals_are_kept_outside_of_the_database_too(a_store: Store, tmp_path: Path) -> None:
    """A line for each, also of one that a crash left out, and behind a line that a crash cut off."""
    async with sealed.sealing(a_store, tmp_path, OFTEN) as heads:
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    found = await seals(a_store)
    lines = heads.read_text().splitlines()
    assert [json.loads(line)["position"] for line in lines] == [head.position for head in found]
    heads.write_text("\n".join(lines[:-1]) + '\n{"first":')
    async with sealed.sealing(a_store, tmp_path, OFTEN):
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    assert set(audit.heads([tmp_path / HEADS_FILE])) == {head.position for head in await seals(a_store)}


async def test_a_file_that_cannot_be_written_stops_no_seal(a_store: Store, tmp_path: Path) -> None:
    """The log is sealed all the same."""
    (tmp_path / "no directory").touch()
    async with sealed.sealing(a_store, tmp_path / "no directory", OFTEN):
        await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    assert (await audit.verify(a_store, Known(sealed.PUBLIC))).flaws == ()
