"""The parameters of a request's query. One that is empty counts as absent: clients send those."""

from enum import StrEnum
from typing import Any, Protocol, TypeVar

from tespes import errors, tes
from tespes.errors import quoted
from tespes.tes import pages
from tespes.tes.filters import TAGS_MAX, Filters, tag_filters

REQUEST_LINE_BYTES_MAX = 64 * 1024  # the longest filters, percent-encoded, and a page token that has them in it, too
_DIGITS_MAX = 9
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
    found = _one(query, "page_size")
    if found is None:
        return pages.PAGE_SIZE_DEFAULT
    if not found.isascii() or not found.isdecimal() or len(found) > _DIGITS_MAX or not 1 <= int(found) <= pages.PAGE_SIZE_MAX:
        raise errors.BadRequest("page_size", quoted(found), f"a whole number from 1 to {pages.PAGE_SIZE_MAX} is expected")
    return int(found)


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
