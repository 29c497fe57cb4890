"""What both stores promise of groups of documents (`store/promise.py`, Documents.groups). Each test runs on both."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import stores
from tespes.projections import TASK_VIEW
from tespes.store import Group, Store, sqlite_views
from views import document

LIVE = ("QUEUED", "RUNNING", "CANCELING")


async def test_a_group_is_counted_and_knows_its_first(a_store: Store) -> None:
    """Only those that were asked for; a value that no document has is not there. What changes is counted where it is now."""
    await a_store.documents.prepare(TASK_VIEW)
    assert await a_store.documents.groups(TASK_VIEW, "state", LIVE) == {}
    states = {1: "COMPLETE", 2: "RUNNING", 3: "QUEUED", 4: "RUNNING", 5: "QUEUED", 6: "QUEUED"}
    everything = [document(f"t{n}", 1, n, state=state) for n, state in states.items()]
    await a_store.documents.save(TASK_VIEW, everything, 6)
    assert await a_store.documents.groups(TASK_VIEW, "state", LIVE) == {"QUEUED": Group(3, 3), "RUNNING": Group(2, 2)}
    assert await a_store.documents.groups(TASK_VIEW, "state", ("COMPLETE",)) == {"COMPLETE": Group(1, 1)}
    await a_store.documents.save(TASK_VIEW, [document("t3", 7, 3, state="RUNNING")], 7)
    assert await a_store.documents.groups(TASK_VIEW, "state", LIVE) == {"QUEUED": Group(2, 5), "RUNNING": Group(3, 2)}


async def test_groups_are_of_the_generation_that_is_asked_for(a_store: Store) -> None:
    """A view that is being made beside another counts for nobody."""
    await a_store.documents.prepare(TASK_VIEW)
    await a_store.documents.save(TASK_VIEW, [document("a", 1, 1)], 1)
    new = replace(TASK_VIEW, generation=1)
    await a_store.documents.prepare(new)
    await a_store.documents.save(new, [document("a", 1, 1), document("b", 1, 2)], 2)
    assert await a_store.documents.groups(TASK_VIEW, "state", LIVE) == {"QUEUED": Group(1, 1)}
    assert await a_store.documents.groups(new, "state", LIVE) == {"QUEUED": Group(2, 1)}


async def test_sqlite_counts_in_the_index(tmp_path: Path) -> None:
    """However many tasks have ended, those that live are found without walking over them."""
    async with stores.in_sqlite(tmp_path).open() as store:
        documents = store.documents
        assert isinstance(documents, sqlite_views.Documents)
        await documents.prepare(TASK_VIEW)
        statements: list[str] = []
        await documents._counter.run(lambda database: database.set_trace_callback(statements.append))
        await documents.groups(TASK_VIEW, "state", LIVE)
        await documents._counter.run(lambda database: database.set_trace_callback(None))

        def explain(database: sqlite3.Connection) -> list[str]:
            return [row[3] for each in statements for row in database.execute(f"EXPLAIN QUERY PLAN {each}")]

        plan = await documents._counter.run(explain)
    assert plan == [f"SEARCH {TASK_VIEW.table} USING COVERING INDEX {TASK_VIEW.table}_by_state (state=?)"]
