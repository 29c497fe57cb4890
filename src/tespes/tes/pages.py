"""Page tokens of ListTasks: opaque to clients. Inside: where the last page ended, and the filters that it was made with.

A token is not signed: it opens nothing that its filters would not. But only what `token` writes is read.
"""

import base64
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from tespes.tes.filters import TAGS_MAX, Filters, TagFilter
from tespes.tes.task import State

PAGE_SIZE_DEFAULT = 256
PAGE_SIZE_MAX = 2047
TOKEN_CHARACTERS_MAX = 16 * 1024
POSITION_MAX = 2**63 - 1
_FORMAT: Literal[2] = 2

_Position = Annotated[int, Field(gt=0, le=POSITION_MAX)]
_Text = Annotated[str, Field(min_length=1)]
_Tags = Annotated[tuple[TagFilter, ...], Field(max_length=TAGS_MAX)]
_Inside = tuple[Literal[2], _Position, tuple[State, ...] | None, _Text | None, _Tags]
_inside: TypeAdapter[_Inside] = TypeAdapter(_Inside)


def token(last_position: int, filters: Filters) -> str:
    """The token of the page after the task created at this position of the log."""
    states = None if filters.states is None else tuple(sorted(filters.states))
    inside: _Inside = (_FORMAT, last_position, states, filters.name_prefix, filters.tags)
    return base64.urlsafe_b64encode(_inside.dump_json(inside, ensure_ascii=False)).decode().rstrip("=")


def read(page_token: str) -> tuple[int, Filters]:
    """The creation position that the token's page starts below, and its filters.

    :raises ValueError: this is no token of ours
    """
    try:
        position, filters = _unpacked(page_token)
    except ValueError as error:
        raise ValueError("not a page token of this server") from error
    if token(position, filters) != page_token:
        raise ValueError("not written as a page token of this server")
    return position, filters


def fit_a_token(filters: Filters) -> bool:
    """Whether a token with these filters can come back."""
    return len(token(POSITION_MAX, filters)) <= TOKEN_CHARACTERS_MAX


def _unpacked(page_token: str) -> tuple[int, Filters]:
    if len(page_token) > TOKEN_CHARACTERS_MAX:
        raise ValueError("longer than any page token")
    padded = page_token.encode("ascii") + b"=" * (-len(page_token) % 4)
    inside = _inside.validate_json(base64.b64decode(padded, b"-_", validate=True), strict=True)
    _, position, states, name_prefix, tags = inside
    return position, Filters(None if states is None else frozenset(states), name_prefix, tags)
