"""Traces: each task that has ended is told to a collector, however that behaves and whoever tells; on both stores."""

import asyncio
import ssl
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Status

import given as g
import histories
from collectors import Collector, Collectors
from receivers import NEVER, Answer
from stores import MongoDB, in_mongodb
from tespes import errors, events
from tespes.background import Background
from tespes.events import Meta, Outcome
from tespes.flow import checks, follow, tell
from tespes.flow import collector as way
from tespes.flow.health import Level
from tespes.flow.lead import Contender
from tespes.flow.tell import Teller
from tespes.store import Store

EXPIRES_S = 5.0
SERVICE = "org.example.tests"
OWNER = "lovelace"  # no part of a hexadecimal number
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@asynccontextmanager
async def telling(store: Store, url: str, process: str = "one", **more: Any) -> AsyncIterator[Teller]:
    """A process that tells that collector."""
    teller = Teller(store.log, store.checkpoints, way.Collector(way.Endpoint(url=url, **more)), SERVICE)
    await teller.prepare()
    contender = Contender(store.leases, store.log, process, EXPIRES_S)
    async with Background(again_s=0.5) as background:
        background.start(way.NAME, partial(contender.lead, way.NAME, teller.run))
        yield teller


async def ends(store: Store, *happened: events.Event, traceparent: str | None = None) -> str:
    """A task to which that happened, all at once; its id."""
    task_id = uuid.uuid4().hex
    meta = Meta(at=g.at(0), actor="tests", owner=OWNER, traceparent=traceparent)
    await store.log.append(events.commit(str(uuid.uuid4()), task_id, 1, (g.created(), *happened), meta))
    return task_id


async def until(true: Callable[[], bool], within_s: float = 15) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def caught_up(store: Store) -> None:
    """Wait until the checkpoint is at the end of the log."""
    async with asyncio.timeout(15):
        while await store.checkpoints.position(way.NAME) < (await store.log.head()).position:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


FAILED = (events.TaskSystemFailed(reason="ran out of patience"),)


class TestWhatIsTold:
    """A task, once it has ended."""

    async def test_every_task_that_ends_is_told_once_and_whole(self, a_store: Store, collector: Collector) -> None:
        """Its spans make one tree, under the root that has no parent; those that have not ended are not told."""
        async with telling(a_store, collector.url):
            ids = await histories.write(a_store, 20, attempts=2)
            unended = await ends(a_store)
            await until(lambda: len(collector.tasks()) == 20)
            await caught_up(a_store)
        assert sorted(collector.tasks()) == sorted(ids)
        assert unended not in collector.tasks()
        for task_id in ids:
            spans = collector.of(task_id)
            assert {each.trace_id for each in spans.values()} == {task_id}
            assert sorted(each.span.name for each in spans.values() if each.parent_id not in spans) == ["task"]
            assert sum(each.span.name == "attempt" for each in spans.values()) == 2
        assert len({each.id for each in collector.told}) == len(collector.told)

    async def test_a_span_has_its_times_words_and_errors(self, a_store: Store, collector: Collector) -> None:
        """In OpenTelemetry's names, where it has any. Whose task it is, is not said."""
        over = g.over(Outcome.EXECUTOR_FAILED, "exit code 7")
        failed = events.TaskExecutorFailed(executor=0, exit_code=7)
        delayed = g.delayed("no sign of life")
        async with telling(a_store, collector.url):
            happened = (g.scheduled(), g.claimed(), g.started(), delayed, g.ended(0, 7), over, failed)
            task_id = await ends(a_store, *happened, traceparent=PARENT)
            await until(lambda: bool(collector.told))
        by_name = {each.span.name: each for each in collector.of(task_id).values()}
        root, executor = by_name["task"], by_name["executor"]
        assert (root.trace_id, root.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
        assert root.resource["service.name"] == "tespes"
        assert root.resource["service.namespace"] == SERVICE
        assert root.attributes["tespes.state"] == "EXECUTOR_ERROR"
        assert executor.attributes["container.image.name"] == "alpine"
        assert executor.attributes["process.exit.code"] == 7
        assert executor.span.start_time_unix_nano == round(g.at(0.25).timestamp() * 1000) * 10**6
        assert executor.span.end_time_unix_nano - executor.span.start_time_unix_nano == 500_000_000
        assert executor.span.status == Status(code=Status.STATUS_CODE_ERROR, message="exit code 7")
        assert by_name["attempt"].attributes["tespes.pulsar"] == "site-a"
        assert by_name["inputs"].attributes["host.name"] == "node-7"
        assert [event.name for event in by_name["attempt"].span.events] == ["AttemptDelayed"]
        assert not any(OWNER in str(each.span) for each in collector.told)

    async def test_whom_nobody_wants_traced_is_not_told(self, a_store: Store, collector: Collector) -> None:
        """W3C Trace Context: the flag `sampled` of the client's trace. The next one is."""
        async with telling(a_store, collector.url):
            await ends(a_store, *FAILED, traceparent=f"{PARENT[:-2]}00")
            wanted = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [wanted])

    async def test_a_new_collector_is_told_of_what_ends_from_now_on(self, a_store: Store, collector: Collector) -> None:
        """Not of all that ever was. One that was told before goes on where it was."""
        await histories.write(a_store, 3)
        async with telling(a_store, collector.url):
            first = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [first])
            await caught_up(a_store)
        meanwhile = await ends(a_store, *FAILED)
        async with telling(a_store, collector.url):
            await until(lambda: collector.tasks() == [first, meanwhile])

    async def test_tasks_of_very_many_executors_go_in_requests_that_collectors_take(
        self, a_store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request has few spans, or those of one task."""
        monkeypatch.setattr(tell, "_SPANS_AT_ONCE", 10)
        async with telling(a_store, collector.url):
            ids = await histories.write(a_store, 8)
            await until(lambda: len(collector.tasks()) == 8)
        assert sorted(collector.tasks()) == sorted(ids)
        assert len(collector.asked) >= 7


class TestTrouble:
    """A collector that does not do what it should."""

    @pytest.mark.parametrize("status", [401, 503])
    async def test_a_collector_that_takes_nothing_now_gets_it_later(
        self, a_store: Store, collector: Collector, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is away, busy, or does not know who asks. Readiness says so, until it takes them again."""
        monkeypatch.setattr(tell, "next_try_s", lambda *_: 0.05)
        collector.usual = Answer(status)
        async with telling(a_store, collector.url) as teller:
            check = checks.telling(a_store.log, a_store.checkpoints, teller)
            task_id = await ends(a_store, *FAILED)
            await until(lambda: teller.trouble is not None)
            found = await check()
            assert (found.level, str(status) in (found.reason or "")) == (Level.DEGRADED, True)
            collector.usual = Answer(200)
            await until(lambda: collector.tasks() == [task_id])
            await until(lambda: teller.trouble is None)
            assert (await check()).level is Level.READY
            assert teller.lost == 0

    async def test_what_is_never_taken_is_left_out_at_last(
        self, a_store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """400: something is wrong with what was sent. It must not keep all that follows waiting."""
        monkeypatch.setattr(tell, "_TRIES", 2)
        async with telling(a_store, collector.url) as teller:
            collector.script += [Answer(400)] * 2
            await ends(a_store, *FAILED)
            await until(lambda: teller.lost == 1)
            taken = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [taken])

    async def test_what_was_kept_waiting_is_not_given_up_for_one_refusal(
        self, a_store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A collector that comes back may begin with 500: only what is refused for what it is counts."""
        monkeypatch.setattr(tell, "_TRIES", 2)
        monkeypatch.setattr(tell, "next_try_s", lambda *_: 0.01)
        collector.script += [Answer(503), Answer(503), Answer(503), Answer(500)]
        async with telling(a_store, collector.url) as teller:
            task_id = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [task_id])
            assert teller.lost == 0

    async def test_a_collector_that_never_answers_is_asked_again(self, a_store: Store, collector: Collector) -> None:
        """It may have them already; a copy is known by its id."""
        collector.script.append(NEVER)
        async with telling(a_store, collector.url, timeout_s=0.3):
            task_id = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [task_id])
        assert len(collector.asked) == 2

    async def test_what_a_collector_threw_away_is_not_sent_again(self, a_store: Store, collector: Collector) -> None:
        """OTLP: a partial success is a success, and is said in the log."""
        rejected = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
        collector.complaint = ExportTraceServiceResponse(partial_success=rejected)
        async with telling(a_store, collector.url):
            first, second = await ends(a_store, *FAILED), await ends(a_store, *FAILED)
            await until(lambda: set(collector.tasks()) == {first, second})
            await caught_up(a_store)
        assert sorted(collector.tasks()) == sorted([first, second])

    async def test_a_task_that_cannot_be_read_keeps_nobody_waiting(self, a_store: Store, collector: Collector) -> None:
        """A newer release ended it: it has no trace here, and that is said."""
        async with telling(a_store, collector.url) as teller:
            task_id = uuid.uuid4().hex
            meta = Meta(at=g.at(0), actor="tests", owner="ada")
            of_tomorrow = (events.encode(g.created()), events.Encoded("TaskSystemFailed", 99, "{}"))
            commit = events.Commit(id=str(uuid.uuid4()), stream=task_id, version=1, events=of_tomorrow, meta=meta)
            await a_store.log.append(commit)
            last = await ends(a_store, *FAILED)
            await until(lambda: collector.tasks() == [last])
            assert teller.lost == 1

    async def test_what_is_told_twice_is_the_same_twice(self, a_store: Store, collector: Collector) -> None:
        """As after a crash before it was written down who was told: a copy has the ids of the first, and all else."""
        ids = await histories.write(a_store, 3, attempts=2)
        for times in (1, 2):
            await a_store.checkpoints.reset(way.NAME, 0)
            async with telling(a_store, collector.url):
                await until(partial(_have_come, collector, 3 * times))
        assert sorted(collector.tasks()) == sorted(2 * ids)
        assert all(len(collector.of(task_id)) * 2 == _count(collector, task_id) for task_id in ids)

    async def test_a_position_of_another_log_begins_anew(
        self, a_store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after a restore: nothing of this log may be left out."""
        monkeypatch.setattr(follow, "_SURE_S", 0.1)
        task_id = await ends(a_store, *FAILED)
        await a_store.checkpoints.move(way.NAME, 1000)
        async with telling(a_store, collector.url):
            await until(lambda: collector.tasks() == [task_id])


class TestTheWay:
    """How a collector is asked."""

    async def test_headers_and_logins_come_with_every_request(self, a_store: Store, collector: Collector) -> None:
        """Tokens, as collectors want them; a path of one's own is asked for as it is."""
        url = collector.url.replace("//", "//ada:secret@") + "/elsewhere"
        async with telling(a_store, url, headers={"X-Token": "t0ken"}):
            await ends(a_store, *FAILED)
            await until(lambda: bool(collector.told))
        [asked] = collector.asked
        assert (asked["x-token"], asked["authorization"], asked["path"]) == ("t0ken", "Basic YWRhOnNlY3JldA==", "/elsewhere")

    async def test_a_query_is_asked_for_as_it_is(self, a_store: Store, collector: Collector) -> None:
        """Some collectors want their token there; an address without a path gets the usual one."""
        async with telling(a_store, f"{collector.url}?token=t0ken"):
            await ends(a_store, *FAILED)
            await until(lambda: bool(collector.told))
        assert collector.asked[0]["path"] == "/v1/traces?token=t0ken"

    async def test_a_success_that_breaks_off_is_one(self) -> None:
        """They have them by then: nobody sends them again for a few words that did not come."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"spans")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with way.Collector(way.Endpoint(url=url)) as asked:
                assert await asked.send(b"spans") == b"some"

    async def test_a_collector_has_to_be_who_it_is(self, a_store: Store, collectors: Collectors, tmp_path: Path) -> None:
        """TLS: of an authority that is trusted, or nothing is told."""
        authority = trustme.CA()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        ca_file = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        collector = collectors(tls=tls)
        async with telling(a_store, collector.url) as teller:
            task_id = await ends(a_store, *FAILED)
            await until(lambda: "not trusted" in (teller.trouble or ""))
        assert not collector.told
        async with telling(a_store, collector.url, ca_file=str(ca_file)):
            await until(lambda: collector.tasks() == [task_id])

    def test_a_file_without_certificates_is_said_at_the_start(self, tmp_path: Path) -> None:
        """Not when the first task ends."""
        with pytest.raises(errors.SetupError, match="has no certificates"):
            way.Collector(way.Endpoint(url="https://c.example.org", ca_file=str(tmp_path / "none")))


def test_who_tells_nobody_loads_nothing() -> None:
    """OpenTelemetry's messages cost memory and time at the start: without an endpoint nothing of them is there."""
    look = "import sys, tespes.__main__; print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])"
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=30)
    assert ended.stdout == "[]\n"


async def test_another_process_goes_on_where_one_died(mongodb: MongoDB, tmp_path: Path, collector: Collector) -> None:
    """What was told and not written down comes again, with the same ids; nothing is left out."""
    place = in_mongodb(mongodb, tmp_path)
    told: set[str] = set()
    async with place.open() as store:
        for process in ("one", "two", "three"):
            async with telling(store, collector.url, process):
                told |= set(await histories.write(store, 5))
                await until(partial(_are_told, collector, told))
    for task_id in told:
        assert len([each for each in collector.of(task_id).values() if each.span.name == "task"]) == 1


def _count(collector: Collector, task_id: str) -> int:
    return len([each for each in collector.told if each.attributes["tespes.task_id"] == task_id])


def _have_come(collector: Collector, roots: int) -> bool:
    return len(collector.tasks()) == roots


def _are_told(collector: Collector, task_ids: set[str]) -> bool:
    return set(collector.tasks()) >= task_ids
