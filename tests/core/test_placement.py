"""Which Pulsar a task goes to, and in which words it is told why it waits."""

import pytest

from tespes import tes
from tespes.task import placement
from tespes.task.placement import Defaults, Offer, Used, Wish

EXECUTOR = tes.Executor(image="any", command=("true",))


def wish(cpus: int = 1, ram_gb: float = 1, labels: str = "", pulsar: str | None = None) -> Wish:
    """What a task asks for."""
    return Wish(cpus, placement.megabytes(ram_gb), frozenset(labels.split()), pulsar)


def offer(
    group: str = "a", places: int | None = None, cpus: int | None = None, *, labels: str = "", weight: float = 1.0
) -> Offer:
    """What a Pulsar has."""
    return Offer(group, places, cpus, labels=frozenset(labels.split()), weight=weight)


def sized(group: str, cpus: int, ram_gb: float, places: int | None = None) -> Offer:
    """A size class of a Pulsar."""
    return Offer(group, places, largest_cpus=cpus, largest_ram_mb=placement.megabytes(ram_gb))


def used(**offers: Offer) -> dict[str, Used]:
    """Pulsars that are empty; `a_small` is called `a.small`."""
    return {name.replace("_", "."): Used(each) for name, each in offers.items()}


def test_a_task_that_does_not_say_what_it_needs_counts_for_the_defaults() -> None:
    """0 is what clients send that do not say."""
    silent = tes.Task(executors=(EXECUTOR,), resources=tes.Resources(cpu_cores=0, ram_gb=0))
    for task in (silent, tes.Task(executors=(EXECUTOR,))):
        assert placement.wish(task, Defaults(2, 3.5)) == Wish(2, 3500)
    asked = tes.Resources(cpu_cores=4, ram_gb=0.5, backend_parameters={"labels": "gpu", "pulsar": "site"})
    assert placement.wish(tes.Task(executors=(EXECUTOR,), resources=asked), Defaults()) == wish(4, 0.5, "gpu", "site")


def test_places_cpus_and_memory_each_limit() -> None:
    """None is no limit; what is full in one way is full."""
    for full in (Offer("a", places=2), Offer("a", cpus=8), Offer("a", ram_mb=20_000)):
        one = Used(full).plus(wish(4, 10))
        assert one.has_room(wish(4, 10))
        assert not one.plus(wish(4, 10)).has_room(wish(1, 0.001))
    assert Used(Offer("a")).plus(wish(1000, 1000)).has_room(wish(1000, 1000))


def test_what_is_freed_is_free_to_the_last_megabyte() -> None:
    """Sums of tenths do not come back to nothing; whole megabytes do."""
    some = Used(Offer("a", places=50, ram_mb=1000))
    for _ in range(10):
        some = some.plus(wish(1, 0.1))
    assert (some.ram_gb, some.ram_gb_free, some.places_free) == (1.0, 0.0, 40)
    for _ in range(10):
        some = some.minus(wish(1, 0.1))
    assert some == Used(Offer("a", places=50, ram_mb=1000))


def test_what_a_pulsar_has_is_said_shortly() -> None:
    """When TESPES starts."""
    assert str(Offer("a", 8)) == "8 places"
    assert str(Offer("a", cpus=16, ram_mb=64_500)) == "16 cpus, 64.5 GB of memory"
    assert str(Offer("a")) == "a batch system"


def test_a_pulsar_that_became_smaller_has_nothing_free_and_no_less() -> None:
    """What was sent there stays there."""
    assert Used(Offer("a", places=1), places=3).places_free == 0
    assert not Used(Offer("a", places=1), places=3).has_room(wish())


def test_the_least_loaded_pulsar_takes_the_task() -> None:
    """Relative to what it has, and to its weight; of equals the first by name."""
    pulsars = used(a=offer("a", places=4), b=offer("b", places=8))
    order = []
    for _ in range(6):
        chosen = placement.choose(wish(), pulsars)
        assert chosen is not None
        pulsars[chosen] = pulsars[chosen].plus(wish())
        order.append(chosen)
    assert order == ["b", "a", "b", "b", "a", "b"]
    heavy = used(a=offer("a", places=4, weight=3), b=offer("b", places=8))
    assert placement.choose(wish(), heavy) == "a"


def test_the_fullest_of_what_a_pulsar_has_is_its_load() -> None:
    """A Pulsar with free places and hardly a cpu is full for the next."""
    pulsars = used(a=offer("a", places=100, cpus=8), b=offer("b", places=4))
    pulsars["a"] = pulsars["a"].plus(wish(6))
    pulsars["b"] = pulsars["b"].plus(wish())
    assert placement.choose(wish(), pulsars) == "b"


def test_a_batch_system_takes_what_others_have_no_room_for() -> None:
    """It queues itself: it never is full."""
    pulsars = used(a=offer("a", places=1), b=Offer("b"))
    pulsars["a"] = pulsars["a"].plus(wish())
    for _ in range(1000):
        assert placement.choose(wish(), pulsars) == "b"
        pulsars["b"] = pulsars["b"].plus(wish())


def test_the_smallest_size_class_with_room_is_taken() -> None:
    """Whatever its load; the next one if it is full."""
    classes = used(s_small=sized("s", 1, 4, places=1), s_large=sized("s", 16, 64), s_medium=sized("s", 4, 16))
    assert placement.choose(wish(1, 4), classes) == "s.small"
    assert placement.choose(wish(1, 4.5), classes) == "s.medium"
    assert placement.choose(wish(8, 1), classes) == "s.large"
    assert placement.choose(wish(17, 1), classes) is None
    classes["s.small"] = classes["s.small"].plus(wish(1, 4))
    assert placement.choose(wish(1, 4), classes) == "s.medium"


def test_labels_and_names_are_kept_to() -> None:
    """All labels; a Pulsar with size classes is meant by its own name, too."""
    pulsars = used(a=offer("a", places=1, labels="gpu"), b=offer("b", places=9, labels="gpu ssd"), s_small=sized("s", 1, 4))
    assert placement.choose(wish(labels="gpu ssd"), pulsars) == "b"
    assert placement.choose(wish(labels="gpu", pulsar="a"), pulsars) == "a"
    assert placement.choose(wish(labels="ssd", pulsar="a"), pulsars) is None
    assert placement.choose(wish(pulsar="s"), pulsars) == "s.small" == placement.choose(wish(pulsar="s.small"), pulsars)


SITES = {
    "big": Offer("big", 9, 16, 64_000),
    "gpu": Offer("gpu", 9, 8, 256_000, labels=frozenset({"gpu"})),
    "s.small": sized("s", 1, 4),
}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (wish(16, 64), None),
        (wish(8, 256, "gpu"), None),
        (wish(64), "asks for 64 cpus, the largest Pulsar has 16"),
        (wish(1, 500), "asks for 500 GB of memory, the largest Pulsar has 256"),
        (wish(16, 100.5), "asks for 16 cpus and 100.5 GB of memory, no Pulsar has both"),
        (wish(16, 1, "gpu"), "asks for 16 cpus, the largest Pulsar with the labels gpu has 8"),
        (wish(labels="ssd gpu"), "no Pulsar has the labels gpu, ssd"),
        (wish(pulsar="c"), "asks for the Pulsar c, which is not in the settings"),
        (wish(labels="gpu", pulsar="big"), "big has not the labels gpu"),
        (wish(2, pulsar="s"), "asks for 2 cpus, the Pulsar s has 1"),
        (wish(1, 5, pulsar="s.small"), "asks for 5 GB of memory, the Pulsar s.small has 4"),
    ],
)
def test_what_no_pulsar_can_ever_do_is_said_exactly(asked: Wish, reason: str | None) -> None:
    """Settings may change, so the task waits; and it is the whole reason."""
    assert placement.impossible(asked, SITES) == reason
    if reason is not None:
        assert placement.why(asked, SITES, {}) == reason


def test_a_reason_names_each_pulsar_and_why_not() -> None:
    """Those that are full together; those that are away with what is the matter."""
    troubles = {"big": None, "gpu": "drained: new disks", "s.small": "RabbitMQ does not answer"}
    said = placement.why(wish(), SITES, troubles)
    assert said == "no place for it is free at big; gpu: drained: new disks; s.small: RabbitMQ does not answer"
    assert placement.why(wish(labels="gpu"), SITES, troubles) == "gpu: drained: new disks"
    assert placement.why(wish(pulsar="s"), SITES, {}) == "s.small: not connected yet"
    assert placement.why(wish(), {}, {}) == "no Pulsar is configured: name one under [default.pulsars] in the settings"


def test_many_pulsars_are_a_short_reason() -> None:
    """Five are named."""
    many = {f"site-{number}": offer(f"site-{number}", places=1) for number in range(100)}
    said = placement.why(wish(), many, dict.fromkeys(many))
    assert said == "no place for it is free at site-0, site-1, site-2, site-3, site-4 and 95 more"
