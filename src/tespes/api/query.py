"""The parameters of a request's query."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from tespes import errors
from tespes.tes import pages

_DIGITS_MAX = 9

Choice = TypeVar("Choice", bound=StrEnum)


def choice(kind: type[Choice], name: str, query: Mapping[str, str], default: Choice | None) -> Any:
    found = query.get(name)
    if not found:
        return default
    try:
        return kind(found)
    except ValueError as error:
        raise errors.BadRequest(name, found, f"one of {', '.join(kind)} is expected") from error


def page_size(query: Mapping[str, str]) -> int:
    found = query.get("page_size")
    if not found:
        return pages.PAGE_SIZE_DEFAULT
    if not found.isascii() or not found.isdecimal() or len(found) > _DIGITS_MAX or not 1 <= int(found) <= pages.PAGE_SIZE_MAX:
        raise errors.BadRequest("page_size", found, f"a whole number from 1 to {pages.PAGE_SIZE_MAX} is expected")
    return int(found)


def before(query: Mapping[str, str]) -> int | None:
    found = query.get("page_token")
    if not found:
        return None
    try:
        return pages.position_of(found)
    except ValueError as error:
        raise errors.BadRequest("page_token", found, "a next_page_token of this server is expected") from error


def refuse_later_filters(query: Mapping[str, str]) -> None:
    """A filter that is accepted and not applied would be worse than none."""
    for name in ("name_prefix", "tag_key", "tag_value"):
        if query.get(name):
            raise errors.BadRequest(name, query[name], "this release filters by state only")
