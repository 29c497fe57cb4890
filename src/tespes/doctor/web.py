"""Servers that speak HTTP: whether they can be found, are trusted, and what time they have."""

import ssl
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp

from tespes import errors
from tespes.doctor import clocks
from tespes.doctor.finding import Finding, ok, problem
from tespes.storage.http.failures import named
from tespes.tes import urls

_SILENCE_S: Final = 10.0


async def look(about: str, url: str, ca_file: Path | str | None) -> AsyncIterator[Finding]:
    """Ask for nothing (HEAD) at the root: whatever is answered, somebody is there.

    :param ca_file: certificates that are trusted beside the system's
    """
    origin = urls.origin(url)
    begun = time.time()
    try:
        with named(origin, _SILENCE_S):
            said = await _date(origin, _trusted(ca_file))
    except errors.TransferError as error:
        yield problem(about, f"{error}: mend the address, or see whether the server runs")
        return
    yield ok(about, f"{origin} answers")
    if said is not None:
        yield clocks.compared(about, said, begun - 1, time.time())


async def _date(origin: str, trusted: ssl.SSLContext) -> float | None:
    """The server's clock, which has whole seconds; None if it does not say."""
    timeout = aiohttp.ClientTimeout(total=_SILENCE_S)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), timeout=timeout) as session,
        session.head(f"{origin}/", allow_redirects=False) as answer,
    ):
        try:
            return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        except ValueError:
            return None


def _trusted(ca_file: Path | str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
