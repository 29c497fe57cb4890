"""What operators call: Pulsars, dead letters, parked tasks. For those who can read the key of this TESPES, and no page.

The token is derived from the same key as the runners' tokens, so that whoever runs the command line on TESPES's machine, or
with its settings, has it, and nothing more is to be kept or handed round.
"""

import base64
import hmac
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tespes import errors
from tespes.api.body import read_object
from tespes.api.problems import Handler, bad_request, json
from tespes.api.projections import ProjectionRoutes
from tespes.events import moment
from tespes.flow.dead import DeadOffice
from tespes.flow.execute import By, Tasks
from tespes.flow.projections import Projections
from tespes.flow.pulsars import Drained, Enabled, Pulsars, occupy
from tespes.flow.redact import Redactor
from tespes.flow.room import Room
from tespes.flow.webhooks import Active, Parked, Standing, Webhooks
from tespes.pulsar import job
from tespes.pulsar.dead import Letter
from tespes.store import Documents
from tespes.task.placement import Used

PREFIX = "/operator/"
_BY = By("operator")
_ROLE = "operator"

Said = TypeVar("Said", bound="_Body")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Drain(_Body):
    """Why a Pulsar is drained, for those who wonder."""

    reason: Annotated[str, Field(max_length=1000)] | None = None


class Letters(_Body):
    """Which dead letter; None is all of them."""

    id: str | None = None


class Which(_Body):
    """Which parked task; None is all of them."""

    task: str | None = None


class Redact(_Body):
    """What is taken out of a task's events, and why."""

    fields: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...], Field(min_length=1, max_length=100)]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


def token(key: bytes) -> str:
    """What opens the operators' doors of a TESPES with that key."""
    return job.token(key, _ROLE)


@dataclass(frozen=True, slots=True)
class OperatorRoutes:
    """The handlers, with what they need.

    :param make_room: an empty room of the Pulsars, to be told who is there
    """

    key: bytes
    pulsars: Pulsars
    make_room: Callable[[], Room]
    tasks: Tasks
    documents: Documents
    dead: DeadOffice
    projections: Projections
    webhooks: Webhooks
    redactor: Redactor

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "pulsars", self.list_pulsars),
            ("POST", "pulsars/{name}/drain", self.drain),
            ("POST", "pulsars/{name}/enable", self.enable),
            ("GET", "dead", self.list_dead),
            ("GET", "dead/{id}", self.show_dead),
            ("POST", "dead/retry", self.retry_dead),
            ("GET", "parked", self.list_parked),
            ("POST", "parked/retry", self.retry_parked),
            *ProjectionRoutes(self.projections).routes(),
            ("GET", "webhooks", self.list_webhooks),
            ("POST", "webhooks/{name}/resume", self.resume_webhook),
            ("POST", "tasks/{id}/redact", self.redact),
        )
        for method, path, handler in routes:
            app.router.add_route(method, PREFIX + path, self._guarded(handler))

    async def list_pulsars(self, _: web.Request) -> web.Response:
        """Each Pulsar: what operators want of it, what is the matter with it, and what of it is taken."""
        room = self.make_room()
        await occupy(room, self.tasks, self.documents)
        used = room.used()
        shown = [await self._pulsar(name, trouble, used[name]) for name, trouble in self.pulsars.troubles().items()]
        return json({"pulsars": shown, "waiting": room.waiting})

    async def drain(self, request: web.Request) -> web.Response:
        """Send a Pulsar no further attempt."""
        wanted = await _read(Drain, request)
        await self.pulsars.drain(request.match_info["name"], wanted.reason, _BY)
        return json({})

    async def enable(self, request: web.Request) -> web.Response:
        """Send a Pulsar attempts again."""
        await self.pulsars.enable(request.match_info["name"], _BY)
        return json({})

    async def list_dead(self, _: web.Request) -> web.Response:
        """The dead letters, without what is in them."""
        found = await self.dead.look()
        return json({"letters": [_head(letter) for letter in found.letters], "away": found.away})

    async def show_dead(self, request: web.Request) -> web.Response:
        """A dead letter, with what is in it."""
        letter = await self.dead.show(request.match_info["id"])
        try:
            return json(_head(letter) | {"body": letter.body.decode()})
        except UnicodeDecodeError:
            return json(_head(letter) | {"body_base64": base64.b64encode(letter.body).decode()})

    async def retry_dead(self, request: web.Request) -> web.Response:
        """Put a dead letter, or all, back into their queues."""
        wanted = await _read(Letters, request)
        done = await self.dead.retry(wanted.id)
        return json({"retried": done.sent, "kept": done.kept})

    async def list_parked(self, _: web.Request) -> web.Response:
        """The parked tasks."""
        return json({"tasks": [asdict(each) for parked in self.projections.parked for each in await parked.tasks()]})

    async def retry_parked(self, request: web.Request) -> web.Response:
        """Fold a parked task, or all, anew."""
        wanted = await _read(Which, request)
        return json({"freed": await self.projections.retry(wanted.task)})

    async def list_webhooks(self, _: web.Request) -> web.Response:
        """Each webhook: whether it is parked, what is the matter with it, and how far behind it is."""
        return json({"webhooks": [_webhook(each) for each in await self.webhooks.look()]})

    async def resume_webhook(self, request: web.Request) -> web.Response:
        """Let a parked webhook have its events again."""
        await self.webhooks.resume(request.match_info["name"], _BY)
        return json({})

    async def redact(self, request: web.Request) -> web.Response:
        """Take something out of a task's events; what was begun before is finished."""
        wanted = await _read(Redact, request)
        done = await self.redactor.redact(request.match_info["id"], wanted.fields, wanted.reason, _BY)
        return json({"redacted": [{"position": each.position, "fields": each.fields} for each in done]})

    async def _pulsar(self, name: str, trouble: str | None, used: Used) -> dict[str, Any]:
        wanted = await self.pulsars.wanted(name)
        match wanted:
            case Enabled():
                state: dict[str, str | None] = {"state": "enabled", "since": None, "reason": None}
            case Drained():
                state = {"state": "drained", "since": moment.text(wanted.since), "reason": wanted.reason}
        return {
            "name": name,
            **state,
            "trouble": trouble,
            "places": {"used": used.places, "free": used.places_free},
            "cpus": {"used": used.cpus, "free": used.cpus_free},
            "ram_gb": {"used": used.ram_gb, "free": used.ram_gb_free},
        }

    def _guarded(self, handler: Handler) -> Handler:
        expected = token(self.key).encode()

        async def guarded(request: web.Request) -> web.StreamResponse:
            """Only for those who have the token."""
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(errors="replace"), expected):
                raise errors.Unauthorized("the operator's token is expected: `tespes` derives it from the key of this TESPES")
            return await handler(request)

        return guarded


async def _read(kind: type[Said], request: web.Request) -> Said:
    """What an operator says; nothing is fine."""
    body = await request.read()
    try:
        return kind.model_validate(read_object(body) if body else {})
    except ValidationError as error:
        raise bad_request(error) from error


def _webhook(standing: Standing) -> dict[str, Any]:
    match standing.state:
        case Active():
            state: dict[str, Any] = {"state": "active", "since": None, "reason": None}
        case Parked(since=since, reason=reason):
            state = {"state": "parked", "since": moment.text(since), "reason": reason}
    return {
        "name": standing.webhook.name,
        "url": standing.webhook.shown,
        **state,
        "position": standing.position,
        "lag_commits": standing.lag,
        "trouble": standing.trouble,
    }


def _head(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "at": letter.at,
        "pulsar": letter.pulsar,
        "queue": letter.queue,
        "reason": letter.reason,
        "size_bytes": len(letter.body),
    }
