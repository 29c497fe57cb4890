"""Hypothesis strategies: every event with any content, and whatever clients, Pulsars and runners may want in any order."""

from dataclasses import dataclass

from given import OTHER_RUN, RUN, TASK, at, created, ended
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tespes import events, task, tes
from tespes.events import Outcome
from tespes.task import commands
from tespes.task.commands import PulsarStatus
from tespes.task.state import Canceling, Claimed, Ended, Waiting

settings.register_profile(
    "tespes",
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tespes")

# Any text that JSON can carry: no lone surrogates; '.', '$' and what needs escapes come often.
texts = st.text(st.sampled_from('.$"\\/\0\n\x7f aä€דּ😀') | st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.dictionaries(texts, texts, max_size=3)
moments = st.integers(0, 10**12).map(lambda ms: at(ms / 1000)).map(events.moment.whole)
numbers = st.integers(1, 9)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
sizes_bytes = st.integers(0, 2**53 - 1)
paths = texts.map(lambda text: "/data/" + text.replace("..", ""))
gigabytes = st.none() | st.floats(0, allow_nan=False, allow_infinity=False)


def _tuples(of: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=most).map(tuple)
