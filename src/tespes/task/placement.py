"""Which Pulsar a task goes to: what it asks for, what each Pulsar has, and what of that is taken.

Memory is counted in whole megabytes (10^6 bytes): sums of fractions would not come back to nothing when all tasks are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tespes import tes
from tespes.tes import parameters

_MB = 1000
_PLACES_OF_A_SITE = 100  # a batch system without a number of its own is as loaded as a Pulsar with so many places
_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a task counts for that does not say what it needs."""

    cpus: int = 1
    ram_gb: float = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a task asks for.

    :param labels: all that its Pulsar must have; :param pulsar: the name of the only one that will do
    """

    cpus: int
    ram_mb: int
    labels: frozenset[str] = frozenset()
    pulsar: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a Pulsar has; None is as much as anybody wants.

    :param places: attempts at a time; :param cpus, ram_mb: for all of them together
    :param largest_cpus, largest_ram_mb: for one of them
    :param labels: what tasks can ask for; :param weight: how much of the work it gets, where several could take it
    :param group: the Pulsar whose size classes this is one of; else its own name
    """

    group: str
    places: int | None = None
    cpus: int | None = None
    ram_mb: int | None = None
    largest_cpus: int | None = None
    largest_ram_mb: int | None = None
    labels: frozenset[str] = frozenset()
    weight: float = 1.0

    def __str__(self) -> str:
        """For people: `8 places, 16 cpus`, or whatever there is."""
        ram_gb = None if self.ram_mb is None else f"{self.ram_mb / _MB:g}"
        there = ((self.places, "places"), (self.cpus, "cpus"), (ram_gb, "GB of memory"))
        return ", ".join(f"{number} {of}" for number, of in there if number is not None) or "a batch system"

    @property
    def most_cpus(self) -> float:
        """That a single task can have."""
        return _least(self.cpus, self.largest_cpus)

    @property
    def most_ram_mb(self) -> float:
        """That a single task can have."""
        return _least(self.ram_mb, self.largest_ram_mb)


@dataclass(frozen=True, slots=True)
class Used:
    """A Pulsar, and what of it is taken."""

    offer: Offer
    places: int = 0
    cpus: int = 0
    ram_mb: int = 0

    @property
    def ram_gb(self) -> float:
        """The memory that is taken."""
        return self.ram_mb / _MB

    @property
    def places_free(self) -> int | None:
        """None: as many as anybody wants. Never below zero, though settings may have become smaller."""
        return _free(self.offer.places, self.places)

    @property
    def cpus_free(self) -> int | None:
        """As `places_free`."""
        return _free(self.offer.cpus, self.cpus)

    @property
    def ram_gb_free(self) -> float | None:
        """As `places_free`."""
        free_mb = _free(self.offer.ram_mb, self.ram_mb)
        return None if free_mb is None else free_mb / _MB

    def plus(self, wish: Wish) -> "Used":
        """With one more task there."""
        return replace(self, places=self.places + 1, cpus=self.cpus + wish.cpus, ram_mb=self.ram_mb + wish.ram_mb)

    def minus(self, wish: Wish) -> "Used":
        """With that task gone."""
        return replace(self, places=self.places - 1, cpus=self.cpus - wish.cpus, ram_mb=self.ram_mb - wish.ram_mb)

    def has_room(self, wish: Wish) -> bool:
        """Whether the task fits into what is free now; that it ever can is `suits`' to say."""
        offer = self.offer
        return (
            (offer.places is None or self.places < offer.places)
            and (offer.cpus is None or self.cpus + wish.cpus <= offer.cpus)
            and (offer.ram_mb is None or self.ram_mb + wish.ram_mb <= offer.ram_mb)
        )

    def load(self) -> float:
        """The fullest of what it has, as a share, by its weight."""
        offer = self.offer
        of_places = self.places / (offer.places or _PLACES_OF_A_SITE)
        of_cpus = self.cpus / offer.cpus if offer.cpus else 0.0
        of_ram = self.ram_mb / offer.ram_mb if offer.ram_mb else 0.0
        return max(of_places, of_cpus, of_ram) / offer.weight


def wish(task: tes.Task, defaults: Defaults) -> Wish:
    """What the task asks for. 0 cpus or 0 GB is what clients send that do not say."""
    asked = task.resources or tes.Resources()
    return Wish(
        cpus=asked.cpu_cores or defaults.cpus,
        ram_mb=megabytes(asked.ram_gb or defaults.ram_gb),
        labels=parameters.labels(task),
        pulsar=parameters.pulsar(task),
    )


def megabytes(gigabytes: float) -> int:
    """The same, in whole megabytes."""
    return round(gigabytes * _MB)


def suits(name: str, offer: Offer, asked: Wish) -> bool:
    """Whether that Pulsar could take the task if it were empty."""
    return (
        asked.pulsar in (None, name, offer.group)
        and asked.labels <= offer.labels
        and asked.cpus <= offer.most_cpus
        and asked.ram_mb <= offer.most_ram_mb
    )


def choose(asked: Wish, usable: Mapping[str, Used]) -> str | None:
    """The Pulsar that the task goes to now; None if there is no room at any that suits.

    Of the size classes of one Pulsar it is the smallest with room; of different Pulsars the one that is least loaded then.
    """
    smallest: dict[str, str] = {}
    for name, used in usable.items():
        if suits(name, used.offer, asked) and used.has_room(asked):
            known = smallest.get(used.offer.group)
            if known is None or _size(used.offer) < _size(usable[known].offer):
                smallest[used.offer.group] = name
    return min(smallest.values(), key=lambda name: (usable[name].plus(asked).load(), name), default=None)


def reserve(asked: Wish, usable: Mapping[str, Used]) -> str | None:
    """The Pulsar to keep free for a task that has waited too long: of those that suit the least loaded; None if none does."""
    suiting = [name for name, used in usable.items() if suits(name, used.offer, asked)]
    return min(suiting, key=lambda name: (usable[name].load(), name), default=None)


def impossible(asked: Wish, offers: Mapping[str, Offer]) -> str | None:
    """Why no Pulsar of the settings can ever take the task, as exactly as it can be said; None if one can."""
    if not offers:
        return "no Pulsar is configured: name one under [default.pulsars] in the settings"
    left = [offer for name, offer in offers.items() if asked.pulsar in (None, name, offer.group)]
    if not left:
        return f"asks for the Pulsar {asked.pulsar}, which is not in the settings"
    left = [offer for offer in left if asked.labels <= offer.labels]
    if not left:
        labels = ", ".join(sorted(asked.labels))
        return f"no Pulsar has the labels {labels}" if asked.pulsar is None else f"{asked.pulsar} has not the labels {labels}"
    return _too_large(asked, left)


def _too_large(asked: Wish, left: Sequence[Offer]) -> str | None:
    """Why none of these is large enough: they have been sifted by name and labels."""
    with_labels = f" with the labels {', '.join(sorted(asked.labels))}" if asked.labels else ""
    whose = f"the largest Pulsar{with_labels}" if asked.pulsar is None else f"the Pulsar {asked.pulsar}"
    most_cpus = max(offer.most_cpus for offer in left)
    if asked.cpus > most_cpus:
        return f"asks for {asked.cpus} cpus, {whose} has {most_cpus}"
    most_ram_mb = max(offer.most_ram_mb for offer in left)
    if asked.ram_mb > most_ram_mb:
        return f"asks for {asked.ram_mb / _MB:g} GB of memory, {whose} has {most_ram_mb / _MB:g}"
    if any(asked.cpus <= offer.most_cpus and asked.ram_mb <= offer.most_ram_mb for offer in left):
        return None
    return f"asks for {asked.cpus} cpus and {asked.ram_mb / _MB:g} GB of memory, no Pulsar{with_labels} has both"


def why(asked: Wish, offers: Mapping[str, Offer], troubles: Mapping[str, str | None]) -> str:
    """Why the task waits, in words that do not change with every task that comes or goes: each change is an event.

    :param troubles: for each Pulsar None if it is usable, else why it is not
    """
    reason = impossible(asked, offers)
    if reason is not None:
        return reason
    suiting = [name for name, offer in offers.items() if suits(name, offer, asked)]
    closed = [(name, trouble) for name in suiting if (trouble := troubles.get(name, "not connected yet")) is not None]
    full = [name for name in suiting if troubles.get(name, "") is None]
    said = [f"no place for it is free at {_few(full)}"] if full else []
    troubled = dict.fromkeys(trouble for _, trouble in closed)
    said.extend(f"{_few([name for name, its in closed if its == trouble])}: {trouble}" for trouble in troubled)
    return "; ".join(said)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _size(offer: Offer) -> tuple[float, float]:
    return (offer.most_cpus, offer.most_ram_mb)


def _least(*numbers: int | None) -> float:
    return min((number for number in numbers if number is not None), default=float("inf"))


def _free(there: int | None, taken: int) -> int | None:
    return None if there is None else max(there - taken, 0)
