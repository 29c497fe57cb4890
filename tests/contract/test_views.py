"""What both stores promise of views (`store/promise.py`, Documents). Each test runs on SQLite and on MongoDB."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from stores import Place
from tespes.projections import TASK_VIEW, Document
from tespes.store import Store
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf, first_after
from views import document, matching, name_begins, page, state_is, tagged


class TestViews:
    """Documents with the position they are at."""

    @pytest.fixture(autouse=True)
    async def _prepared(self, a_store: Store) -> None:
        await a_store.documents.prepare(TASK_VIEW)

    async def test_an_empty_view_is_at_0(self, a_store: Store) -> None:
        """Nothing was applied. Preparing again changes nothing."""
        await a_store.documents.prepare(TASK_VIEW)
        assert await a_store.documents.position(TASK_VIEW) == 0
        assert await a_store.documents.load(TASK_VIEW, ["a"]) == {}
        assert await a_store.documents.load(TASK_VIEW, []) == {}
        assert await page(a_store) == []

    async def test_what_is_saved_is_found(self, a_store: Store) -> None:
        """Documents and position, together; a position without documents too."""
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1), document("b", 3, 2, name="x")], 7)
        assert await a_store.documents.load(TASK_VIEW, ["a", "b", "c"]) == {
            "a": document("a", 1, 1),
            "b": document("b", 3, 2, name="x"),
        }
        assert await a_store.documents.position(TASK_VIEW) == 7
        await a_store.documents.save(TASK_VIEW, [], 9)
        assert await a_store.documents.position(TASK_VIEW) == 9

    async def test_a_newer_version_replaces_and_an_older_one_does_not(self, a_store: Store) -> None:
        """In one batch as in several; the others of the batch are saved."""
        await a_store.documents.save(TASK_VIEW, [document("a", 5, 1, state="RUNNING")], 5)
        await a_store.documents.save(TASK_VIEW, [document("a", 4, 1), document("b", 1, 6)], 6)
        assert await a_store.documents.load(TASK_VIEW, ["a", "b"]) == {
            "a": document("a", 5, 1, state="RUNNING"),
            "b": document("b", 1, 6),
        }
        await a_store.documents.save(TASK_VIEW, [document("a", 6, 1, state="COMPLETE")], 7)
        assert await a_store.documents.load(TASK_VIEW, ["a"]) == {"a": document("a", 6, 1, state="COMPLETE")}
        assert await page(a_store, state_is("RUNNING")) == []

    async def test_what_comes_twice_changes_nothing(self, a_store: Store) -> None:
        """Duplicates are harmless: the documents stay, and the view's position does not go back."""
        batches = [([document("a", 1, 1)], 1), ([document("a", 2, 1), document("b", 1, 2)], 3)]
        for documents, position in [*batches, *batches, batches[0]]:
            await a_store.documents.save(TASK_VIEW, documents, position)
        assert await a_store.documents.position(TASK_VIEW) == 3
        assert await page(a_store) == [document("b", 1, 2), document("a", 2, 1)]

    async def test_a_page_is_newest_first(self, a_store: Store) -> None:
        """By the position of creation, below `before`, at most `limit`; page after page gives each once."""
        everything = [document(f"t{n}", 1, n) for n in (3, 1, 10, 2, 7)]
        await a_store.documents.save(TASK_VIEW, everything, 10)
        assert [each["position"] for each in await page(a_store)] == [10, 7, 3, 2, 1]
        assert [each["position"] for each in await page(a_store, limit=2)] == [10, 7]
        assert [each["position"] for each in await page(a_store, before=7, limit=2)] == [3, 2]
        assert await page(a_store, before=1) == []

    async def test_a_page_is_of_what_is_asked_for(self, a_store: Store) -> None:
        """All columns together; together with `before`."""
        states = {1: "QUEUED", 2: "RUNNING", 3: "QUEUED", 4: "RUNNING", 5: "RUNNING"}
        everything = [document(f"t{n}", 1, n, state=state, name=f"n{n % 2}") for n, state in states.items()]
        await a_store.documents.save(TASK_VIEW, everything, 5)
        assert [each["id"] for each in await page(a_store, state_is("RUNNING"))] == ["t5", "t4", "t2"]
        assert [each["id"] for each in await page(a_store, state_is("RUNNING"), before=5)] == ["t4", "t2"]
        assert [each["id"] for each in await page(a_store, state_is("RUNNING"), name_begins("n0"))] == ["t4", "t2"]
        assert await page(a_store, state_is("CANCELED")) == []

    async def test_a_short_page_has_the_columns_only(self, a_store: Store) -> None:
        """`whole` False: id and columns, the same in both stores; a column that a document has not is null."""
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1, name="x", task={"id": "a"}), document("b", 1, 2)], 2)
        short = await a_store.documents.page(TASK_VIEW, (), before=None, limit=9, whole=False)
        assert short == [
            {"id": "b", "position": 2, "state": "QUEUED", "owner": "anonymous", "name": None},
            {"id": "a", "position": 1, "state": "QUEUED", "owner": "anonymous", "name": "x"},
        ]

    async def test_a_view_that_is_forgotten_is_empty(self, a_store: Store) -> None:
        """Its position is 0 again, and it can be made anew, with older versions too."""
        await a_store.documents.save(TASK_VIEW, [document("a", 5, 1)], 5)
        await a_store.documents.forget(TASK_VIEW)
        assert await a_store.documents.position(TASK_VIEW) == 0
        assert await page(a_store) == []
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1)], 1)
        assert await a_store.documents.load(TASK_VIEW, ["a"]) == {"a": document("a", 1, 1)}
        assert await a_store.documents.position(TASK_VIEW) == 1

    async def test_what_a_redaction_took_out_finds_nothing(self, a_store: Store) -> None:
        """A document that is unlisted, and saved with other tags, is found by these alone; the others by what they have."""
        before, other = document("a", 1, 1, tags={"who": "ada", "kind": "x"}), document("b", 1, 2, tags={"who": "ada"})
        await a_store.documents.save(TASK_VIEW, [before, other], 2)
        await a_store.documents.unlist(TASK_VIEW, before)
        after = document("a", 2, 1, tags={"who": "[redacted]", "kind": "x"})
        await a_store.documents.save(TASK_VIEW, [after], 3)
        assert await page(a_store, tagged("who", "ada")) == [other]
        assert await page(a_store, tagged("who", "[redacted]")) == await page(a_store, tagged("kind", "x")) == [after]
        assert await page(a_store, tagged("who")) == [other, after]

    async def test_many_documents_go_in_one_batch(self, a_store: Store) -> None:
        """As many as a follower reads at once."""
        everything = [document(f"t{n}", 1, n) for n in range(1, 501)]
        await a_store.documents.save(TASK_VIEW, everything, 500)
        assert len(await a_store.documents.load(TASK_VIEW, [each["id"] for each in everything])) == 500


class TestVersions:
    """A view of another version."""

    async def test_a_new_version_begins_empty_and_nothing_is_left_in_silence(self, a_store: Store, place: Place) -> None:
        """It has a position and documents of its own. SQLite, alone in its directory, removes the other; MongoDB names it."""
        older, newer = replace(TASK_VIEW, version=1), replace(TASK_VIEW, version=22)
        assert await a_store.documents.prepare(older) == []
        await a_store.documents.save(older, [document("a", 1, 1, tags={"x": "y"})], 7)
        left = await a_store.documents.prepare(newer)
        assert await a_store.documents.position(newer) == 0
        assert await a_store.documents.load(newer, ["a"]) == {}
        if place.options.mongodb_uri:
            assert left == ["task_view_1"]
            assert await a_store.documents.position(older) == 7
        else:
            assert left == []
            with closing(sqlite3.connect(place.state_dir / "views.sqlite3")) as database:
                names = {name for (name,) in database.execute("SELECT tbl_name FROM sqlite_master")}
                positions = database.execute("SELECT name FROM checkpoint").fetchall()
            assert names == {"checkpoint", "generation", "task_view_22", "task_view_22_body", "task_view_22_tags"}
            assert positions == []

    async def test_a_view_that_is_prepared_again_stays(self, a_store: Store) -> None:
        """Its documents and its position."""
        await a_store.documents.prepare(TASK_VIEW)
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1, tags={"x": "y"})], 7)
        assert await a_store.documents.prepare(TASK_VIEW) == []
        assert await a_store.documents.position(TASK_VIEW) == 7
        assert await page(a_store, tagged("x")) == [document("a", 1, 1, tags={"x": "y"})]


class TestConditions:
    """Which documents are on a page."""

    @pytest.fixture(autouse=True)
    async def _prepared(self, a_store: Store) -> None:
        await a_store.documents.prepare(TASK_VIEW)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("a", {"a", "a%", "a_b", "ab", "aé", "a\U0010ffff", "a\U0010ffffb"}),
            ("A", {"AB"}),
            ("a%", {"a%"}),
            ("a_", {"a_b"}),
            ("*", {"*"}),
            ("é", {"é"}),
            ("e", {"e\u0301"}),
            ("\ud7ff", {"\ud7ff", "\ud7ffx"}),
            ("a\U0010ffff", {"a\U0010ffff", "a\U0010ffffb"}),
            ("\U0010ffff", {"\U0010ffff", "\U0010ffff\U0010ffff"}),
            ("\U0010ffff\U0010ffff", {"\U0010ffff\U0010ffff"}),
            ("a\0", set()),
            ("'; --", {"'; --"}),
            ("$", {"$where"}),
        ],
    )
    async def test_a_prefix_is_taken_literally(self, a_store: Store, prefix: str, expected: set[str]) -> None:
        """Character by character: case counts, nothing is a wildcard, nothing is normalized, any Unicode goes."""
        names = ["", "a", "a%", "a_b", "ab", "aé", "AB", "b", "*", "é", "e\u0301", "\ud7ff", "\ud7ffx", "\ue000", "'; --"]
        names += ["a\U0010ffff", "a\U0010ffffb", "\U0010ffff", "\U0010ffff\U0010ffff", "$where"]
        everything = [document(f"t{n}", 1, n, name=name) for n, name in enumerate(names, start=1)]
        await a_store.documents.save(TASK_VIEW, [*everything, document("nameless", 1, 99)], 99)
        found = await page(a_store, name_begins(prefix))
        assert {each["name"] for each in found} == expected

    async def test_several_values_are_merged_newest_first(self, a_store: Store) -> None:
        """One of several states; page after page."""
        states = ["QUEUED", "RUNNING", "CANCELING", "COMPLETE"]
        await a_store.documents.save(TASK_VIEW, [document(f"t{n}", 1, n, state=states[n % 4]) for n in range(1, 41)], 40)
        wanted = state_is("RUNNING", "CANCELING")
        positions = [n for n in range(40, 0, -1) if n % 4 in {1, 2}]
        assert [each["position"] for each in await page(a_store, wanted)] == positions
        assert [each["position"] for each in await page(a_store, wanted, limit=3)] == positions[:3]
        assert [each["position"] for each in await page(a_store, wanted, before=positions[2], limit=3)] == positions[3:6]

    @pytest.mark.parametrize("where", [[OneOf("state", frozenset())], [OneOf("state", frozenset()), BeginsWith("name", "a")]])
    async def test_none_of_the_values_is_no_document(self, a_store: Store, where: list[Condition]) -> None:
        """A state that is never shown has no tasks."""
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1, name="a")], 1)
        assert await page(a_store, *where) == []

    async def test_pairs_are_told_apart(self, a_store: Store) -> None:
        """Keys and values do not run into each other, whatever characters they have."""
        tags = [
            {"a": "b"},
            {"a": "b\0c"},
            {"a\0b": "c"},
            {'a","b': "c"},
            {"a": 'b","c'},
            {"": "x"},
            {"x": ""},
            {"é.$": "ü"},
            {},
        ]
        everything = [document(f"t{n}", 1, n, tags=each) for n, each in enumerate(tags, start=1)]
        await a_store.documents.save(TASK_VIEW, everything, 9)
        for number, each in enumerate(tags[:-1], start=1):
            ((key, value),) = each.items()
            assert [found["id"] for found in await page(a_store, tagged(key, value))] == [f"t{number}"]
        assert [found["id"] for found in await page(a_store, tagged("a"))] == ["t5", "t2", "t1"]
        assert await page(a_store, tagged("x", "y")) == []

    async def test_many_conditions_hold_together(self, a_store: Store) -> None:
        """As many as a list may be asked for, and more."""
        tags = {f"k{number}": "v" for number in range(120)}
        fields = {"name": "n", "tags": tags}
        await a_store.documents.save(TASK_VIEW, [document("a", 1, 1, **fields), document("b", 1, 2, name="n")], 2)
        where: list[Condition] = [name_begins("n"), state_is("QUEUED", "RUNNING")]
        where += [tagged(key, value) for key, value in tags.items()]
        assert [each["id"] for each in await page(a_store, *where)] == ["a"]
        assert await page(a_store, *where, tagged("k0", "w")) == []

    async def test_a_document_that_changes_is_found_by_what_it_is_now(self, a_store: Store) -> None:
        """Saved again and again, also late and twice: one place in each index."""
        tags = {"project": "x"}
        for version, state in [(1, "QUEUED"), (3, "RUNNING"), (2, "QUEUED"), (3, "RUNNING"), (4, "COMPLETE")]:
            await a_store.documents.save(TASK_VIEW, [document("a", version, 1, state=state, name="n", tags=tags)], version)
        for where in ([state_is("COMPLETE")], [name_begins("n")], [tagged("project")], [tagged("project", "x")], []):
            assert [each["version"] for each in await page(a_store, *where)] == [4]
        assert await page(a_store, state_is("QUEUED", "RUNNING")) == []
        await a_store.documents.forget(TASK_VIEW)
        for where in ([state_is("COMPLETE")], [name_begins("n")], [tagged("project")], []):
            assert await page(a_store, *where) == []

    async def test_a_task_may_have_thousands_of_tags(self, a_store: Store) -> None:
        """A commit holds about so many: no limit of a statement is met."""
        everything = [document(f"t{n}", 1, n, tags={f"k{number}": str(n) for number in range(3000)}) for n in (1, 2, 3)]
        await a_store.documents.save(TASK_VIEW, everything, 3)
        assert [each["id"] for each in await page(a_store, tagged("k2999"))] == ["t3", "t2", "t1"]
        assert [each["id"] for each in await page(a_store, tagged("k1500", "2"), tagged("k0"))] == ["t2"]


NAMES = ["", "a", "ab", "abc", "b", "é", None]
CONDITIONS = st.one_of(
    st.builds(OneOf, st.just("state"), st.frozensets(st.sampled_from(["QUEUED", "RUNNING", "COMPLETE"]), min_size=1)),
    st.builds(OneOf, st.just("owner"), st.just(frozenset({"anonymous"}))),
    st.builds(BeginsWith, st.just("name"), st.sampled_from(["a", "ab", "abcd", "b", "é"])),
    st.builds(HasPair, st.just("tags"), st.sampled_from(["x", "y"]), st.sampled_from([None, "1", "2"])),
)


class TestAnyCombination:
    """Whatever is asked for together, in whatever order, page by page: what a look at each document would find."""

    @pytest.fixture
    async def everything(self, a_store: Store, place: Place) -> list[Document]:
        """Documents of which some values are common and some are rare: more than an index is counted for, and few."""
        count = 300 if place.options.mongodb_uri else 1500  # MongoDB counts nothing
        states = ["COMPLETE"] * 8 + ["QUEUED", "RUNNING"]
        found = []
        for n in range(1, count + 1):
            name = NAMES[n % len(NAMES)] if n % 5 else "ab"
            tags = {"x": str(n % 2 + 1)} | ({"y": "1"} if n % 97 == 0 else {})
            fields = {"state": states[n % 10], "tags": tags} | ({} if name is None else {"name": name})
            found.append(document(f"t{n}", 1, 3 * n, **fields))
        await a_store.documents.prepare(TASK_VIEW)
        for start in range(0, count, 500):
            await a_store.documents.save(TASK_VIEW, found[start : start + 500], 3 * count)
        return found

    @settings(max_examples=40)
    @given(where=st.lists(CONDITIONS, max_size=4), limit=st.sampled_from([1, 7, 60]), before=st.sampled_from([None, 600, 3000]))
    async def test_a_page_is_what_it_should_be(
        self, a_store: Store, everything: list[Document], where: list[Condition], limit: int, before: int | None
    ) -> None:
        """Rare and common, a prefix that is taken from its index and one that is not, on the first page and further on."""
        expected = matching((each for each in everything if before is None or each["position"] < before), where)
        found = await page(a_store, *where, before=before, limit=limit)
        assert [each["id"] for each in found] == [each["id"] for each in expected[:limit]]
        short = await a_store.documents.page(TASK_VIEW, where, before=before, limit=limit, whole=False)
        assert [each["id"] for each in short] == [each["id"] for each in found]

    async def test_pages_hold_every_match_once(self, a_store: Store, everything: list[Document]) -> None:
        """Each page begins where the last one ended."""
        asked: list[list[Condition]] = [
            [],
            [state_is("COMPLETE")],
            [name_begins("ab")],
            [tagged("x", "1"), name_begins("a")],
            [tagged("y")],
        ]
        for where in asked:
            seen: list[Document] = []
            while found := await page(a_store, *where, before=seen[-1]["position"] if seen else None, limit=200):
                seen += found
            assert seen == matching(everything, where)


@given(strategies.words, strategies.texts)
def test_what_begins_with_a_prefix_lies_between_it_and_the_first_text_after(prefix: str, text: str) -> None:
    """In the order of code points, which is that of UTF-8 bytes: exactly those."""
    behind = first_after(prefix)
    for each in (text, prefix + text):
        between = each >= prefix and (behind is None or each < behind)
        assert between == each.startswith(prefix)
    if behind is not None:
        assert behind.encode() > prefix.encode()
