"""Take a task, or the whole log, out of the store: lines of JSON that prove themselves to whoever has the public key.

    {"record": "slice", "format": 1, "task": id}         what follows are the commits of one task; or
    {"record": "log", "format": 1, "position": …, "hash": …}   of the whole log, from its beginning to that end at least
    {"record": "entry", "_id": …, "position": …, …}      a commit as it is stored (see `store.layout`), in order; where
                                                         `data` is empty, `sha256` is all that is shown of an event
    {"record": "seal", "first": …, "signature": …}       a HeadSigned that covers some of them
    {"record": "proof", "position": …, "path": […], …}   how a commit's hash leads to the root in a seal (see `events.seal`)

In the whole log the seals are commits themselves, and nothing more is needed. Where something was taken out of an event
meanwhile, what says so is in it too, and what came before that.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from tespes import errors, events
from tespes.events import Entry, codec, seal
from tespes.flow.reading import Redactions
from tespes.store import Log, layout

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Proof:
    """How a commit's hash leads to the root of a seal.

    :param position: of the commit; :param index: its place among the commits that the seal covers, from 0, of `size`
    :param path: see `events.seal.path`; :param seal: the last position that the seal covers
    """

    position: int
    index: int
    size: int
    path: tuple[str, ...]
    seal: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The commits of a task, and what proves them.

    :param unsealed: the positions of those that no seal covers yet
    """

    task_id: str
    entries: tuple[Entry, ...]
    seals: tuple[events.HeadSigned, ...]
    proofs: tuple[Proof, ...]
    unsealed: tuple[int, ...]

    def lines(self) -> Iterator[bytes]:
        """See the module; each ends with a newline."""
        yield line("slice", {"format": FORMAT, "task": self.task_id})
        for entry in self.entries:
            yield line("entry", layout.document(entry))
        for head in self.seals:
            yield line("seal", asdict(head))
        for proof in self.proofs:
            yield line("proof", asdict(proof))


async def task_slice(log: Log, task_id: str) -> Slice:
    """Everything that happened to a task.

    :raises errors.NotFound: there is no such task
    """
    entries = await log.read_stream(task_id) if events.is_task(task_id) else []
    if not entries:
        raise errors.NotFound(f"there is no task {task_id}")
    seals: list[events.HeadSigned] = []
    proofs: list[Proof] = []
    hashes: list[str] = []
    for entry in entries:
        if not seals or seals[-1].position < entry.position:
            found = await _seal_over(log, entry.position)
            if found is None:
                break
            seals.append(found)
            hashes = await _hashes(log, found)
        proofs.append(_proof(entry, seals[-1], hashes))
    unsealed = tuple(entry.position for entry in entries[len(proofs) :])
    return Slice(task_id, tuple(entries), tuple(seals), tuple(proofs), unsealed)


async def whole_log(log: Log) -> AsyncIterator[bytes]:
    """The lines of the whole log, as it is now.

    :raises errors.CorruptLog: see `Log.read_to`
    """
    head, redactions, after = await log.head(), Redactions(), 0
    yield line("log", {"format": FORMAT, "position": head.position, "hash": head.hash})
    end = head.position
    while after < end:
        for entry in await log.read_to(end, after):
            redactions.see(entry)
            yield line("entry", layout.document(entry))
            after = entry.position
        if after == end and redactions.flaw() is not None:  # what says why may have come meanwhile
            end = (await log.head()).position


async def _seal_over(log: Log, position: int) -> events.HeadSigned | None:
    """The seal that covers that position: it stands in the log soon after it."""
    after = position
    while entries := await log.read(after):
        for entry in entries:
            if entry.commit.stream == seal.STREAM:
                head = codec.decode(entry.commit.events[0])
                if isinstance(head, events.HeadSigned) and head.first <= position <= head.position:
                    return head
        after = entries[-1].position
    return None


async def _hashes(log: Log, head: events.HeadSigned) -> list[str]:
    """Those of the commits that the seal covers."""
    found: list[str] = []
    while (after := head.first - 1 + len(found)) < head.position:
        found += [entry.hash for entry in await log.read_to(head.position, after)]
    return found


def _proof(entry: Entry, head: events.HeadSigned, hashes: list[str]) -> Proof:
    index = entry.position - head.first
    return Proof(entry.position, index, len(hashes), seal.path(hashes, index), head.position)


def line(record: str, values: dict[str, Any]) -> bytes:
    """A line of an export, with its newline."""
    return orjson.dumps({"record": record, **values}, option=orjson.OPT_APPEND_NEWLINE)
