"""One file from the node, straight to a storage or through TESPES: in one PUT, or in parts (design, section 7)."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from urllib import parse

from . import call, digest, faults, refusals, storage, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional

    from . import protocol

_PIECE_BYTES = 512 * 1024
_SUCCESSES = (200, 201, 204)


class Source:
    """A file of the node that is to become (a part of) the output `entry`, with its path in the container."""

    def __init__(self, entry: protocol.File, path: str, descriptor: int, size_bytes: int) -> None:
        self.entry = entry
        self.path = path
        self.descriptor = descriptor
        self.size_bytes = size_bytes

    def sending(self, start: int, end: int) -> Callable[[call.Line], None]:
        """A function that sends these bytes; an answer that comes before their end stops it."""

        def send(line: call.Line) -> None:
            at, buffer = start, memoryview(bytearray(min(_PIECE_BYTES, end - start)))
            while at < end:
                if line.is_answered():
                    raise call.Answered("the connection was closed while the file was sent")
                with faults.on_the_node():
                    count = os.preadv(self.descriptor, [buffer[: end - at]], at)
                if not count:
                    raise faults.SystemFailure("became shorter while it was read")
                line.send(buffer[:count])
                at += count

        return send


def store(carrier: transfer.Carrier, source: Source, way: Optional[protocol.Way]) -> str:
    """The file's SHA-256, when it is stored. `way` is for the first try, if there is one yet."""
    with ExitStack() as stack:
        summed = digest.Digest(source.descriptor)
        stack.callback(summed.close)
        summed.reach(source.size_bytes)
        ways = [way] if way else []
        carrier.persistently(lambda: _one_try(carrier, source, ways.pop() if ways else _asked(carrier, source)))
        return summed.hexdigest()


def _asked(carrier: transfer.Carrier, source: Source) -> protocol.Way:
    if source.entry["through"]:
        return {"through": True}
    file = {"path": source.path, "size_bytes": source.size_bytes}
    way: protocol.Way = carrier.ask(f"outputs/{source.entry['index']}/ways", {"files": [file]})["ways"][0]
    return way


def _one_try(carrier: transfer.Carrier, source: Source, way: protocol.Way) -> None:
    if "upload" in way:
        _in_parts(carrier, source, way)
        return
    with carrier.turns:
        if way.get("through"):
            _through(carrier, source)
        else:
            _put(carrier, source, way, 0, source.size_bytes)


def _through(carrier: transfer.Carrier, source: Source) -> None:
    own = source.path == source.entry["path"]
    query = "" if own else "?path=" + parse.quote(source.path, safe="")
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(source.size_bytes)}
    route = f"outputs/{source.entry['index']}{query}"
    with carrier.request("PUT", route, headers, more=source.sending(0, source.size_bytes)) as answer:
        answer.body()


def _put(carrier: transfer.Carrier, source: Source, way: protocol.Way, start: int, end: int) -> str:
    """The ETag, if the storage gave one."""
    headers = {"Content-Length": str(end - start)}
    with storage.request(carrier, "PUT", way, headers, source.sending(start, end)) as answer:
        if answer.status not in _SUCCESSES:
            raise refusals.of_a_storage(answer, way["shown"])
        with suppress(OSError):  # stored is stored: what else it says is only read to use the connection again
            answer.text(call.CHUNK_BYTES)
        return answer.headers.get("etag", "")


def _in_parts(carrier: transfer.Carrier, source: Source, way: protocol.Way) -> None:
    """Parts fail and are sent again each by itself; if one fails for good, so does the file."""
    count = -(-source.size_bytes // way["part_bytes"])
    numbers = iter(range(1, count + 1))
    tags: Dict[int, str] = {}
    with carrier.part() as part_carrier:

        def work() -> None:
            for number in numbers:  # each is taken by one thread: a range's iterator is one step of the interpreter
                part_carrier.stopped.check()
                tags[number] = part_carrier.persistently(lambda: _part(part_carrier, source, way, number))  # noqa: B023

        transfer.abreast(part_carrier, min(carrier.at_once, count), work)
    etags: List[str] = [tags[number] for number in range(1, count + 1)]
    carrier.persistently(lambda: carrier.ask(f"uploads/{way['upload']}/complete", {"etags": etags}))


def _part(carrier: transfer.Carrier, source: Source, way: protocol.Way, number: int) -> str:
    with carrier.turns:
        url = carrier.ask(f"uploads/{way['upload']}/parts", {"numbers": [number]})["urls"][0]
        start = (number - 1) * way["part_bytes"]
        end = min(start + way["part_bytes"], source.size_bytes)
        tag = _put(carrier, source, {"url": url, "shown": way["shown"]}, start, end)
    if not tag:
        raise faults.SystemFailure(f"{way['shown']}: a part was stored, but without an ETag")
    return tag
