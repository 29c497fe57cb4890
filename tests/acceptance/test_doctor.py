"""`tespes doctor` finds what is wrong, by its name, and says what to do; it changes nothing, and shows no password."""

import ast
import asyncio
import base64
import inspect
import json
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import trustme
from pydantic import SecretStr
from pymongo import AsyncMongoClient

import histories
from patients import PASSWORD, REAL, Patient, Vhost, a_mongodb_with_users, a_pulsar, a_small_disk, problems, vhosts, warnings
from s3_servers import OWNER, SeaweedFS
from servers import Loop, Tespes
from stores import MongoDB, in_mongodb, in_sqlite
from tespes import doctor, errors, settings, surroundings
from tespes.doctor import clocks, node
from tespes.doctor.finding import Check, Finding, Level, carried_out, ok
from tespes.local.ftp import LocalFTP
from tespes.local.ports import free_port
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.projections import READ_MODELS
from tespes.pulsar import dead
from tespes.settings.sections import Http, Runner
from tespes.store import version
from web_server import Answer, WebServer

pytestmark = pytest.mark.servers

JOB_S = 30.0
NOBODY = 65534
DEAD = f"queue {dead.QUEUE}"  # other tests leave letters there


@pytest.fixture(scope="module")
def empty_vhosts(loop_thread: Loop, rabbitmq: PrivateRabbitMQ) -> list[Vhost]:
    """Virtual hosts with nothing in them."""
    return loop_thread.run(vhosts(rabbitmq, 8))


@pytest.fixture
def vhost(empty_vhosts: list[Vhost]) -> Vhost:
    """A virtual host of its own."""
    return empty_vhosts.pop()


@pytest.fixture
async def channel(vhost: Vhost) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Somebody who came there before."""
    async with await aio_pika.connect(vhost.url) as connection, connection.channel() as opened:
        yield opened


async def test_all_is_well_while_no_tespes_runs(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar) -> None:
    """The job goes to Pulsar and calls back; the doctor answers in TESPES's place. Nothing is left but what TESPES makes."""
    patient = Patient.made(tmp_path, REAL, broker_url=rabbitmq.url)
    found = await patient.examined(JOB_S)
    assert {each.level for each in found if each.about != DEAD} == {Level.OK}, found
    said = {each.about: each.said for each in found}
    assert said["pulsar real"].startswith("Pulsar 0.")
    assert "Python 3." in said["job at real"]
    assert "reaches TESPES" in said["callback of real"]
    assert "bubblewrap" in said["runtime of real"]
    assert "agrees" in said["clock of the node of real"]
    assert not patient.state_dir.exists()


async def test_a_tespes_that_runs_is_not_disturbed(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar) -> None:
    """It answers the job itself, has no dead letter of it, and says how it is."""
    running = Tespes(tmp_path / "tespes", {"TESPES_RABBITMQ__URL": rabbitmq.url}, REAL)
    await asyncio.to_thread(running.start)
    try:
        patient = Patient.made(tmp_path, REAL, broker_url=rabbitmq.url, state_dir=running.state_dir, port=running.port)
        before = {each.about: each.said for each in await patient.examined()}
        answered = await asyncio.to_thread(patient.command, "--json")
        assert (answered.returncode, answered.stderr) == (0, ""), answered
        found = {each["about"]: each for each in json.loads(answered.stdout)["findings"]}
        assert f"runs at {running.url}" in found["tespes"]["said"]
        assert found["callback of real"]["level"] == "ok"
        assert found[DEAD]["said"] == before[DEAD] == {each.about: each.said for each in await patient.examined()}[DEAD]
    finally:
        await asyncio.to_thread(running.stop)


async def test_a_check_that_fails_is_a_line_and_ends_no_other() -> None:
    """Whatever it is: a mistake of ours, which may have a password in its words, or a server that says nothing for ever."""

    async def crashes() -> AsyncIterator[Finding]:
        yield ok("crashes", "begins well")
        raise RuntimeError(PASSWORD)

    async def hangs() -> AsyncIterator[Finding]:
        await asyncio.Event().wait()
        yield ok("hangs", "ends")

    async def refuses() -> AsyncIterator[Finding]:
        raise errors.SetupError("it is away: start it")
        yield

    found = await carried_out([Check("crashes", crashes), Check("hangs", hangs, 0.05), Check("refuses", refuses)])
    assert [re.sub(r"line \d+, .*", "line N", each.line()) for each in found] == [
        "ok       crashes: begins well",
        "problem  crashes: could not be looked at: RuntimeError in test_doctor.py line N",
        "problem  hangs: no answer within 0.05 s: see whether it is overloaded, or away",
        "problem  refuses: it is away: start it",
    ]
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("theirs", "level", "said"),
    [
        (1000.0, Level.OK, "agrees with that of this machine"),
        (1013.0, Level.WARNING, "is 11 s ahead of that of this machine: set one of the two by NTP"),
        (0.0, Level.PROBLEM, "is 1,000 s behind that of this machine: set one of the two by NTP"),
    ],
)
def test_clocks_agree_as_far_as_can_be_known(theirs: float, level: Level, said: str) -> None:
    """What the other clock said, it said at some moment of a question that took two seconds."""
    assert clocks.compared("a node", theirs, 1000.0, 1002.0) == Finding(level, "clock of a node", said)


def test_the_job_is_for_any_python_from_3_8_on() -> None:
    """What a newer one alone understands would fail on a node."""
    ast.parse(inspect.getsource(node), feature_version=(3, 8))


def test_settings_that_cannot_be_read_end_it(tmp_path: Path) -> None:
    """Nothing could be looked at: exit status 2, and a line all the same."""
    patient = Patient.made(tmp_path, '[default.runner]\nkey = "never-shown"\n', broker_url="amqp://127.0.0.1/")
    said = patient.command("--quick")
    assert said.returncode == 2
    (line,) = said.stdout.splitlines()
    assert line.startswith("problem  settings: the setting runner.key (")
    assert line.endswith("at least 32 characters are expected")
    assert PASSWORD not in said.stdout + said.stderr


async def test_a_broker_that_refuses_the_login(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Which setting to mend; no password."""
    host = rabbitmq.url.rpartition("@")[2]
    patient = Patient.made(tmp_path, broker_url=f"amqp://tespes:never-shown@{host}")
    said = await asyncio.to_thread(patient.command, "--quick")
    assert said.returncode == 1
    assert (
        f"problem  broker {host}: RabbitMQ at {host} refuses the login: mend user and password in rabbitmq.url" in said.stdout
    )
    assert "never-shown" not in said.stdout + said.stderr
    assert len(said.stdout.splitlines()) == len({*said.stdout.splitlines()})


async def test_a_virtual_host_that_is_not_there(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Which setting to mend."""
    found = problems(await Patient.made(tmp_path, broker_url=f"{rabbitmq.url}nowhere").examined())
    (said,) = found.values()
    assert "refuses the vhost: make it, let this user in, or mend rabbitmq.url" in said


async def test_a_broker_that_is_away(tmp_path: Path) -> None:
    """Where it should be."""
    port = free_port()
    found = problems(await Patient.made(tmp_path, REAL, broker_url=f"amqp://u:never-shown@127.0.0.1:{port}/").examined())
    assert f"RabbitMQ does not answer at 127.0.0.1:{port}/" in found[f"broker 127.0.0.1:{port}/"]
    assert "never-shown" not in str(found)


async def test_a_user_who_may_not_have_what_tespes_needs(tmp_path: Path, vhost: Vhost) -> None:
    """Each thing that RabbitMQ refuses is named."""
    found = problems(await Patient.made(tmp_path, REAL, broker_url=vhost.least_url).examined())
    assert found.keys() == {"queues of real", "exchange tespes.events"}
    assert "RabbitMQ refuses the queue pulsar__kill" in found["queues of real"]
    assert all("this user must be allowed to configure, write and read" in said for said in found.values())
    assert PASSWORD not in str(found)


async def test_an_exchange_of_another_type(tmp_path: Path, vhost: Vhost, channel: aio_pika.abc.AbstractChannel) -> None:
    """What RabbitMQ says of it."""
    await channel.declare_exchange("pulsar", aio_pika.ExchangeType.FANOUT, durable=True)
    found = problems(await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined())
    assert "the exchange pulsar is another than TESPES needs (inequivalent arg 'type'" in found["queues of real"]


async def test_queues_of_other_types(tmp_path: Path, vhost: Vhost, channel: aio_pika.abc.AbstractChannel) -> None:
    """A classic queue for dead letters, and one of Pulsar's that a restart would lose."""
    await channel.declare_queue(dead.QUEUE, durable=True)
    await channel.declare_queue("pulsar__kill", durable=False)
    said = [each.said for each in await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined()]
    for name in (dead.QUEUE, "pulsar__kill"):
        assert any(f"the queue {name} is another than TESPES needs" in each and "delete it" in each for each in said)


async def test_a_pulsar_that_is_down(tmp_path: Path, vhost: Vhost) -> None:
    """Nobody reads its queues. The job is not sent: it would run days later."""
    found = problems(await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined(JOB_S))
    assert list(found) == ["pulsar real"]
    assert found["pulsar real"].startswith("nobody reads pulsar__setup, pulsar__kill, pulsar__status: Pulsar is down")


async def test_dead_letters(tmp_path: Path, vhost: Vhost, channel: aio_pika.abc.AbstractChannel) -> None:
    """A person should look."""
    await dead.declare(channel)
    await channel.default_exchange.publish(aio_pika.Message(b"?"), dead.QUEUE)
    found = await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined()
    assert "see `tespes dead list`" in warnings(found)[f"queue {dead.QUEUE}"]


async def test_what_nodes_lack(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar) -> None:
    """A callback address where nobody listens; a runtime whose program is not there."""
    callback = f"http://127.0.0.1:{free_port()}"
    text = f'[default.pulsars.real]\nruntime = {{kind = "sandbox", program = "/no/bwrap"}}\ncallback_url = "{callback}"\n'
    found = problems(await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined(JOB_S))
    assert found.keys() == {"callback of real", "runtime of real"}
    assert found["callback of real"].startswith(f"the node does not reach {callback}: ")
    assert "pulsars.real.callback_url" in found["callback of real"]
    assert found["runtime of real"].startswith("the node has no program /no/bwrap: install it")


async def test_a_callback_to_somebody_else(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar) -> None:
    """A server that is no TESPES; an engine that is no engine."""
    with WebServer(tmp_path / "web") as web:
        web.misbehave("*", Answer(200), times=None)
        text = f'[default.pulsars.real]\nruntime = {{kind = "docker", program = "false"}}\ncallback_url = "{web.url}"\n'
        found = problems(await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined(JOB_S))
    assert "no TESPES answers at" in found["callback of real"]
    assert "docker does not work on the node" in found["runtime of real"]


async def test_settings_that_contradict_each_other(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Two Pulsars with the same queues."""
    text = REAL + REAL.replace("real", "other")
    found = problems(await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined())
    assert list(found) == ["settings"]
    assert "have the same queues and would take each other's messages" in found["settings"]


async def test_a_state_directory_that_is_open_to_others(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Keys are in it; so is one that was cut short, and it is of a release to come."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "runner.key").write_text("short")
    for path, mode in ((state, 0o755), (state / "runner.key", 0o644)):
        path.chmod(mode)
    found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url).examined())
    assert found["state directory"].endswith("runner.key is damaged: remove it; the attempts that run now will be turned away")
    (state / "runner.key").write_text("k" * 40)
    found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url).examined())
    assert f"is open to others (mode 755), and keys are in it: chmod 700 {state}" in found["state directory"]
    assert "can be read by others" in found["key"]
    state.chmod(0o700)
    (state / version.FILE).write_text(f"{version.VERSION + 1}\n")
    found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url).examined())
    assert f"is of version {version.VERSION + 1}" in found["state directory"]


async def test_disks(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """One that is nearly full, one that cannot be written."""
    with a_small_disk(tmp_path / "small", "size=1m,mode=700") as small:
        found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url, state_dir=small).examined())
        assert "make room before the log cannot be written" in found["disk"]
    with a_small_disk(tmp_path / "fixed", "ro,mode=700") as fixed:
        found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url, state_dir=fixed).examined())
        assert "cannot be written by user" in found["state directory"]


async def test_a_database_that_is_away(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Where it should be; no password."""
    uri = f"mongodb://user:never-shown@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=300"
    found = problems(await Patient.made(tmp_path, _mongodb(uri), broker_url=rabbitmq.url).examined())
    assert "MongoDB does not answer at 127.0.0.1:" in found["database"]
    assert "never-shown" not in str(found)


async def test_indexes_that_are_missing_or_others(tmp_path: Path, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB) -> None:
    """And a key that is not the one that the database was first used with."""
    name = f"doctor_{os.urandom(4).hex()}"
    async with AsyncMongoClient[dict[str, Any]](mongodb.uri) as client:
        log = client[name].log
        await log.create_index([("position", 1)])
        await client[name].agreed.insert_one({"_id": "runner.key", "value": "another"})
        text = f'{_mongodb(mongodb.uri, name)}[default.runner]\nkey = "{"k" * 40}"\n'
        found = await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined()
        said = [each.said for each in found if each.about == "indexes"]
        assert len(said) == 2
        assert said[0].startswith("in the collection log, position_1 is another than TESPES makes: drop")
        assert said[1].startswith("in the collection log, stream_1_version_1 is missing: ")
        assert "was last used with" in problems(found)["runner.key"]
        assert {each.about for each in found if each.level is Level.OK} >= {
            "database",
            "rights in the database",
            "clock of database",
        }
        assert "doctor" not in await client[name].list_collection_names()
        await client.drop_database(name)


async def test_doctors_at_the_same_time(tmp_path: Path, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB) -> None:
    """None is in the way of another, nor is one that was cut off; all of what they wrote is gone."""
    name = f"doctor_{os.urandom(4).hex()}"
    patient = Patient.made(tmp_path, _mongodb(mongodb.uri, name), broker_url=rabbitmq.url)
    async with AsyncMongoClient[dict[str, Any]](mongodb.uri) as client:
        await client[name].doctor.insert_one({"_id": "left by one that was killed"})
        found = await asyncio.gather(*(patient.examined() for _ in range(3)))
        assert [problems(each) for each in found] == [{}, {}, {}]
        assert "doctor" not in await client[name].list_collection_names()
        await client.drop_database(name)


async def test_a_key_that_is_being_changed(tmp_path: Path, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB) -> None:
    """Before the first start with the new one, the doctor has nothing against it if the old one is named."""
    old, new = "o" * 40, "n" * 40
    place = in_mongodb(mongodb, tmp_path)
    before = settings.Settings(runner=Runner(key=SecretStr(old)))
    async with place.open() as opened:
        for agree in (surroundings.agreed_key, surroundings.agreed_audit_key):
            await agree(before, opened.agreements)
    text = f'{_mongodb(mongodb.uri, place.options.mongodb_database)}[default.runner]\nkey = "{new}"\nold_keys = ["{old}"]\n'
    found = {each.about: each for each in await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined()}
    for key in ("runner.key", "audit.key"):
        assert found[key].level is Level.OK
        assert "is among the old ones" in found[key].said


async def test_somebody_else_than_the_user_of_tespes(tmp_path: Path) -> None:
    """Who may not look into the state directory is told so, wherever something of it is needed."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.seteuid(NOBODY)
    try:
        found = problems(await doctor.examine(settings.Settings(state_dir=state, http=Http(port=0)), None))
        with pytest.raises(errors.SetupError, match="cannot be used"):
            surroundings.audit_keys(settings.Settings(state_dir=state))
    finally:
        os.seteuid(0)
    assert f"cannot be reached by user {NOBODY}" in found["state directory"]
    assert "cannot be used" in found["database"]
    assert "mistake" not in str(found)


async def test_a_database_that_tespes_made(tmp_path: Path, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB) -> None:
    """All indexes, those of views and signs of life as well, are recognised as TESPES's own."""
    place = in_mongodb(mongodb, tmp_path)
    async with place.open() as opened:
        for model in READ_MODELS:
            await opened.documents.prepare(model)
        text = _mongodb(mongodb.uri, place.options.mongodb_database)
        found = await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined()
    assert not problems(found)
    assert {each.about for each in found} >= {"database", "database server", "clock of database", "indexes"}


async def test_storages_that_do_not_let_tespes_in(tmp_path: Path, rabbitmq: PrivateRabbitMQ, ftp: LocalFTP) -> None:
    """A refused login, a directory that is not there, a server whose clock is an hour behind, and one that is away."""
    host, port = ftp.url.rpartition("@")[2], free_port()
    with WebServer(tmp_path / "web") as web:
        web.protect("/", token=PASSWORD)
        web.misbehave("*", Answer(401, {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}), times=None)
        text = f"""
[default.storage.ftp."{host}"]
user = "{ftp.user}"
password = "never-shown"
[default.storage.ftp."127.0.0.1:{port}"]
[default.storage.http."127.0.0.1:{web.port}"]
token = "never-shown"
[default.storage.file]
read = ["{tmp_path}/none"]
"""
        found = problems(await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined())
    assert found[f"storage ftp://{host}"].endswith("mend the login in the settings")
    assert found[f"storage http://127.0.0.1:{web.port}"].endswith("mend the login in the settings")
    assert "see whether it runs" in found[f"storage ftp://127.0.0.1:{port}"]
    assert "behind that of this machine" in found[f"clock of server http://127.0.0.1:{web.port}"]
    assert "there is no such directory" in found[f"storage {tmp_path}/none"]
    assert "never-shown" not in str(found)


async def test_receivers_that_cannot_be_reached(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A certificate that nobody trusts, a collector of traces that is away. Paths may be secrets, and are not shown."""
    secret, port = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}", free_port()
    with WebServer(tmp_path / "web", authority=trustme.CA()) as web:
        text = f"""
[default.webhooks.chat]
url = "{web.url}/never-shown"
secret = "{secret}"
[default.traces]
endpoint = "http://127.0.0.1:{port}/never-shown"
"""
        found = problems(await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined())
    assert found["webhook chat"].startswith(f"{web.url}: the certificate is not trusted")
    assert found["traces"].startswith(f"http://127.0.0.1:{port}: ")
    assert PASSWORD not in str(found)


async def test_somebody_else_at_the_port(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A port in use by what is no TESPES."""
    with WebServer(tmp_path / "web") as web:
        found = problems(await Patient.made(tmp_path, broker_url=rabbitmq.url, port=web.port).examined())
    assert list(found) == ["tespes"]
    assert f"somebody else listens at {web.url}" in found["tespes"]


@pytest.mark.slow
async def test_a_lagging_view(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Nobody keeps lists up to date: what the TESPES that runs says of itself is told."""
    async with in_sqlite(tmp_path / "tespes").open() as opened:
        await histories.write(opened, 1001)
    running = Tespes(tmp_path / "tespes", {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_ROLES": "api"})
    await asyncio.to_thread(running.start)
    try:
        found = await Patient.made(tmp_path, broker_url=rabbitmq.url, state_dir=running.state_dir, port=running.port).examined()
        assert re.fullmatch(r"it says: [1-9],[0-9]{3} commits are not in lists yet", problems(found)["tespes list"])
        assert "nobody does: dispatch" in warnings(found)["tespes roles"]
    finally:
        await asyncio.to_thread(running.stop)


@pytest.mark.slow
async def test_an_old_pulsar(tmp_path: Path, vhost: Vhost) -> None:
    """A real one that takes itself for an older release: it is not given a job."""
    async with a_pulsar(tmp_path / "pulsar", vhost.url, "0.14.16"):
        found = problems(await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined(JOB_S))
    assert found == {"pulsar real": "it is Pulsar 0.14.16, and TESPES needs 0.15.15 or newer: install that"}


@pytest.mark.slow
async def test_a_pulsar_that_hangs(tmp_path: Path, vhost: Vhost) -> None:
    """It has its queues, and heeds nothing: it is asked, and given no job."""
    async with a_pulsar(tmp_path / "pulsar", vhost.url) as hanging:
        assert hanging.pid is not None
        os.kill(hanging.pid, signal.SIGSTOP)
        try:
            found = problems(await Patient.made(tmp_path, REAL, broker_url=vhost.url).examined(JOB_S))
        finally:
            os.kill(hanging.pid, signal.SIGCONT)
    assert found == {"pulsar real": "takes messages and does not answer within 10 s: see Pulsar's log, restart it"}


@pytest.mark.slow
async def test_a_database_user_without_rights(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Who may only read; who has another password."""
    async with a_mongodb_with_users(tmp_path / "mongodb") as place:
        found = problems(await _with(tmp_path, f"mongodb://reader:never-shown@{place}", rabbitmq))
        assert "give it the role readWrite on the database tespes" in found["rights in the database"]
        found = problems(await _with(tmp_path, f"mongodb://reader:wrong-word@{place}", rabbitmq))
        assert "refuses the login: mend user, password and authSource in store.mongodb_uri" in found["database"]
        assert "wrong-word" not in str(found)


async def _with(directory: Path, uri: str, rabbitmq: PrivateRabbitMQ) -> list[Any]:
    return await Patient.made(directory, _mongodb(uri), broker_url=rabbitmq.url).examined()


@pytest.mark.slow
async def test_a_wrong_key_of_an_s3_store(tmp_path: Path, rabbitmq: PrivateRabbitMQ, seaweedfs: SeaweedFS) -> None:
    """For a bucket, and for all that have another beginning; the right key is let in."""
    text = "".join(
        f'[default.storage.s3.buckets."{name}"]\nendpoint = "{seaweedfs.url}"\naccess_key = "{key}"\nsecret_key = "{secret}"\n'
        for name, key, secret in (
            ("wrong", OWNER.access_key, "never-shown"),
            ("unknown-*", "NOBODYATALL", "never-shown"),
            ("right-*", *OWNER),
        )
    )
    found = await Patient.made(tmp_path, text, broker_url=rabbitmq.url).examined()
    assert problems(found).keys() == {"storage s3://wrong", "storage s3://unknown-*"}
    assert all(said.endswith("mend the login in the settings") for said in problems(found).values())
    assert "never-shown" not in str(found)


def _mongodb(uri: str, name: str = "tespes") -> str:
    return f'[default.store]\nmongodb_uri = "{uri}"\nmongodb_database = "{name}"\n'
