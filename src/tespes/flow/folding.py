"""Fold what is new in the log into the documents of a view."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tespes import events
from tespes.events import Entry
from tespes.projections import Document, ReadModel, fold, kept
from tespes.store import Documents, Log

_AT_A_STRETCH = 50

After = Callable[[Entry, Document | None], Awaitable[Document | None]]


async def folded(documents: Documents, model: ReadModel, entries: Sequence[Entry], after: After) -> list[Document]:
    """The documents that these entries change, as they are then.

    :param after: the document after an entry; None leaves it as it was
    """
    ours = [entry for entry in entries if events.is_task(entry.commit.stream)]
    older = {entry.commit.stream for entry in ours if entry.commit.version > 1}
    known = await documents.load(model, sorted(older)) if older else {}
    changed: dict[str, Document] = {}
    for index, entry in enumerate(ours):
        if index % _AT_A_STRETCH == _AT_A_STRETCH - 1:
            await asyncio.sleep(0)  # catching up must not keep requests waiting
        stream = entry.commit.stream
        document = await after(entry, changed.get(stream) or known.get(stream))
        if document is not None:
            changed[stream] = document
    return list(changed.values())


async def fold_anew(
    log: Log, documents: Documents, model: ReadModel, stream: str, document: Document | None
) -> Document | None:
    """The document of a task that is in the view already, from its whole stream; raises as `fold_stream` does.

    :param document: as the view has it
    """
    anew = await fold_stream(log, model, stream)
    if document is not None:
        await documents.unlist(model, document)
    return anew


async def fold_stream(log: Log, model: ReadModel, stream: str) -> Document | None:
    """The document of a task, from its whole stream; whatever is wrong with the stream is raised."""
    document = None
    for entry in await log.read_stream(stream):
        document = fold_entry(model, entry, document)
    return document


def fold_entry(model: ReadModel, entry: Entry, document: Document | None) -> Document | None:
    """The document after an entry, as it can be stored; whatever is wrong with the entry, or the model, is raised."""
    after: Document | None = fold(model, events.recorded(entry), document)
    return None if after is None else kept(model, after)
