"""One file to the node, from a storage or through TESPES; what came before a break is kept if the file is still the same."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from urllib import parse

from . import call, digest, faults, refusals, storage, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Tuple

    from . import protocol, transfer

_BUFFER_BYTES = 1024 * 1024
_PART, _NO_SUCH_PART = 206, 416
_WHOLE = (200, 203)


def fetch(
    carrier: transfer.Carrier, entry: protocol.File, name: str, place: str, way: Optional[protocol.Way]
) -> Tuple[int, str, str]:
    """Size in bytes and SHA-256 of the file, which is at `place` now, and what is uncertain about it (empty: nothing).

    `way` is for the first try, if there is one yet.
    """
    with ExitStack() as stack:
        with faults.on_the_node():
            descriptor = os.open(place, os.O_RDWR | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
        download = _Download(carrier, entry, name, descriptor)
        stack.callback(download.close)
        ways = [way] if way else []

        def one_try() -> None:
            download.attempt(ways.pop() if ways else _asked(carrier, entry, name))

        carrier.persistently(one_try, download.kept, lambda: download.before)
        return download.here, download.digest.hexdigest(), download.doubt


def _asked(carrier: transfer.Carrier, entry: protocol.File, name: str) -> protocol.Way:
    if entry["through"]:
        return {"through": True}
    way: protocol.Way = carrier.ask(f"inputs/{entry['index']}/ways", {"names": [name]})["ways"][0]
    return way


class _Download:
    """`here` bytes of the file are on the node, `version` says of which.

    `before` is why TESPES broke the last connection; `doubt` is what nobody can be sure of.
    """

    def __init__(self, carrier: transfer.Carrier, entry: protocol.File, name: str, descriptor: int) -> None:
        query = "?name=" + parse.quote(name, safe="") if name else ""
        self._route = f"inputs/{entry['index']}{query}"
        self._carrier = carrier
        self._descriptor = descriptor
        self._version = ""
        self._size_bytes: Optional[int] = None
        self.digest = digest.Digest(descriptor)
        self.here = 0
        self.before = ""
        self.doubt = ""

    def close(self) -> None:
        self.digest.close()

    def kept(self) -> int:
        return self.here if self._version else 0

    def attempt(self, way: protocol.Way) -> None:
        """The whole file is here, or an exception says why not."""
        shown = "" if way.get("through") else way["shown"] + ": "
        with self._answer(way) as answer:
            if answer.status == _NO_SUCH_PART:
                self._refuse_unless(self._is_whole(answer), shown, "is another file than the one that began to come")
                return
            if answer.status == _PART:
                self._refuse_unless(self._goes_on(answer), shown, "sent another part of the file than was asked for")
            else:
                self._start_again()
                self._version, self._size_bytes = versions.named(answer.headers), answer.size_bytes
            self._copy(answer)
            self._refuse_unless(not answer.line.said_more(), shown, "sent more than it had announced")
            self._refuse_unless(self._size_bytes in (None, self.here), shown, "sent less than it had announced")
            if self._size_bytes is None and answer.just_ends and not answer.line.address.secure:
                self.doubt = f"{shown}did not say how long it is: that it is whole is not certain"

    @contextmanager
    def _answer(self, way: protocol.Way) -> Iterator[call.Answer]:
        headers = {"Range": f"bytes={self.here}-", "If-Range": self._version} if self.kept() else {}
        if not way.get("through"):
            with storage.request(self._carrier, "GET", way, headers) as answer:
                if answer.status not in _WHOLE and not (headers and answer.status in (_PART, _NO_SUCH_PART)):
                    raise refusals.of_a_storage(answer, way["shown"])
                yield answer
            return
        with self._carrier.request("GET", self._route, headers, also_good=_NO_SUCH_PART) as answer:
            self.before = parse.unquote(answer.headers.get("tespes-before", "")) or self.before
            if answer.just_ends:
                raise call.Broken("the answer does not say how long it is")
            yield answer

    def _goes_on(self, answer: call.Answer) -> bool:
        """Whether it is all that is missing. A part of nobody knows how much may be any."""
        start, end, whole = versions.part(answer.headers)
        if start != self.kept() or whole is None or end != whole - 1 or whole != (self._size_bytes or whole):
            return False
        self._size_bytes = whole
        return versions.is_same(self._version, answer.headers)

    def _is_whole(self, answer: call.Answer) -> bool:
        """Whether nothing is missing, as there is nothing after what is here."""
        whole = versions.part(answer.headers)[2]
        known = self._size_bytes in (None, self.here)
        return known and whole == self.kept() > 0 and versions.may_be_same(self._version, answer.headers)

    def _refuse_unless(self, good: bool, shown: str, words: str) -> None:  # noqa: FBT001 - read as a sentence
        if not good:
            self._version = ""
            raise refusals.Passing(shown + words)

    def _start_again(self) -> None:
        if not self.here:
            return
        self.digest.close()
        with faults.on_the_node():
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.digest, self.here = digest.Digest(self._descriptor), 0

    def _copy(self, answer: call.Answer) -> None:
        most = min(_BUFFER_BYTES, answer.size_bytes or _BUFFER_BYTES)
        buffer = memoryview(bytearray(most))
        while True:
            count = answer.read_into(buffer)
            if not count:
                return
            self._write(buffer[:count])
            self.here += count
            self.digest.reach(self.here)

    def _write(self, piece: memoryview) -> None:
        with faults.on_the_node():
            written = os.write(self._descriptor, piece)
            while written < len(piece):
                written += os.write(self._descriptor, piece[written:])
