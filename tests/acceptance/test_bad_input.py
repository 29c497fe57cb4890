"""What is wrong gets one clear line that names the thing and what to do; nothing hangs, no traceback is shown."""

import asyncio
import errno
import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import pytest

from patients import PASSWORD, REAL, a_mongodb_with_users, a_pulsar, a_vhost
from servers import Tespes, problem, until
from tespes.local.ftp import LocalFTP
from tespes.local.ports import free_port
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store import version

pytestmark = pytest.mark.servers


def serve(tmp_path: Path, *words: str, settings: str = "", **variables: str) -> str:
    """What `tespes serve` says when it cannot start."""
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "settings.toml"
    file.write_text(settings)
    command = [sys.executable, "-m", "tespes", "serve", "--state-dir", str(tmp_path / "state"), "--settings", str(file)]
    before = at_work(tmp_path)
    ended = subprocess.run(
        [*command, *words], env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("tespes: ")]
    assert len(lines) == 1, ended.stderr
    assert at_work(tmp_path) == before
    return lines[0]


def at_work(directory: Path) -> list[str]:
    """The processes that have something to do with a directory: nothing is to be half-started."""
    lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(directory) in line]


def test_an_unknown_setting_is_named_with_its_file(tmp_path: Path) -> None:
    """Wrong settings: key, file, what was expected."""
    said = serve(tmp_path, settings="[default.htpp]\nport = 1\n")
    assert said == f"tespes: the setting htpp ({tmp_path}/settings.toml): there is no such setting"


def test_a_wrong_value_is_named_with_its_variable(tmp_path: Path) -> None:
    """A variable of the environment is named like a file."""
    said = serve(tmp_path, TESPES_HTTP__PORT="many")
    assert "http.port (environment variable TESPES_HTTP__PORT): found 'many'" in said


def test_a_variable_that_is_missing_is_named(tmp_path: Path) -> None:
    """One of several processes needs what the others have, and cannot make it up; no server is asked before that is said."""
    variables = {"TESPES_ROLES": "api", "TESPES_STORE__MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}/"}
    assert serve(tmp_path, **variables) == "tespes: roles are spread over processes: give all of them the same runner.key"
    said = serve(tmp_path, **variables, TESPES_RUNNER__KEY="k" * 32)
    assert said == "tespes: roles are spread over processes: give all of them the same rabbitmq.url"


def test_settings_that_are_no_toml_are_named(tmp_path: Path) -> None:
    """A file that cannot be read at all."""
    assert "settings.toml cannot be read" in serve(tmp_path, settings="[default\n")


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """--settings must exist."""
    said = serve(tmp_path, "--settings", str(tmp_path / "none.toml"))
    assert said == f"tespes: the settings file {tmp_path}/none.toml does not exist"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """A port in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = serve(tmp_path, "--port", str(port))
    assert said == (
        f"tespes: TESPES cannot listen at 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; choose another port with --port"
    )


def test_a_broker_that_refuses_the_login_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A broker that refuses the login; the password is not shown."""
    host = rabbitmq.url.rpartition("@")[2]
    said = serve(tmp_path, "--port", "0", TESPES_RABBITMQ__URL=f"amqp://tespes:wrong-password@{host}")
    assert "refuses the login: mend user and password in rabbitmq.url" in said
    assert "wrong-password" not in said


def test_a_virtual_host_that_is_not_there_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """The login is right, and the broker has no such place."""
    said = serve(tmp_path, "--port", "0", TESPES_RABBITMQ__URL=f"{rabbitmq.url}nowhere")
    assert "refuses the vhost: make it, let this user in, or mend rabbitmq.url" in said


def test_a_broker_with_other_queue_types_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Else every message would be lost, or wait for ever, in a service that looks alive. Once it is mended, the same starts."""
    url = asyncio.run(_with_a_classic_queue(rabbitmq))
    said = serve(tmp_path, "--port", "0", settings=REAL, TESPES_RABBITMQ__URL=url)
    assert said.startswith("tespes: pulsars.real: the queue tespes.dead is another than TESPES needs (inequivalent arg")
    assert said.endswith("delete it, when nobody uses it")
    asyncio.run(_delete(url, "tespes.dead"))
    running = Tespes(tmp_path / "state", {"TESPES_RABBITMQ__URL": url}, REAL)
    running.start()
    assert running.stop() == 0


def test_a_pulsar_that_refuses_keeps_none_but_itself_from_working(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Whoever looks after it may have changed its password: TESPES starts for the others, and says what is wrong there."""
    url = rabbitmq.url.replace("://tespes:", "://tespes:wrong-")
    other = f'[default.pulsars.other]\nbroker_url = "{url}"\nmanager = "other"\nruntime = {{kind = "sandbox"}}\n'
    running = Tespes(tmp_path / "state", {"TESPES_RABBITMQ__URL": rabbitmq.url}, REAL + other)
    running.start()
    assert running.stop() == 0
    said = running.log_file.read_text()
    assert "a Pulsar cannot be used until that is mended" in said
    assert "refuses the login: mend user and password in pulsars.other.broker_url" in said
    assert "wrong-" not in said


async def _with_a_classic_queue(rabbitmq: PrivateRabbitMQ) -> str:
    """A virtual host where somebody made `tespes.dead` first."""
    vhost = await a_vhost(rabbitmq)
    async with await aio_pika.connect(vhost.url) as connection, connection.channel() as channel:
        await channel.declare_queue("tespes.dead", durable=True)
    return vhost.url


async def _delete(url: str, queue: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.queue_delete(queue)


@pytest.mark.slow
def test_a_broker_that_does_not_let_tespes_have_its_queues_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A user without the rights."""
    vhost = asyncio.run(a_vhost(rabbitmq))
    said = serve(tmp_path, "--port", "0", settings=REAL, TESPES_RABBITMQ__URL=vhost.least_url)
    assert said.startswith("tespes: pulsars.real: RabbitMQ refuses the queue pulsar__kill (")
    assert "this user must be allowed to configure, write and read" in said
    assert PASSWORD not in said


@pytest.mark.slow
def test_what_was_started_for_a_service_that_cannot_start_ends_with_it(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """TESPES started a RabbitMQ of its own before it found out about the Pulsar's (see `serve`: nothing is left)."""
    url = asyncio.run(_with_a_classic_queue(rabbitmq))
    settings = f'{REAL}broker_url = "{url}"\n'
    assert "the queue tespes.dead is another" in serve(tmp_path, "--port", "0", settings=settings)
    assert (tmp_path / "state" / "rabbitmq" / "node.json").is_file()


@pytest.mark.slow
def test_an_old_pulsar_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A real one that takes itself for an older release. One that is down is not waited for."""

    async def refused() -> str:
        vhost = await a_vhost(rabbitmq)
        async with a_pulsar(tmp_path / "pulsar", vhost.url, "0.14.16"):
            return await asyncio.to_thread(_serve_with, tmp_path, REAL, TESPES_RABBITMQ__URL=vhost.url)

    said = asyncio.run(refused())
    assert said == "tespes: pulsars.real: it is Pulsar 0.14.16, and TESPES needs 0.15.15 or newer: install that"


@pytest.mark.slow
def test_a_database_without_rights_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A user who may only read, and one with another password."""

    async def refused(user: str) -> str:
        async with a_mongodb_with_users(tmp_path / user / "mongodb") as place:
            uri = f"mongodb://{user}@{place}"
            variables = {"TESPES_STORE__MONGODB_URI": uri, "TESPES_RABBITMQ__URL": rabbitmq.url}
            (tmp_path / "other").mkdir(exist_ok=True)
            return await asyncio.to_thread(_serve_with, tmp_path / "other", "", **variables)

    assert asyncio.run(refused(f"reader:{PASSWORD}")).endswith("give it the role readWrite on the database tespes")
    said = asyncio.run(refused("reader:wrong-word"))
    assert "refuses the login: mend user, password and authSource in store.mongodb_uri" in said
    assert "wrong-word" not in said


def _serve_with(directory: Path, settings: str, **variables: str) -> str:
    return serve(directory / "tespes", "--port", "0", settings=settings, **variables)


def test_a_state_directory_of_a_newer_version_is_named(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Nothing in it is touched."""
    state = tmp_path / "state"
    state.mkdir()
    (state / version.FILE).write_text(f"{version.VERSION + 1}\n")
    said = serve(tmp_path, "--port", "0", TESPES_RABBITMQ__URL=rabbitmq.url)
    assert f"is of version {version.VERSION + 1}, and this TESPES knows {version.VERSION}" in said
    assert [each.name for each in state.iterdir()] == [version.FILE]


def test_a_mongodb_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """The address, and what to do; no password."""
    uri = f"mongodb://user:hidden@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=500"
    said = serve(tmp_path, "--port", "0", TESPES_STORE__MONGODB_URI=uri)
    assert "MongoDB does not answer at 127.0.0.1:" in said
    assert "hidden" not in said


def test_a_pulsar_elsewhere_needs_a_callback_url(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """Its nodes must know where TESPES is."""
    settings = '[default.pulsars.far]\nbroker_url = "amqp://u:p@broker.example.org/"\nruntime = {kind = "docker"}\n'
    said = serve(tmp_path, "--port", "0", settings=settings, TESPES_RABBITMQ__URL=rabbitmq.url)
    assert "pulsars.far.callback_url is missing" in said


def test_a_second_process_on_one_state_directory_is_refused(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """SQLite has one writer process."""
    first = Tespes(tmp_path / "state", {"TESPES_RABBITMQ__URL": rabbitmq.url})
    first.start()
    try:
        said = serve(tmp_path, "--port", "0", TESPES_RABBITMQ__URL=rabbitmq.url)
        assert first.process is not None
        assert f"is in use by process {first.process.pid}" in said
    finally:
        first.stop()


def test_without_a_pulsar_tasks_wait_and_say_why(alone: Tespes) -> None:
    """With no Pulsar configured `serve` says so, and tasks wait in QUEUED with that reason; a cancel ends them."""
    assert "no Pulsar is configured" in alone.log_file.read_text()
    task_id = alone.submit({"executors": [{"image": "alpine", "command": ["true"]}]})
    until(lambda: "logs" in alone.task(task_id))
    found = alone.task(task_id)
    assert found["state"] == "QUEUED"
    assert found["logs"][0]["system_logs"] == [
        "waiting: no Pulsar is configured: name one under [default.pulsars] in the settings"
    ]
    alone.post(f"/v1/tasks/{task_id}:cancel")
    assert alone.state(task_id) == "CANCELED"


EXECUTOR = {"image": "alpine", "command": ["true"]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b'{"executors": []}', "executors"),
        ({}, "executors"),
        ({"executors": [{"image": "alpine"}]}, "executors.0.command"),
        ({"executors": [{"image": "", "command": []}]}, "executors.0.image"),
        ({"executors": [EXECUTOR], "inputs": [{"path": "relative", "url": "ftp://h/x"}]}, "inputs.0.path"),
        ({"executors": [EXECUTOR], "inputs": [{"path": "/a/../b", "url": "ftp://h/x"}]}, "inputs.0.path"),
        ({"executors": [EXECUTOR], "inputs": [{"path": "/a"}]}, "inputs.0.url"),
        ({"executors": [EXECUTOR], "inputs": [{"path": "/a", "url": "u"}, {"path": "/a/b", "url": "u"}]}, "inputs.1.path"),
        ({"executors": [EXECUTOR], "inputs": [{"path": "/a", "url": "u", "type": "LINK"}]}, "inputs.0.type"),
        ({"executors": [EXECUTOR], "outputs": [{"path": "/a"}]}, "outputs.0.url"),
        ({"executors": [{**EXECUTOR, "env": {"A": 1}}]}, "executors.0.env.A"),
        ({"executors": [EXECUTOR], "resources": {"cpu_cores": 2**31}}, "resources.cpu_cores"),
        ({"executors": [EXECUTOR], "resources": {"cpu_cores": 0.5}}, "resources.cpu_cores"),
        ({"executors": [{**EXECUTOR, "command": ["a\0b"]}]}, "executors.0.command.0"),
        ({"executors": [{**EXECUTOR, "command": ["x" * 131_000] * 9}]}, "executors"),
        ({"executors": [EXECUTOR], "name": "x" * 15 * 2**20}, "name"),
        (b"[" * 10_000 + b"]" * 10_000, ""),
        (b"", ""),
        (b'{"executors": [], "executors": []}', ""),
        (b"\xef\xbb\xbf" * 100_000, ""),
        ({"executors": [EXECUTOR], "inputs": [{"path": "/a", "url": "http://[bad"}]}, "inputs.0.url"),
        (b'{"executors": [{"image": "alpine", "command": ["\\ud800"]}]}', ""),
    ],
)
def test_a_wrong_task_is_refused_with_the_fields_name(quiet: Tespes, body: Any, field: str) -> None:
    """400 with a problem that names the field, what was found and what is allowed."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{quiet.url}/v1/tasks", data=data, method="POST")  # noqa: S310 - loopback
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310 - loopback
    found = problem(refused.value)
    assert refused.value.code == 400
    assert found["field"] == field, found
    assert found["found"] in found["detail"]
    assert "expected" in found["detail"]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateRabbitMQ) -> Iterator[Tespes]:
    """TESPES that only answers requests."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_ROLES": "api,project"}
    running = Tespes(tmp_path_factory.mktemp("quiet"), variables)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/tasks/unknown", 404, None),
        ("/ga4gh/tes/v1/tasks/unknown?view=FULL", 404, None),
        ("/v1/nothing", 404, None),
        ("/v1/tasks?view=SOME", 400, "view"),
        ("/v1/tasks?state=DONE", 400, "state"),
        ("/v1/tasks?page_size=0", 400, "page_size"),
        ("/v1/tasks?page_size=2048", 400, "page_size"),
        ("/v1/tasks?page_size=x", 400, "page_size"),
        ("/v1/tasks?page_token=None", 400, "page_token"),
    ],
)
def test_a_wrong_query_is_refused_with_the_parameters_name(quiet: Tespes, path: str, status: int, field: str | None) -> None:
    """400 and 404 are problems, too."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        quiet.get(path)
    found = problem(refused.value)
    assert refused.value.code == found["status"] == status
    assert found.get("field") == field


def test_sloppy_clients_are_understood(quiet: Tespes) -> None:
    """Explicit nulls count as absent, unknown and server-owned fields are ignored; only what was sent is echoed."""
    task_id = quiet.submit(
        {
            "id": None,
            "state": None,
            "logs": None,
            "name": "sloppy",
            "description": None,
            "inputs": [{"path": "/in", "url": "ftp://h/in", "type": None, "content": None}],
            "outputs": None,
            "resources": None,
            "executors": [{**EXECUTOR, "workdir": None, "env": None, "unknown": 1}],
            "tags": {"kept": "", "dropped": None},
            "author": "somebody",
        }
    )
    found = quiet.task(task_id)
    created = found.pop("creation_time")
    assert created.endswith("Z")
    assert found == {
        "id": task_id,
        "state": "QUEUED",
        "name": "sloppy",
        "inputs": [{"path": "/in", "url": "ftp://h/in", "type": "FILE"}],
        "executors": [EXECUTOR],
        "tags": {"kept": ""},
    }


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b" " * 2**28)], ids=["no gzip", "256 MiB of spaces"])
def test_a_packed_body_is_refused_and_never_unpacked(quiet: Tespes, body: bytes) -> None:
    """Nobody tries, even to get it out of the way: the same connection takes the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", quiet.port, timeout=10)
    try:
        connection.request("POST", "/v1/tasks", body, {"Content-Encoding": "gzip"})
        refused = connection.getresponse()
        assert (refused.status, json.load(refused)["status"], refused.getheader("Accept-Encoding")) == (415, 415, "identity")
        used = connection.sock
        connection.request("POST", "/v1/tasks", json.dumps({"executors": [EXECUTOR]}))
        assert connection.getresponse().status == 200
        assert connection.sock is used
    finally:
        connection.close()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_the_content_type_does_not_matter(quiet: Tespes, content_type: str) -> None:
    """What is sent to /tasks is read as JSON, whatever the client calls it."""
    data = json.dumps({"executors": [EXECUTOR]}).encode()
    headers = {"Content-Type": content_type}
    request = urllib.request.Request(f"{quiet.url}/v1/tasks", data=data, headers=headers, method="POST")  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        assert list(json.load(answer)) == ["id"]


def test_roles_that_nobody_can_have_are_named(quiet: Tespes) -> None:
    """With SQLite there is no other process that could dispatch, listen, or publish."""
    found = quiet.get("/readyz")["checks"]["roles"]
    assert found == {"status": "degraded", "reason": "nobody does: dispatch, listen, publish; see roles"}


def test_backend_parameters_are_those_of_service_info(quiet: Tespes) -> None:
    """What is listed there is stored; what is not is dropped with a line in system_logs, in lists as well."""
    known = quiet.get("/v1/service-info")["tesResources_backend_parameters"]
    resources = {"backend_parameters": {**{name.upper(): "2" for name in known}, "VmSize": "A1"}}
    task_id = quiet.submit({"executors": [EXECUTOR], "resources": resources})
    found = quiet.task(task_id)
    assert found["resources"] == {"backend_parameters": dict.fromkeys(known, "2")}
    (log,) = found["logs"]
    assert log["system_logs"] == ["the backend parameter VmSize is not supported and was not used"]
    until(lambda: quiet.get("/v1/tasks?page_size=1&view=FULL")["tasks"] == [found])


def test_names_and_commands_come_back_exactly(quiet: Tespes) -> None:
    """Any Unicode, newlines, and a command of nearly a mebibyte."""
    task = {
        "name": "two\nlines \u2028 😀",
        "executors": [{"image": "any", "command": ["x" * 131_071] * 7}],
        "tags": {"$a.b": "\t"},
    }
    found = quiet.task(quiet.submit(task))
    assert {name: found[name] for name in task} == task


def test_pages_hold_every_task_once_newest_first(quiet: Tespes) -> None:
    """A page token leads on from where the page ended, also when tasks arrive in between."""
    made = [quiet.submit({"executors": [EXECUTOR]}) for _ in range(7)]
    until(lambda: quiet.get("/v1/tasks?page_size=1")["tasks"][0]["id"] == made[-1])
    page = quiet.get("/v1/tasks?page_size=3")
    seen = [task["id"] for task in page["tasks"]]
    quiet.submit({"executors": [EXECUTOR]})
    while "next_page_token" in page:
        page = quiet.get(f"/v1/tasks?page_size=3&page_token={page['next_page_token']}")
        seen += [task["id"] for task in page["tasks"]]
    assert seen[:7] == made[::-1]
    assert len(set(seen)) == len(seen)


def test_service_info_has_the_standards_fields_only(quiet: Tespes) -> None:
    """py-tes refuses any other field."""
    found = quiet.get("/ga4gh/tes/v1/service-info")
    assert found["type"] == {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"}
    assert set(found) <= {
        "id", "name", "type", "description", "organization", "contactUrl", "documentationUrl", "createdAt", "updatedAt",
        "environment", "version", "storage", "tesResources_backend_parameters",
    }  # fmt: skip


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_an_input_that_cannot_be_fetched_is_a_reason(tespes: Tespes, ftp: LocalFTP) -> None:
    """The task ends SYSTEM_ERROR with the reason, after one attempt, without a password."""
    host = f"127.0.0.1:{ftp.url.rpartition(':')[2]}"
    wrong = {
        f"ftp://{host}/missing": f"ftp://{host}/missing: 550",
        f"ftp://somebody:wrong@{host}/holy_file": f"ftp://{host}/holy_file: 530",
        "s3://bucket/key": "s3://bucket/key: the settings have no S3 bucket bucket",
        "gopher://host/file": "gopher://host/file: gopher:// is not supported, ftp, ",
        "/local/file": "/local/file: file URLs are not allowed: the settings name no root for inputs",
    }
    tespes.start()
    tasks = [{"inputs": [{"url": url, "path": "/data/in"}], "executors": [EXECUTOR]} for url in wrong]
    for task_id, reason in zip([tespes.submit(task) for task in tasks], wrong.values(), strict=True):
        ended = tespes.ended(task_id)
        assert ended["state"] == "SYSTEM_ERROR"
        (log,) = ended["logs"]
        (said,) = [line for line in log["system_logs"] if "/data/in" in line]
        assert reason in said
        assert "wrong" not in said
