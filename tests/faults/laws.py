"""The laws of the design, checked after the fact: from the stored log, the stored views, and what really ran.

Law 8 is about publishing, which is not there. The rest of the evidence shares nothing with TESPES: `oracle` reads the
stored entries itself, and a `Record` is what the simulated Pulsars' nodes wrote down.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import oracle
from oracle import Stored
from simulated import Record, Run

MARGIN_S = 0.05  # between a decision and the time of day that was taken down for it


@dataclass
class Attempt:
    """What the log says of one attempt; times are of the monotonic clock."""

    number: int
    claimed: float | None = None
    ended: float | None = None
    outcome: str | None = None
    reason: str = ""

    @property
    def risk_is_named(self) -> bool:
        """Whether the log says that it may still run (law 7)."""
        return "may still run" in self.reason


@dataclass
class History:
    """What the log says of one task."""

    id: str
    entries: list[Stored]
    attempts: dict[int, Attempt] = field(default_factory=dict)
    canceled: float | None = None

    @property
    def state(self) -> str:
        """How it ended, if it did."""
        return oracle.told(self.entries).state

    def __str__(self) -> str:
        lines = [f"task {self.id}: {self.state}"]
        for entry in self.entries:
            at, actor = entry["meta"]["at"], entry["meta"]["actor"]
            lines += [f"  {entry['position']:5} {at} {actor:28} {e['type']} {e['data'][:300]}" for e in entry["events"]]
        return "\n".join(lines)


When = Callable[[str], float]


def streams(entries: Sequence[Stored]) -> dict[str, list[Stored]]:
    """The entries of each task; other streams have a colon in their name."""
    found: dict[str, list[Stored]] = defaultdict(list)
    for entry in entries:
        if ":" not in entry["stream"]:
            found[entry["stream"]].append(entry)
    return found


def _history(stream: str, entries: list[Stored], when: When) -> History:
    history = History(stream, entries)
    for entry in entries:
        at = when(entry["meta"]["at"])
        for event in entry["events"]:
            data = json.loads(event["data"])
            match event["type"]:
                case "AttemptScheduled":
                    history.attempts[data["attempt"]] = Attempt(data["attempt"])
                case "AttemptClaimed":
                    history.attempts[data["attempt"]].claimed = at
                case "AttemptEnded":
                    attempt = history.attempts[data["attempt"]]
                    attempt.ended, attempt.outcome, attempt.reason = at, data["outcome"], data.get("reason", "")
                case "TaskCanceled":
                    history.canceled = at
                case _:
                    pass
    return history


def check(entries: Sequence[Stored], views: Mapping[str, Any], record: Record, accepted: Iterable[str], when: When) -> None:
    """Every law holds. `accepted`: the ids that clients were told.

    :raises AssertionError: one does not; says which, and the task's history
    """
    oracle.check(entries)
    tasks = {stream: _history(stream, of, when) for stream, of in streams(entries).items()}
    lost = set(accepted) - set(tasks)
    assert not lost, f"law 2: accepted and not in the log: {lost}"
    for history in tasks.values():
        runs = record.of(history.id)
        for law in (ended, seen_as_it_is, one_attempt_at_a_time, nothing_runs_after_canceled, only_what_was_claimed_runs):
            law(history, views.get(history.id), runs)


def ended(history: History, view: Any, runs: Sequence[Run]) -> None:
    """Law 6: it came to an end."""
    assert history.state in oracle.ENDS.values(), f"law 6: stuck\n{history}\n{_shown(runs)}"


def seen_as_it_is(history: History, view: Any, runs: Sequence[Run]) -> None:
    """Law 4: the stored view is the fold of the events."""
    assert view is not None, f"law 4: there is no view\n{history}"
    assert oracle.shown(view) == oracle.told(history.entries), f"law 4: another view\n{history}\n{view}"


def one_attempt_at_a_time(history: History, view: Any, runs: Sequence[Run]) -> None:
    """Law 7: when an attempt is claimed, all before it are dead, or were given up by an event that names the risk."""
    for later in history.attempts.values():
        if later.claimed is None:
            continue
        for run in runs:
            before = history.attempts.get(run.attempt)
            if run.attempt < later.number and before is not None and not before.risk_is_named:
                alive = run.works_at(later.claimed - MARGIN_S)
                assert not alive, f"law 7: attempt {run.attempt} lives in {later.number}\n{history}\n{_shown(runs)}"


def nothing_runs_after_canceled(history: History, view: Any, runs: Sequence[Run]) -> None:
    """Law 9: when CANCELED was decided, nothing of the task ran, and nothing began after it."""
    if history.canceled is None:
        return
    for run in runs:
        attempt = history.attempts[run.attempt]
        if attempt.risk_is_named:
            continue
        for container in run.containers:
            late = container.ended is None or container.ended > history.canceled + MARGIN_S
            assert not late, f"law 9: a container lives\n{history}\n{_shown(runs)}"


def only_what_was_claimed_runs(history: History, view: Any, runs: Sequence[Run]) -> None:
    """The start gate: of each attempt one run at most got past it, and only if the log says so."""
    for number in {run.attempt for run in runs}:
        past = [run for run in runs if run.attempt == number and run.claimed is not None]
        assert len(past) <= 1, f"the start gate let {len(past)} runs of attempt {number} pass\n{history}\n{_shown(runs)}"
        if past:
            assert history.attempts[number].claimed is not None, f"the start gate\n{history}\n{_shown(runs)}"
    begun, _ = oracle.attempts_allowed(history.entries)
    worked = {run.attempt for run in runs if run.containers}
    assert len(worked) <= begun, f"commands began {len(worked)} times, {begun} are allowed\n{history}\n{_shown(runs)}"


def _shown(runs: Sequence[Run]) -> str:
    return "\n".join(str(run) for run in runs)


def told_by(told: Mapping[datetime, float]) -> When:
    """What turns the log's times of day into the monotonic clock's, by what the clocks told."""

    def when(at: str) -> float:
        return told[datetime.fromisoformat(at)]

    return when
