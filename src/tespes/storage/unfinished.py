"""What a file is called while it is being stored. If TESPES dies then, it stays: it is nobody's file."""

import re
import secrets
from typing import Final

_ONE: Final = re.compile(r"\.[0-9a-f]{16}\.part")


def new() -> str:
    """A name. Short, and not made of the file's own: that may be as long as a name can be."""
    return f".{secrets.token_hex(8)}.part"


def is_one(name: str) -> bool:
    """Whether it is such a name, which no listing has."""
    return _ONE.fullmatch(name) is not None
