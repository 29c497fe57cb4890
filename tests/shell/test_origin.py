"""What events belong to: the request that began it all, and the event before."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_at_work import EXECUTOR, Api, api_at_work

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
TASK = {"executors": [EXECUTOR]}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface."""
    async with api_at_work(tmp_path) as running:
        yield running


async def events_of(api: Api, headers: dict[str, str], cancel_headers: dict[str, str]) -> list[dict[str, Any]]:
    """The events of a task that was submitted and canceled with these headers."""
    created = await api.client.post("/v1/tasks", json=TASK, headers=headers)
    task_id = (await created.json())["id"]
    await api.client.post(f"/v1/tasks/{task_id}:cancel", headers=cancel_headers)
    answer = await api.client.get(f"/v1/tasks/{task_id}/events")
    found: list[dict[str, Any]] = (await answer.json())["events"]
    assert [each["type"] for each in found] == [
        f"org.tespes.{name}.v1" for name in ("TaskCreated", "TaskCancelRequested", "TaskCanceled")
    ]
    return found


async def test_what_a_request_says_it_belongs_to_is_in_every_event_that_it_leads_to(api: Api) -> None:
    """CloudEvents distributed tracing: the trace that began it, in what follows, too."""
    found = await events_of(api, {"X-Request-ID": "order-7", "traceparent": TRACEPARENT}, {})
    assert {each["correlationid"] for each in found} == {"order-7"}
    assert {each["traceparent"] for each in found} == {TRACEPARENT}


async def test_a_cancel_may_belong_to_something_else(api: Api) -> None:
    """What it leads to belongs to the cancel, what was before does not."""
    created, requested, canceled = await events_of(
        api, {"X-Request-ID": "order-7", "traceparent": TRACEPARENT}, {"X-Request-ID": "stop-1", "traceparent": OTHER}
    )
    assert (created["correlationid"], created["traceparent"]) == ("order-7", TRACEPARENT)
    assert {each["correlationid"] for each in (requested, canceled)} == {"stop-1"}
    assert {each["traceparent"] for each in (requested, canceled)} == {OTHER}


async def test_each_event_names_the_one_that_it_was_decided_upon(api: Api) -> None:
    """The last one of the commit before it; those of one commit have the same cause."""
    created, requested, canceled = await events_of(api, {}, {})
    assert "causationid" not in created
    assert requested["causationid"] == canceled["causationid"] == created["id"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Request-ID": "", "traceparent": "x"},
        {"X-Request-ID": "a b", "traceparent": TRACEPARENT.replace("00-4b", "ff-4b")},
        {"X-Request-ID": "a" * 129, "traceparent": f"00-{'0' * 32}-{'1' * 16}-01"},
        {"X-Request-ID": "\u00e9", "traceparent": f"00-{'1' * 32}-{'0' * 16}-01"},
        {"traceparent": TRACEPARENT.upper()},
    ],
)
async def test_a_task_that_is_told_nothing_that_can_be_read_belongs_to_itself(api: Api, headers: dict[str, str]) -> None:
    """Trace Context, section 4.3: what is not in its form is ignored."""
    found = await events_of(api, headers, {})
    assert {each["correlationid"] for each in found} == {found[0]["subject"]}
    assert not [each for each in found if "traceparent" in each]
