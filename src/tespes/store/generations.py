"""A view has generations: one is shown, and while it is made anew another is filled beside it, in a table of its own.

Which one is shown stands in the database and is switched in one write. Readers look it up once a second at most, so for a
moment after a switch some still read the one before; it is dropped only `KEPT_S` later. Who took longer than that to read
looks again, and reads again if it was switched meanwhile: nobody ever takes a table that is gone for an empty view.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from tespes import errors
from tespes.projections import ReadModel

KEPT_S: Final = 5.0
_GOOD_FOR_S: Final = 1.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Generations:
    """What there is of a view. Numbers only grow, none is used twice.

    :param shown: the generation that readers get; 0 is the first
    :param newest: the last one that was begun; the same as `shown` if it was finished
    :param outcome: what became of the newest, in words; None before it is finished
    """

    shown: int = 0
    newest: int = 0
    outcome: str | None = None

    @property
    def is_building(self) -> bool:
        """Whether one is being filled, or waits to be."""
        return self.newest != self.shown and self.outcome is None

    def needs(self, generation: int) -> bool:
        """Whether anybody will ever read that one, or write into it."""
        return generation == self.shown or (generation == self.newest and self.is_building)


class Shown:
    """Which generation of each view readers get, as far as it was looked up.

    :param look: by the stem of the view's tables
    """

    def __init__(self, look: Callable[[str], Awaitable[Generations]]) -> None:
        self._look = look
        self._seen: dict[str, tuple[int, float]] = {}

    async def of(self, model: ReadModel) -> ReadModel:
        """The model with the generation that is shown; as it is if it names one."""
        if model.generation is not None:
            return model
        return replace(model, generation=(await self._looked(model.stem))[0])

    async def read(self, model: ReadModel, work: Callable[[ReadModel], Awaitable[Answer]]) -> Answer:
        """What that reads of the generation that is shown."""
        if model.generation is not None:
            return await work(model)
        while True:
            seen = await self._looked(model.stem)
            try:
                found = await work(replace(model, generation=seen[0]))
            except errors.StoreUnavailable:
                if not await self._is_over(model.stem, *seen):
                    raise
            else:
                if not await self._is_over(model.stem, *seen):
                    return found

    def forget(self, model: ReadModel) -> None:
        """It was switched here: look at once."""
        self._seen.pop(model.stem, None)

    async def _is_over(self, stem: str, generation: int, at: float) -> bool:
        """Whether the generation that was looked up then may be gone."""
        return time.monotonic() - at >= KEPT_S and (await self._anew(stem))[0] != generation

    async def _looked(self, stem: str) -> tuple[int, float]:
        """The generation, and when it was asked for."""
        seen = self._seen.get(stem)
        if seen is not None and time.monotonic() - seen[1] < _GOOD_FOR_S:
            return seen
        return await self._anew(stem)

    async def _anew(self, stem: str) -> tuple[int, float]:
        at = time.monotonic()
        self._seen[stem] = (await self._look(stem)).shown, at
        return self._seen[stem]
