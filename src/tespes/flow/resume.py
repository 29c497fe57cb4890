"""What a dispatcher begins with: the tasks that live, and those that ended a moment ago."""

from dataclasses import dataclass

from tespes import events
from tespes.events import Entry
from tespes.flow.pulsars import LIVE
from tespes.projections import TASK_VIEW
from tespes.store import Documents, Log

_RECENT = 10_000
_PAGE = 1000
_CLEAN_ENDS = frozenset(event.__name__ for event in (events.TaskCompleted, events.TaskExecutorFailed))
_ENDS_OF_ANY = (events.TaskCanceled, events.TaskSystemFailed, events.TaskPreempted)
_ENDS = frozenset(event.__name__ for event in _ENDS_OF_ANY)


@dataclass(frozen=True, slots=True)
class Begun:
    """The log as far as `position`.

    :param live: the tasks that have not ended, oldest first, and perhaps some that have
    :param ended: of the last entries, the tasks whose jobs Pulsar may still hold: what was to be sent about them may be lost
    """

    live: tuple[str, ...]
    ended: tuple[str, ...]
    position: int


async def begin(log: Log, documents: Documents) -> Begun:
    """What the view says, and the log beyond it.

    :raises errors.StoreUnavailable: nobody knows
    """
    head, position = await log.head(), await documents.position(TASK_VIEW)
    live, ended = await _shown(documents), dict[str, None]()
    after = max(position - _RECENT, 0)
    while after < head.position and (entries := await log.read(after)):
        for entry in entries:
            _note(entry, live, ended, is_shown=entry.position <= position)
        after = entries[-1].position
    return Begun(tuple(live), tuple(ended), max(after, position))


async def _shown(documents: Documents) -> dict[str, None]:
    """The tasks that the view shows as live, oldest first."""
    found: list[str] = []
    before = None
    while page := await documents.page(TASK_VIEW, (LIVE,), before=before, limit=_PAGE, whole=False):
        before = page[-1]["position"]
        found += [each["id"] for each in page]
    return dict.fromkeys(reversed(found))


def _note(entry: Entry, live: dict[str, None], ended: dict[str, None], *, is_shown: bool) -> None:
    task_id, types = entry.commit.stream, {event.type for event in entry.commit.events}
    if not events.is_task(task_id):
        return
    if types & (_ENDS | _CLEAN_ENDS):
        live.pop(task_id, None)
        if types & _ENDS:
            ended[task_id] = None
    elif not is_shown and task_id not in ended:
        live[task_id] = None
