"""Page tokens of ListTasks: opaque to clients; inside, the creation position of the last task shown."""

import base64
import binascii

PAGE_SIZE_DEFAULT = 256
PAGE_SIZE_MAX = 2047
_DIGITS_MAX = 18


def token(last_position: int) -> str:
    """The token of the page after the task created at this position of the log."""
    return base64.urlsafe_b64encode(f"before:{last_position}".encode()).decode()


def position_of(page_token: str) -> int:
    """The creation position that the token's page starts below.

    :raises ValueError: this is no token of ours
    """
    try:
        word, number = base64.urlsafe_b64decode(page_token.encode()).decode().split(":")
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("not a page token of this server") from error
    if word != "before" or not number.isdecimal() or len(number) > _DIGITS_MAX:
        raise ValueError("not a page token of this server")
    return int(number)
