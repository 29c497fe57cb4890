"""Law 3, with seals: whoever owns the database, and knows how the chain is made, is found all the same.

What needs no seals is in `test_properties.TestTampering`: one change, anywhere, without the whole chain made anew.
"""

import copy
import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import oracle
import sealed
from stores import Place, Stored, in_sqlite
from tespes import errors, events
from tespes.events import chain, seal
from tespes.flow import audit
from tespes.flow import seal as kept
from tespes.flow.reading import Known
from tespes.flow.seal import Pace

TASKS = 3


@pytest.fixture
async def written(place: Place, tmp_path: Path) -> list[Stored]:
    """A log of twelve commits and the seals over them."""
    async with place.open() as opened, sealed.sealing(opened, tmp_path):
        await sealed.write(opened, TASKS)
        await sealed.all_sealed(opened)
    return place.stored()


async def verdict(place: Place, entries: Sequence[Stored] | None = None, known: Known = Known(sealed.PUBLIC)) -> audit.Verdict:  # noqa: B008 - frozen
    """What an audit finds in a store with these entries."""
    if entries is not None:
        place.tamper(entries)
    async with place.open(writable=False) as opened:
        return await audit.verify(opened, known)


def chained(entries: Sequence[Stored]) -> list[Stored]:
    """These entries with positions and hashes that are right: a log that was made anew."""
    hash_before = chain.BEGINNING
    anew = copy.deepcopy(list(entries))
    for position, entry in enumerate(anew, start=1):
        entry["position"], entry["prev_hash"] = position, hash_before
        entry["data_hash"] = oracle.data_hash(entry)
        hash_before = entry["hash"] = oracle.entry_hash(entry)
    return anew


def changed(entries: Sequence[Stored], position: int) -> list[Stored]:
    """These entries with other data at a position."""
    anew = copy.deepcopy(list(entries))
    anew[position - 1]["events"][0]["data"] = '{"attempt":9,"job_id":"x-9","pulsar":"elsewhere","runtime":"docker"}'
    return anew


def scheduled(entries: Sequence[Stored]) -> int:
    """The position of an AttemptScheduled that a seal covers."""
    return next(int(entry["position"]) for entry in entries if entry["events"][0]["type"] == "AttemptScheduled")


def seals(entries: Sequence[Stored]) -> list[Stored]:
    """The seals among them."""
    return [entry for entry in entries if entry["stream"] == seal.STREAM]


async def test_a_sealed_log_verifies(place: Place, written: list[Stored], tmp_path: Path) -> None:
    """With the key, with the seals that were kept elsewhere, and with neither."""
    oracle.check(written)
    heads = kept.heads([tmp_path / "heads.jsonl"])
    assert len(heads) == len(seals(written))
    for known in (Known(sealed.PUBLIC), Known(sealed.PUBLIC, heads), Known()):
        found = await verdict(place, known=known)
        assert (found.flaws, found.keys) == ((), sealed.PUBLIC)
        assert found.sealed >= 12
        assert found.commits == len(written)


async def test_a_log_that_was_made_anew_is_not_what_was_sealed(place: Place, written: list[Stored]) -> None:
    """Its chain is whole, but the hashes are others: the seal that covers the change is named, by its first position."""
    position = scheduled(written)
    found = await verdict(place, chained(changed(written, position)))
    (flaw,) = found.flaws
    first = [json.loads(entry["events"][0]["data"]) for entry in seals(written)]
    covering = next(head for head in first if head["first"] <= position <= head["position"])
    assert flaw.position == covering["first"]
    assert "not what was sealed" in flaw.what


@pytest.mark.parametrize("where", ["id", "beside an event", "in an event", "meta"])
async def test_what_no_hash_covers_is_as_it_was_written_too(place: Place, written: list[Stored], where: str) -> None:
    """Such as the events' ids: they can be told from the commit's."""
    position = scheduled(written)
    anew = copy.deepcopy(written)
    entry = anew[position - 1]
    match where:
        case "id":
            entry["events"][0]["id"] = str(uuid.uuid4())
        case "beside an event":
            entry["events"][0]["note"] = "was never there"
        case "in an event":
            entry["events"][0]["sha256"] = None
        case _:
            entry["meta"]["at"] = entry["meta"]["at"].replace("Z", "+00:00")
    found = await verdict(place, anew)
    assert [flaw.position for flaw in found.flaws] == [position]


async def test_a_text_that_is_no_utf8_is_found(tmp_path: Path) -> None:
    """SQLite takes any bytes for a text."""
    place = in_sqlite(tmp_path)
    async with place.open() as opened:
        await sealed.write(opened, TASKS)
    with closing(sqlite3.connect(tmp_path / "log.sqlite3")) as database, database:
        database.execute("UPDATE log SET events = CAST(x'ff' || events AS TEXT) WHERE position = 5")
    async with place.open(writable=False) as opened:
        found = await audit.verify(opened)
        with pytest.raises(errors.CorruptLog, match="UTF-8"):
            await opened.log.read(0)
    assert [flaw.position for flaw in found.flaws] == [5]


async def test_an_inserted_commit_is_found(place: Place, written: list[Stored]) -> None:
    """At the very beginning, with a chain that was made anew behind it."""
    more = copy.deepcopy(written[0]) | {"_id": str(uuid.uuid4()), "stream": "f" * 32}
    found = await verdict(place, chained([more, *written]))
    assert [flaw.position for flaw in found.flaws] == [1]


async def test_a_chain_sealed_by_somebody_else_is_found(place: Place, written: list[Stored]) -> None:
    """Signatures that are good prove nothing if the key is another."""
    anew = _sealed_again(changed(written, scheduled(written)))
    found = await verdict(place, anew)
    (flaw,) = found.flaws
    assert flaw.position == seals(anew)[0]["position"]
    assert seal.public(sealed.OTHER_KEY) in flaw.what
    believed = await verdict(place, anew, Known())
    assert (believed.flaws, believed.keys) == ((), frozenset({seal.public(sealed.OTHER_KEY)}))


async def test_a_key_that_changed_is_named(place: Place, written: list[Stored]) -> None:
    """Without knowing any key: the first one counts, until another is named beside it."""
    *before, last = seals(written)
    assert before
    anew = copy.deepcopy(written)
    anew[last["position"] - 1] = _signed(last, anew, sealed.OTHER_KEY)
    anew = chained(anew)
    found = await verdict(place, anew, Known())
    assert [flaw.position for flaw in found.flaws] == [last["position"]]
    assert "--key" in found.flaws[0].what
    assert (await verdict(place, anew, Known(sealed.PUBLIC | {seal.public(sealed.OTHER_KEY)}))).flaws == ()


async def test_a_signature_that_is_not_good_is_found(place: Place, written: list[Stored]) -> None:
    """A seal that somebody wrote without the key."""
    anew = copy.deepcopy(written)
    first = seals(anew)[0]
    head = json.loads(first["events"][0]["data"])
    first["events"][0]["data"] = json.dumps(head | {"signature": "00" * 64}, separators=(",", ":"), sort_keys=True)
    found = await verdict(place, chained(anew))
    assert [flaw.position for flaw in found.flaws] == [first["position"]]
    assert "signature" in found.flaws[0].what


async def test_a_seal_that_was_left_out_is_found(place: Place, written: list[Stored]) -> None:
    """Seals cover the log without a gap."""
    first, second = seals(written)[:2]
    without = [entry for entry in written if entry is not first]
    for entry in seals(without := copy.deepcopy(without)):
        entry["version"] -= 1
    found = await verdict(place, chained(without))
    assert [flaw.position for flaw in found.flaws] == [second["position"] - 1]


async def test_an_end_that_was_cut_off_is_found_with_a_seal_kept_elsewhere(
    place: Place, written: list[Stored], tmp_path: Path
) -> None:
    """Nothing in the database tells; the file beside it, or whoever keeps what was published, does."""
    last = max(head.position for head in kept.heads([tmp_path / "heads.jsonl"]))
    cut = written[: last - 2]
    assert (await verdict(place, cut)).flaws == ()
    found = await verdict(place, cut, Known(sealed.PUBLIC, kept.heads([tmp_path / "heads.jsonl"])))
    assert [(flaw.position, str(last) in flaw.what) for flaw in found.flaws] == [(last - 1, True)]


async def test_an_end_that_was_written_anew_is_found_with_a_seal_kept_elsewhere(
    place: Place, written: list[Stored], tmp_path: Path
) -> None:
    """From somewhere on it is another log, without seals."""
    position = scheduled(written)
    heads = kept.heads([tmp_path / "heads.jsonl"])
    anew = chained([entry for entry in changed(written, position) if entry["stream"] != seal.STREAM])
    assert (await verdict(place, anew)).flaws == ()
    found = await verdict(place, anew, Known(sealed.PUBLIC, heads))
    (flaw,) = found.flaws
    assert flaw.position <= position


@pytest.mark.parametrize("position", [10**9, 10**30, 2])
async def test_a_line_that_anybody_can_write_hides_nothing(
    place: Place, written: list[Stored], tmp_path: Path, position: int
) -> None:
    """Neither behind all seals nor in place of one of them, be it read before or after."""
    genuine = kept.heads([tmp_path / "heads.jsonl"])
    junk = [replace(head, position=each, hash="ab" * 32) for head in genuine for each in (position, head.position)]
    for heads in ([*genuine, *junk], [*junk, *genuine]):
        assert (await verdict(place, written, Known(sealed.PUBLIC, heads))).flaws == ()
        assert (await verdict(place, written[:3], Known(sealed.PUBLIC, heads))).flaws
        anew = chained(changed(written, scheduled(written)))
        anew = [entry for entry in anew if entry["stream"] != seal.STREAM]
        assert (await verdict(place, chained(anew), Known(sealed.PUBLIC, heads))).flaws


async def test_two_seals_that_disagree_are_a_flaw(place: Place, written: list[Stored]) -> None:
    """Signed with the same key, over the same position: one of them is of another log."""
    other = seal.sealed(1, ["ab" * 32] * 3, sealed.KEY)
    own = seal.sealed(1, [entry["hash"] for entry in written[:3]], sealed.KEY)
    for heads in ([own, other], [other, own]):
        assert [flaw.position for flaw in (await verdict(place, written, Known(sealed.PUBLIC, heads))).flaws] == [1]


async def test_a_log_without_its_seals_is_a_flaw(place: Place, written: list[Stored]) -> None:
    """A seal is due again and again: where none is for long, somebody may have taken them away."""
    known = Known(sealed.PUBLIC, pace=Pace(1000, 60.0))
    without = [entry for entry in written if entry["stream"] != seal.STREAM]
    soon = chained(without)
    assert (await verdict(place, soon, known)).flaws == ()
    late = copy.deepcopy(without)
    late[-1]["meta"]["at"] = "2026-11-22T18:00:00.000Z"
    (flaw,) = (await verdict(place, chained(late), known)).flaws
    assert (flaw.position, "under no seal" in flaw.what) == (1, True)
    assert (await verdict(place, chained(late), Known(pace=known.pace))).flaws == ()


async def test_a_line_that_anybody_can_write_accuses_nobody(place: Place, written: list[Stored]) -> None:
    """A seal that was kept elsewhere counts only with a good signature of a known key."""
    forged = seal.sealed(1, ["ab" * 32] * 500, sealed.OTHER_KEY)
    unsigned = events.HeadSigned(first=1, position=2, hash="cd" * 32, root="ef" * 32, key=seal.public(sealed.KEY), signature="")
    known = Known(sealed.PUBLIC, [forged, unsigned])
    assert (await verdict(place, written, known)).flaws == ()


async def test_seals_are_read_from_published_events_too(tmp_path: Path) -> None:
    """A line for each CloudEvent, among others; what is no seal is passed over."""
    head = seal.sealed(1, ["ab" * 32], sealed.KEY)
    values = {name: getattr(head, name) for name in ("first", "position", "hash", "root", "key", "signature")}
    odd = [values | {"position": [7]}, values | {"position": None}, values | {"key": 5}, {"data": 7}]
    lines = [{"specversion": "1.0", "data": values}, {"data": {"attempt": 1}}, values | {"position": 7}, [], 5, *odd]
    (tmp_path / "kept").write_text("\n".join(map(json.dumps, lines)) + "\n{torn")
    assert kept.heads([tmp_path / "kept"])[0] == head
    assert [each.position for each in kept.heads([tmp_path / "kept"])] == [1, 7]


def _signed(entry: Stored, entries: Sequence[Stored], key: Ed25519PrivateKey) -> Stored:
    """The seal over the same positions of these entries, with that key."""
    old = json.loads(entry["events"][0]["data"])
    hashes = [each["hash"] for each in entries[old["first"] - 1 : old["position"]]]
    head = seal.sealed(old["first"], hashes, key)
    return copy.deepcopy(entry) | {"events": [entry["events"][0] | {"data": events.encode(head).data}]}


def _sealed_again(entries: Sequence[Stored]) -> list[Stored]:
    """A whole log made anew, seals and all, as its owner could with a key of his own."""
    anew = chained(entries)
    for entry in seals(anew):
        anew[entry["position"] - 1] = _signed(entry, anew, sealed.OTHER_KEY)
        anew = chained(anew)
    return anew
