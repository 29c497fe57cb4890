"""Check what was exported (see `export`) with nothing but a public key: no store, no TESPES, no network."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from tespes import errors, events
from tespes.events import Entry, chain, seal
from tespes.events.chain import Flaw, Head
from tespes.flow import export
from tespes.flow.audit import Verdict, verdict
from tespes.flow.export import FORMAT, Proof
from tespes.flow.reading import Known, Reading, Redactions
from tespes.store import layout

_UNREADABLE = (errors.CorruptLog, errors.UnknownEvent, ValueError, LookupError, TypeError, AttributeError)

Line = tuple[str, dict[str, Any]]


def verify(lines: Iterable[bytes], known: Known) -> Verdict:
    """Check an export of a task or of the whole log: that it is what was written, as far as seals reach.

    What of a task no seal covers is a flaw: nothing proves it. That nothing was left off at its end, only the whole log proves.

    :raises errors.CorruptLog: something in it cannot be read
    """
    read = _read(lines)
    kind, first = next(read, ("", {}))
    if kind not in ("log", "slice") or first.get("format") != FORMAT:
        raise errors.CorruptLog(f"this is no export of TESPES, in format {FORMAT}: its first line says something else")
    try:
        if kind == "slice":
            return _slice(read, str(first.get("task")), known)
        return _whole_log(read, Head(first["position"], first["hash"]), known)
    except _UNREADABLE as error:
        raise errors.CorruptLog(f"the export cannot be read: {error}") from error


def _read(lines: Iterable[bytes]) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        try:
            values = orjson.loads(line)
            kind = values.pop("record")
            anew = export.line(kind, values)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise errors.CorruptLog(f"line {number} of the export cannot be read: {error!r}") from error
        if anew.removesuffix(b"\n") != line.removesuffix(b"\n"):  # a name twice in it: two readers may read two things
            raise errors.CorruptLog(f"line {number} of the export is not as it was written")
        yield kind, values


def _whole_log(lines: Iterator[Line], end: Head, known: Known) -> Verdict:
    """:param end: of the log when it was exported; what follows is there for something that was taken out meanwhile"""
    read, is_whole = Reading(known), False
    for kind, values in lines:
        try:
            flaw = read.take(_entry(kind, values))
        except _UNREADABLE as error:
            flaw = Flaw(read.head.position + 1, f"cannot be read: {error}")
        if flaw is not None:
            return verdict(read, (flaw,))
        is_whole = is_whole or read.head == end
    missing = (
        None if is_whole else Flaw(read.head.position + 1, "is missing: this is not up to the end that its first line names")
    )
    flaw = missing or read.end(read.head.position) or read.redactions.flaw()
    return verdict(read, (flaw,) if flaw else (), read.redactions.unfinished())


def _slice(lines: Iterator[Line], task_id: str, known: Known) -> Verdict:
    entries: list[Entry] = []
    seals: dict[int, events.HeadSigned] = {}
    proofs: dict[int, Proof] = {}
    for kind, values in lines:
        match kind:
            case "seal":
                seals[values["position"]] = events.HeadSigned(**values)
            case "proof":
                proofs[values["position"]] = Proof(**values)
            case _:
                entries.append(_entry(kind, values))
    if not entries:
        raise errors.CorruptLog(f"nothing of the task {task_id} is in it")
    keys = known.keys or frozenset(head.key for head in list(seals.values())[:1])
    redactions = Redactions(may_withhold=True)
    flaws: list[Flaw | None] = []
    version, sealed = 0, 0
    for entry in entries:
        redactions.see(entry)
        unproven = _proof_flaw(entry, proofs.get(entry.position), seals, keys)
        flaws += [_entry_flaw(entry, task_id, version), unproven]
        version, sealed = entry.last_version, sealed if unproven else max(sealed, entry.position)
    flaws.append(redactions.flaw())
    return Verdict(
        commits=len(entries),
        events=sum(len(entry.commit.events) for entry in entries),
        streams=1,
        head=entries[-1].hash,
        sealed=sealed,
        keys=keys,
        flaws=tuple(flaw for flaw in flaws if flaw is not None),
        unfinished=redactions.unfinished(),
        withheld=tuple(sorted(position for _, position, _ in redactions.withheld)),
    )


def _entry(kind: str, values: dict[str, Any]) -> Entry:
    """The commit of a line.

    :raises errors.CorruptLog: the line is not as `export` writes it: also what no hash covers, such as the events' ids
    """
    if kind != "entry":
        raise errors.CorruptLog(f"a line of it is a {kind}: nobody knows that")
    entry = layout.from_document(values)
    if layout.document(entry) != values:
        raise errors.CorruptLog(f"position {entry.position} has something that was never written so")
    return entry


def _entry_flaw(entry: Entry, task_id: str, version: int) -> Flaw | None:
    """What is wrong with a commit of the task, which follows that version."""
    commit = entry.commit
    if commit.stream != task_id:
        return Flaw(entry.position, f"is of another task: {commit.stream}")
    if commit.version != version + 1:
        return Flaw(entry.position, f"has version {commit.version} of the task, where {version + 1} follows")
    return chain.flaw(entry, Head(entry.position - 1, entry.prev_hash))


def _proof_flaw(entry: Entry, proof: Proof | None, seals: dict[int, events.HeadSigned], keys: frozenset[str]) -> Flaw | None:
    """What is wrong with the proof of a commit."""
    head = seals.get(proof.seal) if proof else None
    if proof is None or head is None:
        return Flaw(entry.position, "is under no seal: nothing proves it; export it again a minute later")
    if head.key not in keys:
        return Flaw(entry.position, f"is sealed with another key: {head.key}")
    if not seal.is_signed(head):
        return Flaw(entry.position, "is under a seal whose signature is not good")
    size = head.position - head.first + 1
    try:
        root = seal.reached(entry.hash, entry.position - head.first, size, proof.path)
    except (ValueError, TypeError):
        root = None
    if (proof.index, proof.size) != (entry.position - head.first, size) or root != head.root:
        return Flaw(entry.position, f"is not under the seal of positions {head.first} to {head.position}")
    return None
