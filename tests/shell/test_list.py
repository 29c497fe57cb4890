"""ListTasks over HTTP: its parameters, its page tokens, and what is refused."""

import base64
import socket
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from api_at_work import EXECUTOR, Api, api_at_work
from yarl import URL

from tespes import serving, tes
from tespes.api.drain import Requests
from tespes.tes import pages
from tespes.tes.filters import Filters

Parameters = Sequence[tuple[str, str]]

AWKWARD = "%_*[a-z]'\"\\é😀+ &=#;"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface with its default settings."""
    async with api_at_work(tmp_path) as running:
        yield running


async def submit(api: Api, **task: Any) -> str:
    """A task; lists know it."""
    answer = await api.client.post("/v1/tasks", json={"executors": [EXECUTOR], **task})
    await api.project()
    task_id: str = (await answer.json())["id"]
    return task_id


async def ask(api: Api, query: Parameters | str) -> tuple[int, dict[str, Any]]:
    """Status and body; a text is sent as it is."""
    text = query if isinstance(query, str) else urlencode(list(query))
    answer = await api.client.get(URL(f"/v1/tasks?{text}", encoded=True))
    return answer.status, await answer.json(content_type=None)


async def listed(api: Api, *query: tuple[str, str]) -> tuple[list[str], str | None]:
    """The ids on a page, and the token of the next."""
    status, body = await ask(api, query)
    assert status == 200, body
    return [task["id"] for task in body["tasks"]], body.get("next_page_token")


async def refused(api: Api, field: str, query: Parameters | str) -> dict[str, Any]:
    """The problem, which names the parameter."""
    status, body = await ask(api, query)
    assert (status, body["field"]) == (400, field), body
    assert len(str(body)) < 600
    return body


async def test_filters_are_parameters(api: Api) -> None:
    """Prefix, state, tags zipped by position; all hold together; empty ones count as absent."""
    plain = await submit(api)
    first = await submit(api, name=AWKWARD + "1", tags={AWKWARD: AWKWARD, "a": "b"})
    other = await submit(api, name="x" + AWKWARD, tags={"a": "c"})
    await api.client.post(f"/v1/tasks/{first}:cancel")
    await api.project()
    assert (await listed(api))[0] == [other, first, plain]
    empty = [(name, "") for name in ("state", "name_prefix", "page_token", "page_size", "view", "tag_key", "tag_value")]
    assert (await listed(api, *empty))[0] == [other, first, plain]
    assert (await listed(api, ("name_prefix", AWKWARD)))[0] == [first]
    assert (await listed(api, ("name_prefix", "x%")))[0] == [other]
    assert (await listed(api, ("name_prefix", "X")))[0] == []
    assert (await listed(api, ("state", "CANCELED")))[0] == [first]
    assert (await listed(api, ("state", "QUEUED"), ("tag_key", "a")))[0] == [other]
    assert (await listed(api, ("tag_key", "a"), ("tag_key", AWKWARD), ("tag_value", ""), ("tag_value", AWKWARD)))[0] == [first]
    assert (await listed(api, ("tag_value", "c"), ("tag_key", "a")))[0] == [other]
    assert (await listed(api, ("tag_key", "a"), ("tag_value", "b"), ("tag_key", "a"), ("tag_value", "c")))[0] == []
    assert (await listed(api, ("state", "PAUSED")))[0] == []


async def test_a_page_has_256_tasks_unless_told_otherwise(api: Api) -> None:
    """1 to 2047."""
    for _ in range(258):
        await api.client.post("/v1/tasks", json={"executors": [EXECUTOR]})
    await api.project()
    assert len((await listed(api))[0]) == 256
    assert len((await listed(api, ("page_size", "1")))[0]) == 1
    everything, token = await listed(api, ("page_size", "2047"))
    assert (len(everything), token) == (258, None)
    everything, token = await listed(api, ("page_size", "258"))
    assert (len(everything), token) == (258, None)


@pytest.mark.parametrize("size", ["0", "2048", "-1", "1.5", "x", "1e2", "٣", "9" * 5000, " 5"])
async def test_another_page_size_is_refused(api: Api, size: str) -> None:
    """400, naming it."""
    await refused(api, "page_size", [("page_size", size)])


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("tag_value", [("tag_value", "x")]),
        ("tag_value", [("tag_key", "a"), ("tag_value", ""), ("tag_value", "x")]),
        ("tag_key", [("tag_key", f"k{number}") for number in range(101)]),
        ("state", [("state", "DONE")]),
        ("state", [("state", "running")]),
        ("state", [("state", "QUEUED"), ("state", "RUNNING")]),
        ("name_prefix", [("name_prefix", "a"), ("name_prefix", "b")]),
        ("view", [("view", "ALL")]),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(api: Api, field: str, query: Parameters) -> None:
    """400, naming it; none is passed over in silence."""
    await refused(api, field, query)


async def test_pages_are_stable_while_tasks_come_and_change(api: Api) -> None:
    """Every task that was there is shown once; what came later is not in between."""
    made = [await submit(api, name=f"n{number}", tags={"kind": str(number % 2)}) for number in range(9)]
    filters = [("name_prefix", "n"), ("tag_key", "kind"), ("tag_value", "0")]
    seen, token = await listed(api, *filters, ("page_size", "2"))
    while token is not None:
        await submit(api, name="n", tags={"kind": "0"})
        more, token = await listed(api, *filters, ("page_size", "1"), ("view", "FULL"), ("page_token", token))
        seen += more
    assert seen == made[::-2]


async def test_a_token_carries_its_filters(api: Api) -> None:
    """Alone (py-tes cannot send both) it goes on as it began; with the same filters too, in another order; with others: 400."""
    made = [await submit(api, name=f"n{number % 2}", tags={"a": "x", "b": "y"}) for number in range(6)]
    tags = [("tag_key", "a"), ("tag_value", "x"), ("tag_key", "b"), ("tag_value", "y")]
    filters = [("name_prefix", "n1"), ("state", "QUEUED"), *tags]
    _, token = await listed(api, *filters, ("page_size", "1"))
    assert token is not None
    carried = ("page_token", token)
    assert (await listed(api, carried))[0] == [made[3], made[1]]
    assert (await listed(api, carried, *filters))[0] == [made[3], made[1]]
    swapped = [
        ("tag_key", "b"),
        ("tag_key", "a"),
        ("tag_value", "y"),
        ("tag_value", "x"),
        ("state", "QUEUED"),
        ("name_prefix", "n1"),
    ]
    assert (await listed(api, carried, *swapped))[0] == [made[3], made[1]]
    for others in ([("name_prefix", "n1")], tags, [("state", "RUNNING"), *filters[:1], *tags], [*filters, ("tag_key", "c")]):
        problem = await refused(api, "page_token", [carried, *others])
        assert "the same filters, or none" in problem["detail"]
    _, token = await listed(api, ("page_size", "1"))
    assert token is not None
    await refused(api, "page_token", [("page_token", token), ("name_prefix", "n1")])


@pytest.mark.parametrize(
    "token",
    [
        "None",
        "0",
        quote("é😀"),
        "%00",
        "%FF%FE",
        "\\ud800",
        "AAAA",
        "A" * 7000,
        quote(base64.b64encode(b"before:7").decode()),
        base64.urlsafe_b64encode(b"[2,1,null,null,[]] ").decode(),
        base64.urlsafe_b64encode(b"[9,1,null,null,[]]").decode(),
    ],
)
async def test_what_is_no_token_is_refused(api: Api, token: str) -> None:
    """400, whatever it is."""
    problem = await refused(api, "page_token", f"page_token={token}")
    assert "a next_page_token of this server is expected" in problem["detail"]


@pytest.mark.parametrize("name", ["name_prefix", "tag_key", "page_token", "state", "page_size", "view"])
async def test_bytes_that_are_no_text_are_never_our_failure(api: Api, name: str) -> None:
    """Escaped bytes that are no UTF-8, and NUL: nothing is found, or 400."""
    for rubbish in ("%FF", "%ED%A0%80", "%00", "%C3%28", "%"):
        status, body = await ask(api, f"{name}={rubbish}")
        assert (status, body.get("tasks")) == (200, []) or (status, body.get("field")) == (400, name), (rubbish, body)


@pytest.mark.parametrize("letter", ["n", "é", "😀", "\x01"])
async def test_the_longest_filters_come_back_in_a_request_line(api: Api, letter: str) -> None:
    """Filters and a token that has them in it, too, escaped: TESPES takes the line. What is longer is refused with a reason."""
    longest = bisect_left(range(20_000), 1, key=lambda count: not pages.fit_a_token(Filters(name_prefix=letter * count))) - 1
    name = letter * longest
    for _ in range(2):
        await submit(api, name=name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/tasks"
        # The routes are those of `api`; only the server around them is another.
        async with (
            serving.served(listening, api.application, Requests(), lambda: None, drain_s=1.0, cut_s=1.0),
            aiohttp.ClientSession() as client,
        ):
            first = {"name_prefix": name, "page_size": "1", "view": tes.View.MINIMAL.value}
            async with client.get(url, params=first) as answer:
                token = (await answer.json())["next_page_token"]
            async with client.get(url, params={**first, "page_token": token}) as answer:
                page = await answer.json()
                assert (answer.status, len(page["tasks"]), "next_page_token" in page) == (200, 1, False)
            async with client.get(url, params={"name_prefix": name + letter}) as answer:
                assert (answer.status, (await answer.json())["field"]) == (400, "name_prefix")
            async with client.get(url, params={"page_token": "A" * 40_000}) as answer:
                assert (answer.status, (await answer.json())["field"]) == (400, "page_token")
            async with client.get(url, params={"page_token": "A" * 100_000}) as answer:
                assert answer.status == 400


async def test_a_state_finds_the_tasks_that_are_shown_in_it(tmp_path: Path) -> None:
    """With legacy states CANCELING is found as RUNNING and PREEMPTED as SYSTEM_ERROR, page by page, and not by its own name."""
    async with api_at_work(tmp_path, showing=tes.Showing(legacy_states=True)) as api:
        made = [await api.task_in(state) for state in (tes.State.RUNNING, tes.State.CANCELING, tes.State.PREEMPTED)]
        assert (await listed(api, ("state", "SYSTEM_ERROR")))[0] == [made[2]]
        assert (await listed(api, ("state", "CANCELING")))[0] == []
        found, token = await listed(api, ("state", "RUNNING"), ("page_size", "1"))
        assert found == [made[1]]
        assert token is not None
        assert await listed(api, ("state", "RUNNING"), ("page_token", token)) == ([made[0]], None)
        assert await listed(api, ("page_token", token)) == ([made[0]], None)
