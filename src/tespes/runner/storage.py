"""One request straight to a storage: redirects followed, its errors in words (design, section 7)."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from urllib import parse

from . import call, faults, refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, Optional, Tuple

    from . import protocol, transfer

_MOST_REDIRECTS = 10
_REDIRECTIONS = {"GET": (301, 302, 303, 307, 308), "PUT": (307, 308)}  # to others a PUT would become a GET
_WORTH_READING_BYTES = 64 * 1024
_AS_THEY_ARE = "!#$%&'()*+,/:;=?@[]~"


@contextmanager
def request(
    carrier: transfer.Carrier,
    method: str,
    way: protocol.Way,
    headers: Dict[str, str],
    more: Optional[Callable[[call.Line], None]] = None,
) -> Iterator[call.Answer]:
    """The answer, whatever its status; raises `SystemFailure` or `Passing`, also for what the connection does inside."""
    at = _At(way)
    try:
        with _followed(carrier, method, at, headers, more) as answer:
            yield answer
    except socket.timeout as error:
        raise refusals.Passing(f"{at.shown}: said nothing for {carrier.silence_s:g} s") from error
    except OSError as error:
        carrier.stopped.check()
        raise refusals.Passing(f"{at.shown}: {faults.network_reason(error)}") from error


def parted(url: str) -> Tuple[call.Address, str]:
    """Where the server is, and the target to ask it for; raises `ValueError`."""
    parts = parse.urlsplit(url)
    address = call.Address(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return address, parse.quote(target, safe=_AS_THEY_ARE)


class _At:
    """Where a request has been led to: `shown` is for people."""

    def __init__(self, way: protocol.Way) -> None:
        self.url = way["url"]
        self.headers = way.get("headers") or {}
        self.shown = self.named = way["shown"]

    def follow(self, location: str) -> None:
        """Go there; raises `SystemFailure`. A login is for nobody else."""
        before = self.url
        try:
            self.url = parse.urljoin(before, location)
            host = parse.urlsplit(self.url).netloc.rpartition("@")[2]
        except ValueError:
            raise faults.SystemFailure(f"{self.named}: leads to what is no address of the web") from None
        if before.startswith("https:") and not self.url.startswith("https:"):
            raise faults.SystemFailure(f"{self.named}: leads from https to an address without encryption")
        if _origin(self.url) != _origin(before):
            self.headers = {}
            self.shown = f"{self.named}, which leads to {host}"


@contextmanager
def _followed(
    carrier: transfer.Carrier, method: str, at: _At, headers: Dict[str, str], more: Optional[Callable[[call.Line], None]]
) -> Iterator[call.Answer]:
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            address, target = parted(at.url)
        except ValueError:
            raise faults.SystemFailure(f"{at.named}: leads to what is no address of the web") from None
        line, headers_here = f"{method} {target}", {**at.headers, **headers}
        with carrier.pool.request(address, line, headers_here, more=more, timeout_s=carrier.silence_s) as answer:
            answer.url = at.url
            location = answer.headers.get("location")
            if not location or answer.status not in _REDIRECTIONS[method]:
                yield answer
                return
            with suppress(OSError):  # all that is wanted is to use the connection again
                answer.text(_WORTH_READING_BYTES)
        at.follow(location)
    raise faults.SystemFailure(f"{at.named}: leads on and on, {_MOST_REDIRECTS} redirects were followed")


def _origin(url: str) -> Optional[Tuple[object, ...]]:
    try:
        return parted(url)[0].origin
    except ValueError:
        return None
