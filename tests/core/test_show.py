"""What the command line shows of the log."""

from dataclasses import replace

import given as g
from tespes import events, show
from tespes.events import Meta, chain

META = Meta(at=g.at(0), actor="ada", owner="ada")


def test_an_event_of_a_newer_release_is_named_and_hides_no_other() -> None:
    """In a task's history as at the end of the log."""
    known = events.commit("0" * 32, g.TASK, 1, (events.TaskCancelRequested(), events.TaskCanceled()), META)
    newer = replace(known, events=(replace(known.events[0], type="TaskBlessed"), known.events[1]), decoded=None)
    entry = chain.link(newer, chain.data_hash(newer.stream, newer.events), chain.EMPTY)
    for lines in (list(show.history([entry])), list(show.entry(entry))):
        assert ["TaskBlessed" in line for line in lines] == [True, False]
        assert ["TaskCanceled" in line for line in lines] == [False, True]
    assert all(g.TASK in line for line in show.entry(entry))
