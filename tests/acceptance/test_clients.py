"""The client libraries py-tes 1.1 and pydantic-tes 0.4 as their users use them, the whole way."""

from typing import Any

import pydantic
import pydantictes.models as pydantic_tes
import pytest
import requests
import tes
from pydantictes.api import TesClient
from pydantictes.models import TesFileType, TesState

from servers import Counter, Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers

MD5 = "ed076287532e86365e841e92bfc50d8c  -\n"
BASES = ("", "/", "/v1", "/ga4gh/tes/v1", "/ga4gh/tes/v1/")


@pytest.fixture
def py_tes(server: Tespes) -> tes.HTTPClient:
    """A py-tes client with the shortest base URL."""
    return tes.HTTPClient(server.url)


def run(client: tes.HTTPClient, task: tes.Task) -> tes.Task:
    """The task in FULL view, once py-tes's own `wait` says that it is over."""
    task_id = client.create_task(task)
    client.wait(task_id, timeout=40)
    return client.get_task(task_id, view="FULL")


def sh(script: str, **more: Any) -> tes.Executor:
    """An executor that runs a script."""
    return tes.Executor(image="alpine", command=["sh", "-c", script], **more)


@pytest.mark.parametrize("path", BASES)
def test_py_tes_finds_the_server_under_every_base_url(server: Tespes, path: str) -> None:
    """Root, /v1 and /ga4gh/tes/v1, with and without a slash at the end: each call finds its way."""
    client = tes.HTTPClient(f"{server.url}{path}")
    info = client.get_service_info()
    assert info.type == {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"}
    assert "ftp://" in str(info.storage)
    task_id = client.create_task(tes.Task(executors=[sh("true")]))
    assert client.wait(task_id, timeout=40).state == "COMPLETE"
    assert client.cancel_task(task_id) is None, "of a task that is over: nothing happens"
    assert client.get_task(task_id).state == "COMPLETE"


def test_py_tes_takes_a_file_from_ftp_to_ftp(py_tes: tes.HTTPClient, ftp: LocalFTP) -> None:
    """The main job; times, sizes and exit code come back in py-tes's own types."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "holy_file").write_bytes(b"Hello World!")
    (ftp.directory / "by-py-tes").unlink(missing_ok=True)
    executor = tes.Executor(image="alpine", command=["md5sum"], stdin="/data/file1", stdout="/data/outfile")
    task = tes.Task(
        name="md5",
        description="the main job",
        tags={"project": "clients", "empty": ""},
        inputs=[tes.Input(url=f"ftp://{host}/holy_file", path="/data/file1")],
        outputs=[tes.Output(url=f"ftp://{host}/by-py-tes", path="/data/outfile")],
        executors=[executor],
        resources=tes.Resources(cpu_cores=1, ram_gb=0.5, disk_gb=1.5, preemptible=False),
    )
    found = run(py_tes, task)
    assert found.state == "COMPLETE", found
    assert (ftp.directory / "by-py-tes").read_text() == MD5
    assert (found.name, found.description, found.tags) == (task.name, task.description, task.tags)
    assert (found.inputs, found.outputs, found.resources) == (task.inputs, task.outputs, task.resources)
    (log,) = found.logs
    assert found.creation_time <= log.start_time <= log.logs[0].start_time <= log.logs[0].end_time <= log.end_time
    assert [entry.exit_code for entry in log.logs] == [0]
    (output,) = log.outputs
    assert (output.path, output.url, output.size_bytes) == ("/data/outfile", f"ftp://{host}/by-py-tes", len(MD5))


def test_py_tes_reads_the_three_views(py_tes: tes.HTTPClient) -> None:
    """MINIMAL is id and state; BASIC, py-tes's default, lacks contents, streams and system logs; FULL has all."""
    inputs = [tes.Input(content="words\n", path="/data/in")]
    full = run(py_tes, tes.Task(name="views", inputs=inputs, executors=[sh("cat /data/in; cat /data/in >&2")]))
    assert py_tes.get_task(full.id, view="MINIMAL") == tes.Task(id=full.id, state="COMPLETE")
    basic = py_tes.get_task(full.id)
    assert (basic.inputs[0].content, full.inputs[0].content) == (None, "words\n")
    (short, long) = (basic.logs[0].logs[0], full.logs[0].logs[0])
    assert (short.stdout, short.stderr, short.exit_code) == (None, None, 0)
    assert (long.stdout, long.stderr) == ("words\n", "words\n")
    assert basic.logs[0].system_logs is None
    assert full.logs[0].system_logs


def test_py_tes_pages_through_the_list(server: Tespes, py_tes: tes.HTTPClient) -> None:
    """Every task once, newest first, in any page size; the last page has no token."""
    made = [py_tes.create_task(tes.Task(name="page", executors=[sh("true")])) for _ in range(5)]
    until(lambda: py_tes.list_tasks(page_size=1).tasks[0].id == made[-1])
    seen, page = [], py_tes.list_tasks(page_size=2)
    while page.next_page_token:
        seen += page.tasks
        page = py_tes.list_tasks(page_size=2, page_token=page.next_page_token)
    seen += page.tasks
    names = [task.id for task in seen]
    assert names[:5] == made[::-1]
    assert len(set(names)) == len(names)
    assert {task.name for task in py_tes.list_tasks(view="BASIC", page_size=5).tasks} == {"page"}
    for task_id in made:
        assert py_tes.wait(task_id, timeout=40).state == "COMPLETE"


def test_py_tes_uses_volumes_environment_and_ignored_errors(py_tes: tes.HTTPClient) -> None:
    """Executors run in order, share a volume, have their own environment; an ignored error stops nothing."""
    executors = [
        sh('printf "%s" "$WORD" > /vol/word', env={"WORD": "a $b 'c"}),
        sh("exit 3", ignore_error=True),
        sh("cat word; pwd", workdir="/vol"),
    ]
    found = run(py_tes, tes.Task(executors=executors, volumes=["/vol"]))
    assert found.state == "COMPLETE", found
    (log,) = found.logs
    assert [entry.exit_code for entry in log.logs] == [0, 3, 0]
    assert log.logs[2].stdout == "a $b 'c/vol\n"
    assert (found.executors, found.volumes) == (executors, ["/vol"])


def test_py_tes_sees_which_executor_failed(py_tes: tes.HTTPClient) -> None:
    """EXECUTOR_ERROR with the exit code and the error stream; the next executor did not run."""
    found = run(py_tes, tes.Task(executors=[sh("true"), sh("echo no luck >&2; exit 7"), sh("true")]))
    assert found.state == "EXECUTOR_ERROR"
    entries = found.logs[0].logs
    assert [entry.exit_code for entry in entries] == [0, 7]
    assert entries[1].stderr == "no luck\n"


def test_py_tes_reads_why_the_system_failed(py_tes: tes.HTTPClient, ftp: LocalFTP) -> None:
    """SYSTEM_ERROR: the reason stands in system_logs, in words."""
    host = ftp.url.rpartition("@")[2]
    inputs = [tes.Input(url=f"ftp://{host}/missing", path="/data/in")]
    found = run(py_tes, tes.Task(inputs=inputs, executors=[sh("true")]))
    assert found.state == "SYSTEM_ERROR"
    assert any(f"ftp://{host}/missing: 550" in line for line in found.logs[-1].system_logs), found.logs


def test_py_tes_cancels_a_running_task(py_tes: tes.HTTPClient, counter: Counter) -> None:
    """The answer to a cancel leaves when the task is dead, so `wait`, which knows no CANCELING, says CANCELED."""
    task_id = py_tes.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=counter.command)]))
    until(lambda: counter.runs == 1)
    py_tes.cancel_task(task_id)
    assert py_tes.wait(task_id).state == "CANCELED"
    py_tes.cancel_task(task_id)
    assert py_tes.wait(task_id).state == "CANCELED"


def test_py_tes_is_told_what_is_wrong(py_tes: tes.HTTPClient) -> None:
    """An unknown id is 404 under every prefix; a wrong task is 400 and its answer names the field."""
    with pytest.raises(requests.HTTPError, match="404"):
        py_tes.get_task("unknown")
    with pytest.raises(requests.HTTPError, match="400") as refused:
        py_tes.create_task(tes.Task(inputs=[tes.Input(path="/data/in")], executors=[sh("true")]))
    answer = refused.value.response
    assert answer is not None
    assert answer.json()["field"] == "inputs.0.url"


@pytest.mark.parametrize("login", [{"token": "secret"}, {"user": "somebody", "password": "secret"}])
def test_a_login_does_no_harm(server: Tespes, login: dict[str, str]) -> None:
    """Nobody is asked for one yet; clients that send one are served like others."""
    assert tes.HTTPClient(server.url, **login).get_service_info().name == "TESPES"


def pydantic_task(*scripts: str, **more: Any) -> pydantic_tes.TesTask:
    """A task of pydantic-tes."""
    executors = [pydantic_tes.TesExecutor(image="alpine", command=["sh", "-c", script]) for script in scripts]
    return pydantic_tes.TesTask(executors=executors, **more)


def ended(client: TesClient, task: pydantic_tes.TesCreateTaskResponse) -> pydantic_tes.TesTask:
    """The task, once it is over; polled in FULL view, as Galaxy does."""
    going = {TesState.QUEUED, TesState.INITIALIZING, TesState.RUNNING}
    until(lambda: client.get_task(task, "FULL").state not in going, within_s=40, every_s=0.1)
    return client.get_task(task, "FULL")


@pytest.mark.parametrize("path", ["", "/", "/ga4gh/tes/"])
def test_pydantic_tes_sends_nulls_and_reads_the_answer(server: Tespes, ftp: LocalFTP, path: str) -> None:
    """It sends null for every unset field; its models accept what comes back in BASIC and FULL, and the service info."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "holy_file").write_bytes(b"Hello World!")
    (ftp.directory / "by-pydantic-tes").unlink(missing_ok=True)
    client = TesClient(f"{server.url}{path}")
    file = TesFileType.FILE
    task = pydantic_tes.TesTask(
        inputs=[pydantic_tes.TesInput(url=f"ftp://{host}/holy_file", path="/data/file1", type=file)],
        outputs=[pydantic_tes.TesOutput(url=f"ftp://{host}/by-pydantic-tes", path="/data/outfile", type=file)],
        executors=[pydantic_tes.TesExecutor(image="alpine", command=["md5sum"], stdin="/data/file1", stdout="/data/outfile")],
    )
    assert '"logs":null' in task.model_dump_json()
    found = ended(client, client.create_task(task))
    assert found.state is TesState.COMPLETE, found
    assert (ftp.directory / "by-pydantic-tes").read_text() == MD5
    assert (found.inputs, found.outputs, found.executors) == (task.inputs, task.outputs, task.executors)
    assert found.logs is not None
    assert [(output.path, output.size_bytes) for output in found.logs[0].outputs] == [("/data/outfile", str(len(MD5)))]
    assert client.get_task(found, "BASIC").state is TesState.COMPLETE
    until(lambda: found.id in {task.id for task in client.list_tasks().tasks})
    assert client.service_info().type.artifact.value == "tes"


def test_pydantic_tes_needs_a_setting_for_minimal(server: Tespes) -> None:
    """Its model of a task requires executors, which the standard's MINIMAL view does not have."""
    client = TesClient(server.url)
    created = client.create_task(pydantic_task("true"))
    with pytest.raises(pydantic.ValidationError, match="executors"):
        client.get_task(created, "MINIMAL")
    assert ended(client, created).state is TesState.COMPLETE


def test_pydantic_tes_sees_errors_and_cancels(server: Tespes, ftp: LocalFTP, counter: Counter) -> None:
    """EXECUTOR_ERROR with its code, SYSTEM_ERROR with its reason, and CANCELED."""
    client = TesClient(server.url)
    failed = ended(client, client.create_task(pydantic_task("exit 7")))
    assert failed.state is TesState.EXECUTOR_ERROR
    assert failed.logs is not None
    assert failed.logs[0].logs[0].exit_code == 7
    url = f"ftp://{ftp.url.rpartition('@')[2]}/missing"
    inputs = [pydantic_tes.TesInput(url=url, path="/data/in", type=TesFileType.FILE)]
    broken = ended(client, client.create_task(pydantic_task("true", inputs=inputs)))
    assert broken.state is TesState.SYSTEM_ERROR
    assert broken.logs is not None
    assert f"{url}: 550" in str(broken.logs[-1].system_logs)
    waiting = pydantic_tes.TesTask(executors=[pydantic_tes.TesExecutor(image="alpine", command=counter.command)])
    created = client.create_task(waiting)
    until(lambda: counter.runs == 1)
    client.cancel_task(created)
    until(lambda: server.state(created.id) == "CANCELED")
    assert client.get_task(created, "FULL").state is TesState.CANCELED
