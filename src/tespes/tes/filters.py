"""What a list of tasks may be narrowed to (TES 1.1, ListTasks: `state`, `name_prefix`, `tag_key` and `tag_value`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from tespes.tes.task import State

TAGS_MAX = 100
TagFilter = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Filters:
    """All of them must hold; without an argument: every task.

    :param states: the task is in one of these; none of them: no task; None: any state
    :param name_prefix: the name begins with exactly this
    :param tags: a tag's key, and its value or None for any value; at most TAGS_MAX
    """

    states: frozenset[State] | None = None
    name_prefix: str | None = None
    tags: tuple[TagFilter, ...] = ()


def tag_filters(keys: Sequence[str], values: Sequence[str]) -> tuple[TagFilter, ...]:
    """Keys and values zipped by position; a value that is missing or empty stands for any. The order means nothing.

    An empty key without a value is what a client sends that left the parameter empty: no filter.

    :raises ValueError: there are more values than keys, or more than TAGS_MAX of them
    """
    given = list(values)
    while given and not given[-1]:
        given.pop()
    if len(given) > len(keys):
        raise ValueError(f"{len(given)} values for {len(keys)} keys")
    given += [""] * (len(keys) - len(given))
    if len(keys) > TAGS_MAX:
        raise ValueError(f"{len(keys)} keys")
    pairs = {(key, value or None) for key, value in zip(keys, given, strict=True) if key or value}
    return tuple(sorted(pairs, key=lambda pair: (pair[0], pair[1] or "")))
