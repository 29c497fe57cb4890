"""Crates of tasks in both stores: two files that tell the same, of which one proves itself."""

import asyncio
import hashlib
import json
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

import crates
import given as g
from stores import in_sqlite
from tespes import errors, events, tes
from tespes.__main__ import main
from tespes.events import Meta, redact, seal
from tespes.flow import crate, exported, texts
from tespes.flow.reading import Known
from tespes.store import Store

META = Meta(at=g.at(0), actor="ada", owner="ada")
EXECUTOR = tes.Executor(image="alpine", command=("true",))
KEY = seal.key(b"of the tests")
KNOWN = Known(frozenset({seal.public(KEY)}))


async def append(store: Store, stream: str, *happened: events.Event) -> None:
    """Events, each in a commit of its own."""
    for event in happened:
        version = await store.log.newest(stream) + 1
        await store.log.append(events.commit(str(uuid.uuid4()), stream, version, (event,), META))


async def told(store: Store, happened: Sequence[events.Event]) -> None:
    """A task's history, under a seal."""
    await append(store, g.TASK, *happened)
    hashes = [entry.hash for entry in await store.log.read(0)]
    await append(store, seal.STREAM, seal.sealed(1, hashes, KEY))


async def test_what_is_shown_is_proven_and_the_rest_is_a_digest(a_store: Store) -> None:
    """Nothing that users keep to themselves is in it, the chain and the seals verify, an edit is found."""
    await told(a_store, crates.COMPLETE)
    made = await crate.make(a_store, g.TASK, crates.PUBLISHER)
    assert made.unsealed == ()
    assert not any(crates.SECRET.encode() in content for content in made.files.values())
    lines = made.files["events.jsonl"].splitlines()
    verdict = exported.verify(lines, KNOWN)
    assert verdict.flaws == ()
    assert verdict.withheld == (1,)
    edited = [line.replace(b'\\"exit_code\\":0', b'\\"exit_code\\":1') for line in lines]
    assert edited != lines
    assert exported.verify(edited, KNOWN).flaws
    metadata = {each["@id"]: each for each in json.loads(made.files["ro-crate-metadata.json"])["@graph"]}
    assert metadata["events.jsonl"]["sha256"] == hashlib.sha256(made.files["events.jsonl"]).hexdigest()
    assert metadata["events.jsonl"]["contentSize"] == str(len(made.files["events.jsonl"]))
    assert (await crate.make(a_store, g.TASK, crates.PUBLISHER)) == made


@pytest.mark.parametrize("url", ["ftp://ada:pass@files.example.org/words", "https://example.org/words?X-Amz-Signature=pass"])
async def test_what_opens_a_file_is_not_told(a_store: Store, url: str) -> None:
    """Neither passwords nor signatures in URLs; of a task with plain URLs, the whole order is there."""
    plain = crates.ORDER.model_copy(
        update={
            "inputs": (tes.Input(url=url.partition("?")[0].replace("ada:pass@", ""), path="/in"),),
            "executors": (EXECUTOR,),
        }
    )
    with_login = plain.model_copy(update={"inputs": (tes.Input(url=url, path="/in"),)})
    for order, withheld in ((with_login, (1,)), (plain, ())):
        task_id = str(uuid.uuid4())
        await append(a_store, task_id, *crates.ran(order, 0), events.TaskCompleted())
        made = await crate.make(a_store, task_id, crates.PUBLISHER)
        assert not any(b"pass" in content for content in made.files.values())
        verdict = exported.verify(made.files["events.jsonl"].splitlines(), KNOWN)
        assert verdict.withheld == withheld


async def test_everything_is_told_if_it_is_asked_for(a_store: Store) -> None:
    """Then the events are whole."""
    await told(a_store, crates.COMPLETE)
    made = await crate.make(a_store, g.TASK, replace(crates.PUBLISHER, with_private=True))
    assert all(crates.SECRET.encode() in content for content in made.files.values())
    verdict = exported.verify(made.files["events.jsonl"].splitlines(), KNOWN)
    assert (verdict.flaws, verdict.withheld) == ((), ())


@pytest.mark.parametrize("with_private", [False, True])
async def test_what_was_taken_out_of_an_event_is_in_no_crate(a_store: Store, *, with_private: bool) -> None:
    """What is left of the event is what the log says is left, shown or not."""
    await append(a_store, g.TASK, *crates.COMPLETE)
    (first,) = await a_store.log.read(0, 1)
    left = redact.without(first.commit.events[0], ["task.executors.0.command"])
    sha256 = redact.sha256(left.encoded)
    order = events.DataRedacted(position=1, index=0, reason="a name was in it", fields=left.fields, sha256=sha256)
    await told(a_store, [order])
    await a_store.log.redact(1, 0, first.commit.events[0], left.encoded)
    made = await crate.make(a_store, g.TASK, replace(crates.PUBLISHER, with_private=with_private))
    assert not any(b"two words" in content for content in made.files.values())
    verdict = exported.verify(made.files["events.jsonl"].splitlines(), KNOWN)
    assert (verdict.flaws, verdict.unfinished) == ((), ())


async def test_long_lists_of_files_are_in_it(a_store: Store) -> None:
    """Also those that are kept beside the event."""
    count = texts.INLINE_FILES + 1
    found = tuple(crates.file(f"/data/plots/{n}", f"ftp://files.example.org/plots/{n}") for n in range(count))
    outputs, kept = await texts.keep_files(a_store.blobs, "outputs", found)
    assert not outputs
    happened = list(crates.COMPLETE)
    place = next(index for index, event in enumerate(happened) if isinstance(event, events.AttemptEnded))
    ended = happened[place]
    assert isinstance(ended, events.AttemptEnded)
    happened[place] = replace(ended, outputs=(), kept=kept)
    await told(a_store, happened)
    made = await crate.make(a_store, g.TASK, crates.PUBLISHER)
    graph = {each["@id"]: each for each in json.loads(made.files["ro-crate-metadata.json"])["@graph"]}
    assert len(graph["ftp://files.example.org/plots/"]["hasPart"]) == count


async def test_a_task_that_goes_on_has_no_crate(a_store: Store) -> None:
    """Nor has one that there is not."""
    await append(a_store, g.TASK, *crates.COMPLETE[:3])
    with pytest.raises(errors.SetupError, match="is not over"):
        await crate.make(a_store, g.TASK, crates.PUBLISHER)
    with pytest.raises(errors.NotFound):
        await crate.make(a_store, str(uuid.uuid4()), crates.PUBLISHER)


def test_the_command_writes_what_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tespes export`, then `tespes audit verify --export`; a crate needs a task, and a place of its own."""

    async def made() -> None:
        async with in_sqlite(tmp_path).open() as opened:
            await told(opened, crates.COMPLETE)

    asyncio.run(made())
    where = ["--state-dir", str(tmp_path), "--settings", str(tmp_path / "settings.toml")]
    (tmp_path / "settings.toml").write_text("[default.service]\norganization_name = 'The institute'\n")
    export = ["export", g.TASK, "--format", "ro-crate", *where]
    assert main([*export, "--to", str(tmp_path / "crate")]) == 0
    assert "The institute" in (tmp_path / "crate" / "ro-crate-metadata.json").read_text()
    proof = str(tmp_path / "crate" / "events.jsonl")
    assert main(["audit", "verify", "--export", proof, "--key", seal.public(KEY), *where]) == 0
    said = capsys.readouterr().out
    assert "sound" in said
    assert "of an event at 1 there is only the digest" in said
    assert main(export) == 2
    assert "--to DIR|FILE.zip" in capsys.readouterr().err


def test_the_same_crate_is_the_same_archive(tmp_path: Path) -> None:
    """Byte for byte, and with the same files as a directory."""
    files = {"ro-crate-metadata.json": orjson.dumps(crates.made(crates.recorded(*crates.COMPLETE))), "events.jsonl": b"{}\n"}
    for name in ("one.zip", "other.zip", "directory"):
        crate.save(files, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert {path.name: path.read_bytes() for path in (tmp_path / "directory").iterdir()} == files
    with pytest.raises(errors.SetupError, match="cannot be written"):
        crate.save(files, tmp_path / "one.zip" / "inside")
