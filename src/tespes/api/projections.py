"""What operators see of the read models, and how they have one made anew. `operator` lets nobody else in."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date

from aiohttp import web

from tespes import errors
from tespes.api.problems import Handler, json
from tespes.api.query import whole_number
from tespes.errors import quoted
from tespes.flow.projections import Projections

_NEWEST = 20
_NEWEST_MAX = 1000


@dataclass(frozen=True, slots=True)
class ProjectionRoutes:
    """The handlers, with what they need."""

    projections: Projections

    def routes(self) -> Iterator[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        yield "GET", "projections", self.list_all
        yield "GET", "projections/{name}", self.list_newest
        yield "GET", "projections/{name}/totals", self.show_totals
        yield "GET", "projections/{name}/documents/{id}", self.show_document
        yield "POST", "projections/{name}/rebuild", self.rebuild

    async def list_all(self, _: web.Request) -> web.Response:
        """Each read model: how far it is, and what is being done with it."""
        return json({"projections": [asdict(each) for each in await self.projections.look()]})

    async def list_newest(self, request: web.Request) -> web.Response:
        """The newest documents of one, what is searched of them."""
        limit = whole_number("limit", request.query, 1, _NEWEST_MAX) or _NEWEST
        return json({"documents": await self.projections.newest(request.match_info["name"], limit)})

    async def show_totals(self, request: web.Request) -> web.Response:
        """What its documents come to, by something that they have in common."""
        by = request.query.get("by") or "owner"
        since, until = _day(request, "since"), _day(request, "until")
        if since and until and since > until:
            raise errors.BadRequest("until", quoted(until), f"a day from {since} on is expected")
        found = await self.projections.totals(request.match_info["name"], by, since, until)
        return json({"by": by, "totals": [asdict(each) for each in found]})

    async def show_document(self, request: web.Request) -> web.Response:
        """What it has of a task."""
        return json(await self.projections.document(request.match_info["name"], request.match_info["id"]))

    async def rebuild(self, request: web.Request) -> web.Response:
        """Have it made anew; it is not waited for."""
        return json(asdict(await self.projections.rebuild(request.match_info["name"])))


def _day(request: web.Request, name: str) -> str | None:
    found = request.query.get(name)
    if not found:
        return None
    if not _is_day(found):
        raise errors.BadRequest(name, quoted(found), "a day such as 2026-11-23 is expected")
    return found


def _is_day(text: str) -> bool:
    """Whether the calendar has it; Python would take other ways to write it, too."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None
