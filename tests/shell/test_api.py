"""The edges of the HTTP interface: prefixes, methods, sizes, origins, and what settings change of the answers."""

import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from api_at_work import EXECUTOR, KEY, MOST_BODY_BYTES, PREFIXES, Api, api_at_work
from yarl import URL

import given
from tespes import tes
from tespes.api import cors, docs
from tespes.api.problems import answer_errors
from tespes.pulsar.job import token

PORTAL = "https://portal.example.org"
OTHER = "https://other.example.org"
UNKNOWN = "0" * 32


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface with its default settings."""
    async with api_at_work(tmp_path) as running:
        yield running


async def problem(answer: ClientResponse, status: int) -> dict[str, Any]:
    """The problem that was answered."""
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = await answer.json()
    assert found["status"] == status
    return found


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
async def test_a_task_is_canceled_on_every_prefix(api: Api, prefix: str, colon: str) -> None:
    """The colon may be written as it is or escaped; the answer is an empty object, also the second time."""
    created = await (await api.client.post(f"{prefix}/tasks", json={"executors": [EXECUTOR]})).json()
    for _ in range(2):
        canceled = await api.client.post(f"{prefix}/tasks/{created['id']}{colon}cancel")
        assert (canceled.status, await canceled.json()) == (200, {})
    shown = await api.client.get(f"{prefix}/tasks/{created['id']}")
    assert (await shown.json())["state"] == "CANCELED"


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_an_unknown_task_is_a_404_on_every_prefix(api: Api, prefix: str) -> None:
    """py-tes goes on to its next prefix on 404 only."""
    assert UNKNOWN in (await problem(await api.client.get(f"{prefix}/tasks/{UNKNOWN}"), 404))["detail"]
    await problem(await api.client.post(f"{prefix}/tasks/{UNKNOWN}:cancel"), 404)
    await problem(await api.client.get(f"{prefix}/tasks/{UNKNOWN}/logs"), 404)


@pytest.mark.parametrize("path", ["/v1/tasks/", "/v1/service-info/", f"/v1/tasks/{UNKNOWN}/", "/v1/nothing", "/v1"])
async def test_a_path_that_ends_with_a_slash_names_nothing(api: Api, path: str) -> None:
    """A client that has lost its task's id is not shown everybody's tasks."""
    assert (await problem(await api.client.get(path), 404))["detail"] == f"there is nothing at {path}"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("PUT", f"/tasks/{UNKNOWN}", "GET, HEAD"),
        ("GET", f"/tasks/{UNKNOWN}:cancel", "POST"),
        ("POST", "/service-info", "GET, HEAD"),
        ("OPTIONS", "/tasks", "GET, HEAD, POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(api: Api, prefix: str, method: str, path: str, allowed: str) -> None:
    """405 with Allow (RFC 9110, 15.5.6)."""
    answer = await api.client.request(method, prefix + path)
    assert (await problem(answer, 405))["detail"] == f"found {method}; {allowed} is expected"
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), ("http://{own}", 200), (None, 200)],
)
async def test_a_page_of_another_origin_submits_and_cancels_nothing(api: Api, origin: str | None, status: int) -> None:
    """A browser sends such a POST without asking before; a client that is no browser sends no Origin."""
    own = f"{api.client.server.host}:{api.client.server.port}"
    headers = {"Content-Type": "text/plain"} | ({"Origin": origin.format(own=own)} if origin else {})
    before = await (await api.client.get("/v1/tasks")).json()
    answer = await api.client.post("/v1/tasks", data=b'{"executors": [{"image": "a", "command": ["b"]}]}', headers=headers)
    assert answer.status == status
    if status == 403:
        assert "http.cors_origins" in (await problem(answer, 403))["detail"]
        assert await (await api.client.get("/v1/tasks", headers=headers)).json() == before


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_a_413(api: Api, chunked: bool) -> None:  # noqa: FBT001 - a case
    """Whether its length was said before or not; one that just fits is read."""
    most = b'{"executors": []}'.ljust(MOST_BODY_BYTES)

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for body, status in ((most, 400), (most + b" " * 2**20, 413)):
        answer = await api.client.post("/v1/tasks", data=pieces(body) if chunked else BytesIO(body))
        assert str(MOST_BODY_BYTES) in (await problem(answer, status))["detail"] or status == 400


async def test_a_runner_may_say_more_than_clients_may(tmp_path: Path) -> None:
    """`http.max_body_bytes` is about clients: the longest tails of an executor arrive whatever it is, in any letters."""
    tails = {"stdout": "é" * 2**17, "stderr": "😀" * 2**17}
    at = "2026-11-22T12:00:01Z"
    ended = {"executor": 0, "exit_code": 0, "started_at": at, "ended_at": at, **tails}
    async with api_at_work(tmp_path, max_body_bytes=1024) as running:
        task_id = await running.task_in(tes.State.RUNNING)
        job_id = f"{task_id}-1"
        headers = {"Authorization": f"Bearer {token(KEY, job_id)}", "Tespes-Run": given.RUN}
        said = {"tespes": 1, "job_id": job_id, "run_id": given.RUN, "outcome": "succeeded", "executors": [ended]}
        for route, body in (("reports", {"report": "executor_ended", **ended}), ("result", said)):
            data = BytesIO(json.dumps(body).encode())
            answer = await running.client.post(f"/runner/{job_id}/{route}", data=data, headers=headers)
            assert answer.status == 204
        shown = await answered(running, f"/v1/tasks/{task_id}?view=FULL")
        assert shown["state"] == "COMPLETE"
        assert {name: shown["logs"][0]["logs"][0][name] for name in tails} == tails
        await problem(await running.client.post("/v1/tasks", json={"executors": [], "name": "x" * 1024}), 413)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/tasks"),
        ("POST", f"/tasks/{UNKNOWN}:cancel"),
        ("GET", "/ga4gh/tes/v1/tasks"),
        ("POST", "/runner/x-1/result"),
        ("PUT", "/transfer/x-1/outputs/0"),
        ("POST", "/v1/nothing"),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("gzip", "'gzip'"),
        ("Deflate", "'Deflate'"),
        ("br", "'br'"),
        ("identity, x-mine", "'x-mine'"),
        ("a,b,c,d", "'a', 'b', 'c'"),
    ],
)
async def test_a_packed_body_is_not_unpacked(api: Api, method: str, path: str, encoding: str, found: str) -> None:
    """415 with what would be understood (RFC 9110, 15.5.16), on every route, whether it is what it says or not."""
    for body in (gzip.compress(b'{"executors": []}'), b"not gzip"):
        answer = await api.client.request(method, path, data=body, headers={"Content-Encoding": encoding})
        detail = f"Content-Encoding: found {found}; a body that is sent as it is, without encoding, is expected"
        assert (await problem(answer, 415))["detail"] == detail
        assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["identity", "Identity", "", "identity, identity"])
async def test_a_body_that_is_not_packed_may_say_so(api: Api, encoding: str) -> None:
    """`identity` is no encoding."""
    answer = await api.client.post("/v1/tasks", json={"executors": [EXECUTOR]}, headers={"Content-Encoding": encoding})
    assert answer.status == 200


@pytest.mark.parametrize(
    "path", ["/v1/service-info", "/v1/tasks", "/v1/tasks/{id}", "/openapi.json", "/asyncapi.json", "/docs"]
)
async def test_head_answers_as_get_does_without_a_body(api: Api, path: str) -> None:
    """RFC 9110, 9.3.2."""
    path = path.format(id=await api.task_in(tes.State.RUNNING))
    head, get = await api.client.head(path), await api.client.get(path)
    assert (head.status, head.content_type, await head.read()) == (200, get.content_type, b"")
    assert head.headers["Content-Length"] == str(len(await get.read()))


async def test_without_origins_no_page_may_call(api: Api) -> None:
    """Default: no header of cross-origin requests is ever sent."""
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": PORTAL, "Access-Control-Request-Method": "GET"}
        answer = await api.client.request(method, "/v1/tasks", headers=headers)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.fixture
async def open_to_portal(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface, which a page of the portal may call."""
    async with api_at_work(tmp_path, cors_origins=(PORTAL,)) as running:
        yield running


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("path", ["/service-info", "/tasks", "/tasks/x", "/tasks/x:cancel", "/tasks/x/logs"])
async def test_a_page_of_a_named_origin_may_call_every_public_route(open_to_portal: Api, prefix: str, path: str) -> None:
    """Its browser asks before (a preflight): methods, headers, and that caches keep origins apart."""
    asked = {"Origin": PORTAL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = await open_to_portal.client.options(prefix + path, headers=asked)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
    allowed = "Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-Request-ID, traceparent"
    assert answer.headers["Access-Control-Allow-Headers"] == allowed
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/tasks", b"", 200),
        ("GET", "/v1/tasks?view=SOME", b"", 400),
        ("GET", f"/v1/tasks/{UNKNOWN}", b"", 404),
        ("GET", "/v1/nothing", b"", 404),
        ("DELETE", "/v1/tasks", b"", 405),
        ("POST", "/v1/tasks", b" " * 2 * MOST_BODY_BYTES, 413),
    ],
)
async def test_a_page_may_read_errors_too(open_to_portal: Api, method: str, path: str, body: bytes, status: int) -> None:
    """Else it is told "network error" in place of the reason. Another origin's page may not."""
    for origin in (PORTAL, OTHER, PORTAL + ".evil.example"):
        answer = await open_to_portal.client.request(method, path, data=body or None, headers={"Origin": origin})
        assert answer.status == (status if origin == PORTAL or method == "GET" else 403)
        assert answer.headers.get("Access-Control-Allow-Origin") == (PORTAL if origin == PORTAL else None)
        assert answer.headers["Vary"] == "Origin"


async def test_a_page_may_read_that_tespes_failed() -> None:
    """A fault of ours is an answer as well."""

    async def fail(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    app = web.Application(middlewares=[answer_errors])
    app.router.add_get("/", fail)
    cors.allow(app, (PORTAL,))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/", headers={"Origin": PORTAL})
        assert "reference" in (await problem(answer, 500))["detail"]
        assert answer.headers["Access-Control-Allow-Origin"] == PORTAL


async def test_no_page_may_call_what_runners_call(tmp_path: Path) -> None:
    """Neither before nor with the request."""
    async with api_at_work(tmp_path, cors_origins=("*",)) as running:
        for method in ("OPTIONS", "POST"):
            headers = {"Origin": PORTAL, "Access-Control-Request-Method": "POST"}
            answer = await running.client.request(method, "/runner/x/claim", headers=headers)
            assert answer.status in {401, 405}
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_any_page_may_call_if_the_settings_say_so(tmp_path: Path) -> None:
    """`*`: the same answer for everybody."""
    async with api_at_work(tmp_path, cors_origins=("*",)) as running:
        answer = await running.client.get("/v1/tasks", headers={"Origin": PORTAL})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Origin" not in (await running.client.get("/v1/tasks")).headers


@pytest.mark.parametrize(
    ("state", "legacy"), [(tes.State.CANCELING, tes.State.RUNNING), (tes.State.PREEMPTED, tes.State.SYSTEM_ERROR)]
)
async def test_legacy_states_are_shown_wherever_a_task_is(tmp_path: Path, state: tes.State, legacy: tes.State) -> None:
    """Clients of TES 1.0 fail on CANCELING and PREEMPTED; filters find what is shown, in that state and in no other."""
    for showing, expected in ((tes.Showing(), state), (tes.Showing(legacy_states=True), legacy)):
        async with api_at_work(tmp_path / expected, showing=showing) as running:
            task_id = await running.task_in(state)
            for view in tes.View:
                assert (await answered(running, f"/v1/tasks/{task_id}?view={view}"))["state"] == expected
                (listed,) = (await answered(running, f"/v1/tasks?view={view}"))["tasks"]
                assert listed["state"] == expected
            assert (await answered(running, f"/v1/tasks/{task_id}/logs"))["state"] == expected
            found = {asked: (await answered(running, f"/v1/tasks?state={asked}"))["tasks"] for asked in tes.State}
            assert [asked for asked, tasks in found.items() if tasks] == [expected]


@pytest.mark.parametrize("path", ["/v1/tasks/{id}", "/v1/tasks/{id}?view=MINIMAL", "/v1/tasks", "/v1/tasks?view=MINIMAL"])
async def test_minimal_may_include_executors(tmp_path: Path, path: str) -> None:
    """By setting, for pydantic-tes; by default there are id and state only."""
    for included in (False, True):
        async with api_at_work(tmp_path / str(included), showing=tes.Showing(minimal_includes_executors=included)) as running:
            task_id = await running.task_in(tes.State.RUNNING)
            found = await answered(running, path.format(id=task_id))
            (task,) = found.get("tasks", [found])
            expected = {"id": task_id, "state": "RUNNING"}
            assert task == (expected | {"executors": [EXECUTOR]} if included else expected)


async def answered(running: Api, path: str) -> Any:
    """The body of a good answer."""
    answer = await running.client.get(path)
    assert answer.status == 200
    return await answer.json()


async def test_the_root_leads_to_the_docs(api: Api) -> None:
    """Whoever opens the bare address learns what it is."""
    answer = await api.client.get("/")
    assert (answer.status, answer.url.path, answer.content_type) == (200, "/docs", "text/html")


async def test_the_docs_ask_nothing_of_other_hosts(api: Api) -> None:
    """Neither the page nor its start nor its style names another host; its policy would not let them."""
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css"):
        answer = await api.client.get(path)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        text = await answer.text()
        assert re.findall(r"(?:src|href|url)\s*[=:(]\s*[\"']?(?:https?:)?//", text) == []
        assert path.endswith(".css") or "//" not in re.sub(r"^// .*$", "", text, flags=re.MULTILINE)


async def test_swagger_ui_is_served_as_it_was_published(api: Api) -> None:
    """NOTICE says which files these are, by their SHA-256."""
    notice = (Path(docs.__file__).parent / "swagger" / "NOTICE").read_text()
    for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE):
        answer = await api.client.get(f"/docs/{name}")
        assert hashlib.sha256(await answer.read()).hexdigest() == digest
        again = await api.client.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


@pytest.mark.parametrize("name", ["NOTICE", "..%2Fdocs.py", "%2e%2e%2Fdocs.py", "/etc/passwd", "nothing.js", ""])
async def test_nothing_else_is_served_beside_the_docs(api: Api, name: str) -> None:
    """Three files, by name."""
    await problem(await api.client.get(URL(f"/docs/{name}", encoded=True)), 404)
