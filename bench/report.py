"""Figures, their targets, and the page that shows them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach: at least, or at most, that value."""

    value: float
    at_most: bool = False

    def reached(self, measured: float) -> bool:
        """Whether it does."""
        return measured <= self.value if self.at_most else measured >= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """A figure.

    :param rounds: what each round measured; the median is the figure
    """

    name: str
    unit: str
    rounds: tuple[float, ...]
    target: Target | None = None

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.rounds)


@dataclass(slots=True)
class Group:
    """Figures that were measured together.

    :param how: what was done, for people who want to judge the figures
    :param after: what else there is to say, behind the figures
    """

    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    after: str = ""

    def add(self, name: str, unit: str, rounds: Sequence[float], target: Target | None = None) -> None:
        """Add a figure."""
        self.rows.append(Row(name, unit, tuple(rounds), target))


def at_least(value: float) -> Target:
    """More is better."""
    return Target(value)


def at_most(value: float) -> Target:
    """Less is better."""
    return Target(value, at_most=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def lines(group: Group) -> list[str]:
    """The group as a table (Markdown)."""
    head = ["| figure | unit | median | rounds | target | |", "|---|---|---:|---|---|---|"]
    return [*head, *(_line(row) for row in group.rows)]


def text(command: str, machine: Sequence[str], groups: Sequence[Group], took_s: float) -> str:
    """The page."""
    page = ["# Benchmark results", "", f"* date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", f"* command: `{command}`"]
    page += [f"* {line}" for line in machine]
    page += [
        f"* took {took_s:.0f} s",
        "",
        "The server, the load and the database share these cores. Every figure is the median of its rounds after a",
        "warm-up; 'rounds' are the lowest and the highest.",
    ]
    for group in groups:
        page += ["", *_section(group)]
    return "\n".join(page) + "\n"


def renewed(page: str, command: str, machine: Sequence[str], groups: Sequence[Group]) -> str:
    """The page with the sections of these groups anew, each with where it comes from; the others stay as they are."""
    head, *sections = page.rstrip("\n").split("\n\n## ")
    by_title = {section.partition("\n")[0]: section for section in sections}
    commit = next((line for line in machine if line.startswith("commit: ")), "")
    for group in groups:
        title, *rest = _section(group)
        measured = f"Measured apart from the others: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{command}`, {commit}."
        by_title[group.title] = "\n".join([title.removeprefix("## "), "", measured, *rest])
    return "\n\n## ".join([head, *by_title.values()]) + "\n"


def _section(group: Group) -> list[str]:
    return [f"## {group.title}", "", group.how, "", *lines(group), *(["", group.after] if group.after else [])]


def _line(row: Row) -> str:
    spread = "" if len(row.rounds) == 1 else f"{_number(min(row.rounds))} to {_number(max(row.rounds))}"
    target = verdict = ""
    if row.target is not None:
        target = f"at {'most' if row.target.at_most else 'least'} {_number(row.target.value)}"
        verdict = "reached" if row.target.reached(row.median) else "**not reached**"
    return f"| {row.name} | {row.unit} | {_number(row.median)} | {spread} | {target} | {verdict} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
