"""`tespes backup`, as it is typed: what is said, the exit status, and that nothing is touched where something is wrong."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import sealed
from stores import in_sqlite
from tespes.__main__ import main
from tespes.flow import archive
from tespes.flow.seal import HEADS_FILE

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a sealed log, and the key that it was sealed with."""
    directory = tmp_path / "state"
    asyncio.run(_write(directory))
    return directory


async def _write(directory: Path) -> None:
    async with in_sqlite(directory).open() as opened:
        (directory / "runner.key").write_bytes(sealed.SECRET)
        async with sealed.sealing(opened, directory):
            await sealed.write(opened)
            await sealed.all_sealed(opened)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the backup is."""
    return tmp_path / "kept"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """`tespes backup WORDS`: exit status, output, errors."""

    def run(what: str, place: Path, directory: Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["backup", what, str(place), "--state-dir", str(directory)])
        return status, *capsys.readouterr()

    return run


def test_a_backup_is_made_verified_and_restored(state: Path, kept: Path, tmp_path: Path, typed: Typed) -> None:
    """The key is not in it, and that is said; so is what a person has to do before the first start."""
    status, out, err = typed("make", kept, state)
    made = archive.contents(kept)
    assert made is not None
    assert (status, out) == (0, f"{kept}: {made.position} commits, {made.position} of them new, head {made.hash}\n")
    assert err == f"tespes: {state / 'runner.key'} is not in it: keep a copy of it elsewhere\n"
    status, out, err = typed("verify", kept, state)
    assert (status, "sound" in out, err) == (0, True, "")
    new = tmp_path / "new"
    new.mkdir(mode=0o755)
    status, out, err = typed("restore", kept, new)
    assert {path.name for path in new.iterdir() if path.stat().st_mode & 0o077} == set()
    assert (status, f"restored up to position {made.position}" in out) == (0, True)
    assert "this is not the key that the log was sealed with" in err
    status, _, err = typed("restore", kept, new)
    assert (status, "is not empty" in err) == (2, True)


def test_with_the_key_and_the_old_seals_there_the_cut_off_end_is_said(state: Path, kept: Path, typed: Typed) -> None:
    """The seals of what is lost stay where they are; TESPES does not seal on before a person has moved them."""
    typed("make", kept, state)
    asyncio.run(_write(state))
    for path in state.glob("*.sqlite3*"):
        path.unlink()
    before = (state / HEADS_FILE).read_bytes()
    status, _, err = typed("restore", kept, state)
    assert (status, "has seals up to position" in err, "not the key" in err) == (0, True, False)
    assert (state / HEADS_FILE).read_bytes() == before


def test_what_is_wrong_is_one_line_and_nothing_is_touched(state: Path, kept: Path, tmp_path: Path, typed: Typed) -> None:
    """No backup, a damaged one, a place that is none, a log that is none."""
    new = tmp_path / "new"
    for what in ("verify", "restore"):
        assert typed(what, kept, new) == (2, "", f"tespes: there is no backup in {kept}\n")
    typed("make", kept, state)
    (part,) = kept.glob("log-*")
    part.write_bytes(part.read_bytes()[:-1])
    status, out, _ = typed("restore", kept, new)
    assert (status, f"position 1 cannot be read: {part} is not as it was written" in out) == (1, True)
    assert not new.exists()
    (kept / "backup.json").write_text('{"format": 2}')
    for what in ("make", "verify", "restore"):
        assert typed(what, kept, state) == (2, "", f"tespes: {kept / 'backup.json'} is of format 2, and this TESPES reads 1\n")
    (kept / "backup.json").unlink()
    status, _, err = typed("make", kept, state)
    assert (status, "parts of a backup" in err, part.is_file()) == (2, True, True)
    assert typed("make", state / "runner.key", state)[0] == 2
    status, _, err = typed("make", tmp_path / "other", new)
    assert (status, "there is no log in" in err) == (2, True)


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("audit", "verify"), ("backup", "make", "/nowhere")])
def test_a_state_directory_of_a_newer_version_is_left_alone(
    state: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """One line, and nothing begun."""
    (state / "version").write_text("7\n")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in state.iterdir())
    assert main([*words, "--state-dir", str(state)]) == 2
    said = f"tespes: the state directory {state} is of version 7, and this TESPES knows 1: use the release that made it"
    assert capsys.readouterr().err == f"{said}, or a newer one\n"
    assert sorted((path.name, path.stat().st_mtime_ns) for path in state.iterdir()) == before
