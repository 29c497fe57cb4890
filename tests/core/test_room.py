"""Who goes next: priority, fair share, age; nobody is blocked by one who finds no place, and nobody starves."""

import random
from collections.abc import Iterable, Mapping

import given as g
from tespes import tes
from tespes.flow.execute import KnownTask
from tespes.flow.room import Room
from tespes.pulsar import Site
from tespes.pulsar.site import Largest
from tespes.task.placement import Defaults

EXECUTOR = tes.Executor(image="any", command=("true",))


class Clock:
    """Seconds, as many as a test wants."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def site(
    name: str, slots: int | None = None, *, cpus: int | None = None, labels: str = "", largest: Largest | None = None
) -> Site:
    """A Pulsar that is not there."""
    where = (name, "amqp://127.0.0.1/", name, None, slots, {"kind": "sandbox"}, "http://127.0.0.1")
    return Site(*where, cpus=cpus, labels=frozenset(labels.split()), largest=largest or Largest())


def room(*sites: Site, clock: Clock | None = None) -> Room:
    """Their places."""
    return Room({each.name: each for each in sites}, Defaults(1, 1), patience_s=300, clock=clock or Clock())


def task(name: str, owner: str = "A", cpus: int = 1, **parameters: str) -> KnownTask:
    """A task of somebody."""
    asked = tes.Resources(cpu_cores=cpus, backend_parameters=parameters or None)
    state = g.state_after(g.created())
    assert state is not None
    return KnownTask(name, owner, tes.Task(executors=(EXECUTOR,), resources=asked), (), state)


def usable(places: Room) -> Mapping[str, str | None]:
    """All Pulsars are."""
    return dict.fromkeys(places.used())


def placed(places: Room) -> list[str]:
    """The tasks that go now, in their order."""
    return [task_id for task_id, _ in iter(lambda: places.next(usable(places)), None)]


def wait(places: Room, tasks: Iterable[KnownTask]) -> None:
    """They wait, one after the other."""
    for each in tasks:
        places.wait(each)


class TestOrder:
    """Whose turn it is."""

    def test_priority_comes_first_then_age(self) -> None:
        """The higher number goes first; among equals who has waited longest."""
        places = room(site("a", 9))
        wait(places, (task("old"), task("low", priority="-1"), task("high", priority="1000"), task("young")))
        assert placed(places) == ["high", "old", "young", "low"]

    def test_who_has_least_comes_next(self) -> None:
        """Cpus count, not tasks; and what runs already counts."""
        places = room(site("a", 9))
        places.hold(task("runs", "A", 4), "a")
        wait(places, (task("a1", "A"), task("b1", "B", 3), task("b2", "B", 3), task("c1", "C")))
        assert placed(places) == ["b1", "c1", "b2", "a1"]

    def test_ten_thousand_tasks_of_one_owner_delay_anothers_first_by_at_most_one_freed_place(self) -> None:
        """However many A has waiting and running: the first place that is freed after B comes is B's."""
        places = room(site("a", 8), site("b", 16))
        wait(places, (task(f"a{number}", "A") for number in range(10_000)))
        running = placed(places)
        assert len(running) == 24
        for number in range(3):
            places.wait(task(f"b{number}", "B"))
            places.leave(running[number])
            assert placed(places) == [f"b{number}"]

    def test_that_holds_also_when_those_of_the_other_have_waited_for_days(self) -> None:
        """Patience keeps a Pulsar from those who are behind, and B's first is not."""
        clock = Clock()
        places = room(site("a", cpus=8), clock=clock)
        wait(places, (task(f"a{number}", "A", cpus=1 + number % 8) for number in range(500)))
        running = placed(places)
        clock.now_s += 200_000
        assert placed(places) == []
        places.wait(task("b", "B"))
        places.leave(running[0])
        assert placed(places)[0] == "b"

    def test_asking_again_keeps_the_turn(self) -> None:
        """A task that is told twice that it waits waits once."""
        places = room(site("a", 1))
        wait(places, (task("one"), task("two"), task("one")))
        assert places.waiting == 2
        assert placed(places) == ["one"]

    def test_who_leaves_is_not_chosen(self) -> None:
        """From the head, the middle and the end of a line."""
        places = room(site("a", 9))
        wait(places, (task(str(number)) for number in range(6)))
        for gone in ("0", "3", "5", "5", "nobody"):
            places.leave(gone)
        assert placed(places) == ["1", "2", "4"]


class TestPlaces:
    """What is taken."""

    def test_a_place_is_taken_at_once_and_free_again_when_the_task_leaves(self) -> None:
        """No event is awaited in between."""
        places = room(site("a", 1))
        wait(places, (task("one"), task("two")))
        assert placed(places) == ["one"]
        places.hold(task("one"), "a")
        assert placed(places) == []
        places.leave("one")
        assert placed(places) == ["two"]

    def test_a_task_that_waits_again_has_given_its_place_back(self) -> None:
        """Its attempt was lost."""
        places = room(site("a", 1))
        places.hold(task("one"), "a")
        places.wait(task("one"))
        assert (places.used()["a"].places, places.waiting) == (0, 1)

    def test_an_attempt_at_a_pulsar_that_is_not_in_the_settings_counts_for_its_owner_only(self) -> None:
        """It was removed while it had tasks."""
        places = room(site("a", 1))
        places.hold(task("old", "A"), "removed")
        wait(places, (task("a", "A"), task("b", "B")))
        assert placed(places) == ["b"]
        places.leave("old")
        assert set(places.used()) == {"a"}

    def test_a_pulsar_that_is_not_usable_gets_nothing(self) -> None:
        """Nor one that nobody has spoken of; as soon as it is, it does."""
        places = room(site("a", 1), site("b", 1))
        wait(places, (task("one"), task("two")))
        assert places.next({"a": "drained"}) is None
        assert places.next({"a": "drained", "b": None}) == ("one", "b")
        assert places.next({"a": "drained", "b": None}) is None
        assert places.next({"a": None, "b": None}) == ("two", "a")

    def test_everybody_who_waits_has_a_reason(self) -> None:
        """Those that no Pulsar can ever take have theirs."""
        places = room(site("a", 1))
        wait(places, (task("one"), task("gpu", labels="gpu"), task("two")))
        assert placed(places) == ["one"]
        said = dict(places.reasons(usable(places)))
        assert said == {"gpu": "no Pulsar has the labels gpu", "two": "no place for it is free at a"}


class TestPatience:
    """A task that is too large for what is free."""

    def test_smaller_tasks_overtake_it_but_not_for_ever(self) -> None:
        """After `patience_s` its Pulsar takes nobody behind it, until it has gone there."""
        clock = Clock()
        places = room(site("a", cpus=4), clock=clock)
        wait(places, (task("s0"), task("large", cpus=4), *(task(f"s{number}") for number in range(1, 9))))
        assert placed(places) == ["s0", "s1", "s2", "s3"]
        places.leave("s0")
        assert placed(places) == ["s4"]
        clock.now_s = 300
        for gone in ("s1", "s2", "s3"):
            places.leave(gone)
            assert placed(places) == []
        places.leave("s4")
        assert placed(places) == ["large"]
        places.leave("large")
        assert placed(places) == ["s5", "s6", "s7", "s8"]

    def test_other_pulsars_are_not_kept_free(self) -> None:
        """One is enough, and always the same."""
        clock = Clock()
        places = room(site("a", cpus=4), site("b", cpus=4), clock=clock)
        wait(places, (task(f"s{number}") for number in range(8)))
        running = placed(places)
        wait(places, (task("large", cpus=4), *(task(f"t{number}") for number in range(20))))
        clock.now_s = 300
        kept: set[str] = set()
        for gone in running:
            there = {name for name, each in places.used().items() if each.cpus == 4}
            places.leave(gone)
            if not placed(places):
                kept |= there - {name for name, each in places.used().items() if each.cpus == 4}
        assert len(kept) == 1

    def test_what_can_never_go_anywhere_keeps_nothing_free(self) -> None:
        """It waits for other settings."""
        clock = Clock()
        places = room(site("a", cpus=4), clock=clock)
        wait(places, (task("huge", cpus=400), task("gpu", labels="gpu"), task("s")))
        clock.now_s = 10_000
        assert placed(places) == ["s"]

    def test_who_has_a_higher_priority_is_not_held_up(self) -> None:
        """It is before the one that waits."""
        clock = Clock()
        places = room(site("a", cpus=4), clock=clock)
        wait(places, (task("s0"), task("large", cpus=4)))
        assert placed(places) == ["s0"]
        clock.now_s = 300
        places.wait(task("urgent", priority="1"))
        assert placed(places) == ["urgent"]


def test_whatever_happens_nothing_is_overbooked_lost_or_left_waiting() -> None:
    """Random tasks and ends: at every moment what is taken fits, and in the end everybody has had a place."""
    chance = random.Random(5)
    clock = Clock()
    sites = (site("a", 3, cpus=8), site("b", cpus=16, labels="gpu"), site("c", 4, largest=Largest(2, 8.0)))
    places = room(*sites, clock=clock)
    waiting, running, done = 0, set[str](), 0
    while done < 400:
        clock.now_s += chance.random() * 100
        if waiting < 400 and chance.random() < 0.6:
            labels = {"labels": "gpu"} if chance.random() < 0.2 else {}
            owner, cpus = chance.choice("ABC"), chance.choice((1, 1, 2, 8))
            places.wait(task(f"t{waiting}", owner, cpus, priority=str(chance.choice((0, 0, 1))), **labels))
            waiting += 1
        elif running:
            gone = chance.choice(sorted(running))
            running.remove(gone)
            places.leave(gone)
            done += 1
        running.update(placed(places))
        taken = places.used()
        assert taken["a"].places <= 3
        assert taken["a"].cpus <= 8
        assert taken["b"].cpus <= 16
        assert taken["c"].places <= 4
        assert sum(each.places for each in taken.values()) == len(running)
        assert places.waiting == waiting - done - len(running)
    assert all(each.places == each.cpus == each.ram_mb == 0 for each in places.used().values())
