"""That each filter is looked up in an index: what the databases say of the statements that are really sent.

SQLite explains every statement that the store runs. On MongoDB the server's `explain` is asked about the store's queries.
The wire server of the tests tells the truth about itself, but its planner is simple: it uses an index if that covers
everything that is asked for. So each filter is tested alone there; all of them together, and that a page is read in the
order of its index, only where TESPES_TEST_MONGODB_URI names a real MongoDB.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

import stores
from stores import MongoDB
from tespes.projections import TASK_VIEW
from tespes.store import Store, mongodb_views, sqlite_views
from tespes.store.conditions import Condition, OneOf
from views import document, name_begins, state_is, tagged

COUNT = 1200
CASES: list[tuple[list[Condition], set[str]]] = [
    ([], {"position"}),
    ([state_is("COMPLETE")], {"state"}),
    ([state_is("RUNNING", "CANCELING")], {"state"}),
    ([name_begins("rare-1")], {"name"}),
    ([name_begins("common")], {"name", "position"}),
    ([tagged("project")], {"tags"}),
    ([tagged("project", "x")], {"tags"}),
    ([tagged("project", "x"), tagged("number", "7")], {"tags"}),
    ([state_is("COMPLETE"), tagged("number", "7")], {"state", "tags"}),
    ([state_is("RUNNING"), name_begins("common"), tagged("project")], {"state", "name", "tags"}),
    ([name_begins("common"), tagged("project")], {"name", "tags"}),
]
IDS = ["+".join(type(each).__name__ for each in where) or "none" for where, _ in CASES]


async def fill(store: Store, count: int) -> None:
    """Tasks of which most are complete, have a common name and one tag, and some are not."""
    await store.documents.prepare(TASK_VIEW)
    everything = [
        document(
            f"t{n}",
            1,
            n,
            state="COMPLETE" if n % 100 else "RUNNING",
            name=f"common-{n}" if n % 20 else f"rare-{n}",
            tags={"project": "x", "number": str(n)},
        )
        for n in range(1, count + 1)
    ]
    await store.documents.save(TASK_VIEW, everything, count)


async def explained(store: Store, where: Sequence[Condition], *, whole: bool) -> list[str]:
    """The lines of the plans of the statements that a page takes."""
    documents = store.documents
    assert isinstance(documents, sqlite_views.Documents)
    statements: list[str] = []
    await documents._reader.run(lambda database: database.set_trace_callback(statements.append))
    await documents.page(TASK_VIEW, where, before=1000, limit=20, whole=whole)
    await documents._reader.run(lambda database: database.set_trace_callback(None))

    def explain(database: sqlite3.Connection) -> list[str]:
        return [row[3] for each in statements for row in database.execute(f"EXPLAIN QUERY PLAN {each}")]

    return await documents._reader.run(explain)


@pytest.mark.parametrize("whole", [False, True], ids=["MINIMAL", "FULL"])
@pytest.mark.parametrize(("where", "_"), CASES, ids=IDS)
async def test_sqlite_searches_an_index(
    tmp_path: Path,
    where: list[Condition],
    _: set[str],
    whole: bool,  # noqa: FBT001 - a parameter
) -> None:
    """No statement walks through a table, and none sorts anything but the few that begin with a rare prefix."""
    async with stores.in_sqlite(tmp_path).open() as store:
        await fill(store, COUNT)
        plan = await explained(store, where, whole=whole)
    scanned = [line for line in plan if line.startswith("SCAN") and "task_view" in line]
    assert scanned == []
    searched = [line for line in plan if line.startswith("SEARCH w")]
    assert searched
    assert all("INDEX task_view_2_by" in line or "PRIMARY KEY" in line for line in searched), plan
    sorts = [line for line in plan if "TEMP B-TREE" in line]
    assert len(sorts) == (where == [name_begins("rare-1")]), plan
    reads_documents = any(line.startswith("SEARCH d") for line in plan) and whole
    assert reads_documents == whole


async def test_sqlite_takes_the_condition_that_fewest_fulfil(tmp_path: Path) -> None:
    """Whichever it is; a common one is only checked."""
    rare: list[tuple[Condition, str]] = [
        (tagged("number", "7"), "SEARCH w USING PRIMARY KEY (term=? AND position<?)"),
        (state_is("RUNNING"), "task_view_2_by_state (state=? AND rowid<?)"),
        (name_begins("rare-7"), "task_view_2_by_name (name>? AND name<?)"),
    ]
    common: list[Condition] = [tagged("project"), state_is("COMPLETE", "RUNNING"), name_begins("")]
    async with stores.in_sqlite(tmp_path).open() as store:
        await fill(store, COUNT)
        for condition, expected in rare:
            for where in ([condition, *common], [*common, condition]):
                plan = await explained(store, where, whole=False)
                walked = [line for line in plan[plan.index("CO-ROUTINE found") :] if line.startswith("SEARCH w")]
                assert [expected in line for line in walked] == [True], plan


@pytest.mark.parametrize(("where", "indexes"), [case for case in CASES if stores.REAL_MONGODB or len(case[0]) <= 1])
async def test_mongodb_searches_an_index(mongodb: MongoDB, tmp_path: Path, where: list[Condition], indexes: set[str]) -> None:
    """The plan that wins begins in an index of one of the conditions."""
    place = stores.in_mongodb(mongodb, tmp_path)
    async with place.open() as store:
        await fill(store, 200)
    stages = _mongodb_plan(place, where)
    assert stages[-1]["stage"] == "IXSCAN"
    assert next(iter(stages[-1]["keyPattern"])) in indexes
    in_order = where in ([], [state_is("COMPLETE")], [tagged("project", "x")])
    assert mongodb.server or not in_order or "SORT" not in {stage["stage"] for stage in stages}


async def test_mongodb_says_so_if_it_uses_no_index(mongodb: MongoDB, tmp_path: Path) -> None:
    """What the test above rests on: on what is in no index, a walk through the collection."""
    place = stores.in_mongodb(mongodb, tmp_path)
    async with place.open() as store:
        await fill(store, 200)
    assert _mongodb_plan(place, [OneOf("owner", frozenset({"somebody"}))], sort=False)[-1]["stage"] == "COLLSCAN"


def _mongodb_plan(place: stores.Place, where: list[Condition], *, sort: bool = True) -> list[dict[str, Any]]:
    """The stages of the plan that wins, the innermost last."""
    with MongoClient[dict[str, Any]](place.options.mongodb_uri) as client:
        found = client[place.options.mongodb_database][TASK_VIEW.table].find(mongodb_views.asked(where, None))
        plan = (found.sort("position", -1) if sort else found).limit(20).explain()["queryPlanner"]["winningPlan"]
    stages = [plan.get("queryPlan", plan)]
    while "inputStage" in stages[-1] or "inputStages" in stages[-1]:
        stages.append(stages[-1].get("inputStage") or stages[-1]["inputStages"][0])
    return stages
