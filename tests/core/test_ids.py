"""New ids are UUIDs of version 7, and grow."""

import time
import uuid

from tespes.flow.ids import new_id


def test_new_ids_are_uuids_of_version_7_that_grow_with_time() -> None:
    """RFC 9562: a later millisecond gives a greater id; no two are the same."""
    first = new_id()
    time.sleep(0.002)
    later = [new_id() for _ in range(1000)]
    assert all(first < each for each in later)
    assert len(set(later)) == len(later)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in later} == {(7, uuid.RFC_4122)}
