"""What the command line shows: plain lines of text."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from tespes import errors, events, tes
from tespes.events import Entry, Recorded, codec, moment
from tespes.flow.audit import Verdict

_NAME_WIDTH = 20


def serving(url: str, uses: Iterable[str]) -> None:
    """Say where the service is and what it uses."""
    lines = [f"TESPES listens at {url} (TES 1.1 under {url}/ga4gh/tes/v1)", *(f"  {line}" for line in uses)]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - the command line's own output


def history(entries: Iterable[Entry]) -> Iterator[str]:
    """A task's events, a line each: position, time, event, what it says, who caused it."""
    for each in entries:
        yield from _events(each, "")


def entry(found: Entry) -> Iterator[str]:
    """A commit's events, a line each, with the stream they are in."""
    return _events(found, f"{found.commit.stream}  ")


def _events(found: Entry, stream: str) -> Iterator[str]:
    """What this release does not know is named only."""
    meta = found.commit.meta
    for encoded in found.commit.events:
        try:
            said = line(codec.decode(encoded))
        except (errors.UnknownEvent, errors.CorruptLog) as error:
            said = f"{encoded.type:<{_NAME_WIDTH}} {error}"
        yield f"{found.position:>8}  {moment.text(meta.at)}  {stream}{said}  [{meta.actor}]"


def since(begin: datetime, each: Recorded) -> str:
    """An event as the demo shows it: seconds since the submission, event, what it says."""
    return f"{max((each.at - begin).total_seconds(), 0):8.3f} s  {line(each.event)}"


def line(event: events.Event) -> str:
    """An event and what it says."""
    return f"{type(event).__name__:<{_NAME_WIDTH}} {says(event)}".rstrip()


def says(event: events.Event) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each event
    """What an event says, in a few words."""
    match event:
        case events.TaskCreated(task=task):
            return f"{_plural(task.inputs, 'input')}, {_plural(task.executors, 'executor')}, {_plural(task.outputs, 'output')}"
        case events.TaskDeferred() | events.TaskSystemFailed() | events.TaskPreempted() | events.AttemptOrphaned():
            return event.reason
        case events.AttemptScheduled():
            return f"attempt {event.attempt}, to Pulsar {event.pulsar} as job {event.job_id}"
        case events.AttemptReceived():
            return f"attempt {event.attempt}, Pulsar has the job"
        case events.AttemptClaimed():
            return f"attempt {event.attempt}, by a runner on {event.host} (Python {event.python})"
        case events.ExecutorStarted():
            return f"executor {event.executor}"
        case events.ExecutorEnded():
            took = (event.ended_at - event.started_at).total_seconds()
            return f"executor {event.executor}, exit code {event.exit_code} after {took:.3f} s"
        case events.AttemptEnded():
            return _attempt_ended(event)
        case events.TaskExecutorFailed():
            return f"executor {event.executor} ended with exit code {event.exit_code}"
        case events.TaskCancelRequested() | events.TaskCanceled() | events.TaskCompleted():
            return ""
        case events.LateMessageRecorded():
            return f"attempt {event.attempt}, '{event.status}' of the {event.source.value} came after the end"
        case events.AttemptDelayed() | events.AttemptExpired():
            return f"attempt {event.attempt}, {event.reason}"
        case events.PulsarDrained():
            return f"{event.pulsar}: {event.reason}" if event.reason else event.pulsar
        case events.PulsarEnabled():
            return event.pulsar
        case events.LeaseTaken():
            return f"{event.name}, by {event.holder}"
        case events.HeadSigned():
            return f"positions {event.first} to {event.position}, by {event.key[:12]}…"
        case events.LogRestored():
            return f"from a backup up to position {event.position}"
        case events.WebhookParked():
            return f"{event.webhook} at position {event.position}: {event.reason}"
        case events.WebhookResumed():
            return event.webhook
        case events.DataRedacted():
            return f"{', '.join(event.fields)} at position {event.position}: {event.reason}"


def verdict(store: str, found: Verdict, *, is_key_known: bool) -> Iterator[str]:
    """An audit's result.

    :param is_key_known: the seals' key was known beforehand, and is not only what they say themselves
    """
    yield f"{store}: {found.commits} commits, {found.events} events, {found.streams} streams, head {found.head}"
    if found.sealed:
        yield f"sealed up to position {found.sealed} with {', '.join(sorted(found.keys))}"
    else:
        yield "not sealed yet: whoever can write there can have changed all of it"
    if found.sealed and not is_key_known:
        yield "nobody said whose key that is: compare it with what `tespes audit key` says, or name yours with --key"
    if found.withheld:
        yield f"of an event at {', '.join(map(str, found.withheld))} there is only the digest: its users keep it to themselves"
    for each in found.unfinished:
        fields = " ".join(f"--field {field}" for field in each.fields)
        command = f"tespes audit redact {each.task_id} {fields} --reason …"
        yield f"position {each.position} still has what was to be taken out; finish it: {command}"
    yield from found.behind
    for flaw in found.flaws:
        yield f"position {flaw.position} {flaw.what}"
    if not found.flaws and not found.unfinished:
        yield f"sound: positions and versions run without a hole, the hash chain verifies, {_views(found)}"


def _views(found: Verdict) -> str:
    return "every view is the fold of its events" if found.views else "and no view was compared"


def _attempt_ended(event: events.AttemptEnded) -> str:
    moved = [f"{_file(file)} in" for file in event.inputs] + [f"{_file(file)} out" for file in event.outputs]
    said = [event.outcome.value, *([event.reason] if event.reason else []), *moved]
    return f"attempt {event.attempt}, {'; '.join(said)}"


def _file(file: events.File) -> str:
    return f"{file.path} {file.size_bytes} B sha256 {file.sha256[:12]}…"


def _plural(things: Sequence[object] | None, noun: str) -> str:
    count = len(things or ())
    return f"{count} {noun}{'' if count == 1 else 's'}"


def task(document: dict[str, object]) -> str:
    """The task's state and id, for a headline."""
    return f"task {document['id']} is {tes.State(str(document['state'])).value}"
