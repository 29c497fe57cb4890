"""Read models: what one must be like, what a site may bring, and what `usage` makes of odd events."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import given as g
from tespes import errors, events, settings
from tespes.events import Meta, Outcome, Recorded
from tespes.projections import READ_MODELS, TASK_VIEW, USAGE, Document, ReadModel, fold
from tespes.settings import projections


def history(*happened: events.Event, seconds: float = 1) -> Document:
    """What `usage` makes of these events, so many seconds after each other."""
    metas = [Meta(at=g.at(number * seconds), actor="tests", owner="ada") for number in range(len(happened))]
    recorded = [Recorded(event, g.TASK, number, 10 + number, metas[number - 1]) for number, event in enumerate(happened, 1)]
    document: Document = fold(USAGE, recorded)
    return document


class TestWhatOneIs:
    """The public interface."""

    @pytest.mark.parametrize("name", ["Waiting", "waiting1", "wait-ing", "waiting; DROP TABLE log", "_x", ""])
    def test_names_are_plain(self, name: str) -> None:
        """They are part of what databases are told."""
        with pytest.raises(ValueError, match="none of small letters"):
            ReadModel(name, 1, lambda document, _: document)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"columns": ("owner",)}, "without 'position'"),
            ({"columns": ("position", "a b")}, "the field 'a b' of usage"),
            ({"sums": ("$where",)}, "the field '\\$where' of usage"),
            ({"indexes": (("owner",),)}, "does not end in 'position'"),
            ({"version": 0}, "the version 0 of usage is below 1"),
            ({"columns": ("position", "id")}, "'id' of usage has a name that TESPES keeps for itself"),
            ({"columns": ("position", "lines")}, "'lines' of usage has a name that TESPES keeps for itself"),
            ({"pairs": ("body",)}, "'body' of usage has a name that TESPES keeps for itself"),
            ({"sums": ("documents",)}, "'documents' of usage has a name that TESPES keeps for itself"),
            ({"columns": ("position", "tags")}, "a field of usage is named twice"),
            ({"lines": ("cpu_ms",)}, "a field of usage is named twice"),
        ],
    )
    def test_fields_are_plain_and_newest_first_is_possible(self, change: dict[str, Any], said: str) -> None:
        """Whoever writes one learns it at once."""
        with pytest.raises(ValueError, match=said):
            replace(USAGE, **change)

    def test_what_apply_need_not_care_about(self) -> None:
        """Id, version and position are kept for it, and an event that comes twice does not reach it."""
        model = ReadModel("counted", 1, lambda document, _: {"count": (document or {"count": 0})["count"] + 1})
        meta = Meta(at=g.at(0), actor="tests", owner="ada")
        recorded = [Recorded(events.TaskCanceled(), "t", version, 5 + version, meta) for version in (1, 2, 2, 1, 3)]
        assert fold(model, recorded) == {"id": "t", "version": 3, "position": 6, "count": 3}


class TestTheSites:
    """Read models that the settings name."""

    def test_they_follow_ours(self) -> None:
        """With what they are called."""
        assert projections.read_models([]) == READ_MODELS
        assert settings.read_models(settings.Settings()) == READ_MODELS

    @pytest.mark.parametrize(
        ("reference", "said"),
        [
            ("tespes.nothing:X", "cannot be used (ModuleNotFoundError"),
            ("tespes.projections:NOTHING", "cannot be used (AttributeError"),
            ("os:path", "is no tespes.projections.ReadModel"),
            ("tespes.projections:USAGE", "is called usage, as another read model is"),
        ],
    )
    def test_what_cannot_be_used_is_said_in_one_line(self, reference: str, said: str) -> None:
        """It names the setting and what it found."""
        with pytest.raises(errors.SetupError) as refused:
            projections.read_models([reference])
        assert said in str(refused.value)
        assert str(refused.value).startswith("projections: ")


class TestUsage:
    """What an attempt used."""

    def test_a_killed_executor_counts_until_its_attempt_is_over(self) -> None:
        """By TESPES's clock: from the start that it heard of."""
        found = history(g.created(), g.scheduled(), g.claimed(), g.started(), g.over(Outcome.KILLED, "canceled"), seconds=3)
        assert [(line["cpu_ms"], line["running_since"]) for line in found["lines"]] == [(3000, None)]

    def test_a_clock_that_was_set_back_makes_no_costs_negative(self) -> None:
        """The node says that an executor ended before it started."""
        back = replace(g.ended(), ended_at=g.at(-100))
        assert history(g.created(), g.scheduled(), g.claimed(), g.started(), back)["lines"][0]["cpu_ms"] == 0

    def test_each_attempt_has_a_line_of_its_own(self) -> None:
        """At its own Pulsar; the state is the one in which the task ended."""
        second = replace(g.scheduled(2), pulsar="site-b")
        lost = g.over(Outcome.LOST, "the node is gone")
        happened: list[events.Event] = [
            g.created(),
            g.scheduled(),
            lost,
            second,
            g.claimed(2),
            g.started(0, 2),
            g.ended(0, 0, 2),
        ]
        found = history(*happened, g.over(Outcome.SUCCEEDED, attempt=2), events.TaskCompleted())
        assert [(line["pulsar"], line["cpu_ms"]) for line in found["lines"]] == [("site-a", 0), ("site-b", 500)]
        assert (found["state"], found["owner"], found["day"]) == ("COMPLETE", "ada", "2026-11-22")

    @pytest.mark.parametrize("apply", [TASK_VIEW.apply, USAGE.apply])
    def test_what_is_given_is_not_changed(self, apply: Callable[[Any, Recorded], Any]) -> None:
        """Documents of a batch may be shared."""
        meta = Meta(at=g.at(0), actor="tests", owner="ada")
        first = apply(None, Recorded(g.created(), g.TASK, 1, 1, meta))
        before = repr(first)
        apply({**first, "version": 1}, Recorded(g.scheduled(), g.TASK, 2, 2, meta))
        assert repr(first) == before
