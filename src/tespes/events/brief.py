"""An event in a few words, for lines of the log and for traces: where, how it ended and why. Pure.

Only fields that are named here are shown: no command, variable or output, and whatever else users keep to themselves. A reason
is in the words of TESPES, of a runner or of an operator; it may name a file, by its path or by its URL without login and query.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final, get_args

from tespes.events import service, types
from tespes.events.types import Event, Outcome

Word = str | int | float

_SHOWN: Final = {
    "attempt",
    "executor",
    "exit_code",
    "first",
    "holder",
    "host",
    "outcome",
    "pulsar",
    "reason",
    "runtime",
    "status",
}
_OTHERWISE: Final = {"position": "of_position", "source": "said_by"}  # other than those of the event itself
_OF: Final = {
    kind: {
        field.name: _OTHERWISE.get(field.name, field.name) for field in fields(kind) if field.name in _SHOWN | _OTHERWISE.keys()
    }
    for kind in get_args(Event)
}
_REASON_CHARACTERS: Final = 1000
_TROUBLE: Final = (
    types.AttemptDelayed,
    types.AttemptExpired,
    types.AttemptOrphaned,
    types.TaskPreempted,
    types.TaskSystemFailed,
    service.WebhookParked,
)


def words(event: Event) -> dict[str, Word]:
    """What is told of it, by name; `took_s` by the node's clock."""
    return dict(_words(event))


def is_trouble(event: Event) -> bool:
    """Whether an operator should look: something other than a user's command went wrong."""
    if isinstance(event, types.AttemptEnded):
        return event.outcome in {Outcome.SYSTEM_FAILED, Outcome.LOST}
    return isinstance(event, _TROUBLE)


def _words(event: Event) -> Iterator[tuple[str, Word]]:
    for name, shown in _OF[type(event)].items():
        if (value := getattr(event, name)) is not None:
            yield shown, value[:_REASON_CHARACTERS] if name == "reason" else value
    if isinstance(event, types.DataRedacted):
        yield "fields", ", ".join(event.fields)
    if isinstance(event, types.ExecutorEnded):
        yield "took_s", round((event.ended_at - event.started_at).total_seconds(), 3)
