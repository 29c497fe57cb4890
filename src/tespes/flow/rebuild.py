"""Make a view anew from the whole log, beside the one that is shown, while everything goes on; then show it instead.

Who wants that writes it down in the store (`ask`). Whoever keeps the view up to date sees it there, fills a generation of
its own from position 1 on, compares all documents of both, and switches in one write while the follower rests between two
batches and both are at the same position. What differed is said; the new one is shown in any case: it is what the events
make. An event that cannot be folded ends the attempt, and the view stays as it was. Whoever takes over after a crash goes
on where the new generation is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from tespes import errors
from tespes.events import Entry, redact
from tespes.flow.folding import fold_anew, fold_entry, folded
from tespes.flow.follow import patiently
from tespes.flow.parked import Parked
from tespes.projections import Document, ReadModel
from tespes.store import Documents, Fence, Generations, Log
from tespes.store.generations import KEPT_S

_LOOK_S: Final = 0.5
_AT_ONCE: Final = 2000
_PAGE: Final = 500
_NAMED: Final = 10
_REMEMBERED: Final = 1000
_REASON_CHARACTERS: Final = 500

_log = structlog.get_logger(__name__)


async def ask(documents: Documents, model: ReadModel) -> Generations:
    """Have the view made anew, unless that is being done; what there is of it then."""
    while True:
        seen = await documents.generations(model)
        if seen.is_building:
            return seen
        wanted = Generations(seen.shown, seen.newest + 1)
        if await documents.turn(model, seen, wanted):
            return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilder:
    """What makes one view anew, under the lease of who keeps it up to date.

    :param batch: is held while the follower works at a batch; :param show: tells it which generation it goes on with
    """

    log: Log
    documents: Documents
    model: ReadModel
    parked: Parked
    fence: Fence | None
    batch: asyncio.Lock
    show: Callable[[ReadModel], None]

    async def run(self) -> None:
        """Look whether that is wanted, and do it, until cancelled.

        :raises errors.LeaseLost: another process does it now
        :raises errors.Unavailable: nobody knows what is shown now: the follower, too, begins anew
        """
        is_tidy = False
        while True:
            known = await patiently(self.model.name, lambda: self.documents.generations(self.model))
            if known.is_building:
                await self._rebuild(known)
                is_tidy = False
            elif not is_tidy:
                is_tidy = await self._tidy()
            else:
                await asyncio.sleep(_LOOK_S)

    async def _rebuild(self, known: Generations) -> None:
        """Make the newest generation, or go on with it."""
        old, new = (replace(self.model, generation=each) for each in (known.shown, known.newest))
        _log.info("a view is rebuilt", view=new.table)
        try:
            await self._fill(old, new)
            await self._switch(known, old, new)
        except (errors.Unavailable, errors.LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the view that is shown goes on
            reason = f"failed: {error}"[:_REASON_CHARACTERS]
            _log.exception("a view could not be rebuilt and stays as it was", view=old.table)
            await self._turn(known, replace(known, outcome=reason))
        else:
            await self.parked.retry()

    async def _fill(self, old: ReadModel, new: ReadModel) -> None:
        """Bring the new generation to where the old one is."""
        await self.documents.prepare(new)
        if await self.documents.position(new) > await self.documents.position(old):
            await self.documents.forget(new)  # it was made of another log
        await self.documents.save(new, [], 0, self.fence)
        await self._catch_up(old, new)

    async def _catch_up(self, old: ReadModel, new: ReadModel) -> None:
        position = await self.documents.position(new)
        while (behind := await self.documents.position(old) - position) > 0:
            entries = await self.log.read(position, min(behind, _AT_ONCE))
            changed = await folded(self.documents, new, entries, partial(self._after, new))
            position = entries[-1].position
            await self.documents.save(new, changed, position, self.fence)

    async def _after(self, new: ReadModel, entry: Entry, document: Document | None) -> Document | None:
        """The document after an entry. None is left out: the view would show a part for the whole."""
        try:
            if redact.gives_orders(entry):
                return await fold_anew(self.log, self.documents, new, entry.commit.stream, document)
            return fold_entry(self.model, entry, document)
        except errors.Unavailable:
            raise
        except Exception as error:
            place = f"position {entry.position}, task {entry.commit.stream}"
            raise errors.Unfoldable(f"{place}: {type(error).__name__}: {error}") from error

    async def _switch(self, known: Generations, old: ReadModel, new: ReadModel) -> None:
        """Compare while the follower goes on; then, while it rests, what differed, and what came since."""
        count, different = await self._compared(old, new)
        await self._catch_up(old, new)
        async with self.batch:
            await self._catch_up(old, new)
            before, after = [await self.documents.load(each, different) for each in (old, new)]
            others = [task_id for task_id in different if before.get(task_id) != after.get(task_id)]
            outcome = _said(count, others)
            await self._turn(known, Generations(known.newest, known.newest, outcome))
            self.show(new)
        _log.info("a view was rebuilt", view=new.table, outcome=outcome)

    async def _compared(self, old: ReadModel, new: ReadModel) -> tuple[int, list[str]]:
        """How many documents the new one has, and the ids of those that differ, up to a bound: some only for a moment."""
        count, different = 0, dict[str, None]()
        olds, news = (_newest_first(self.documents, each) for each in (old, new))
        async for before, after in _side_by_side(olds, news):
            count += after is not None
            if before != after and len(different) < _REMEMBERED:
                different.update((each["id"], None) for each in (before, after) if each is not None)
        return count, list(different)

    async def _turn(self, seen: Generations, then: Generations) -> None:
        if not await self.documents.turn(self.model, seen, then, self.fence):
            raise errors.LeaseLost(f"another process rebuilds {self.model.name} now")

    async def _tidy(self) -> bool:
        """Remove what nobody needs any more, once those have ended who still read there; whether there was no such thing.

        MongoDB makes a table anew for who was still writing into it.
        """
        if unread := await self.documents.unread(self.model):
            await asyncio.sleep(KEPT_S)
            for each in unread:
                await self.documents.drop(each)
        return not unread


async def _newest_first(documents: Documents, model: ReadModel) -> AsyncIterator[Document]:
    """All documents of a generation, a page at a time."""
    before = None
    while page := await documents.page(model, (), before=before, limit=_PAGE, whole=True):
        for document in page:
            yield document
        before = page[-1]["position"]
        await asyncio.sleep(0)


async def _side_by_side(
    olds: AsyncIterator[Document], news: AsyncIterator[Document]
) -> AsyncIterator[tuple[Document | None, Document | None]]:
    """The documents of two generations, those that were created at the same position together."""
    old, new = await anext(olds, None), await anext(news, None)
    while old is not None or new is not None:
        place = max(each["position"] for each in (old, new) if each is not None)
        before = old if old is not None and old["position"] == place else None
        after = new if new is not None and new["position"] == place else None
        yield before, after
        old = old if before is None else await anext(olds, None)
        new = new if after is None else await anext(news, None)


def _said(count: int, others: list[str]) -> str:
    if not others:
        return f"done: all {count:,} documents are as they were"
    named = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    least = "at least " if len(others) >= _REMEMBERED else ""
    return f"done: {least}{len(others):,} of {count:,} documents were not what their events make: {named}"
