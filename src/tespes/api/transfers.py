"""The transfer routes: what runners ask about files, and the bytes that pass through TESPES (design: moving data)."""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tespes import errors
from tespes.api import streaming
from tespes.api.problems import from_error, json
from tespes.api.runners import caller_of, read
from tespes.flow.attend import Attendant
from tespes.flow.jobs import Caller
from tespes.flow.transfers import Found, Through, Transfers, Upload
from tespes.storage import Direct, Entry

_DONE = 204
_WAYS = 100
_DIRECTORIES = 1000
_PARTS = 1000
_LINES_BYTES = 64 * 1024
_BREAKS_REMEMBERED = 1000

_log = structlog.get_logger(__name__)

Path = Annotated[str, Field(max_length=2**16)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Names(_Body):
    """Files of an input."""

    names: Annotated[tuple[Path, ...], Field(max_length=_WAYS)]


class FoundFile(_Body):
    """A file that a task left."""

    path: Path
    size_bytes: Annotated[int, Field(ge=0)]


class Files(_Body):
    """Files of an output."""

    files: Annotated[tuple[FoundFile, ...], Field(max_length=_WAYS)]


class Directories(_Body):
    """Empty directories of an output."""

    paths: Annotated[tuple[Path, ...], Field(max_length=_DIRECTORIES)]


class Numbers(_Body):
    """Parts of an upload."""

    numbers: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(max_length=_PARTS)]


class ETags(_Body):
    """What the storage answered to each part."""

    etags: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=10_000)]


_NAMES, _FILES, _PATHS = TypeAdapter(Names), TypeAdapter(Files), TypeAdapter(Directories)
_NUMBERS, _ETAGS = TypeAdapter(Numbers), TypeAdapter(ETags)


class TransferRoutes:
    """The handlers, with what they need."""

    def __init__(self, attendant: Attendant, transfers: Transfers, silence_s: float) -> None:
        """:param silence_s: how long a node may neither send nor take anything"""
        self._attendant = attendant
        self._transfers = transfers
        self._silence_s = silence_s
        self._broken: OrderedDict[tuple[str, str], str] = OrderedDict()

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        inputs, outputs = r"/transfer/{job}/inputs/{index:\d{1,9}}", r"/transfer/{job}/outputs/{index:\d{1,9}}"
        uploads = r"/transfer/{job}/uploads/{upload}"
        app.router.add_post(f"{inputs}/list", self.list)
        app.router.add_post(f"{inputs}/ways", self.ways_in)
        app.router.add_get(inputs, self.fetch, allow_head=False)
        app.router.add_post(f"{outputs}/ways", self.ways_out)
        app.router.add_put(outputs, self.store)
        app.router.add_post(f"{outputs}/directories", self.make_directories)
        app.router.add_post(f"{uploads}/parts", self.part_urls)
        app.router.add_post(f"{uploads}/complete", self.complete)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """What an input directory holds, a line of JSON for each; the last one says that it is, or what went wrong."""
        found = await self._transfers.entries(self._caller(request), _index(request))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        if isinstance(found, Direct):
            await response.prepare(request)
            await response.write(_line({"look": _way(found)}) + _line({"end": True}))
        else:
            try:
                await self._write_lines(request, response, found)
            except errors.TransferError as error:
                if not response.prepared:
                    return from_error(error)
                retryable = not isinstance(error, errors.TransferRefused)
                await response.write(_line({"problem": {"detail": str(error), "retryable": retryable}}))
        await response.write_eof()
        return response

    async def ways_in(self, request: web.Request) -> web.Response:
        """How files of an input come: for each a URL, or through TESPES."""
        wanted = await read(_NAMES, request)
        ways = await self._transfers.ways_in(self._caller(request), _index(request), wanted.names)
        return json({"ways": [_way(way) for way in ways]})

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """A file's bytes. What goes wrong after the first of them breaks the connection, so that nobody is fooled."""
        caller, name = self._caller(request), request.query.get("name", "")
        key = (caller.job.id, f"{_index(request)} {name}")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        if before := self._broken.pop(key, None):
            response.headers["Tespes-Before"] = quote(before)
        try:
            async with self._transfers.fetch(caller, _index(request), name, streaming.resume(request)) as fetched:
                streaming.describe(response, fetched)
                await streaming.send(request, response, fetched.pieces, self._silence_s)
        except errors.TransferError as error:
            if not response.prepared:
                return from_error(error)
            _log.info("a file broke off on its way to a node", task_id=caller.job.task_id, reason=str(error))
            self._remember(key, str(error))
            streaming.break_off(request)
        return response

    async def ways_out(self, request: web.Request) -> web.Response:
        """How files of an output are stored: a URL for each, an upload in parts, or through TESPES."""
        said = await read(_FILES, request)
        files = [Found(file.path, file.size_bytes) for file in said.files]
        ways = await self._transfers.ways_out(self._caller(request), _index(request), files)
        return json({"ways": [_way(way) for way in ways]})

    async def store(self, request: web.Request) -> web.Response:
        """Store a file of an output: 204 when it is whole at its place."""
        caller = self._caller(request)
        if request.content_length is None:
            raise errors.BadRequest("Content-Length", "nothing", "the size of the file is expected")
        path, pieces = request.query.get("path"), streaming.received(request, self._silence_s)
        await self._transfers.store(caller, _index(request), path, request.content_length, pieces)
        return web.Response(status=_DONE)

    async def make_directories(self, request: web.Request) -> web.Response:
        """Make empty directories of an output; notes on those that cannot be."""
        said = await read(_PATHS, request)
        return json({"notes": await self._transfers.make_directories(self._caller(request), _index(request), said.paths)})

    async def part_urls(self, request: web.Request) -> web.Response:
        """A URL for each part."""
        said = await read(_NUMBERS, request)
        urls = await self._transfers.part_urls(self._caller(request), request.match_info["upload"], said.numbers)
        return json({"urls": urls})

    async def complete(self, request: web.Request) -> web.Response:
        """The file is whole at its place."""
        said = await read(_ETAGS, request)
        await self._transfers.complete(self._caller(request), request.match_info["upload"], said.etags)
        return web.Response(status=_DONE)

    async def _write_lines(self, request: web.Request, response: web.StreamResponse, entries: AsyncGenerator[Entry]) -> None:
        lines = bytearray()
        async with aclosing(entries):
            async for entry in entries:
                lines += _line(_listed(entry))
                if len(lines) > _LINES_BYTES:
                    await streaming.write(request, response, bytes(lines), self._silence_s)
                    lines.clear()
        await streaming.write(request, response, bytes(lines) + _line({"end": True}), self._silence_s)

    def _caller(self, request: web.Request) -> Caller:
        return caller_of(request, self._attendant)

    def _remember(self, key: tuple[str, str], reason: str) -> None:
        """A connection that breaks says nothing: the next try hears why."""
        self._broken[key] = reason
        if len(self._broken) > _BREAKS_REMEMBERED:
            self._broken.popitem(last=False)


def _index(request: web.Request) -> int:
    return int(request.match_info["index"])


def _way(way: Through | Direct | Upload) -> dict[str, Any]:
    match way:
        case Through():
            return {"through": True}
        case Direct():
            return {"url": way.url, "headers": dict(way.headers), "shown": way.shown}
        case Upload():
            return {"upload": way.id, "part_bytes": way.part_bytes, "shown": way.shown}


def _listed(entry: Entry) -> dict[str, Any]:
    if entry.is_directory:
        return {"name": entry.name, "is_directory": True}
    return {"name": entry.name, "size_bytes": entry.size_bytes}


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value) + b"\n"
