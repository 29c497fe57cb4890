"""Canonical JSON (RFC 8785): one value, one text; what is hashed is what is stored."""

from typing import Any

import orjson
import rfc8785


def dumps(value: Any) -> bytes:
    """The canonical JSON of a value made of None, bool, int, float, str, list and dict.

    orjson writes the same bytes for everything but numbers with a fraction and keys beyond the basic plane, which the
    slower reference implementation gets.
    """
    if _is_plain(value):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is dict:
        return all(key.isascii() and _is_plain(entry) for key, entry in value.items())
    if kind is list:
        return all(_is_plain(entry) for entry in value)
    return False
