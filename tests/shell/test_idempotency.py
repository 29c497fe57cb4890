"""The header Idempotency-Key, as clients see it."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from api_at_work import EXECUTOR, Api, api_at_work
from hypothesis import given, settings
from hypothesis import strategies as st

from tespes import errors
from tespes.api import idempotency
from tespes.events import Entry, canonical

TASK = {"name": "one", "executors": [EXECUTOR], "tags": {"a": "1", "b": "2"}}
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface."""
    async with api_at_work(tmp_path) as running:
        yield running


async def created(answer: ClientResponse) -> str:
    """The id that was answered."""
    assert answer.status == 200
    return str((await answer.json())["id"])


async def test_the_same_task_with_the_same_key_has_the_same_id(api: Api) -> None:
    """However it is written down; on every prefix; also when the task is over. Without the key it is another task."""
    first = await created(await api.client.post("/v1/tasks", json=TASK, headers=KEY))
    written = json.dumps({**dict(reversed(TASK.items())), "description": None}, indent=3)
    assert await created(await api.client.post("/ga4gh/tes/v1/tasks", data=written, headers=KEY)) == first
    await api.client.post(f"/v1/tasks/{first}:cancel")
    assert await created(await api.client.post("/tasks", json=TASK, headers=KEY)) == first
    assert await created(await api.client.post("/v1/tasks", json=TASK)) != first
    assert await created(await api.client.post("/v1/tasks", json=TASK, headers={"Idempotency-Key": "other"})) != first


async def test_another_task_with_the_same_key_is_a_conflict(api: Api) -> None:
    """The problem names the task that has the key."""
    first = await created(await api.client.post("/v1/tasks", json=TASK, headers=KEY))
    answer = await api.client.post("/v1/tasks", json={**TASK, "name": "two"}, headers=KEY)
    assert answer.status == 409
    problem = await answer.json()
    assert first in problem["detail"]
    assert problem["retryable"] is False


@pytest.mark.parametrize("key", ["", "two words", "ümlaut", "x" * 256, "tab\tbed"])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    """1 to 255 visible ASCII characters; nothing is created."""
    answer = await api.client.post("/v1/tasks", json=TASK, headers={"Idempotency-Key": key})
    assert answer.status == 400
    assert (await answer.json())["field"] == "Idempotency-Key"


async def test_a_request_whose_outcome_nobody_knows_may_be_sent_again_with_its_key(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key it must not: it might be done twice."""

    async def unconfirmed(*_: Any) -> Entry:
        raise errors.WriteUnconfirmed("nobody knows")

    with monkeypatch.context() as away:
        away.setattr(api.tasks._log, "append", unconfirmed)
        for headers, retryable in ((KEY, True), ({}, False)):
            answer = await api.client.post("/v1/tasks", json=TASK, headers=headers)
            problem = await answer.json()
            assert (answer.status, problem["retryable"]) == (503, retryable)
            assert ("send it again with the same key" in problem["detail"]) == retryable
    await created(await api.client.post("/v1/tasks", json=TASK, headers=KEY))


async def test_a_key_that_was_used_keeps_no_contents(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the same task's, a second time, nor another's."""
    task = {**TASK, "inputs": [{"path": "/in", "content": "x" * 100_000}]}
    first = await created(await api.client.post("/v1/tasks", json=task, headers=KEY))

    async def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(type(api._store.blobs), "put", refuse)
    assert await created(await api.client.post("/v1/tasks", json=task, headers=KEY)) == first
    assert (await api.client.post("/v1/tasks", json={**task, "name": "two"}, headers=KEY)).status == 409


async def test_two_keys_are_refused(api: Api) -> None:
    """Nobody guesses which one was meant."""
    headers = [("Idempotency-Key", "one"), ("Idempotency-Key", "two"), ("Content-Type", "application/json")]
    answer = await api.client.post("/v1/tasks", data=json.dumps(TASK), headers=headers)
    assert answer.status == 400


async def test_a_task_that_is_wrong_takes_no_key(api: Api) -> None:
    """Mended, it may be sent with the key it had."""
    assert (await api.client.post("/v1/tasks", json={"executors": []}, headers=KEY)).status == 400
    await created(await api.client.post("/v1/tasks", json=TASK, headers=KEY))


async def test_a_number_without_canonical_form_is_refused_with_a_key_only(api: Api) -> None:
    """It stands in a field that nobody knows, where it does no harm otherwise."""
    odd = {**TASK, "odd": [2**60, 0.5]}
    assert (await api.client.post("/v1/tasks", json=odd, headers=KEY)).status == 400
    await created(await api.client.post("/v1/tasks", json=odd))


@given(st.dictionaries(st.text(), _VALUES, max_size=4), st.randoms())
@settings(max_examples=50)
def test_a_digest_is_of_what_is_asked_for_and_not_of_how_it_is_written(value: dict[str, Any], chance: Any) -> None:
    """RFC 8785: the order of the keys, spaces and escapes make no difference."""
    names = list(value)
    chance.shuffle(names)
    written = json.dumps({name: value[name] for name in names}, indent=2, ensure_ascii=chance.random() < 0.5)
    assert idempotency.digest(written.encode()) == hashlib.sha256(canonical.dumps(value)).hexdigest()


@given(st.lists(st.tuples(st.text(), st.text()), unique=True, min_size=2))
def test_owner_and_key_make_the_id(pairs: list[tuple[str, str]]) -> None:
    """Another owner has keys of his own, also if the texts joined are the same."""
    assert len({idempotency.commit_id(owner, key) for owner, key in pairs}) == len(pairs)
