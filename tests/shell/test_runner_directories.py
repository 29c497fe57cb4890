"""How directories, patterns and many files get to the node and away from it."""

from __future__ import annotations

import asyncio
import sys
import urllib.parse
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from runner_at_work import Tespes, file, moved, plan, problem, shell, until
from storage_at_work import Storage, Trouble

Start = Callable[..., Any]


def directory(index: int, path: str, **changes: Any) -> dict[str, Any]:
    return file(index, path, type="DIRECTORY", **changes)


def reading(tespes: Tespes, script: str = "cd /in/d; find . | sort", through: bool = True, **habits: Any) -> None:  # noqa: FBT001, FBT002
    tespes.plan = plan({"command": shell(script)}, inputs=[directory(0, "/in/d", through=through)])
    tespes.plan["files"] = {**tespes.plan["files"], **habits}


async def test_a_directory_comes_with_all_that_is_in_it(tespes: Tespes, start: Start) -> None:
    """Files, empty directories, any depth and any name; each file is in the result."""
    tree = {"a": b"1", "b/c/d.txt": b"22", "b/.e": b"", "ü % &?#": b"333", "b/c/new\nline": b"4"}
    tespes.inputs = {(0, name): content for name, content in tree.items()}
    empty = [{"name": "b", "is_directory": True}, {"name": "none/at/all", "is_directory": True}]
    tespes.lists[0] = [*empty, *({"name": name, "size_bytes": len(content)} for name, content in tree.items())]
    reading(tespes, "cd /in/d; find . -type d | sort; find . -type f | wc -l; cat b/c/d.txt; echo >> a", through=True)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == sorted(
        (moved(0, f"/in/d/{name}", content) for name, content in tree.items()), key=lambda f: f["path"]
    )
    assert line["executors"][0]["stdout"] == ".\n./b\n./b/c\n./none\n./none/at\n./none/at/all\n6\n22"
    assert "Read-only" in line["executors"][0]["stderr"]


async def test_ways_are_asked_for_in_batches_right_before_they_are_used(tespes: Tespes, start: Start, storage: Storage) -> None:
    """A hundred at most, fewer if that would take longer than a signature may live."""
    names = [f"f{number:03}" for number in range(250)]
    storage.files = {f"/0/{name}": name.encode() for name in names}
    tespes.lists[0] = [{"name": name} for name in names]
    tespes.way_in = lambda index, name: storage.way(f"/{index}/{name}")
    reading(tespes, through=False)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, f"/in/d/{name}", name.encode()) for name in names], line["reason"]
    asked = [body["names"] for route, body in tespes.heard if route == "inputs 0 ways"]
    assert [name for batch in asked for name in batch] == names
    assert max(len(batch) for batch in asked) <= 100
    assert 4 <= len(asked) < 30
    assert storage.connections <= 4, "connections are used again"


async def test_a_way_is_used_before_it_expires(tespes: Tespes, start: Start, storage: Storage) -> None:
    """A slow store, and signatures that live little longer than a second: no more are asked for than can be used by then."""
    loop = asyncio.get_running_loop()
    given: dict[str, float] = {}
    names = [f"f{number:02}" for number in range(16)]
    storage.files = {f"/0/{name}": b"x" for name in names}
    tespes.lists[0] = [{"name": name} for name in names]

    def way_in(index: int, name: str) -> dict[str, Any]:
        given[name] = loop.time()
        return storage.way(f"/{index}/{name}")

    def trouble(request: Any) -> Trouble | None:
        late = loop.time() - given[request.target.partition("?")[0][3:]] > 1.25
        return Trouble(status=403, body=b"gone") if late else Trouble(pause_s=0.2)

    tespes.way_in, storage.trouble = way_in, trouble
    reading(tespes, through=False, at_once=1)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line["reason"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([{"name": "../../x"}], "'../../x' is not the name of a file below it"),
        ([{"name": "/x"}], "'/x' is not the name of a file below it"),
        ([{"name": "a//x"}], "'a//x' is not the name of a file below it"),
        ([{"name": "a/./x", "is_directory": True}], "'a/./x' is not the name of a file below it"),
        ([{"name": "a\0x"}], "'a\\x00x' is not the name of a file below it"),
        ([{"name": "\ud800"}], "'\\ud800' is not the name of a file: it is not Unicode"),
        ([{"name": "ü" * 128}], "the name '" + "ü" * 40 + "'... is longer than 255 bytes"),
        ([{"name": "a"}, {"name": "a/b"}], "'a' is a file and a directory at once"),
        ([{"name": "a/b"}, {"name": "a"}], "'a' is a file and a directory at once"),
        ([{"name": str(number)} for number in range(11)], "has more than 10 files"),
        ([{"problem": {"detail": "ftp://h/d: 550 no", "retryable": False}}], "ftp://h/d: 550 no"),
    ],
)
async def test_a_list_that_cannot_be_is_a_reason(
    tespes: Tespes, start: Start, lines: list[dict[str, Any]], reason: str
) -> None:
    """Whatever a storage calls its files: nothing is written outside of the directory, and nothing is fetched."""
    tespes.lists[0] = lines
    reading(tespes, most_files=10)
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "input /in/d: " + reason
    assert line["retryable"] is False
    assert [said for said in tespes.heard if said[0] == "input 0"] == []


async def test_a_list_that_breaks_off_is_asked_for_again(tespes: Tespes, start: Start) -> None:
    """Without its last line it is not whole, however well the answer ended; a storage's problem may pass."""
    tries = iter(['{"name": "a"}\n', '{"name": "b"}\n{"problem": {"detail": "away", "retryable": true}}\n'])
    tespes.answers["inputs 0 list"] = lambda: next((web.Response(text=text) for text in tries), None)
    tespes.lists[0], tespes.inputs[0, "whole"] = [{"name": "whole"}], b"x"
    reading(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/d/whole", b"x")], line["reason"]


@pytest.fixture
async def python_server(tmp_path: Path) -> AsyncIterator[tuple[Path, str]]:
    """A directory, and the URL at which Python's own server shows it."""
    root = tmp_path / "root"
    root.mkdir()
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", root),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert server.stdout is not None
    port = (await server.stdout.readline()).split(b"port ")[1].split()[0].decode()
    yield root, f"http://127.0.0.1:{port}"
    server.terminate()
    await server.wait()


async def test_an_index_page_is_a_directory(tespes: Tespes, start: Start, python_server: tuple[Path, str]) -> None:
    """Whatever is linked below the address, as deep as it goes."""
    root, url = python_server
    tree = {"a": b"1", "b/c/d.txt": b"22", "ü % &amp;?#'\"": b"333", "b/<x>": b"4"}
    for name, content in tree.items():
        (root / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "top" / name).write_bytes(content)
    (root / "top" / "empty").mkdir()
    (root / "beside").write_text("not wanted")
    tespes.lists[0] = [{"look": {"url": f"{url}/top", "headers": {}, "shown": f"{url}/top"}}]

    def way_in(_: int, name: str) -> dict[str, Any]:
        return {"url": f"{url}/top/{urllib.parse.quote(name)}", "headers": {}, "shown": name}

    tespes.way_in = way_in
    reading(tespes, "cd /in/d; find . -type d | sort", through=False)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == sorted(
        (moved(0, f"/in/d/{name}", content) for name, content in tree.items()), key=lambda f: f["path"]
    )
    assert line["executors"][0]["stdout"] == ".\n./b\n./b/c\n./empty\n"


APACHE = """<a href="?C=N;O=D">Name</a><a href="?C=M;O=A">Last modified</a><a href="/pub/">Parent Directory</a>
<a href="a%20b.txt">a b.txt</a><A HREF='sub/'>sub</A><a href=./c>c</a><a href="c2?sorted=1">c2</a>
<a href="#top">top</a><a name=x>x</a>"""
CADDY = (
    """<a href="..">up</a><a href="./a%20b.txt">a</a><a href="./sub/">sub</a><a href="c">c</a><a href="mailto:me@x">me</a>"""
)
NGINX = """<a href="../">../</a><a href="a%20b.txt">a b.txt</a><a href="sub/">sub/</a><a href="/pub/d/c">c</a>
<a href="https://elsewhere.example/pub/d/x">x</a><a href="//elsewhere.example/pub/d/y">y</a><a href="/pub/dx">dx</a>"""


@pytest.mark.parametrize("page", [APACHE, CADDY, NGINX], ids=["apache", "caddy", "nginx"])
async def test_only_links_below_the_page_are_followed(tespes: Tespes, start: Start, storage: Storage, page: str) -> None:
    """Neither parents, nor other orders of the same page, nor other servers; each link once, also in a circle."""
    html = {"Content-Type": "text/html; charset=utf-8"}
    pages = {
        "/pub/d": Trouble(status=301, headers={"Location": "/pub/d/"}),
        "/pub/d/": Trouble(status=200, headers=html, body=page.encode()),
        "/pub/d/sub/": Trouble(
            status=200, headers=html, body=b'<a href="/pub/d/sub/">.</a><a href=e>e</a><a href="../c">c</a>'
        ),
    }
    storage.trouble = lambda request: pages.get(request.target.partition("?")[0])
    storage.files = {"/pub/d/a b.txt": b"1", "/pub/d/c": b"2", "/pub/d/sub/e": b"3"}
    tespes.lists[0] = [{"look": {"url": f"{storage.url}/pub/d/", "headers": {"Login": "x"}, "shown": "http://h/pub/d"}}]
    tespes.way_in = lambda _, name: storage.way(f"/pub/d/{urllib.parse.quote(name)}")
    reading(tespes, through=False)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line["reason"]
    assert [moved_file["path"] for moved_file in line["inputs"]] == ["/in/d/a b.txt", "/in/d/c", "/in/d/sub/e"], line["reason"]
    assert [request.target for request in storage.heard if "login" in request.headers] == ["/pub/d/", "/pub/d/sub/"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble(status=404), "http://h/d: 404 Not Found"),
        (Trouble(status=200, body=b"data"), "http://h/d: is not a page with links to files"),
        (
            Trouble(
                status=200, headers={"Content-Type": "text/html"}, body=b'<a href="../%2e%2e/x">x</a><a href="a%2F..%2Fb">x</a>'
            ),
            "http://h/d: 'a%2F..%2Fb' is not the name of a file below it",
        ),
        (
            Trouble(status=200, headers={"Content-Type": "text/html"}, body=b'<a href="deeper/">x</a>'),
            "http://h/d: is more than 64",
        ),
        (
            Trouble(status=200, headers={"Content-Type": "text/html"}, body=b'<a href="%ff">x</a>'),
            "http://h/d: the name '%ff' is not UTF-8",
        ),
    ],
    ids=["missing", "no-page", "escape", "endless", "not-utf-8"],
)
async def test_a_page_that_cannot_be_followed_is_a_reason(
    tespes: Tespes, start: Start, storage: Storage, trouble: Trouble, reason: str
) -> None:
    """Rather than a directory that is not whole, or one without end."""
    storage.trouble = lambda _: trouble
    tespes.lists[0] = [{"look": {"url": f"{storage.url}/d/", "headers": {}, "shown": "http://h/d"}}]
    reading(tespes, through=False)
    line = await (await start(tespes.url)).ended()
    assert line["reason"].startswith("input /in/d: " + reason)
    assert line["retryable"] is False


async def test_all_that_outputs_are_is_stored(tespes: Tespes, start: Start) -> None:
    """Directories with empty ones, patterns with many matches; by index and path in the result, each file with its own path."""
    script = "mkdir -p /out/d/e/f /out/p; cd /out; echo 1 > d/one; echo 2 > d/e/two; touch p/a.txt p/b.txt p/c.log"
    tespes.plan = plan(
        {"command": shell(script)},
        outputs=[directory(0, "/out/d"), file(1, "/out/p/*.txt", is_pattern=True), file(2, "/out/p/c.log")],
    )
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [
        moved(0, "/out/d/e/two", b"2\n"),
        moved(0, "/out/d/one", b"1\n"),
        moved(1, "/out/p/a.txt", b""),
        moved(1, "/out/p/b.txt", b""),
        moved(2, "/out/p/c.log", b""),
    ], line["reason"]
    assert tespes.stored == {(0, "/out/d/e/two"): b"2\n", (0, "/out/d/one"): b"1\n"} | {
        (1, "/out/p/a.txt"): b"",
        (1, "/out/p/b.txt"): b"",
        2: b"",
    }
    assert tespes.made == [(0, "/out/d/e/f")]
    assert line["notes"][1:] == []


async def test_what_a_storage_cannot_have_is_a_note(tespes: Tespes, start: Start) -> None:
    """Empty directories, for example: TESPES says so in the user's words."""
    tespes.answers["outputs 0 directories"] = lambda: web.json_response({"notes": ["output /out/d: no directories there"]})
    tespes.plan = plan({"command": shell("mkdir /out/d/e")}, outputs=[directory(0, "/out/d")])
    line = await (await start(tespes.url)).ended()
    assert line["notes"][1:] == ["output /out/d: no directories there"]


MISSING = [file(0, "/out/x"), file(1, "/out/*.y", is_pattern=True), file(2, "/out/z")]


async def test_a_missing_output_is_a_note(tespes: Tespes, start: Start) -> None:
    """The others are stored."""
    tespes.plan = plan({"command": shell("echo z > /out/z")}, outputs=MISSING)
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["outputs"]) == ("succeeded", [moved(2, "/out/z", b"z\n")])
    assert line["notes"][1:] == [
        "output /out/x: does not exist, nothing was stored",
        "output /out/*.y: no file matches, nothing was stored",
    ]


async def test_a_missing_output_is_a_failure_where_that_is_wanted(tespes: Tespes, start: Start) -> None:
    """After everything else was stored; the first is the reason, further ones are notes."""
    tespes.plan = plan({"command": shell("echo z > /out/z")}, outputs=MISSING)
    tespes.plan["files"] = {**tespes.plan["files"], "missing": "fail"}
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["outputs"]) == ("system_failed", [moved(2, "/out/z", b"z\n")])
    assert (line["reason"], line["retryable"]) == ("output /out/x: does not exist", False)
    assert line["notes"][1:] == ["output /out/*.y: no file matches"]


async def test_a_directory_in_place_of_a_file_is_stored_and_noted(tespes: Tespes, start: Start) -> None:
    """Nextflow declares its directories as files. The other way round is a mistake."""
    outputs = [file(0, "/out/a"), directory(1, "/out/b")]
    tespes.plan = plan({"command": shell("mkdir /out/a; echo 1 > /out/a/f; rmdir /out/b; echo 2 > /out/b")}, outputs=outputs)
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/a/f", b"1\n")], line["reason"]
    assert line["notes"][1:] == ["output /out/a: is a directory, and was stored as one"]
    assert (line["reason"], line["retryable"]) == ("output /out/b: is a file where a directory is declared", False)


async def test_one_outputs_failure_is_none_of_the_others(tespes: Tespes, start: Start) -> None:
    """All are tried; the first reason in the task's order counts, and the notes say of the others, within limits."""
    outputs = [file(index, f"/out/{index}") for index in range(40)]
    for index in range(39):
        tespes.answers[f"output {index}"] = lambda: problem(422, "no such bucket")
    tespes.plan = plan({"command": shell("cd /out; for i in `seq 0 39`; do echo x > $i; done")}, outputs=outputs)
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["outputs"]) == ("output /out/0: no such bucket", [moved(39, "/out/39", b"x\n")])
    assert line["notes"][1] == "output /out/1: no such bucket"
    assert line["notes"][-1] == "18 further outputs were not stored"
    assert len(line["notes"]) == 22


async def test_one_files_failure_is_none_of_the_others(tespes: Tespes, start: Start) -> None:
    """What has a name that nobody can write down is the reason, and everything else in the directory is stored."""
    script = r"cd /out/d; echo 1 > a; echo 2 > z; echo 3 > $(printf 'b\377'); mkdir -p s/$(printf '\377') t/u"
    tespes.plan = plan({"command": shell(script)}, outputs=[directory(0, "/out/d"), file(1, "/out/*", is_pattern=True)])
    line = await (await start(tespes.url)).ended()
    names = [r"b\udcff", r"s/\udcff"]
    reasons = [f"output /out/d/{name}: its name is not UTF-8, so nothing can be stored under it" for name in names]
    assert (line["outcome"], line["reason"]) == ("system_failed", reasons[0])
    assert line["notes"][1:] == [reasons[1], *reasons]
    both = [("/out/d/a", b"1\n"), ("/out/d/z", b"2\n")]
    assert line["outputs"] == [moved(index, path, content) for index in (0, 1) for path, content in both]
    assert tespes.made == [(0, "/out/d/t/u"), (1, "/out/d/t/u")], "where something failed is no empty directory"


async def test_after_a_failed_command_everything_that_exists_is_stored(tespes: Tespes, start: Start) -> None:
    """Also directories and patterns; what is refused is a note, what is not there is not missed."""
    outputs = [directory(0, "/out/d"), file(1, "/out/*.log", is_pattern=True), file(2, "/out/none"), file(3, "/out/no")]
    tespes.answers["output 3"] = lambda: problem(422, "no such bucket")
    tespes.plan = plan({"command": shell("cd /out; echo 1 > d/f; echo 2 > a.log; echo 3 > no; exit 5")}, outputs=outputs)
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["reason"]) == ("executor_failed", None)
    assert line["outputs"] == [moved(0, "/out/d/f", b"1\n"), moved(1, "/out/a.log", b"2\n")]
    assert line["notes"][1:] == ["output /out/no: no such bucket"]


async def test_outputs_without_tespes_end_at_its_patience(tespes: Tespes, start: Start) -> None:
    """However many files there are: it is waited for once."""
    outputs = [file(index, f"/out/{index}") for index in range(20)]
    script = "cd /out; for i in `seq 0 19`; do echo x > $i; done; sleep 0.5"
    tespes.plan = plan({"command": shell(script)}, outputs=outputs, report_patience_s=0.3)
    job = await start(tespes.url, report_patience_s=0.3)
    await until(lambda: tespes.reports("executor_started"))
    await tespes.stop()
    line = await job.ended()
    assert line["reason"].endswith(f"cannot reach TESPES at {tespes.url}: Connection refused")
    assert line["retryable"] is True


async def test_too_many_files_are_a_reason(tespes: Tespes, start: Start) -> None:
    """All outputs count together; what fits is stored."""
    tespes.plan = plan(
        {"command": shell("cd /out; touch a/1 a/2 b/1 b/2")}, outputs=[directory(0, "/out/a"), directory(1, "/out/b")]
    )
    tespes.plan["files"] = {**tespes.plan["files"], "most_files": 3}
    line = await (await start(tespes.url)).ended()
    assert line["reason"].startswith("output /out/b: ")
    assert "more files" in line["reason"]
    assert len(line["outputs"]) == 2


@pytest.mark.slow
async def test_ten_thousand_small_files_come_and_go(tespes: Tespes, start: Start, storage: Storage) -> None:
    """In and out, straight; the result by HTTP has them all, the last line counts them."""
    names = [f"{number // 100}/{number}" for number in range(10_000)]
    storage.files = {f"/0/{name}": b"%064d" % number for number, name in enumerate(names)}
    tespes.lists[0] = [{"name": name, "size_bytes": 64} for name in names]
    tespes.way_in = lambda index, name: storage.way(f"/{index}/{name}")
    tespes.way_out = lambda index, path, _: storage.way(f"/out/{index}{path}")
    tespes.plan = plan(
        {"command": shell("cp -r /in/d/. /out/d")},
        inputs=[directory(0, "/in/d", through=False)],
        outputs=[directory(0, "/out/d", through=False)],
    )
    line = await (await start(tespes.url)).ended(within_s=120)
    assert tespes.result["outcome"] == "succeeded"
    assert len(tespes.result["inputs"]) == len(tespes.result["outputs"]) == 10_000
    assert all(storage.files[f"/out/0/out/d/{name}"] == storage.files[f"/0/{name}"] for name in names)
    assert (line["inputs_count"], line["outputs_count"]) == (10_000, 10_000)
