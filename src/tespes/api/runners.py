"""What runners call: claim, reports and result."""

import asyncio
from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tespes import errors
from tespes.api.problems import bad_request, json
from tespes.flow import live
from tespes.flow.attend import Attendant
from tespes.flow.jobs import Caller
from tespes.pulsar import result

_MOST_BYTES = 64 * 2**20  # of what a runner says: the lists of all files are in a result, and the ends of all executors' output
_LONG_BYTES = 2**20
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

    async def claim(self, request: web.Request) -> web.Response:
        """The start gate: the plan, or 410."""
        caller = self._caller(request)
        claim = await read(_CLAIM, request)
        if claim.run_id != caller.run_id:
            raise errors.BadRequest("run_id", claim.run_id, "the run id of the header Tespes-Run is expected")
        return json(await self._attendant.claim(caller, claim.node.host, claim.node.python))

    async def report(self, request: web.Request) -> web.Response:
        """A report: 204, or 410 for a runner that should stop."""
        caller = self._caller(request)
        match await read(_REPORT, request):
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
        await self._attendant.result(caller, await read(_RESULT, request))
        return web.Response(status=_DONE)

    def _caller(self, request: web.Request) -> Caller:
        return caller_of(request, self._attendant)


def caller_of(request: web.Request, attendant: Attendant) -> Caller:
    """Whose request it is.

    :raises errors.Unauthorized: it has no token of that job
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise errors.Unauthorized("a bearer token is expected")
    return attendant.admit(request.match_info["job"], token, request.headers.get("Tespes-Run", ""))


async def read(kind: TypeAdapter[Said], request: web.Request) -> Said:
    """What a runner says.

    :raises errors.BadRequest: it has another shape
    """
    said = await request.clone(client_max_size=_MOST_BYTES).read()
    try:
        return kind.validate_json(said) if len(said) <= _LONG_BYTES else await asyncio.to_thread(kind.validate_json, said)
    except ValidationError as error:
        raise bad_request(error) from error
