"""Commits as others get to see them: which of their events are wanted, as JSON documents or as server-sent events.

What this release cannot read, because a newer one wrote it, is left out: whoever follows goes on.
"""

from dataclasses import dataclass
from functools import cached_property

import orjson
import structlog

from tespes import errors
from tespes.events import Entry, cloud

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody wants; None means all.

    :param types: the events' names; :param tasks: their ids
    """

    types: frozenset[str] | None = None
    tasks: frozenset[str] | None = None

    def has_task(self, stream: str) -> bool:
        """Whether events of that stream can be among them."""
        return self.tasks is None or stream in self.tasks

    def has_type(self, name: str) -> bool:
        """Whether events of that name can be among them."""
        return self.types is None or name in self.types

    def may_be_in(self, streams: set[str], types: set[str]) -> bool:
        """Whether some can be among events of these streams and types."""
        is_task = self.tasks is None or not self.tasks.isdisjoint(streams)
        return is_task and (self.types is None or not self.types.isdisjoint(types))


ALL = Wanted()


class Shown:
    """A commit as others see it. Server-sent events are made once, when the first one wants them, and kept.

    :param source: which TESPES, see `cloud.source`
    """

    def __init__(self, entry: Entry, source: str) -> None:
        self.entry = entry
        self._source = source

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self.entry.position

    def documents(self, wanted: Wanted) -> list[bytes | None]:
        """Those of its events that are wanted, CloudEvents as JSON; None in the place of one that cannot be read."""
        commit = self.entry.commit
        if not wanted.has_task(commit.stream):
            return []
        return [self._document(index) for index, event in enumerate(commit.events) if wanted.has_type(event.type)]

    def sent(self, wanted: Wanted) -> bytes:
        """Those of its events that are wanted and can be read, as server-sent events.

        Only the last one has an id, the position: a client that is cut off within a commit gets the whole commit again.
        """
        if not wanted.has_task(self.entry.commit.stream):
            return b""
        if wanted.types is None:
            return self._all
        return self._ended([text for name, text in self._texts if name in wanted.types])

    @cached_property
    def _texts(self) -> list[tuple[str, bytes]]:
        names = [event.type for event in self.entry.commit.events]
        documents = zip(names, self.documents(ALL), strict=True)
        return [(name, b"event: %s\ndata: %s\n" % (name.encode(), document)) for name, document in documents if document]

    @cached_property
    def _all(self) -> bytes:
        return self._ended([text for _, text in self._texts])

    def _ended(self, texts: list[bytes]) -> bytes:
        return b"\n".join(texts) + b"id: %d\n\n" % self.position if texts else b""

    def _document(self, index: int) -> bytes | None:
        try:
            return orjson.dumps(cloud.one(self.entry, index, self._source).document())
        except (errors.UnknownEvent, errors.CorruptLog) as error:
            _log.warning("an event is not shown", reason=str(error))
            return None
