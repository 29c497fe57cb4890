"""What was taken out of the store proves itself to whoever has the public key, and nothing else does."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

import oracle
import sealed
from stores import Place
from tespes import errors, events
from tespes.events import redact, seal
from tespes.flow import audit, export, exported, replay
from tespes.flow.reading import Known
from tespes.store import Store

Lines = list[dict[str, Any]]


def verified(lines: Sequence[Any], known: Known = Known(sealed.PUBLIC)) -> audit.Verdict:  # noqa: B008 - frozen
    """What the check of an export of these lines says."""
    return exported.verify(map(orjson.dumps, lines), known)


def entries(lines: Lines) -> Lines:
    """Those of the lines that are commits."""
    return [line for line in lines if line["record"] == "entry"]


@pytest.fixture
async def lines(a_store: Store, tmp_path: Path) -> Lines:
    """An export of a task, whole and sealed."""
    async with sealed.sealing(a_store, tmp_path):
        task, _ = await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    found = await export.task_slice(a_store.log, task)
    assert found.unsealed == ()
    return [json.loads(line) for line in found.lines()]


@pytest.fixture
async def all_lines(a_store: Store, lines: Lines) -> Lines:  # after the task was exported
    """An export of the whole log."""
    return [json.loads(line) async for line in export.whole_log(a_store.log)]


async def test_a_task_proves_itself(lines: Lines) -> None:
    """Each commit leads to a seal; without knowing the key, the seals' own is named."""
    found = verified(lines)
    assert (found.flaws, found.commits, found.events, found.keys) == ((), 4, 5, sealed.PUBLIC)
    assert verified(lines, Known()).keys == sealed.PUBLIC


async def test_the_whole_log_proves_itself(all_lines: Lines) -> None:
    """Without proof lines: the seals are in it."""
    found = verified(all_lines)
    assert (found.flaws, found.commits, found.streams) == ((), len(all_lines) - 1, 3)
    assert found.sealed >= 8


async def test_what_is_not_sealed_yet_is_said(a_store: Store, tmp_path: Path) -> None:
    """Nothing proves it, and so it is a flaw."""
    async with sealed.sealing(a_store, tmp_path):
        task, _ = await sealed.write(a_store)
        await sealed.all_sealed(a_store)
    more = events.commit("1" * 32, task, 6, [events.TaskCancelRequested()], sealed.META)
    position = (await a_store.log.append(more)).position
    found = await export.task_slice(a_store.log, task)
    assert found.unsealed == (position,)
    (flaw,) = exported.verify(found.lines(), Known(sealed.PUBLIC)).flaws
    assert (flaw.position, "no seal" in flaw.what) == (position, True)


async def test_only_a_task_that_exists_is_exported(a_store: Store) -> None:
    """Other streams are in the export of the whole log."""
    for stream in ("0" * 32, seal.STREAM):
        with pytest.raises(errors.NotFound):
            await export.task_slice(a_store.log, stream)


def _sandboxed(lines: Lines) -> dict[str, Any]:
    """The first commit that names the runtime."""
    return next(line for line in entries(lines) if "sandbox" in line["events"][0]["data"])


def _data(lines: Lines) -> None:
    event = _sandboxed(lines)["events"][0]
    event["data"] = event["data"].replace("sandbox", "docker")


def _time(lines: Lines) -> None:
    lines[2]["meta"]["at"] = "2026-11-22T12:00:09.000Z"


def _left_out(lines: Lines) -> None:
    del lines[2]


def _another_task(lines: Lines) -> None:
    lines[0]["task"] = "0" * 32


def _no_proof(lines: Lines) -> None:
    lines[:] = [line for line in lines if line["record"] != "proof"]


def _no_seals(lines: Lines) -> None:
    lines[:] = [line for line in lines if line["record"] != "seal"]


def _path(lines: Lines) -> None:
    proof = next(line for line in lines if line["record"] == "proof")
    proof["path"] = ["ab" * 32, *proof["path"][1:]]


def _odd_path(lines: Lines) -> None:
    next(line for line in lines if line["record"] == "proof")["path"] = ["no hexadecimal", 5]


def _index(lines: Lines) -> None:
    next(line for line in lines if line["record"] == "proof")["index"] += 1


def _signature(lines: Lines) -> None:
    next(line for line in lines if line["record"] == "seal")["signature"] = "00" * 64


def _another_key(lines: Lines) -> None:
    for line in (line for line in lines if line["record"] == "seal"):
        size = line["position"] - line["first"] + 1
        line.update(asdict(seal.sealed(line["first"], [line["hash"]] * size, sealed.OTHER_KEY)))


EDITS = [_data, _time, _left_out, _another_task, _no_proof, _no_seals, _path, _odd_path, _index, _signature, _another_key]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
async def test_an_export_that_was_edited_is_found(lines: Lines, edit: Callable[[Lines], None]) -> None:
    """Whatever of it, however well."""
    edit(lines)
    assert verified(lines).flaws


async def test_what_was_made_anew_with_its_own_hashes_leads_to_no_seal(lines: Lines) -> None:
    """Other data under hashes that are right."""
    entry = _sandboxed(lines)
    _data(lines)
    entry["data_hash"] = oracle.data_hash(entry)
    entry["hash"] = oracle.entry_hash(entry)
    assert [flaw.position for flaw in verified(lines).flaws] == [entry["position"]]


async def test_a_whole_log_that_was_edited_is_found(all_lines: Lines) -> None:
    """At its first bad position."""
    position = _sandboxed(all_lines)["position"]
    _data(all_lines)
    assert [flaw.position for flaw in verified(all_lines).flaws] == [position]
    del all_lines[1]
    assert [flaw.position for flaw in verified(all_lines).flaws] == [1]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"5", b'{"no": "record"}', b'{"record": "entry"}', b'{"record": "seal"}'])
async def test_a_line_that_cannot_be_read_is_said_so(lines: Lines, line: bytes) -> None:
    """In one sentence, not in a traceback."""
    written = [orjson.dumps(each) for each in lines]
    with pytest.raises(errors.CorruptLog, match="export"):
        exported.verify([*written, line], Known())
    with pytest.raises(errors.CorruptLog, match="export"):
        exported.verify([line, *written], Known())


def test_nothing_is_no_export() -> None:
    """Nor is what another format's first line begins."""
    for first in ([], [{"record": "slice", "format": 2, "task": "a"}], [{"record": "entry"}]):
        with pytest.raises(errors.CorruptLog, match="no export"):
            verified(first)


async def test_a_log_with_a_hole_ends_what_reads_it(place: Place, tmp_path: Path) -> None:
    """Also where nothing follows for as long as is read at a time: nobody waits for what will never come."""
    async with place.open() as opened, sealed.sealing(opened, tmp_path):
        await sealed.write(opened)
        await sealed.all_sealed(opened)
    stored = place.stored()
    place.tamper([stored[0], *stored[4:]])
    async with place.open(writable=False) as opened, asyncio.timeout(20):
        with pytest.raises(errors.CorruptLog, match="hole"):
            [each async for each in export.whole_log(opened.log)]
        with pytest.raises(errors.CorruptLog, match="hole"):
            [each async for each in replay.between(opened.log, 2, 3, "urn:tests")]
        with pytest.raises(errors.CorruptLog, match="hole"):
            await opened.log.read_to(4, 2, 2)


async def test_what_is_taken_out_while_all_is_exported_accuses_nobody(a_store: Store) -> None:
    """What says so stands behind the end that was seen at first: the export goes on until it is in."""
    task, _ = await sealed.write(a_store)
    lines = export.whole_log(a_store.log)
    found = [await anext(lines)]
    (entry, *_) = await a_store.log.read_stream(task)
    was = entry.commit.events[0]
    left = redact.without(was, ["task.executors.0.command"])
    order = events.DataRedacted(
        position=entry.position, index=0, reason="r", fields=left.fields, sha256=redact.sha256(left.encoded)
    )
    await a_store.log.append(events.commit(str(uuid.uuid4()), task, 6, [order], sealed.META))
    await a_store.log.redact(entry.position, 0, was, left.encoded)
    found += [line async for line in lines]
    assert exported.verify(found, Known()).flaws == ()
    assert len(found) == 1 + 9
