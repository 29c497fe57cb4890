"""Files of the machine that TESPES runs on, and nothing beside the roots."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tespes import errors
from tespes.storage.local import Local, Roots
from tespes.storage.promise import At, Entry, Fetched, Manners, Resume

CONTENT = os.urandom(3_000_000)


@dataclass(frozen=True, slots=True)
class Disk:
    """A root to read, one to write, a directory that is none, and the storage."""

    read: Path
    write: Path
    outside: Path
    files: Local


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    places = [tmp_path / name for name in ("read", "write", "outside")]
    for place in places:
        place.mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return Disk(places[0], places[1], places[2], Local(Roots(read=(places[0],), write=(places[1],)), Manners()))


def at(path: Path | str) -> At:
    return At(path.as_uri() if isinstance(path, Path) else path, "ada")


async def read(files: Local, where: At, resume: Resume | None = None) -> tuple[bytes, Fetched]:
    async with files.fetch(where, resume) as fetched:
        return b"".join([piece async for piece in fetched.pieces]), fetched


async def pieces(content: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]
    if then:
        raise then


async def listed(files: Local, where: At) -> list[Entry]:
    return [entry async for entry in files.list(where)]


def everything(directory: Path) -> set[str]:
    return {str(each.relative_to(directory)) for each in directory.rglob("*")}


async def test_a_file_comes_whole_or_from_where_it_broke(disk: Disk) -> None:
    """By its URL, or by its path as it is; from the start if it is another one by now."""
    file = disk.read / "a b%20#?ü.txt"
    for content in (CONTENT, b"x", b""):
        file.write_bytes(content)
        for where in (at(file), at(str(file)), at(file.as_uri().replace("file://", "FILE://localhost"))):
            whole, fetched = await read(disk.files, where)
            assert whole == content
            assert (fetched.start, fetched.size_bytes) == (0, len(content))
    file.write_bytes(CONTENT)
    _, fetched = await read(disk.files, at(file))
    for start in (0, 1, 2_000_000, len(CONTENT)):
        rest, going_on = await read(disk.files, at(file), Resume(start, fetched.version or ""))
        assert (rest == CONTENT[start:], going_on.start) == (True, start)
    file.write_bytes(CONTENT[:5])
    assert (await read(disk.files, at(file), Resume(3, fetched.version or "")))[0] == CONTENT[:5]


async def test_a_file_that_changes_while_it_is_read_is_interrupted(disk: Disk) -> None:
    """Or a task would get the beginning of one file and the end of another."""
    file = disk.read / "x"
    for change in (b"x" * len(CONTENT), b"short", CONTENT * 2):
        file.write_bytes(CONTENT)
        os.utime(file, (1, 1))
        async with disk.files.fetch(at(file), None) as fetched:
            file.write_bytes(change)
            with pytest.raises(errors.TransferInterrupted, match="/x: changed while it was read"):
                [piece async for piece in fetched.pieces]


async def test_what_is_no_regular_file_is_refused_at_once(disk: Disk) -> None:
    """A pipe would be waited for, a device woken."""
    (disk.read / "directory").mkdir()
    os.mkfifo(disk.read / "pipe")
    (disk.read / "device").symlink_to("/dev/zero")
    whys = {
        "missing": "no such file or directory",
        "directory": "is a directory, a file was declared",
        "pipe": "is neither a file nor a directory",
        "device": "leads outside of what the settings allow for inputs",
    }
    for name, why in whys.items():
        with pytest.raises(errors.TransferRefused, match=f"^file://{disk.read}/{name}: {why}$"):
            await read(disk.files, at(disk.read / name))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file://{read}/../outside/secret", r"`\.\.`"),
        ("file://{read}/%2e%2e/outside/secret", r"`\.\.`"),
        ("{read}/../outside/secret", r"`\.\.`"),
        ("{read}/a\0b", "null"),
        ("file://{read}/a%00b", "null"),
        ("file://{outside}/secret", "outside of what the settings allow"),
        ("{outside}/secret", "outside of what the settings allow"),
        ("file://{read}x/secret", "outside of what the settings allow"),
        ("file:///", "outside of what the settings allow"),
        ("/etc/passwd", "outside of what the settings allow"),
        ("file://elsewhere{read}/x", "host elsewhere is not this machine"),
        ("file://ada:SECRET@elsewhere{read}/x", ": host elsewhere is not this machine"),
        ("file://{read}/x?y", "ends with its path"),
        ("file://{read}/x#y", "ends with its path"),
        ("file://{read}/\ud800", "is no Unicode"),
        ("{read}/\udc80", "is no Unicode"),
    ],
)
async def test_no_url_leads_out_of_the_roots(disk: Disk, url: str, why: str) -> None:
    """Neither to read, nor to write, nor to list."""
    where = at(url.format(read=disk.read, outside=disk.outside))
    doings = (
        read(disk.files, where),
        disk.files.store(where, pieces(b"x"), 1),
        disk.files.make_directory(where),
        listed(disk.files, where),
    )
    for doing in doings:
        with pytest.raises(errors.TransferRefused, match=why if "outside" not in why else "outside of what"):
            await doing
    assert everything(disk.outside) == {"secret"}


async def test_no_link_leads_out_of_the_roots(disk: Disk) -> None:
    """Inside, links are followed; a root may be one itself."""
    (disk.write / "x").write_bytes(b"x")
    (disk.read / "inside").symlink_to(disk.write / "x")
    (disk.read / "file").symlink_to(disk.outside / "secret")
    (disk.read / "there").symlink_to(disk.outside)
    assert (await read(disk.files, at(disk.read / "inside")))[0] == b"x"
    for name in ("file", "there/secret", "there/missing/../secret"):
        with pytest.raises(errors.TransferRefused):
            await read(disk.files, at(f"{disk.read}/{name}"))
    (disk.outside / "root").symlink_to(disk.read)
    linked = Local(Roots(read=(disk.outside / "root",)), Manners())
    (disk.read / "y").write_bytes(b"y")
    assert (await read(linked, at(disk.outside / "root" / "y")))[0] == b"y"
    assert (await read(linked, at(disk.read / "y")))[0] == b"y"

    (disk.write / "there").symlink_to(disk.outside)
    (disk.write / "nowhere").symlink_to(disk.outside / "made")
    (disk.write / "back").symlink_to(disk.read)
    for name in ("there/x", "there/new/x", "nowhere/x", "back/x"):
        with pytest.raises(errors.TransferRefused):
            await disk.files.store(at(disk.write / name), pieces(b"x"), 1)
        with pytest.raises(errors.TransferRefused):
            await disk.files.make_directory(at(disk.write / name))
    assert everything(disk.outside) == {"secret", "root"}
    (disk.write / "final").symlink_to(disk.outside / "secret")
    await disk.files.store(at(disk.write / "final"), pieces(b"x"), 1)
    assert not (disk.write / "final").is_symlink()
    assert (disk.outside / "secret").read_bytes() == b"secret"


SWAP = """
import os, sys
one, other, place = sys.argv[1:]
while True:
    for target in (one, other):
        os.symlink(target, place + ".next")
        os.rename(place + ".next", place)
"""


@contextlib.contextmanager
def swapping(one: Path, other: Path, place: Path) -> Iterator[None]:
    """A name that leads to one directory now, and to another the next moment."""
    place.symlink_to(one)
    process = subprocess.Popen([sys.executable, "-c", SWAP, one, other, place])
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def test_a_link_that_is_swapped_while_we_look_never_leads_out(disk: Disk) -> None:
    """What is opened is looked at, not what its name was a moment before."""
    inside = disk.write / "inside"
    inside.mkdir()
    (inside / "secret").write_bytes(b"harmless")
    got, refused, ends = set(), 0, time.monotonic() + 2
    with swapping(inside, disk.outside, disk.write / "swapped"):
        while time.monotonic() < ends:
            try:
                got.add((await read(disk.files, at(disk.write / "swapped" / "secret")))[0])
                await disk.files.store(at(disk.write / "swapped" / "new"), pieces(b"x"), 1)
            except errors.TransferRefused:
                refused += 1
    assert got == {b"harmless"}
    assert refused
    assert everything(disk.outside) == {"secret"}


async def test_without_roots_file_urls_are_not_allowed(disk: Disk) -> None:
    """Each way has its own roots; inputs may come from where outputs go."""
    nothing = Local(Roots(), Manners())
    assert nothing.usable() == ()
    with pytest.raises(errors.TransferRefused, match="not allowed: the settings name no root for inputs"):
        await read(nothing, at(disk.read / "x"))
    with pytest.raises(errors.TransferRefused, match="not allowed: the settings name no root for outputs"):
        await Local(Roots(read=(disk.read,)), Manners()).store(at(disk.read / "x"), pieces(b"x"), 1)
    with pytest.raises(errors.TransferRefused, match="outside of what the settings allow for outputs"):
        await disk.files.store(at(disk.read / "x"), pieces(b"x"), 1)
    assert disk.files.usable() == (f"file://{disk.read}/", f"file://{disk.write}/")
    assert disk.files.goes_through(at(disk.read / "x"))
    with pytest.raises(errors.TransferRefused, match="passes through TESPES"):
        await disk.files.way_out(at(disk.write / "x"), 1)


async def test_a_directory_shows_all_that_it_holds(disk: Disk) -> None:
    """Hidden, empty, with odd names, or by a link inside; each directory before what is in it."""
    for name in ("a.txt", ".hidden", "b c&d?#%20", "ünï\n", "sub/deep/er", "sub2/x"):
        (disk.read / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (disk.read / "top" / name).write_bytes(b"12345")
    (disk.read / "top" / "empty").mkdir()
    (disk.read / "top" / "link").symlink_to("sub/deep")
    expected = {*everything(disk.read / "top"), "link/er"}
    for where in (at(disk.read / "top"), at(f"{disk.read}/top/")):
        entries = await listed(disk.files, where)
        names = [entry.name for entry in entries]
        assert set(names) == expected
        assert len(names) == len(expected)
        assert {entry.name for entry in entries if entry.is_directory} == {"sub", "sub/deep", "sub2", "empty", "link"}
        assert {entry.size_bytes for entry in entries if not entry.is_directory} == {5}
        assert names.index("sub") < names.index("sub/deep") < names.index("sub/deep/er")


async def test_a_directory_that_cannot_be_told_is_refused(disk: Disk) -> None:
    """What would be missing without a word otherwise: ways out, circles, pipes, names that are no text."""
    top = disk.read / "top"
    top.mkdir()
    (top / "x").write_bytes(b"x")
    for name, target, why in (
        ("out", disk.outside, "/top: out: leads outside of what the settings allow"),
        ("circle", top, "/top/circle: is a link to a directory above it"),
        ("itself", top / "itself", "/top: itself: too many levels of symbolic links"),
        ("nothing", top / "missing", "/top: nothing: no such file or directory"),
    ):
        (top / name).symlink_to(target)
        with pytest.raises(errors.TransferRefused, match=why):
            await listed(disk.files, at(top))
        (top / name).unlink()
    os.mkfifo(top / "pipe")
    with pytest.raises(errors.TransferRefused, match="/top: pipe: is neither a file nor a directory"):
        await listed(disk.files, at(top))
    (top / "pipe").unlink()
    os.mkdir(os.fsencode(top) + b"/\xff")  # noqa: PTH102 - no text
    with pytest.raises(errors.TransferRefused, match=r"/top: holds b'\\xff', whose name is no UTF-8"):
        await listed(disk.files, at(top))
    with pytest.raises(errors.TransferRefused, match="/x: is a file, a directory was declared"):
        await listed(disk.files, at(top / "x"))


async def test_a_file_is_stored_whole_with_the_directories_above_it(disk: Disk) -> None:
    """Over what was there; nobody gets more rights on it than the umask gives."""
    before = os.umask(0o027)
    try:
        for content in (CONTENT, b"x", b""):
            await disk.files.store(at(disk.write / "a" / "b c" / "x"), pieces(content), len(content))
            assert (disk.write / "a" / "b c" / "x").read_bytes() == content
    finally:
        os.umask(before)
    assert everything(disk.write) == {"a", "a/b c", "a/b c/x"}
    modes = [(disk.write / name).stat().st_mode & 0o7777 for name in ("a", "a/b c/x")]
    assert modes == [0o750, 0o640]


async def test_a_file_may_be_deep_inside(disk: Disk) -> None:
    """Whoever stores it keeps one of the directories above it open at a time, and a path has an end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    deep = disk.write.joinpath(*["d"] * (190 - len(disk.write.parts)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 50, hard))  # noqa: PTH208
    try:
        await disk.files.store(at(deep / "x"), pieces(CONTENT), len(CONTENT))
        assert await disk.files.make_directory(at(deep / "y"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (await read(disk.files, at(deep / "x")))[0] == CONTENT
    for doing in (
        disk.files.store(at(deep.joinpath(*["d"] * 20)), pieces(b"x"), 1),
        disk.files.make_directory(at(deep / ("d/" * 20))),
    ):
        with pytest.raises(errors.TransferRefused, match="is too deep: more than 200 directories"):
            await doing


async def test_more_transfers_than_allowed_are_put_off(disk: Disk) -> None:
    """Each is a thread, and waits a while for its turn."""
    (disk.read / "x").write_bytes(CONTENT)
    files = Local(Roots(read=(disk.read,), write=(disk.write,)), Manners(connections=2, silence_s=0.3))
    await asyncio.gather(*(read(files, at(disk.read / "x")) for _ in range(10)))
    async with files.fetch(at(disk.read / "x"), None), files.fetch(at(disk.read / "x"), None):
        for doing in (read(files, at(disk.read / "x")), files.store(at(disk.write / "x"), pieces(b"x"), 1)):
            with pytest.raises(errors.TransferPostponed, match="/x: 2 files move from or to this machine already"):
                await doing
    await files.store(at(disk.write / "x"), pieces(b"x"), 1)


async def test_what_was_left_behind_is_in_no_listing(disk: Disk) -> None:
    """A file that was being stored when TESPES died; whatever merely looks like it is somebody's file."""
    for name in (".0123456789abcdef.part", ".0123456789abcdeg.part", ".0123456789abcdef"):
        (disk.read / name).write_bytes(b"x")
    assert [entry.name for entry in await listed(disk.files, at(disk.read))] == [".0123456789abcdef", ".0123456789abcdeg.part"]


async def test_empty_directories_are_made(disk: Disk) -> None:
    """That one is there is fine, unless it is something else."""
    for _ in range(2):
        assert await disk.files.make_directory(at(disk.write / "a" / "b"))
    assert everything(disk.write) == {"a", "a/b"}
    (disk.write / "file").write_bytes(b"x")
    for name in ("file", "file/below"):
        with pytest.raises(errors.TransferRefused, match=f"/{name}: not a directory"):
            await disk.files.make_directory(at(disk.write / name))
    with pytest.raises(errors.TransferRefused, match="/a: is a directory, a file was declared"):
        await disk.files.store(at(disk.write / "a"), pieces(b"x"), 1)


@pytest.mark.parametrize("end", [errors.AttemptGone("canceled"), OSError("the node is away"), asyncio.CancelledError()])
async def test_what_fails_on_its_way_leaves_nothing(disk: Disk, end: BaseException) -> None:
    """Whoever brings the pieces may take it all back until the last moment; what was there stays."""
    (disk.write / "x").write_bytes(b"before")
    with pytest.raises(type(end)):
        await disk.files.store(at(disk.write / "x"), pieces(CONTENT, then=end), len(CONTENT))
    for said in (len(CONTENT) + 1, len(CONTENT) - 1):
        with pytest.raises(errors.TransferInterrupted, match="/x: what came to be stored has not the size"):
            await disk.files.store(at(disk.write / "x"), pieces(CONTENT), said)
    assert everything(disk.write) == {"x"}
    assert (disk.write / "x").read_bytes() == b"before"


async def test_a_cancel_at_any_moment_leaves_nothing_half(disk: Disk) -> None:
    """Not a file under a temporary name, not a descriptor."""
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for moment in range(30):
        storing = asyncio.create_task(disk.files.store(at(disk.write / "x"), pieces(CONTENT), len(CONTENT)))
        reading = asyncio.create_task(read(disk.files, at(disk.write / "x")))
        await asyncio.sleep(moment / 5000)
        for task in (storing, reading):
            task.cancel()
        await asyncio.gather(storing, reading, return_exceptions=True)
        assert everything(disk.write) <= {"x"}
        if (disk.write / "x").exists():
            assert (disk.write / "x").read_bytes() == CONTENT
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1  # noqa: PTH208


async def test_a_full_disk_may_have_room_later(disk: Disk) -> None:
    """The system's own words; nothing of the file is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(errors.TransferInterrupted, match="/x: file too large"):
            await disk.files.store(at(disk.write / "x"), pieces(CONTENT), len(CONTENT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert everything(disk.write) == set()
