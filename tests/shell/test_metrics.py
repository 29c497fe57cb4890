"""`/metrics`: every number is a real one, whatever is away, and every metric is described."""

import asyncio
import re
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from metrics_at_work import WHOLE, WITHIN_S, Watched, metrics_at_work
from prometheus_client.core import Metric

import given as g
import scraped
import stores
from receivers import SECRET, Answer, Receivers
from scraped import shows
from servers import ROOT
from simulated import SimulatedPulsar, Way
from stores import MongoDB, Place
from tespes import errors, events, serving
from tespes.events import Entry, Meta
from tespes.flow import overview
from tespes.flow.overview import Overlook, Position
from tespes.flow.project import Projector
from tespes.local.ports import free_port
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.projections import TASK_VIEW, USAGE
from tespes.store import Store

pytestmark = pytest.mark.servers

OURS = ("tespes_", "process_")
UNITS = ("_seconds", "_bytes", "_total", "_info")
VIEWS = (TASK_VIEW.name, USAGE.name)


class TestWhatIsSaid:
    """The formats, the names and the documentation."""

    async def test_both_formats_say_the_same(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Prometheus's text for whoever does not say, OpenMetrics for whoever asks for it; the parsers take both."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, **WHOLE) as running:
            await running.post()
            text = await running.scrape()
            openmetrics = await running.scrape(scraped.OPENMETRICS)
            async with running.http.get(f"{running.url}/metrics") as answer:
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert answer.headers["Cache-Control"] == "no-store"
            async with running.http.get(f"{running.url}/metrics", headers={"Accept": scraped.OPENMETRICS}) as answer:
                assert answer.headers["Content-Type"].startswith(scraped.OPENMETRICS)
                assert (await answer.text()).endswith("# EOF\n")
            for kind in ("text/plain", "application/openmetrics-text"):
                async with running.http.get(f"{running.url}/metrics", headers={"Accept": f"{kind}; version=x"}) as answer:
                    assert (answer.status, answer.content_type) == (200, "text/plain")
        assert {name.removesuffix("_info") for name in text.families} == set(openmetrics.families)
        for name, family in text.families.items():
            assert name.startswith(OURS), name
            assert family.documentation.endswith("."), name
            assert not name.endswith("_created"), name
            assert family.type != "counter" or all(sample.name.endswith("_total") for sample in family.samples)

    async def test_every_metric_is_documented_and_nothing_else(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """The table of docs/operations.md, with type and labels, is what a TESPES with all roles shows."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, **WHOLE) as running:
            await running.post()
            seen = await running.until(lambda seen: seen("tespes_pulsar_queue_messages", pulsar="a", queue="dead") >= 0)
        chapter = (ROOT / "docs" / "operations.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(tespes_\w+)` \| (\w+) \|([^|]*)\|", chapter, re.MULTILINE)
        documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
        ours = {shown(family): family for name, family in seen.families.items() if name.startswith("tespes_")}
        assert documented.keys() == ours.keys()
        for name, family in ours.items():
            labels = {frozenset(sample.labels.keys() - {"le"}) for sample in family.samples}
            assert labels == {documented[name][1]}, name
            assert documented[name][0] == ("gauge" if family.type == "unknown" else family.type), name

    async def test_alerts_are_about_metrics_that_there_are(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Each expression of docs/alerts.yaml names metrics and labels that are shown, and each alert says what to do."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, **WHOLE) as running:
            await running.post()
            seen = await running.until(lambda seen: seen("tespes_pulsar_queue_messages", pulsar="a", queue="dead") >= 0)
        names = {sample.name: sample.labels.keys() for each in seen.families.values() for sample in each.samples}
        rules = yaml.safe_load((ROOT / "docs" / "alerts.yaml").read_text())
        alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        assert 6 <= len(alerts) <= 12
        for alert in alerts:
            assert {"alert", "expr", "for", "labels", "annotations"} == alert.keys()
            assert alert["annotations"].keys() == {"summary", "description"}
            used = re.findall(r"(tespes_\w+)(?:\{([^}]*)\})?", alert["expr"])
            assert used, alert["alert"]
            for name, labels in used:
                assert name in names, (alert["alert"], name)
                assert set(re.findall(r"(\w+)[!=]?[=~]", labels)) <= names[name], (alert["alert"], name)
            grouped = {label for labels in re.findall(r"by \((.*?)\)", alert["expr"]) for label in labels.split(", ")}
            assert grouped - {"instance"} <= {label for name, _ in used for label in names[name]}, alert["alert"]


def shown(family: Metric) -> str:
    """The name as it is asked for: the parser takes the ending of counters away."""
    return f"{family.name}_total" if family.type == "counter" else family.name


class TestOfTasks:
    """What tasks leave in the numbers, on each store."""

    async def test_events_appends_and_tasks_are_counted(self, place: Place, rabbitmq: PrivateRabbitMQ) -> None:
        """All that this process wrote, and the tasks that live; no label has anything of a single task."""
        async with metrics_at_work(place, rabbitmq.url) as running:
            ids = [(await running.post())["id"] for _ in range(3)]
            await running.post(f"/v1/tasks/{ids[2]}:cancel", {})
            seen = await running.until(shows("tespes_tasks", 2, state="QUEUED"))
            assert seen("tespes_events_total", type="TaskCreated") == 3
            assert seen("tespes_events_total", type="TaskCancelRequested") == 1
            assert seen("tespes_events_total", type="TaskCanceled") == 1
            assert seen("tespes_events_total", type="TaskCompleted") == 0
            assert seen("tespes_attempts_ended_total", outcome="lost") == 0
            commits = seen("tespes_append_batch_commits_sum")
            assert commits == seen("tespes_append_duration_seconds_count") == seen("tespes_log_position")
            assert 1 <= seen("tespes_append_batch_commits_count") <= commits
            assert [seen("tespes_tasks", state=state) for state in ("INITIALIZING", "RUNNING", "CANCELING")] == [0, 0, 0]
            assert seen("tespes_tasks_oldest_seconds", state="QUEUED") > 0
            assert seen("tespes_tasks_without_place") == 2
            assert not any(task_id in value for task_id in ids for value in seen.labels())

    async def test_who_is_behind_is_seen_in_commits_and_seconds(self, a_store: Store) -> None:
        """By the age of the first commit that is missing; who caught up is at 0, and who is elsewhere is not there."""
        projector = Projector(a_store.log, a_store.documents, TASK_VIEW)
        await projector.prepare()
        for number in range(3):
            meta = Meta(at=g.at(10 * number), actor="tests", owner="anonymous")
            await a_store.log.append(events.commit(str(uuid.uuid4()), f"{number}" * 32, 1, (g.created(),), meta))
        behind = await overlook(a_store).look()
        assert behind.head == 3
        assert {name: (lag.commits, lag.seconds) for name, lag in behind.lags.items()} == {"view": (3, 60.0)}
        await projector.project(await a_store.log.read(0, 2))
        behind = await overlook(a_store).look()
        assert {name: (lag.commits, lag.seconds) for name, lag in behind.lags.items()} == {"view": (1, 40.0)}
        queued = behind.living["QUEUED"]
        assert (queued.tasks, queued.oldest_s) == (2, 60.0)
        await projector.project(await a_store.log.read(2))
        caught_up = await overlook(a_store).look()
        assert {name: (lag.commits, lag.seconds) for name, lag in caught_up.lags.items()} == {"view": (0, 0.0)}
        assert not any(caught_up.missing.values())

    async def test_who_fails_to_count_hinders_no_append(self, a_store: Store) -> None:
        """It is in the log by then, and nobody may be told that this is doubtful; the next ones hear of it, too."""
        heard: list[int] = []
        a_store.log.wrote += [fail, lambda entries: heard.append(entries[-1].position)]
        meta = Meta(at=g.at(0), actor="tests", owner="anonymous")
        for position in (1, 2):
            commit = events.commit(str(uuid.uuid4()), f"{position}" * 32, 1, (g.created(),), meta)
            assert (await a_store.log.append(commit)).position == position
        assert heard == [1, 2]

    async def test_a_clock_that_is_behind_makes_no_negative_age(self, a_store: Store) -> None:
        """Whoever wrote it may have another clock."""
        await a_store.documents.prepare(TASK_VIEW)
        meta = Meta(at=g.at(5), actor="tests", owner="anonymous")
        await a_store.log.append(events.commit(str(uuid.uuid4()), "0" * 32, 1, (g.created(),), meta))
        lag = (await overlook(a_store, at_s=0).look()).lags["view"]
        assert (lag.commits, lag.seconds) == (1, 0.0)

    async def test_what_is_sealed_is_not_behind(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """A seal needs no seal: a log in which nothing happens is not behind for ever."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, audit={"seal_s": 1}) as running:
            await running.post()
            behind = await running.until(lambda seen: seen("tespes_follower_lag_commits", follower="seal") > 0)
            assert behind("tespes_follower_lag_seconds", follower="seal") >= 0
            seen = await running.until(shows("tespes_follower_lag_commits", 0, follower="seal"))
            assert seen("tespes_events_total", type="HeadSigned") >= 1
            for view in VIEWS:
                await running.until(shows("tespes_follower_lag_commits", 0, follower=view))


def overlook(store: Store, at_s: float = 60.0) -> Overlook:
    """Of one that follows, and one that another process knows."""
    followers: dict[str, Position] = {"view": partial(store.documents.position, TASK_VIEW), "elsewhere": nowhere}
    return Overlook(store.log, followers, documents=store.documents, parked=(), webhooks=None, clock=lambda: g.at(at_s))


def fail(_: Sequence[Entry]) -> None:
    """As something does that counts."""
    raise ArithmeticError


async def nowhere() -> None:
    """A position that another process knows."""


class TestOfRequests:
    """HTTP."""

    async def test_requests_are_told_apart_by_route_and_never_by_path(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Whatever clients ask for: routes, methods and classes of status are few."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url) as running:
            task_id = (await running.post())["id"]
            paths = [
                f"/v1/tasks/{task_id}",
                "/v1/tasks/none",
                "/nowhere",
                "/elsewhere/entirely",
                f"/ga4gh/tes/v1/tasks/{task_id}",
            ]
            for path in paths:
                async with running.http.get(running.url + path) as answer:
                    await answer.read()
            async with running.http.get(f"{running.url}/", allow_redirects=False) as answer:
                assert answer.status == 302
            for method in ("PROPFIND", "DELETE"):
                async with running.http.request(method, f"{running.url}/v1/tasks") as answer:
                    await answer.read()
            seen = await running.scrape()

            def count(method: str, route: str, status: str) -> float | None:
                return seen.get("tespes_http_request_duration_seconds_count", method=method, route=route, status=status)

            assert count("POST", "/v1/tasks", "2xx") == 1
            assert count("GET", "/v1/tasks/{id}", "2xx") == 1
            assert count("GET", "/v1/tasks/{id}", "4xx") == 1
            assert count("GET", "/ga4gh/tes/v1/tasks/{id}", "2xx") == 1
            assert count("GET", "none", "4xx") == 2
            assert count("GET", "/", "3xx") == 1
            assert count("none", "none", "4xx") == 1
            assert count("DELETE", "none", "4xx") == 1
            assert seen("tespes_http_requests_in_progress") == 1  # this one
            assert (await running.scrape()).get(
                "tespes_http_request_duration_seconds_count", method="GET", route="/metrics", status="2xx"
            ) == 1

    async def test_clients_of_streams_are_counted(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """As long as they are there."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url) as running:
            async with running.http.get(f"{running.url}/events/stream") as answer:
                await answer.content.read(1)
                await running.until(shows("tespes_stream_clients", 1))
                answer.close()
            await running.post()  # who has gone is noticed with the next event
            await running.until(shows("tespes_stream_clients", 0))

    async def test_what_cannot_be_read_is_counted(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """An event of a newer release is left out by each follower, and counted by each."""
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url) as running:
            await running.until(shows("tespes_leads", 1, work="publish"))
            await running.post()
            [known] = await running.store.log.read(0, 1)
            [event] = known.commit.events
            newer = replace(event, type="TaskDreamt")
            strange = replace(known.commit, id=str(uuid.uuid4()), stream="f" * 32, events=(newer,), decoded=None)
            await running.store.log.append(strange)
            for follower in ("feed", "publish"):
                await running.until(shows("tespes_events_skipped_total", 1, follower=follower))
            seen = await running.until(shows("tespes_tasks_parked", 1, view="task_view"))
            assert seen("tespes_events_total", type="TaskDreamt") == 1


class TestOfOthers:
    """Pulsars and webhooks."""

    async def test_a_pulsar_that_nobody_reads_for(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Its places, who has them, what waits in its queues, and that nobody is there; drained or not."""
        name = f"a{uuid.uuid4().hex[:8]}"
        pulsars = {name: {"slots": 1, "manager": name, "runtime": {"kind": "sandbox"}}}
        async with Way(urlsplit(rabbitmq.url).port or 0) as amqp:
            broker_url = rabbitmq.url.replace(f":{urlsplit(rabbitmq.url).port}", f":{amqp.port}")
            place = stores.in_sqlite(tmp_path)
            async with metrics_at_work(place, broker_url, pulsars=pulsars) as running:
                await running.until(shows("tespes_pulsar_queue_consumers", 0, pulsar=name, queue="setup"))
                seen = await running.until(shows("tespes_pulsar_up", 1, pulsar=name))
                assert seen("tespes_pulsar_queue_consumers", pulsar=name, queue="status_update") == 1
                assert (seen("tespes_pulsar_places", pulsar=name), seen("tespes_pulsar_places_taken", pulsar=name)) == (1, 0)
                for _ in range(2):
                    await running.post()
                seen = await running.until(shows("tespes_tasks_without_place", 1))
                assert seen("tespes_pulsar_places_taken", pulsar=name) == 1
                assert seen("tespes_pulsar_drained", pulsar=name) == 0
                await drain(running, name)
                await running.until(shows("tespes_pulsar_drained", 1, pulsar=name))
                amqp.shut()
                seen = await running.until(shows("tespes_pulsar_up", 0, pulsar=name))
                assert seen.get("tespes_pulsar_queue_consumers", pulsar=name, queue="setup") is None
                await running.until(shows("tespes_check_ready", 0, check="pulsars"))
                amqp.open()
                await running.until(shows("tespes_pulsar_up", 1, pulsar=name))

    @pytest.mark.slow
    async def test_a_pulsar_that_goes(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Its readers go, what is sent to it waits, and what nobody understands is a dead letter; then all is well again."""
        name = f"a{uuid.uuid4().hex[:8]}"
        pulsars = {name: {"manager": name, "runtime": {"kind": "sandbox"}}}
        dead, setup = {"pulsar": name, "queue": "dead"}, {"pulsar": name, "queue": "setup"}
        async with (
            SimulatedPulsar(rabbitmq.url, manager=name) as pulsar,
            metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, pulsars=pulsars) as running,
        ):
            seen = await running.until(shows("tespes_pulsar_queue_consumers", 1, **setup))
            before = seen("tespes_pulsar_queue_messages", **dead)
            pulsar._link.say("status_update", b"nonsense", after_s=0)
            await running.until(shows("tespes_pulsar_queue_messages", before + 1, **dead))
            await pulsar.kill()
            await running.until(shows("tespes_pulsar_queue_consumers", 0, **setup))
            await running.until(shows("tespes_pulsar_up", 0, pulsar=name))
            await pulsar.start()
            await running.until(shows("tespes_pulsar_up", 1, pulsar=name))

    async def test_a_webhook_that_refuses(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ, receivers: Receivers) -> None:
        """It is behind, in commits and seconds, until it takes its events; then it is not; and one that is parked is seen."""
        receiver = receivers()
        receiver.usual = Answer(503)
        webhooks = {"portal": {"url": receiver.url, "secret": SECRET, "types": "TaskCreated,TaskCanceled"}}
        of, follower = {"webhook": "portal"}, {"follower": "webhook:portal"}
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, webhooks=webhooks) as running:
            task_id = (await running.post())["id"]
            seen = await running.until(lambda seen: seen("tespes_follower_lag_seconds", **follower) > 0.1)
            assert seen("tespes_follower_lag_commits", **follower) >= 1
            assert seen("tespes_webhook_deliveries_total", answer="refused", **of) >= 1
            assert seen("tespes_webhook_deliveries_total", answer="taken", **of) == 0
            assert seen("tespes_webhook_parked", **of) == 0
            receiver.usual = Answer(204)
            seen = await running.until(shows("tespes_follower_lag_commits", 0, **follower))
            assert seen("tespes_follower_lag_seconds", **follower) == 0
            assert seen("tespes_webhook_deliveries_total", answer="taken", **of) == 1
            receiver.usual = Answer(410)
            await running.post(f"/v1/tasks/{task_id}:cancel", {})
            await running.until(shows("tespes_webhook_parked", 1, **of))


async def drain(running: Watched, name: str) -> None:
    """As an operator does."""
    meta = Meta(at=g.at(0), actor="tests", owner="tests")
    drained = events.PulsarDrained(pulsar=name, reason="new disks")
    await running.store.log.append(events.commit(str(uuid.uuid4()), f"pulsar:{name}", 1, (drained,), meta))


class TestWhateverIsAway:
    """It answers, in time, with what it knows."""

    @pytest.mark.parametrize("how", ["silent", pytest.param("gone", marks=pytest.mark.slow)])
    async def test_a_database_that_is_away(
        self, tmp_path: Path, mongodb: MongoDB, rabbitmq: PrivateRabbitMQ, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is in memory is there, what is not is missing, and that is said; afterwards all is there again."""
        monkeypatch.setattr(overview, "_AT_MOST_S", 0.5)
        async with Way(urlsplit(mongodb.uri).port or 0) as way:
            uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
            at = stores.in_mongodb(MongoDB(uri, None), tmp_path)
            async with metrics_at_work(at, rabbitmq.url) as running:
                await running.post()
                await running.until(shows("tespes_tasks", 1, state="QUEUED"))
                if how == "gone":
                    way.shut()
                else:
                    way.delay_s = 3600.0
                began = time.monotonic()
                seen = await running.until(shows("tespes_scrape_problem", 1, part="log"))
                assert time.monotonic() - began < 10
                assert seen.get("tespes_log_position") is None
                assert seen.get("tespes_tasks", state="QUEUED") is None
                assert seen.get("tespes_follower_lag_commits", follower="task_view") is None
                assert seen("tespes_events_total", type="TaskCreated") == 1
                assert seen("tespes_scrape_problem", part="tasks") == 1
                way.delay_s = 0.0
                way.cut()
                way.open()
                seen = await running.until(shows("tespes_scrape_problem", 0, part="tasks"))
                assert seen("tespes_tasks", state="QUEUED") == 1


class TestWhereItIs:
    """With all else, or at a port of its own; in every process."""

    async def test_a_port_of_its_own(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Then it is nowhere else: who reaches the API does not see it."""
        port = free_port()
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, metrics={"port": port}) as running:
            await running.post()
            async with running.http.get(f"{running.url}/metrics") as answer:
                assert answer.status == 404
            async with running.http.get(f"http://127.0.0.1:{port}/v1/tasks") as answer:
                assert answer.status == 404
            running.metrics_url = f"http://127.0.0.1:{port}"
            seen = await running.until(shows("tespes_events_total", 1, type="TaskCreated"))
            assert seen.get("tespes_http_requests_in_progress") == 0

    async def test_pages_of_others_do_not_read_it(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """Whatever pages may call the API: it is for operators."""
        http = {"port": 0, "cors_origins": "*"}
        async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, http=http) as running:
            for path, is_open in (("/metrics", False), ("/v1/service-info", True)):
                async with running.http.get(running.url + path, headers={"Origin": "https://portal.example.org"}) as answer:
                    assert ("Access-Control-Allow-Origin" in answer.headers) == is_open, path

    async def test_a_port_that_is_taken(self, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
        """One line that names the setting, and nothing is started."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = {"metrics": {"port": taken.getsockname()[1]}}
            with pytest.raises(errors.SetupError, match=r"cannot listen at 127\.0\.0\.1:\d+: .*metrics\.port"):
                async with metrics_at_work(stores.in_sqlite(tmp_path), rabbitmq.url, **settings):
                    pass

    @pytest.mark.parametrize("host", ["192.0.2.1", "not a host"])
    def test_an_address_that_is_not_of_this_machine(self, host: str) -> None:
        """Another port would not help."""
        with pytest.raises(errors.SetupError, match=f"cannot listen at {host}:0: (?!Unknown).*; name an address of this"):
            serving.listen(host, 0, "metrics.port")

    async def test_several_processes_add_up(self, tmp_path: Path, mongodb: MongoDB, rabbitmq: PrivateRabbitMQ) -> None:
        """What each did itself; who leads, one does; what all see, they agree on. One without the API shows its own, too."""
        place = stores.in_mongodb(mongodb, tmp_path)
        works = {"roles": ("dispatch", "listen", "project", "publish")}
        async with (
            metrics_at_work(replace(place, state_dir=tmp_path / "a"), rabbitmq.url, roles=("api",)) as first,
            metrics_at_work(replace(place, state_dir=tmp_path / "b"), rabbitmq.url, **works) as second,
            metrics_at_work(replace(place, state_dir=tmp_path / "c"), rabbitmq.url, **works) as third,
        ):
            for _ in range(3):
                await first.post()
            every = (first, second, third)
            for each in (second, third):
                await each.until(shows("tespes_tasks", 3, state="QUEUED"))
            for work in ("dispatch", "project", "publish", "seal"):
                await second.until(shows("tespes_leads", 1, work=work))
            async with asyncio.timeout(WITHIN_S):
                while True:
                    seen = [await each.scrape() for each in every]
                    head = max(each("tespes_log_position") for each in seen)
                    if sum(each("tespes_append_batch_commits_sum") for each in seen) == head:
                        break
            assert seen[0]("tespes_events_total", type="TaskCreated") == 3
            assert [each.get("tespes_tasks_without_place") for each in seen] == [None, 3, None]
            assert [each.get("tespes_leads", work="dispatch") for each in seen] == [None, 1, 0]
            assert [each.get("tespes_follower_lag_commits", follower="feed") is None for each in seen] == [False, True, True]
            assert [each.get("tespes_follower_lag_commits", follower="publish") is None for each in seen] == [
                True,
                False,
                False,
            ]
