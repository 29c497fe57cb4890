"""A site's own read model: how long tasks waited for their first attempt, and at which Pulsar they got it.

export PYTHONPATH=examples TESPES_PROJECTIONS=read_model:WAITING
tespes serve
tespes projections show waiting --by pulsar
"""

from typing import Any

from tespes import events
from tespes.events import Recorded, moment
from tespes.projections import ReadModel


def apply(document: dict[str, Any] | None, recorded: Recorded) -> dict[str, Any]:
    """The document after an event. A task's first event, its creation, meets None."""
    if document is None:
        return {"owner": recorded.meta.owner, "day": f"{recorded.at:%Y-%m-%d}", "at": moment.text(recorded.at), "lines": []}
    match recorded.event:
        case events.AttemptScheduled(attempt=1, pulsar=pulsar):
            waited = recorded.at - moment.read(document["at"])
            return {**document, "lines": [{"pulsar": pulsar, "waited_ms": round(waited.total_seconds() * 1000)}]}
        case _:
            return document


WAITING = ReadModel(
    name="waiting",
    version=1,  # another one after each change of `apply`: the view is made anew
    apply=apply,
    columns=("position", "owner", "day"),  # what documents are searched and grouped by
    lines=("pulsar",),  # what the entries of `lines` are grouped by,
    sums=("waited_ms",),  # and what of them is summed
)
