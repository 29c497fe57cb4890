"""The read models of this TESPES for people: how each is, and what is in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tespes import errors
from tespes.flow import rebuild
from tespes.flow.parked import Parked
from tespes.projections import Document, ReadModel
from tespes.store import Documents, Generations, Log
from tespes.store.totals import By, Key, Total, Within

_TAG = "tag:"
_TAGS = "tags"
_DAY = "day"
_MOMENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a view is.

    :param position: up to which it follows the log; :param lag_commits: how many are not in it yet
    :param parked: how many tasks are not in it as they should be
    :param building: the position of the generation that is made beside it; None if there is none
    :param outcome: what became of the last one that was, in words
    """

    name: str
    version: int
    generation: int
    position: int
    lag_commits: int
    documents: int
    parked: int
    building: int | None
    outcome: str | None


class Projections:
    """See the module."""

    def __init__(self, log: Log, documents: Documents, models: Sequence[ReadModel]) -> None:
        self._log = log
        self._documents = documents
        self._models = {model.name: model for model in models}
        self.parked = tuple(Parked(log, documents, model) for model in models)

    async def look(self) -> list[Standing]:
        """All of them."""
        return [await self._standing(model, parked) for model, parked in zip(self._models.values(), self.parked, strict=True)]

    async def retry(self, task_id: str | None) -> list[str]:
        """Fold that task, or all that are parked, anew; the ids of those that are free in a view now.

        :raises errors.NotFound: that task is parked nowhere
        """
        where = [parked for parked in self.parked if task_id is None or task_id in {each.id for each in await parked.tasks()}]
        if not where and task_id is not None:
            raise errors.NotFound(f"the task {task_id} is not parked")
        return [freed for parked in where for freed in await parked.retry(task_id)]

    async def rebuild(self, name: str) -> Generations:
        """Have that one made anew by whoever keeps it up to date, see `rebuild.ask`.

        :raises errors.NotFound: there is no such view
        """
        return await rebuild.ask(self._documents, self._model(name))

    async def document(self, name: str, task_id: str) -> Document:
        """What it has of that task; raises as `rebuild` does, also if it has nothing."""
        found = await self._documents.load(self._model(name), [task_id])
        if task_id not in found:
            raise errors.NotFound(f"the view {name} has no task {task_id}")
        return found[task_id]

    async def newest(self, name: str, limit: int) -> list[Document]:
        """Its newest documents, what is searched of them; raises as `rebuild` does."""
        return await self._documents.page(self._model(name), (), before=None, limit=limit, whole=False)

    async def totals(self, name: str, by: str, since: str | None, until: str | None) -> list[Total]:
        """What its lines come to.

        :param by: a column, a field of the lines, or `tag:KEY`; :param since: and `until`: days of creation, YYYY-MM-DD, both
            included
        :raises errors.BadRequest: it has no totals, or none by that; also raises as `rebuild` does
        :raises errors.Unavailable: it is being made: sums of a part would look like sums of all
        """
        model = self._model(name)
        if not model.sums:
            raise errors.BadRequest("name", name, f"a view with totals is expected: {', '.join(self._with_totals())}")
        asked, days = _by(model, by), _days(model, since, until)
        at, head = await self._documents.position(model), (await self._log.head()).position
        if at < head - _MOMENTS:
            raise errors.Unavailable(f"{name} is being made: {at:,} of {head:,} commits are in it; try again")
        return await self._documents.totals(model, asked, days)

    async def _standing(self, model: ReadModel, parked: Parked) -> Standing:
        known = await self._documents.generations(model)
        position, head = await self._documents.position(model), await self._log.head()
        new = replace(model, generation=known.newest)
        return Standing(
            name=model.name,
            version=model.version,
            generation=known.shown,
            position=position,
            lag_commits=max(head.position - position, 0),
            documents=await self._documents.count(model),
            parked=len(await parked.tasks()),
            building=await self._documents.position(new) if known.is_building else None,
            outcome=known.outcome,
        )

    def _model(self, name: str) -> ReadModel:
        if name not in self._models:
            raise errors.NotFound(f"there is no view {name}; there are: {', '.join(self._models)}")
        return self._models[name]

    def _with_totals(self) -> list[str]:
        return [name for name, model in self._models.items() if model.sums]


def _by(model: ReadModel, by: str) -> By:
    if by.startswith(_TAG) and _TAGS in model.pairs:
        return Key(_TAGS, by.removeprefix(_TAG))
    columns = [name for name in (*model.columns, *model.lines) if name != "position"]
    if by not in columns:
        tags = [f"{_TAG}KEY"] if _TAGS in model.pairs else []
        raise errors.BadRequest("by", errors.quoted(by), f"one of {', '.join([*columns, *tags])} is expected")
    return by


def _days(model: ReadModel, since: str | None, until: str | None) -> Within | None:
    if since is None and until is None:
        return None
    if _DAY not in model.columns:
        raise errors.BadRequest("since", errors.quoted(since or until), f"the documents of {model.name} have no day")
    return Within(_DAY, since, until)
