"""`tespes projections`, as it is typed, with a real Pulsar; one of the views is a site's own, from the examples."""

import json
import re
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import stores
from servers import Tespes, until, usual_settings
from stores import MongoDB
from tespes.__main__ import main
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers
EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = "read_model:WAITING"
TASK = {
    "executors": [{"image": "any", "command": ["sleep", "0.2"]}],
    "resources": {"cpu_cores": 2},
    "tags": {"project": "holy", "kind": "first try"},
}

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`tespes projections WORDS` at that TESPES, with its settings: exit status, output, errors."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(tespes: Tespes, *words: str) -> tuple[int, str, str]:
        where = ["--state-dir", str(tespes.state_dir), "--settings", str(tespes.state_dir / "settings.toml")]
        url = [] if words[0] == "verify" else ["--url", tespes.url]
        for name, value in tespes.variables.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = main(["projections", *words, *where, *url])
        return status, *capsys.readouterr()

    return run


def variables(rabbitmq: PrivateRabbitMQ) -> dict[str, str]:
    """With the site's own read model."""
    return {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_PROJECTIONS": OWN, "PYTHONPATH": str(EXAMPLES)}


@pytest.fixture
def one(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, ftp: LocalFTP) -> Iterator[Tespes]:
    """One process, on SQLite."""
    running = Tespes(tmp_path / "tespes", variables(rabbitmq), usual_settings(ftp))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def api_alone(tmp_path: Path, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB) -> Iterator[Tespes]:
    """A process that answers requests, on MongoDB; another one keeps the views up to date."""
    options = stores.in_mongodb(mongodb, tmp_path).options
    shared = variables(rabbitmq) | {
        "TESPES_STORE__MONGODB_URI": str(options.mongodb_uri),
        "TESPES_STORE__MONGODB_DATABASE": options.mongodb_database,
        "TESPES_RUNNER__KEY": "the key that all these processes share",
        "TESPES_LEASE__EXPIRES_S": "1",
    }
    with ExitStack() as stack:
        found = [Tespes(tmp_path / roles, shared | {"TESPES_ROLES": roles}) for roles in ("api", "project")]
        for process in found:
            stack.callback(process.stop)
            process.start()
        yield found[0]


def test_what_tasks_used_is_shown(one: Tespes, command: Command) -> None:
    """By owner, tag, Pulsar and day, of all days and of some; what is not there is refused in a line."""
    task_ids = [one.submit(TASK) for _ in range(2)]
    for task_id in task_ids:
        assert one.ended(task_id)["state"] == "COMPLETE"
    until(lambda: command(one, "show", "usage", "--by", "state")[1].count("COMPLETE") == 1)
    for by, value in (("owner", "anonymous"), ("pulsar", "real"), ("tag:kind", "first try")):
        _, out, err = command(one, "show", "usage", "--by", by)
        heads, row = out.splitlines()
        assert err == ""
        assert re.split("  +", heads)[1:] == ["TASKS", "ATTEMPTS", "CPU_S", "BYTES_IN", "BYTES_OUT", "UNCOUNTED"]
        of, tasks, attempts, cpu_s, *moved = re.split("  +", row)
        assert (of, tasks, attempts, moved) == (value, "2", "2", ["0", "0", "0"])
        assert 0.8 <= float(cpu_s) < 60
    assert command(one, "show", "usage", "--by", "day", "--until", "2026-01-01")[1].splitlines()[1:] == []
    document = json.loads(command(one, "show", "usage", task_ids[0])[1])
    assert (document["id"], document["cores"], document["lines"][0]["pulsar"]) == (task_ids[0], 2, "real")
    assert command(one, "show", "usage")[1].split()[:5] == ["ID", "POSITION", "OWNER", "DAY", "STATE"]
    assert command(one, "show", "usage", "--by", "x")[0] == 2
    for day in ("today", "2026-02-30", "2026-W07-1"):
        assert "a day such as" in command(one, "show", "usage", "--since", day)[2]
    assert "a day from 2026-02-02 on" in command(one, "show", "usage", "--since", "2026-02-02", "--until", "2026-02-01")[2]
    assert "there is no view a/b?c" in command(one, "show", "a/b?c")[2]


def test_a_sites_own_view_is_kept_beside_the_others(one: Tespes, command: Command) -> None:
    """It has totals, documents, a rebuild and a check like any other; the doors are closed to whoever has no token."""
    assert one.ended(one.submit(TASK))["state"] == "COMPLETE"
    until(lambda: "real" in command(one, "show", "waiting", "--by", "pulsar")[1])
    heads, row = command(one, "show", "waiting", "--by", "pulsar")[1].splitlines()
    assert (heads.split(), row.split()[:2]) == (["PULSAR", "TASKS", "WAITED_S"], ["real", "1"])
    rows = command(one, "list")[1].splitlines()
    assert [line.split()[:3] for line in rows[1:]] == [["task_view", "2", "0"], ["usage", "1", "0"], ["waiting", "1", "0"]]
    for name in ("task_view", "usage", "waiting"):
        status, out, err = command(one, "rebuild", name)
        assert (status, out) == (0, f"{name}: done: all 1 documents are as they were\n"), err
        assert "as generation 1" in err
        status, out, _ = command(one, "verify", name)
        assert (status, out.split()[:2], out.split()[-2:]) == (0, [f"{name}:", "1"], ["0", "different"])
    assert [line.split()[2] for line in command(one, "list")[1].splitlines()[1:]] == ["1", "1", "1"]
    assert one.get("/ga4gh/tes/v1/tasks")["tasks"][0]["state"] == "COMPLETE"
    assert "there is no view x" in command(one, "rebuild", "x")[2]
    for path in ("projections", "projections/usage/totals"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            one.get(f"/operator/{path}")
        assert refused.value.code == 401
        refused.value.close()


def test_a_rebuild_is_done_by_whoever_keeps_the_view(api_alone: Tespes, command: Command) -> None:
    """Who is asked need not do it: it is written down in the store. Lists are whole before, meanwhile and after."""
    task_ids = {api_alone.submit(TASK) for _ in range(5)}
    until(lambda: len(listed(api_alone)) == 5)
    status, out, err = command(api_alone, "rebuild", "task_view")
    assert (status, out) == (0, "task_view: done: all 5 documents are as they were\n"), err
    assert listed(api_alone) == task_ids
    task_ids.add(api_alone.submit(TASK))
    until(lambda: listed(api_alone) == task_ids)


def listed(tespes: Tespes) -> set[str]:
    """The ids of the list."""
    return {task["id"] for task in tespes.get("/ga4gh/tes/v1/tasks")["tasks"]}


def test_a_read_model_that_is_none_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, which names it."""
    monkeypatch.setenv("TESPES_PROJECTIONS", "os:path")
    assert main(["serve", "--state-dir", str(tmp_path), "--port", "0"]) == 2
    assert capsys.readouterr().err == "tespes: projections: os:path is no tespes.projections.ReadModel\n"
