"""What runners ask about files, and what TESPES answers: in this process, with real storages behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from test_flows import BY, RUN, Site

from tespes import errors, tes
from tespes.flow.jobs import Caller, Job
from tespes.flow.transfers import Found, Through
from tespes.local.ftp import LocalFTP
from tespes.storage import At, Entry, Options, Storage
from tespes.storage.ftp import Login, Server
from tespes.storage.local import Roots
from tespes.store import Store
from tespes.task import commands

DIRECTORY = tes.FileType.DIRECTORY
Ask = Callable[[Site, Caller], Any]


def storage_at(ftp: LocalFTP) -> Storage:
    """The storages, with a login for that server."""
    return Storage(Options(ftp={ftp.url.rpartition("@")[2]: Server(Login(ftp.user, ftp.password))}))


async def of(*pieces: bytes) -> AsyncIterator[bytes]:
    """These bytes."""
    for piece in pieces:
        yield piece


async def all_of(found: Any) -> list[Entry]:
    """What a listing has."""
    return [entry async for entry in found]


@pytest.fixture
async def site(a_store: Store, tmp_path: Path) -> AsyncIterator[Site]:
    """TESPES, with files below tmp_path/in to be read and below tmp_path/out to be written."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    storage = Storage(Options(file=Roots((tmp_path / "in",), (tmp_path / "out",))))
    yield Site(a_store, storage)
    await storage.close()


async def fetch(site: Site, caller: Caller) -> None:
    """Ask for the first input's bytes."""
    async with site.transfers.fetch(caller, 0, "a", None):
        pass


ASKED: dict[str, Ask] = {
    "entries": lambda site, caller: site.transfers.entries(caller, 0),
    "ways_in": lambda site, caller: site.transfers.ways_in(caller, 0, ["a"]),
    "fetch": fetch,
    "ways_out": lambda site, caller: site.transfers.ways_out(caller, 0, [Found("/out/x", 1)]),
    "store": lambda site, caller: site.transfers.store(caller, 0, "/out/x", 1, of(b"1")),
    "make_directories": lambda site, caller: site.transfers.make_directories(caller, 0, ["/out/x"]),
    "part_urls": lambda site, caller: site.transfers.part_urls(caller, "some upload", [1]),
    "complete": lambda site, caller: site.transfers.complete(caller, "some upload", ["etag"]),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_an_attempt_that_is_over_gets_nothing(asked: str, site: Site, tmp_path: Path) -> None:
    """410 to whatever it asks: tokens live and die with the attempt."""
    (tmp_path / "in" / "a").write_text("a")
    task = await site.running(
        tes.Output(url=f"file://{tmp_path}/out/x", path="/out/x"),
        inputs=(tes.Input(url=f"file://{tmp_path}/in", path="/in", type=DIRECTORY),),
    )
    await site.tasks.execute(task.id, commands.CancelTask(), BY)
    with pytest.raises(errors.AttemptGone):
        await ASKED[asked](site, Caller(Job(task.id, 1), RUN))
    assert not (tmp_path / "out" / "x").exists()


async def test_a_directory_is_listed_and_its_files_come(site: Site, tmp_path: Path) -> None:
    """Everything in it, under the names that are asked for then."""
    (tmp_path / "in" / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "50% of #1?").write_text("odd")
    task = await site.running(inputs=(tes.Input(url=f"file://{tmp_path}/in", path="/in", type=DIRECTORY),))
    caller = Caller(Job(task.id, 1), RUN)
    found = await all_of(await site.transfers.entries(caller, 0))
    assert {entry.name: (entry.is_directory, entry.size_bytes) for entry in found} == {
        "deep": (True, None),
        "deep/empty": (True, None),
        "deep/50% of #1?": (False, 3),
    }
    assert await site.transfers.ways_in(caller, 0, ["deep/50% of #1?"]) == [Through()]
    async with site.transfers.fetch(caller, 0, "deep/50% of #1?", None) as fetched:
        assert (fetched.size_bytes, b"".join([piece async for piece in fetched.pieces])) == (3, b"odd")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "."])
async def test_names_that_lead_elsewhere_are_refused(name: str, site: Site, tmp_path: Path) -> None:
    """A runner is believed nothing, and neither is the storage that it has the name from."""
    task = await site.running(inputs=(tes.Input(url=f"file://{tmp_path}/in", path="/in", type=DIRECTORY),))
    caller = Caller(Job(task.id, 1), RUN)
    with pytest.raises(errors.TransferRefused, match="no name of a file below it"):
        await site.transfers.ways_in(caller, 0, [name])
    with pytest.raises(errors.TransferRefused, match="no name of a file below it"):
        async with site.transfers.fetch(caller, 0, name, None):
            pass


@pytest.mark.parametrize("path", ["/out/y", "/out/dir/../../x", "/etc/passwd", "out", ""])
async def test_paths_that_the_output_does_not_speak_of_are_refused(path: str, site: Site, tmp_path: Path) -> None:
    """A name found on the node is accepted only if it matches a declared output."""
    task = await site.running(tes.Output(url=f"file://{tmp_path}/out", path="/out/dir", type=DIRECTORY))
    caller = Caller(Job(task.id, 1), RUN)
    with pytest.raises(errors.TransferRefused, match="is not what the output /out/dir speaks of"):
        await site.transfers.ways_out(caller, 0, [Found(path, 1)])
    with pytest.raises(errors.TransferRefused, match="is not what the output /out/dir speaks of"):
        await site.transfers.store(caller, 0, path, 1, of(b"x"))
    with pytest.raises(errors.TransferRefused, match="is not what the output /out/dir speaks of"):
        await site.transfers.make_directories(caller, 0, [path])
    assert list((tmp_path / "out").iterdir()) == []


async def test_matches_of_a_pattern_are_stored_without_its_prefix(site: Site, tmp_path: Path) -> None:
    """What follows the prefix comes after the URL; empty directories are made."""
    task = await site.running(tes.Output(url=f"file://{tmp_path}/out/to", path="/work/*", path_prefix="/work"))
    caller = Caller(Job(task.id, 1), RUN)
    await site.transfers.store(caller, 0, "/work/a.txt", 1, of(b"a"))
    await site.transfers.store(caller, 0, "/work/dir/b.txt", 1, of(b"b"))
    assert await site.transfers.make_directories(caller, 0, ["/work/empty"]) == []
    assert (tmp_path / "out" / "to" / "a.txt").read_text() == "a"
    assert (tmp_path / "out" / "to" / "dir" / "b.txt").read_text() == "b"
    assert (tmp_path / "out" / "to" / "empty").is_dir()


async def test_a_storage_that_has_no_directories_is_a_note(site: Site) -> None:
    """An empty directory cannot be put on a web server: the user is told."""
    task = await site.running(tes.Output(url="http://127.0.0.1:9/d?token=secret", path="/out/d", type=DIRECTORY))
    notes = await site.transfers.make_directories(Caller(Job(task.id, 1), RUN), 0, ["/out/d/empty"])
    assert notes == ["output /out/d/empty: is an empty directory, which http://127.0.0.1:9/d/empty cannot be"]


async def test_the_owner_decides_as_whom_a_file_is_fetched(a_store: Store, ftp: LocalFTP) -> None:
    """Logins are by host and owner, and owners are told apart to the letter."""
    (ftp.directory / "owned").write_text("owned")
    host = ftp.url.rpartition("@")[2]
    for owner, expected in (("somebody", b"owned"), ("Somebody", None)):  # the task is somebody's
        right = {owner: Login(ftp.user, ftp.password)}
        site = Site(a_store, Storage(Options(ftp={host: Server(Login("nobody", "wrong"), right)})))
        task = await site.running(inputs=(tes.Input(url=f"ftp://{host}/owned", path="/in"),))
        assert await fetched(site, Caller(Job(task.id, 1), RUN)) == expected
        await site.attendant.storage.close()


async def fetched(site: Site, caller: Caller) -> bytes | None:
    """The bytes of the first input; None if its storage refuses them."""
    try:
        async with site.transfers.fetch(caller, 0, "", None) as found:
            return b"".join([piece async for piece in found.pieces])
    except errors.TransferRefused:
        return None


async def test_a_scheme_that_nobody_knows_is_a_reason(site: Site) -> None:
    """It says which ones are known."""
    task = await site.running(inputs=(tes.Input(url="gopher://host/x", path="/in"),))
    with pytest.raises(
        errors.TransferRefused, match=r"gopher://host/x: gopher:// is not supported, ftp, ftps, http, https, s3, file are"
    ):
        async with site.transfers.fetch(Caller(Job(task.id, 1), RUN), 0, "", None):
            pass


@pytest.mark.servers
async def test_an_upload_of_an_attempt_that_is_over_never_gets_its_name(a_store: Store, ftp: LocalFTP) -> None:
    """It began while the attempt was wanted; at its end it is not: 410, and nothing is left of it."""
    site = Site(a_store, storage_at(ftp))
    task = await site.running(tes.Output(url=f"{ftp.url}/over/out", path="/out/x"))
    caller = Caller(Job(task.id, 1), RUN)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"old "
        await site.tasks.execute(task.id, commands.CancelTask(), BY)
        yield b"attempt"

    with pytest.raises(errors.AttemptGone):
        await site.transfers.store(caller, 0, None, 11, slowly())
    assert [path for path in (ftp.directory / "over").rglob("*") if path.is_file()] == []
    await site.attendant.storage.close()


@pytest.mark.servers
async def test_many_uploads_into_one_new_directory_all_arrive(ftp: LocalFTP) -> None:
    """Whoever makes the directory first, the others use it; a file that is there is replaced."""
    storage = storage_at(ftp)

    async def put(number: int, text: str) -> None:
        await storage.store(At(f"{ftp.url}/a/b/{number}", "anybody"), of(text.encode()), len(text))

    await asyncio.gather(*(put(number, str(number)) for number in range(20)))
    assert [(ftp.directory / "a" / "b" / str(number)).read_text() for number in range(20)] == [str(n) for n in range(20)]
    await put(7, "77")
    assert (ftp.directory / "a" / "b" / "7").read_text() == "77"
    await storage.close()
