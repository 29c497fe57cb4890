"""What runners call: claim, reports and result, and the transfer of files that TESPES holds the credentials for."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tespes import errors
from tespes.api.problems import bad_request, from_error, json
from tespes.flow import live
from tespes.flow.attend import Attendant, Caller
from tespes.pulsar import result

_PIECE_BYTES = 256 * 1024
_MOST_BYTES = 16 * 2**20  # of what a runner says, whatever clients may send: the ends of all executors' output are in a result
_DONE = 204

Text = Annotated[str, Field(max_length=2**17)]
Said = TypeVar("Said")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Node(_Body):
    """Where a runner runs."""

    host: str = "unknown"
    python: str = "unknown"


class Claim(_Body):
    """A runner asks to begin."""

    run_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    node: Node = Node()


class Started(_Body):
    """An executor started."""

    report: Literal["executor_started"]
    executor: Annotated[int, Field(ge=0)]
    at: result.Clock


class Ended(result.Ended):
    """An executor ended."""

    report: Literal["executor_ended"]


class Tails(_Body):
    """What the running executor has written last."""

    executor: Annotated[int, Field(ge=0)]
    stdout: Text
    stderr: Text


class Heartbeat(_Body):
    """The runner is alive; TESPES may wait with its answer for `hold_s`."""

    report: Literal["heartbeat"]
    hold_s: Annotated[float, Field(ge=0)] = 0.0
    tails: Tails | None = None


Report = Annotated[Started | Ended | Heartbeat, Field(discriminator="report")]
_CLAIM: TypeAdapter[Claim] = TypeAdapter(Claim)
_REPORT: TypeAdapter[Started | Ended | Heartbeat] = TypeAdapter(Report)
_RESULT: TypeAdapter[result.Result] = TypeAdapter(result.Result)


class RunnerRoutes:
    """The handlers, with what they need."""

    def __init__(self, attendant: Attendant) -> None:
        self._attendant = attendant

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/runner/{job}/claim", self.claim)
        app.router.add_post("/runner/{job}/reports", self.report)
        app.router.add_post("/runner/{job}/result", self.result)
        app.router.add_get(r"/transfer/{job}/inputs/{index:\d{1,9}}", self.fetch, allow_head=False)
        app.router.add_put(r"/transfer/{job}/outputs/{index:\d{1,9}}", self.store)

    async def claim(self, request: web.Request) -> web.Response:
        """The start gate: the plan, or 410."""
        caller = self._caller(request)
        claim = _read(_CLAIM, await _said(request))
        if claim.run_id != caller.run_id:
            raise errors.BadRequest("run_id", claim.run_id, "the run id of the header Tespes-Run is expected")
        return json(await self._attendant.claim(caller, claim.node.host, claim.node.python))

    async def report(self, request: web.Request) -> web.Response:
        """A report: 204, or 410 for a runner that should stop."""
        caller = self._caller(request)
        match _read(_REPORT, await _said(request)):
            case Started() as started:
                await self._attendant.started(caller, started.executor, started.at)
            case Ended() as ended:
                await self._attendant.ended(caller, ended)
            case Heartbeat() as alive:
                shown = live.Tails(**alive.tails.model_dump()) if alive.tails else None
                if await self._attendant.heartbeat(caller, alive.hold_s, shown):
                    return json({"tails": True})
        return web.Response(status=_DONE)

    async def result(self, request: web.Request) -> web.Response:
        """The runner's result: 204 when it is in the log."""
        caller = self._caller(request)
        await self._attendant.result(caller, _read(_RESULT, await _said(request)))
        return web.Response(status=_DONE)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """An input's bytes. What goes wrong after the first of them breaks the connection, so that nobody is fooled."""
        caller = self._caller(request)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.enable_chunked_encoding()
        async with self._attendant.fetch(caller, int(request.match_info["index"])) as pieces:
            try:
                async for piece in pieces:
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(piece)
            except errors.TransferError as error:
                if not response.prepared:
                    return from_error(error)
                _break(request)
                raise ConnectionResetError(str(error)) from error
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response

    async def store(self, request: web.Request) -> web.Response:
        """Store an output: 204 when the file is whole at its place."""
        caller = self._caller(request)
        await self._attendant.store(caller, int(request.match_info["index"]), _pieces(request))
        return web.Response(status=_DONE)

    def _caller(self, request: web.Request) -> Caller:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise errors.Unauthorized("a bearer token is expected")
        return self._attendant.admit(request.match_info["job"], token, request.headers.get("Tespes-Run", ""))


async def _said(request: web.Request) -> bytes:
    return await request.clone(client_max_size=_MOST_BYTES).read()


def _read(kind: TypeAdapter[Said], body: bytes) -> Said:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise bad_request(error) from error


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    async for piece in request.content.iter_chunked(_PIECE_BYTES):
        yield piece


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
