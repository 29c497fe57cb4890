"""TLS for FTP: whom to trust, and one session for the control connection and its data connections."""

import ssl
from pathlib import Path
from typing import Any, Self


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Checks certificates by the system's and those in the file."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class SameSession(ssl.SSLContext):
    """Goes on with the TLS session of another connection.

    Many servers insist on it for data connections, as a proof that both come from one client; asyncio has no option for
    it. It must be an SSLContext by type, but all it does is to hand the wrapping on.
    """

    def __new__(cls, _control: ssl.SSLObject) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, control: ssl.SSLObject) -> None:
        self._control = control

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See ssl.SSLContext.wrap_bio."""
        return self._control.context.wrap_bio(*args, **{**options, "session": self._control.session})
