"""A small TESPES that speaks the runner's protocol and remembers what it heard, and a runner as Pulsar starts it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import storage_at_work
from aiohttp import web

RUNNER = Path(__file__).parents[2] / "src" / "tespes" / "runner"
TOKEN = "secret-of-one-attempt"  # noqa: S105 - not a real one
BOOTSTRAP = """
import json, sys
sys.path.insert(0, sys.argv[1])
from tespes_runner import __main__
__main__.main(json.load(sys.stdin))
"""


class Tespes:
    """The server end. `answers` replaces the usual answers to routes; `heard` has every request in order.

    `inputs` are files by index, or by index and name in a directory, which `lists` has lines about; `stored` are outputs by
    index, or by index and path where that is not the output's own. `way_in` and `way_out` say what a node is told when it asks
    for the way to a file; parts of uploads go to what `part_url` says.
    """

    def __init__(self) -> None:
        self.plan: dict[str, Any] = {}
        self.inputs: dict[int | tuple[int, str], bytes] = {}
        self.lists: dict[int, list[dict[str, Any]]] = {}
        self.stored: dict[int | tuple[int, str], bytes] = {}
        self.made: list[tuple[int, str]] = []
        self.way_in: Callable[[int, str], dict[str, Any]] = lambda *_: {"through": True}
        self.way_out: Callable[[int, str, int], dict[str, Any]] = lambda *_: {"through": True}
        self.part_url: Callable[[str, int], str] = lambda *_: ""
        self.completed: dict[str, list[str]] = {}
        self.heard: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Callable[[], web.StreamResponse | None]] = {}
        self.url = ""
        self._port = 0
        self._running: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/runner/{job}/{what}", self._spoken)
        app.router.add_get("/transfer/{job}/inputs/{index}", self._fetched)
        app.router.add_put("/transfer/{job}/outputs/{index}", self._brought)
        app.router.add_post("/transfer/{job}/{of}/{index}/{what}", self._asked)
        self._running = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._running.setup()
        site = web.TCPSite(self._running, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._running.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.cleanup()

    def reports(self, kind: str) -> list[Any]:
        return [body for route, body in self.heard if route == "reports" and body["report"] == kind]

    @property
    def result(self) -> Any:
        return [body for route, body in self.heard if route == "result"][-1]

    async def _spoken(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        what = request.match_info["what"]
        self.heard.append((what, body))
        self.headers.append(dict(request.headers))
        replaced = self._replaced(body["report"] if what == "reports" else what)
        if replaced is not None:
            return replaced
        return web.json_response(self.plan) if what == "claim" else web.Response(status=204)

    async def _fetched(self, request: web.Request) -> web.StreamResponse:
        index, name = int(request.match_info["index"]), request.query.get("name")
        self.heard.append((f"input {index}", name))
        self.headers.append(dict(request.headers))
        replaced = self._replaced(f"input {index}")
        if replaced is not None:
            return replaced
        content = self.inputs.get(index if name is None else (index, name))
        if content is None:
            return problem(404, "ftp://files/missing does not exist")
        return web.Response(body=content, headers={"ETag": storage_at_work.tag(content)})

    async def _brought(self, request: web.Request) -> web.StreamResponse:
        index, path = int(request.match_info["index"]), request.query.get("path")
        self.heard.append((f"output {index}", path))
        replaced = self._replaced(f"output {index}")
        if replaced is not None:
            return replaced
        self.stored[index if path is None else (index, path)] = await request.read()
        return web.Response(status=204)

    async def _asked(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911 - one for each route
        """The ways to files, lists of them, directories, and what belongs to uploads."""
        of, index, what = (request.match_info[name] for name in ("of", "index", "what"))
        body = json.loads(await request.read() or "null")
        self.heard.append((f"{of} {index} {what}", body))
        replaced = self._replaced(f"{of} {index} {what}")
        if replaced is not None:
            return replaced
        match (of, what):
            case ("inputs", "list"):
                lines = [*self.lists.get(int(index), []), {"end": True}]
                return web.Response(text="".join(json.dumps(line) + "\n" for line in lines))
            case ("inputs", "ways"):
                return web.json_response({"ways": [self.way_in(int(index), name) for name in body["names"]]})
            case ("outputs", "ways"):
                ways = [self.way_out(int(index), each["path"], each["size_bytes"]) for each in body["files"]]
                return web.json_response({"ways": ways})
            case ("outputs", "directories"):
                self.made += [(int(index), path) for path in body["paths"]]
                return web.json_response({"notes": []})
            case ("uploads", "parts"):
                return web.json_response({"urls": [self.part_url(index, number) for number in body["numbers"]]})
            case _:
                self.completed[index] = body["etags"]
                return web.Response(status=204)

    def _replaced(self, route: str) -> web.StreamResponse | None:
        answer = self.answers.get(route)
        return answer() if answer else None


class Job:
    """A runner at work in a directory of its own; `result` is what its last line says."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.line = b""

    async def ended(self, within_s: float = 15) -> Any:
        """The result line, when the job has ended as every job must: with 0, and nothing else said."""
        async with asyncio.timeout(within_s):
            output, errors = await self.process.communicate()
        assert self.process.returncode == 0, errors
        assert errors == b""
        assert output.endswith(b"\n")
        assert output.count(b"\n") == 1
        assert output.isascii()
        assert list(self.directory.iterdir()) == []
        self.line = output
        return json.loads(output)


@contextlib.contextmanager
def starting(directory: Path, bundle: Path) -> Iterator[Callable[..., Any]]:
    """A function that starts a runner on an order; whatever still runs at the end is killed."""
    jobs: list[Job] = []

    async def start(url: str, job_id: str | None = None, env: dict[str, str] | None = None, **changes: Any) -> Job:
        job_id = job_id or f"{uuid.uuid4().hex}-1"  # as always: the reaper of one job must not meet another's container
        working = directory / f"job{len(jobs)}" / "working"
        working.mkdir(parents=True)
        order = {"job_id": job_id, "callback_url": url, "token": TOKEN, "claim_timeout_s": 5, "report_patience_s": 5}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(bundle)),
            cwd=working,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "SECRET_OF_PULSAR": "x", **(env or {})},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({**order, **changes}).encode())
        process.stdin.close()
        jobs.append(Job(process, working))
        return jobs[-1]

    try:
        yield start
    finally:
        for job in jobs:
            if job.process.returncode is None:
                job.process.kill()


@contextlib.asynccontextmanager
async def tespes_at_work() -> AsyncIterator[Tespes]:
    tespes = Tespes()
    await tespes.start()
    try:
        yield tespes
    finally:
        await tespes.stop()


def bundled(directory: Path) -> Path:
    """The runner's modules as a package in a zip, as the server sends them."""
    bundle = directory / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for module in RUNNER.glob("*.py"):
            archive.write(module, f"tespes_runner/{module.name}")
    return bundle


def plan(*executors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A plan of the sandbox with short times."""
    return {
        "job_id": "t1-1",
        "inputs": [],
        "outputs": [],
        "volumes": [],
        "executors": [{"image": "alpine", "env": {}, "ignore_error": False, **executor} for executor in executors],
        "resources": {},
        "runtime": {"kind": "sandbox", "program": "bwrap", "network": "none"},
        "files": {"at_once": 4, "silence_s": 30.0, "most_files": 100000, "missing": "note"},
        "tail_bytes": 10240,
        "heartbeat_s": 10.0,
        "report_patience_s": 5.0,
        **changes,
    }


def file(index: int, path: str, **changes: Any) -> dict[str, Any]:
    """An input or output of a plan; its bytes pass through TESPES."""
    return {"index": index, "path": path, "type": "FILE", "through": True, "is_pattern": False, **changes}


def moved(index: int, path: str, content: bytes) -> dict[str, Any]:
    """How the result speaks of a file that was fetched or stored."""
    digest = hashlib.sha256(content).hexdigest()
    return {"index": index, "path": path, "size_bytes": len(content), "sha256": digest}


def problem(status: int, detail: str, *, retryable: bool = False) -> web.Response:
    body = {"title": "a problem", "detail": detail, "retryable": retryable}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def until(condition: Callable[[], object], within_s: float = 5) -> None:
    """Returns when the condition holds; a failure if it never does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it is about other processes, which set no event
            await asyncio.sleep(0.02)


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]
