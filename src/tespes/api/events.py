"""What has happened, by pages: CloudEvents, under the same prefixes as the standard's routes."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, NotRequired

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from tespes.api import openapi, query
from tespes.api.operations import TASK_ID
from tespes.api.problems import json
from tespes.events import codec
from tespes.flow.subscribe import Feed

LIMIT_MAX: Final = 2000
LIMIT_DEFAULT: Final = 500
_POSITION = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
_LIMIT = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
_NAME = Annotated[str, Field(json_schema_extra={"enum": list(codec.VERSIONS)})]
TYPE = openapi.Parameter("type", list[_NAME], "Events with this name. Given several times: with any.")
TASK = openapi.Parameter(
    "task",
    Annotated[list[Annotated[str, Field(pattern="^[^:]*$")]], Field(max_length=query.TASKS_MAX)],
    "Events of this task. Given several times: of any of them.",
)
AFTER = openapi.Parameter("after", _POSITION, "Events after this position.", default=0)


class CloudEvent(TypedDict):
    """An event, in the JSON format of CloudEvents 1.0. `sequence` grows along the log; `streamversion` along the task."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    datacontenttype: str
    dataschema: str
    sequence: str
    partitionkey: str
    streamversion: str
    owner: str
    actor: str
    correlationid: NotRequired[str]
    causationid: NotRequired[str]
    traceparent: NotRequired[str]
    data: dict[str, Any]


class EventPage(TypedDict):
    """A page of events. If `next` is below `head`, there is more after it, also if the page is empty."""

    events: list[CloudEvent]
    next: Annotated[int, Field(description="What `after` of the next page is.")]
    head: Annotated[int, Field(description="The last position that there is.")]
    skipped: Annotated[int, Field(description="How many events are left out, for this release cannot read them.")]


class TaskEvents(TypedDict):
    """All events of a task."""

    events: list[CloudEvent]
    skipped: Annotated[int, Field(description="How many events are left out, for this release cannot read them.")]


LIST_EVENTS = openapi.Operation(
    method="GET",
    path="/events",
    operation_id="ListEvents",
    description="A page of events, in the order of the log. What is written to the log together comes together: a page may"
    " have a few events more than `limit`. TESPES's own.",
    parameters=(AFTER, openapi.Parameter("limit", _LIMIT, "How many events make a page.", LIMIT_DEFAULT), TYPE, TASK),
    answer=EventPage,
    problems=(400, 503),
)
LIST_TASK_EVENTS = openapi.Operation(
    method="GET",
    path="/tasks/{id}/events",
    operation_id="ListTaskEvents",
    description="All that has happened to a task. TESPES's own.",
    parameters=(TASK_ID,),
    answer=TaskEvents,
    problems=(404, 503),
)


@dataclass(frozen=True, slots=True)
class EventRoutes:
    """The handlers, with what they need."""

    feed: Feed

    def add_to(self, app: web.Application) -> None:
        """Add the routes under every prefix."""
        openapi.add(app, LIST_EVENTS, self.list_events)
        openapi.add(app, LIST_TASK_EVENTS, self.list_task_events)

    async def list_events(self, request: web.Request) -> web.Response:
        """A page of events."""
        asked = request.query
        wanted, limit = query.wanted(asked), query.whole_number("limit", asked, 1, LIMIT_MAX)
        after = query.position("after", asked, await self.feed.head())
        page = await self.feed.page(wanted, after or 0, limit or LIMIT_DEFAULT)
        return json({"events": _fragments(page.documents), "next": page.next, "head": page.head, "skipped": page.skipped})

    async def list_task_events(self, request: web.Request) -> web.Response:
        """All events of a task."""
        page = await self.feed.of_task(request.match_info["id"])
        return json({"events": _fragments(page.documents), "skipped": page.skipped})


def _fragments(documents: list[bytes]) -> list[orjson.Fragment]:
    """They are JSON already."""
    return [orjson.Fragment(document) for document in documents]
