"""Webhooks: everything comes, in order, signed, however the receiver behaves and whoever delivers; on both stores."""

import asyncio
import ssl
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

import given as g
import stores
from receivers import KEY, NEVER, Answer, Receiver, Receivers
from stores import MongoDB, Place
from tespes import errors, events
from tespes.background import Background
from tespes.events import Meta, cloud, redact
from tespes.flow import checks
from tespes.flow.deliver import Delivery
from tespes.flow.execute import By
from tespes.flow.health import Level
from tespes.flow.lead import Contender
from tespes.flow.post import pause_s
from tespes.flow.webhooks import Active, Parked, Webhook, Webhooks
from tespes.store import Fence, Store

EXPIRES_S = 5.0
SOURCE = cloud.source("org.example.tests")
OPERATOR = By("operator")
HAPPENED = (events.TaskDeferred(reason="no place"), events.TaskSystemFailed(reason="ran out of patience"))


def to(receiver: Receiver, **what: Any) -> Webhook:
    """A webhook that is new; it wants all of the log."""
    wanted: dict[str, Any] = {"name": "a", "url": receiver.url, "key": KEY, "begin": "beginning"}
    return Webhook(**(wanted | what))


async def happen(store: Store, count: int, *, owner: str = "anonymous", happened: Sequence[events.Event] = HAPPENED) -> None:
    """That many commits, each of a task of its own."""
    meta = Meta(at=g.at(0), actor="tests", owner=owner)
    commits = (events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, happened, meta) for _ in range(count))
    await asyncio.gather(*(store.log.append(each) for each in commits))


async def expected(store: Store, types: frozenset[str], after: int = 0) -> list[str]:
    """The sequences of all events of those types, as the log has them."""
    found: list[str] = []
    while entries := await store.log.read(after):
        after = entries[-1].position
        for entry in entries:
            found += [event.attributes["sequence"] for event in cloud.of(entry, SOURCE) if event.attributes["type"] in types]
    return found


ALL = frozenset({cloud.type_of("TaskDeferred"), cloud.type_of("TaskSystemFailed")})


@asynccontextmanager
async def delivering(store: Store, *wanted: Webhook, process: str = "one") -> AsyncIterator[Webhooks]:
    """A process that delivers to these."""
    webhooks = Webhooks(store.log, store.checkpoints, wanted)
    await webhooks.prepare()
    contender = Contender(store.leases, store.log, process, EXPIRES_S)
    async with Background(again_s=0.5) as background:
        for each in wanted:
            delivery = Delivery(each, webhooks, store.log, store.checkpoints, SOURCE)
            background.start(each.stream, partial(contender.lead, each.stream, delivery.run))
        yield webhooks


async def until(true: Callable[[], bool], within_s: float = 15) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def parked(webhooks: Webhooks, name: str = "a") -> Parked:
    """How it is parked, once it is."""
    async with asyncio.timeout(15):
        while not isinstance(state := await webhooks.state(name), Parked):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
    return state


async def caught_up(store: Store) -> None:
    """Wait until the checkpoint is at the end of the log: the sender knows of every answer."""
    async with asyncio.timeout(15):
        while await store.checkpoints.position("webhook:a") != (await store.log.head()).position:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def kinds(store: Store) -> list[str]:
    """What is written down of the webhook, one after the other."""
    return [event.type for entry in await store.log.read_stream("webhook:a") for event in entry.commit.events]


class TestInOrder:
    """What a receiver gets that takes everything."""

    async def test_everything_comes_once_in_order_and_goes_live(self, a_store: Store, receiver: Receiver) -> None:
        """What was there, and what happens then; also commits of several events. Copies have one id: that of the event."""
        await happen(a_store, 40)
        async with delivering(a_store, to(receiver)):
            await until(lambda: len(receiver.taken) == 80)
            await happen(a_store, 10)
            await until(lambda: len(receiver.taken) == 100)
        assert receiver.sequences == await expected(a_store, ALL)
        assert len({each.id for each in receiver.offered}) == 100
        assert all(each.id == each.document["id"] for each in receiver.offered)
        assert receiver.forged == 0

    async def test_the_whole_event_is_in_the_signed_body(self, a_store: Store, receiver: Receiver) -> None:
        """CloudEvents, structured mode: nothing that counts is in a header that nobody signs."""
        await happen(a_store, 1)
        async with delivering(a_store, to(receiver)):
            await until(lambda: len(receiver.taken) == 2)
        [entry] = [each for each in await a_store.log.read(0) if events.is_task(each.commit.stream)]
        assert receiver.taken == [event.document() for event in cloud.of(entry, SOURCE)]
        assert receiver.offered[0].headers["content-type"] == "application/cloudevents+json; charset=utf-8"

    async def test_only_what_is_wanted_comes_and_the_position_passes_the_rest(self, a_store: Store, receiver: Receiver) -> None:
        """By type and by owner."""
        wanted = to(receiver, types=frozenset({"TaskDeferred"}), owner="ada")
        for owner in ("ada", "bob", "ada", "bob"):
            await happen(a_store, 1, owner=owner)
        async with delivering(a_store, wanted):
            await until(lambda: len(receiver.taken) == 2)
            await caught_up(a_store)
        assert {(each["owner"], each["type"]) for each in receiver.taken} == {("ada", cloud.type_of("TaskDeferred"))}

    async def test_a_new_one_begins_now_and_that_outlives_a_restart(self, a_store: Store, receiver: Receiver) -> None:
        """What happens after the first start comes, even if nothing was delivered before the next one."""
        hanging, wanted = to(receiver, url="http://127.0.0.1:1/", begin="now"), to(receiver, begin="now")
        async with delivering(a_store, hanging):
            await happen(a_store, 3)
        async with delivering(a_store, wanted):
            await until(lambda: len(receiver.taken) == 6)
        later = to(receiver, name="b", begin="now")
        async with delivering(a_store, later):
            await happen(a_store, 1)
            await until(lambda: len(receiver.taken) == 8)
        assert receiver.sequences[-2:] == (await expected(a_store, ALL))[-2:]

    async def test_who_goes_on_begins_where_it_was(self, a_store: Store, receiver: Receiver) -> None:
        """An end in good order: nothing comes twice."""
        for _ in range(3):
            await happen(a_store, 5)
            async with delivering(a_store, to(receiver)):
                goal = len(receiver.taken) + 10
                await until(lambda goal=goal: len(receiver.taken) >= goal)  # type: ignore[misc]
                await caught_up(a_store)
        assert receiver.sequences == await expected(a_store, ALL)

    @pytest.mark.parametrize(
        ("place", "count"),
        [
            ("sqlite", 10_000),
            ("mongodb", 500),
            *(pytest.param(each, 100_000, marks=pytest.mark.slow) for each in ("sqlite", "mongodb")),
        ],
        indirect=["place"],
    )
    async def test_a_long_log_comes_from_its_beginning_without_a_hole(
        self, a_store: Store, receiver: Receiver, count: int
    ) -> None:
        """Two events in a commit."""
        for _ in range(count // 500):
            await happen(a_store, 500)
        async with delivering(a_store, to(receiver)):
            await until(lambda: len(receiver.taken) >= 2 * count, within_s=1200)
            await happen(a_store, 1)
            await until(lambda: len(receiver.taken) >= 2 * count + 2)
        assert receiver.sequences == await expected(a_store, ALL)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # no store has a part in this
class TestRefused:
    """What a receiver gets that does not take everything."""

    async def test_what_is_refused_comes_again_before_anything_else(self, a_store: Store, receiver: Receiver) -> None:
        """The same event with the same id; a redirect is not followed, wherever it leads."""
        refusals = [Answer(status, {"Location": receiver.url}) for status in (301, 307, 400, 429)]
        receiver.script += [answer for refusal in refusals for answer in (refusal, Answer())]
        async with delivering(a_store, to(receiver)):
            await happen(a_store, 2)
            await until(lambda: len(receiver.taken) == 4)
        assert receiver.sequences == await expected(a_store, ALL)
        offered = [each.id for each in receiver.offered]
        assert offered[::2] == offered[1::2]
        assert len(set(offered)) == 4

    async def test_what_is_the_matter_is_said_until_it_is_over(self, a_store: Store, receiver: Receiver) -> None:
        """A line for the operator, without what may be a secret in the URL: login, path and query."""
        receiver.usual = Answer(500)
        address = receiver.url.replace("127.0.0.1", "ada:hunter2@127.0.0.1") + "?token=hunter2"
        async with delivering(a_store, to(receiver, url=address)) as webhooks:
            await happen(a_store, 1)
            await until(lambda: len(receiver.offered) > 1)
            [standing] = await webhooks.look()
            assert standing.trouble == f"{receiver.url.removesuffix('/hook')}: 500 Internal Server Error"
            assert receiver.offered[0].headers["authorization"].startswith("Basic ")
            found = await checks.webhooks(webhooks)()
            assert (found.level, found.reason) == (Level.DEGRADED, f"a: {standing.trouble}")
            receiver.usual = Answer()
            await until(lambda: len(receiver.taken) == 2)
            await caught_up(a_store)
            assert [each.trouble for each in await webhooks.look()] == [None]
            assert (await checks.webhooks(webhooks)()).level is Level.READY

    async def test_one_that_hangs_is_asked_again_and_keeps_nobody_waiting(self, a_store: Store, receivers: Receivers) -> None:
        """Each has a follower of its own."""
        hangs, well = receivers(), receivers()
        hangs.script += [NEVER, NEVER]
        async with delivering(a_store, to(hangs, timeout_s=0.3), to(well, name="b")) as webhooks:
            await happen(a_store, 5)
            await until(lambda: len(well.taken) == 10)
            assert not hangs.taken
            await until(lambda: len(hangs.offered) == 2)
            assert "silent for 0.3 s" in str((await webhooks.look())[0].trouble)
            await until(lambda: len(hangs.taken) == 10)
        assert hangs.sequences == well.sequences == await expected(a_store, ALL)

    async def test_one_that_is_not_there_gets_everything_once_it_is(self, a_store: Store, receiver: Receiver) -> None:
        """Nobody listens, then a receiver does."""
        away = to(receiver, url="http://127.0.0.1:1/hook", timeout_s=2)
        async with delivering(a_store, away) as webhooks:
            await happen(a_store, 2)
            await until(lambda: bool(webhooks._troubles))
            assert "127.0.0.1:1" in str((await webhooks.look())[0].trouble)
        async with delivering(a_store, to(receiver)):
            await until(lambda: len(receiver.taken) == 4)

    async def test_retry_after_is_heeded(self, a_store: Store, receiver: Receiver) -> None:
        """Not sooner than it was asked for."""
        receiver.script += [Answer(503, {"Retry-After": "1"})]
        async with delivering(a_store, to(receiver)):
            await happen(a_store, 1)
            await until(lambda: len(receiver.taken) == 2)
        first, second, _ = receiver.offered
        assert second.at_s - first.at_s >= 1

    async def test_what_is_no_answer_is_a_refusal_like_any_other(self, a_store: Store) -> None:
        """Whatever somebody sends back: the event comes again, and TESPES lives."""
        odd = [
            b"",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 500 \xff\r\nRetry-After: 0 Nov 99999999999 0:0\r\nSet-Cookie: \x01\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        ]
        answers = deque(answer for each in odd for answer in (each, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers.popleft())
            await writer.drain()
            writer.close()

        await happen(a_store, len(odd), happened=HAPPENED[:1])
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            webhook = Webhook(name="a", url=f"http://127.0.0.1:{port}/", key=KEY, begin="beginning")
            async with delivering(a_store, webhook):
                await caught_up(a_store)
        assert not answers

    async def test_only_trusted_certificates_are_talked_to(self, a_store: Store, receivers: Receivers, tmp_path: Path) -> None:
        """The system's, and those of the settings."""
        authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        secure, trusted = receivers(tls=context), tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(trusted))
        await happen(a_store, 1)
        async with delivering(a_store, to(secure)) as webhooks:
            await until(lambda: bool(webhooks._troubles))
            assert "certificate is not trusted" in str((await webhooks.look())[0].trouble)
        async with delivering(a_store, to(secure, ca_file=str(trusted))):
            await until(lambda: len(secure.taken) == 2)


class TestBeforehand:
    """What is read, or found out, without a webhook."""

    def test_a_file_without_certificates_is_said_at_once(self, tmp_path: Path, receiver: Receiver) -> None:
        """Before anything is delivered."""
        (tmp_path / "ca.pem").write_text("nothing")
        with pytest.raises(errors.SetupError, match=r"ca\.pem: has no certificates"):
            Delivery(to(receiver, ca_file=str(tmp_path / "ca.pem")), None, None, None, SOURCE)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("said", "pause"),
        [
            ("120", 120.0),
            ("0", 0.0),
            ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
            ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
            ("Sun, 22 Nov 2026 12:01:00", None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ],
    )
    def test_how_long_retry_after_asks_for(self, said: str, pause: float | None) -> None:
        """Seconds or a moment (RFC 9110, 10.2.3); what is neither counts for nothing."""
        assert pause_s(said, datetime(2026, 11, 22, 12, tzinfo=UTC)) == pause

    @given(said=st.one_of(st.text(), st.from_regex(r"\A(Sun, )?\d{1,6} Nov \d{1,22} [\d:.]{0,12} ?(GMT|[+-]\d{1,20})\Z")))
    def test_no_retry_after_can_do_any_harm(self, said: str) -> None:
        """What others write is read, or it is not; never more than that."""
        assert (pause_s(said, datetime.now(UTC)) or 0) >= 0


class TestParked:
    """Who refuses for too long gets nothing more until an operator wants it."""

    async def test_one_that_says_it_is_gone_is_parked_at_once(self, a_store: Store, receiver: Receiver) -> None:
        """410: resumed, it gets its events from that one on, and nothing twice."""
        receiver.script += [Answer(), Answer(410)]
        async with delivering(a_store, to(receiver)) as webhooks:
            await happen(a_store, 3)
            state = await parked(webhooks)
            await asyncio.sleep(0.3)
            assert len(receiver.offered) == 2
            refused = receiver.offered[1].document["sequence"]
            assert state.position == int(refused.partition(".")[0])
            assert "410 Gone" in state.reason
            found = await checks.webhooks(webhooks)()
            assert found.level is Level.DEGRADED
            assert f"a: parked at position {state.position}" in str(found.reason)
            await webhooks.resume("a", OPERATOR)
            await until(lambda: len(receiver.taken) == 6)
        assert receiver.sequences == await expected(a_store, ALL)
        assert await kinds(a_store) == ["WebhookParked", "WebhookResumed"]

    async def test_one_that_refuses_for_too_long_is_parked_over_restarts(self, a_store: Store, receiver: Receiver) -> None:
        """That is in the log; the patience begins anew when it is resumed."""
        receiver.usual = Answer(500)
        impatient = to(receiver, give_up_after_s=0.7)
        async with delivering(a_store, impatient) as webhooks:
            await happen(a_store, 1)
            await parked(webhooks)
        asked = len(receiver.offered)
        assert asked >= 2
        receiver.usual = Answer()
        async with delivering(a_store, impatient) as webhooks:
            await happen(a_store, 1)
            await asyncio.sleep(0.7)
            assert len(receiver.offered) == asked
            await webhooks.resume("a", OPERATOR)
            await until(lambda: len(receiver.taken) == 4)
        assert receiver.sequences == await expected(a_store, ALL)

    async def test_what_was_taken_out_while_it_waited_is_not_sent(self, a_store: Store, receiver: Receiver) -> None:
        """Of the event that was refused, and of those that were read together with it."""
        receiver.script += [Answer(410)]
        async with delivering(a_store, to(receiver, types=frozenset({"TaskDeferred"}))) as webhooks:
            await happen(a_store, 2)
            await parked(webhooks)
            for entry in await a_store.log.read(0):
                if events.is_task(entry.commit.stream):
                    was = entry.commit.events[0]
                    await a_store.log.redact(entry.position, 0, was, redact.without(was, ["reason"]).encoded)
            await webhooks.resume("a", OPERATOR)
            await until(lambda: len(receiver.taken) == 2)
        assert receiver.offered[0].document["data"]["reason"] == "no place"
        assert [each["data"]["reason"] for each in receiver.taken] == [redact.REDACTED] * 2

    async def test_an_order_that_is_given_twice_is_given_once(self, a_store: Store, receiver: Receiver) -> None:
        """Resuming what is not parked is no event; what is not in the settings is not found."""
        webhooks = Webhooks(a_store.log, a_store.checkpoints, [to(receiver)])
        await webhooks.resume("a", OPERATOR)
        assert await kinds(a_store) == []
        for _ in range(2):
            await webhooks.park("a", 7, "it said no", None)
        await asyncio.gather(*(webhooks.resume("a", OPERATOR) for _ in range(5)))
        assert await kinds(a_store) == ["WebhookParked", "WebhookResumed"]
        assert isinstance(await webhooks.state("a"), Active)
        with pytest.raises(errors.NotFound, match="there is no webhook b in the settings; there are: a"):
            await webhooks.resume("b", OPERATOR)


class TestTheLog:
    """What may be the matter with the log, or with the position in it."""

    async def test_a_position_of_another_log_counts_for_nothing(self, a_store: Store, receiver: Receiver) -> None:
        """It is ahead of this one, as after a restore: everything comes, so that nothing is left out."""
        await happen(a_store, 2)
        await a_store.checkpoints.begin("webhook:a", 1_000)
        async with delivering(a_store, to(receiver)):
            await until(lambda: len(receiver.taken) == 4)
            await caught_up(a_store)
        assert receiver.sequences == await expected(a_store, ALL)

    async def test_what_only_a_newer_release_knows_is_left_out(self, place: Place, receiver: Receiver) -> None:
        """A type that is unknown, and a version; the rest comes, and what does not is counted."""
        async with place.open() as store:
            await happen(store, 3)
        entries = place.stored()
        entries[0]["events"][0]["v"] = 99
        entries[1]["events"][1]["type"] = "TaskTeleported"
        place.tamper(entries)
        async with place.open() as store, delivering(store, to(receiver)) as webhooks:
            await until(lambda: len(receiver.taken) == 4)
            facts = (await checks.webhooks(webhooks)()).document()["webhooks"]
            assert facts["a"]["skipped_events"] == 2
        expected_types = [
            cloud.type_of(name) for name in ("TaskSystemFailed", "TaskDeferred", "TaskDeferred", "TaskSystemFailed")
        ]
        assert [each["type"] for each in receiver.taken] == expected_types

    async def test_what_cannot_be_read_parks_it_until_it_can(self, place: Place, receiver: Receiver) -> None:
        """Nobody goes past that point; mended, it goes on there."""
        async with place.open() as store:
            await happen(store, 3)
        whole, damaged = place.stored(), place.stored()
        damaged[1]["events"][0]["data"] = '{"reason": 7}'
        place.tamper(damaged)
        async with place.open() as store, delivering(store, to(receiver)) as webhooks:
            state = await parked(webhooks)
            assert state.position == 2
            assert "TaskDeferred" in state.reason
            assert len(receiver.taken) == 2
        place.tamper([*whole, *(entry for entry in place.stored() if entry["position"] > 3)])
        async with place.open() as store, delivering(store, to(receiver)) as webhooks:
            await webhooks.resume("a", OPERATOR)
            await until(lambda: len(receiver.taken) == 6)
            assert receiver.sequences == await expected(store, ALL)


class TestTwoProcesses:
    """MongoDB: one delivers, the other waits to replace it."""

    @pytest.fixture
    async def two(self, mongodb: MongoDB, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
        """The stores of two processes."""
        place = stores.in_mongodb(mongodb, tmp_path)
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(place.open()), await stack.enter_async_context(place.open())

    async def test_one_delivers_and_the_other_takes_over(self, two: tuple[Store, Store], receiver: Receiver) -> None:
        """An end in good order: nothing comes twice."""
        one, other = two
        async with AsyncExitStack() as first, AsyncExitStack() as second:
            await first.enter_async_context(delivering(one, to(receiver), process="one"))
            await happen(one, 10)
            await until(lambda: len(receiver.taken) == 20)
            await caught_up(one)
            await second.enter_async_context(delivering(other, to(receiver), process="other"))
            await first.aclose()
            await happen(one, 10)
            await until(lambda: len(receiver.taken) == 40)
        assert receiver.sequences == await expected(one, ALL)

    async def test_who_was_replaced_moves_nothing_and_parks_nothing(self, two: tuple[Store, Store], receiver: Receiver) -> None:
        """It stood still while another process took the lease: the position and the log refuse it."""
        one, other = two
        webhooks = Webhooks(one.log, one.checkpoints, [to(receiver)])
        async with delivering(one, to(receiver), process="one"):
            await happen(one, 1)
            await until(lambda: len(receiver.taken) == 2)
            fence = (await other.log.read_stream("lease:webhook:a"))[-1].commit.version
        async with delivering(other, to(receiver), process="other"):
            await happen(other, 1)
            await until(lambda: len(receiver.taken) == 4)
            await caught_up(other)
        old = Fence("webhook:a", fence)
        with pytest.raises(errors.LeaseLost):
            await one.checkpoints.move("webhook:a", 1_000, old)
        with pytest.raises(errors.LeaseLost):
            await webhooks.park("a", 1, "it said no", old)
