"""What both stores promise about open uploads (`store/promise.py`). Each test runs on SQLite and on MongoDB."""

from dataclasses import replace

from stores import Place
from tespes.store import Store, Upload

FIRST = Upload(
    id="first",
    job_id="task-1",
    index=0,
    path="/out/a.$b é😀",
    url="s3://bucket/a.$b é😀",
    owner="some.$body",
    storage_id="x" * 300,
    size_bytes=5 * 2**40,
    part_bytes=525 * 2**20,
)
SECOND = replace(FIRST, id="second", path="/out/other")
OTHER = replace(FIRST, id="third", job_id="task-2")


async def test_what_is_added_is_found(a_store: Store) -> None:
    """By its id, by its file, and with its job; as it was given."""
    for upload in (FIRST, SECOND, OTHER):
        await a_store.uploads.add(upload)
    assert await a_store.uploads.get("second") == SECOND
    assert await a_store.uploads.find("task-1", 0, FIRST.path) == FIRST
    assert sorted(await a_store.uploads.jobs()) == ["task-1", "task-2"]
    assert sorted(await a_store.uploads.of("task-1"), key=lambda upload: upload.id) == [FIRST, SECOND]


async def test_what_is_not_there_is_not_found(a_store: Store) -> None:
    """No id, no file of another name, output or job."""
    assert await a_store.uploads.jobs() == []
    await a_store.uploads.add(FIRST)
    assert await a_store.uploads.get("other") is None
    assert await a_store.uploads.find("task-1", 0, "/out") is None
    assert await a_store.uploads.find("task-1", 1, FIRST.path) is None
    assert await a_store.uploads.find("task-2", 0, FIRST.path) is None
    assert await a_store.uploads.of("task-2") == []


async def test_a_complete_upload_is_kept_but_not_found_by_its_file(a_store: Store) -> None:
    """Whoever asks again for the same file gets a new upload. That it is gone is fine."""
    await a_store.uploads.add(FIRST)
    await a_store.uploads.mark_complete("first")
    await a_store.uploads.mark_complete("gone")
    assert await a_store.uploads.get("first") == replace(FIRST, is_complete=True)
    assert await a_store.uploads.find("task-1", 0, FIRST.path) is None


async def test_what_is_removed_is_gone(a_store: Store) -> None:
    """Those, and no others. Again is fine."""
    for upload in (FIRST, SECOND, OTHER):
        await a_store.uploads.add(upload)
    for _ in range(2):
        await a_store.uploads.remove(["first", "third"])
    assert await a_store.uploads.jobs() == ["task-1"]
    assert await a_store.uploads.of("task-1") == [SECOND]


async def test_uploads_outlive_the_process(place: Place) -> None:
    """Whoever opens the store again finds them."""
    async with place.open() as opened:
        await opened.uploads.add(FIRST)
    async with place.open() as opened:
        assert await opened.uploads.of("task-1") == [FIRST]
