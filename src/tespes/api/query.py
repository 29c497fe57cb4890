"""The parameters of a request's query. One that is empty counts as absent: clients send those."""

from enum import StrEnum
from typing import Any, Protocol, TypeVar

from tespes import errors, tes
from tespes.errors import quoted
from tespes.events import codec, is_task
from tespes.flow.read import Point, point
from tespes.flow.shown import Wanted
from tespes.tes import pages
from tespes.tes.filters import TAGS_MAX, Filters, tag_filters

TASKS_MAX = 100
REQUEST_LINE_BYTES_MAX = 64 * 1024  # the longest filters, percent-encoded, and a page token that has them in it, too
_DIGITS_MAX = 18
_ANY = Filters()

Choice = TypeVar("Choice", bound=StrEnum)


class Query(Protocol):
    """As aiohttp has it: a name may come several times."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """All values of a parameter."""


def choice(kind: type[Choice], name: str, query: Query, default: Choice | None) -> Any:
    found = _one(query, name)
    if found is None:
        return default
    try:
        return kind(found)
    except ValueError as error:
        raise errors.BadRequest(name, quoted(found), f"one of {', '.join(kind)} is expected") from error


def page_size(query: Query) -> int:
    return whole_number("page_size", query, 1, pages.PAGE_SIZE_MAX) or pages.PAGE_SIZE_DEFAULT


def whole_number(name: str, query: Query, least: int, most: int) -> int | None:
    found = _one(query, name)
    if found is None:
        return None
    number = _number(found)
    if number is None or not least <= number <= most:
        raise errors.BadRequest(name, quoted(found), f"a whole number from {least} to {most} is expected")
    return number


def position(name: str, query: Query, head: int) -> int | None:
    found = _one(query, name)
    return None if found is None else read_position(name, found, head)


def read_position(name: str, found: str, head: int) -> int:
    """A position that this log has, or has before its first entry: another one is a mistake, or of another log."""
    number = _number(found)
    if number is None or number > head:
        raise errors.BadRequest(name, quoted(found), f"a position of this log, 0 to {head}, is expected")
    return number


def wanted(query: Query) -> Wanted:
    """Which events are asked for."""
    types, tasks = (list(filter(None, _texts(query, name))) for name in ("type", "task"))
    for name in types:
        if name not in codec.VERSIONS:
            raise errors.BadRequest("type", quoted(name), f"one of {', '.join(codec.VERSIONS)} is expected")
    for task_id in tasks:
        if not is_task(task_id):
            raise errors.BadRequest("task", quoted(task_id), "the id of a task is expected")
    if len(tasks) > TASKS_MAX:
        raise errors.BadRequest("task", f"{len(tasks)} tasks", f"at most {TASKS_MAX} are possible")
    return Wanted(frozenset(types) or None, frozenset(tasks) or None)


def as_of(query: Query) -> Point | None:
    """The position, or the moment, as of which a task is asked for."""
    found = _one(query, "as_of")
    try:
        return None if found is None else point(found)
    except ValueError as error:
        raise errors.BadRequest("as_of", quoted(found), "a position of the log, or a moment (RFC 3339), is expected") from error


def page(query: Query, *, legacy_states: bool) -> tuple[Filters, int | None]:
    """Which tasks are asked for, and the creation position that the page starts below; None for the first page.

    A page token carries its filters: they need not come with it, but no others may.

    :param legacy_states: see tes.Showing
    """
    filters = _filters(query, legacy_states=legacy_states)
    found = _one(query, "page_token")
    if found is None:
        return filters, None
    try:
        before, carried = pages.read(found)
    except ValueError as error:
        raise errors.BadRequest("page_token", quoted(found), "a next_page_token of this server is expected") from error
    if filters not in {_ANY, carried}:
        raise errors.BadRequest(
            "page_token", "one that was given with other filters", "the same filters, or none, are expected"
        )
    return carried, before


def _filters(query: Query, *, legacy_states: bool) -> Filters:
    state = choice(tes.State, "state", query, None)
    keys, values = (_texts(query, name) for name in ("tag_key", "tag_value"))
    try:
        tags = tag_filters(keys, values)
    except ValueError as error:
        field = "tag_value" if len(values) > len(keys) else "tag_key"
        allowed = f"at most {TAGS_MAX} of tag_key, and of tag_value at most one for each of them, are possible"
        raise errors.BadRequest(field, str(error), allowed) from error
    states = None if state is None else tes.states_shown_as(state, legacy=legacy_states)
    filters = Filters(states, _one(query, "name_prefix"), tags)
    if not pages.fit_a_token(filters):
        longest = "tag_key" if sum(map(len, keys + values)) > len(filters.name_prefix or "") else "name_prefix"
        raise errors.BadRequest(
            longest, "filters that do not fit a page token", "about 10,000 characters together are possible"
        )
    return filters


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX else None


def _one(query: Query, name: str) -> str | None:
    """Its value; a second one that says something else is not passed over."""
    found = dict.fromkeys(filter(None, _texts(query, name)))
    if len(found) > 1:
        raise errors.BadRequest(name, f"{len(found)} values", "one is expected")
    return next(iter(found), None)


def _texts(query: Query, name: str) -> list[str]:
    """All its values."""
    found = query.getall(name, [])
    for text in found:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # bytes of the request line that are no UTF-8
            raise errors.BadRequest(name, quoted(text), "a text in UTF-8 is expected") from error
    return found
