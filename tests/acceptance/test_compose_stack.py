"""The compose file at a real engine: the README's task, the same files by FTP and S3, rights, three doors and two workers.

Run it with `-s` to see the figures. MongoDB's place is taken by the MongoDB wire server, so the start of a replica set is
not proven here, nor are the published images themselves.
"""

import ftplib
import io
import json
import re
import subprocess
import time
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config

from compose_stack import Stack
from servers import ROOT, until

pytestmark = [pytest.mark.docker, pytest.mark.slow]
RESULT = b"ed076287532e86365e841e92bfc50d8c  -\n"
RIGHTS = """
import asyncio, sys, aio_pika, aiormq
async def take(channel, name):
    await (await channel.get_queue(name, ensure=False)).get(fail=False)
async def make(channel, name):
    await channel.declare_queue(name)
async def main(url):
    connection = await aio_pika.connect(url)
    async def may(how, name):
        try:
            await how(await connection.channel(), name)
        except aiormq.exceptions.ChannelAccessRefused:
            return False
        return True
    for name in ("pulsar__setup", "pulsar__kill", "pulsar__status", "pulsar__status_update", "tespes.dead"):
        print(name, await may(take, name))
    print("anything", await may(make, "anything"))
    await connection.close()
asyncio.run(main(sys.argv[1]))
"""


def test_the_task_of_the_readme_runs(stack: Stack) -> None:
    """`docker compose up`, a file by FTP, the task as the README has it: COMPLETE, and the result lies at the FTP server."""
    began = time.monotonic()
    stack.up("single")
    took_s = time.monotonic() - began
    _upload(stack, "holy_file", b"Hello World!")
    task_id = stack.submitted(_readme_task())
    task = stack.ended(task_id)
    assert task["state"] == "COMPLETE", task
    assert _got(stack, "outfile-1") == RESULT
    told = [f"docker compose up until TESPES was ready: {took_s:.1f} s", *_figures(stack)]
    events = stack.compose("exec", "--no-TTY", "tespes", "tespes", "log", "show", task_id)
    print("\n" + "\n".join([*told, events]))  # noqa: T201 - it is meant to be read


def test_ftp_and_s3_show_the_same_files(stack: Stack) -> None:
    """What came by one is there by the other, at once; a task may take from one and store at the other."""
    _put(stack, "by-ftp", b"Hello World!")
    s3 = _s3(stack)
    assert s3.get_object(Bucket="files", Key="by-ftp")["Body"].read() == b"Hello World!"
    s3.put_object(Bucket="files", Key="directory/by-s3", Body=b"Hello World!")
    assert _got(stack, "directory/by-s3") == b"Hello World!"
    task = _readme_task()
    task["inputs"][0]["url"], task["outputs"][0]["url"] = "s3://files/directory/by-s3", "s3://files/outfile-2"
    assert stack.ended(stack.submitted(task))["state"] == "COMPLETE"
    assert _got(stack, "outfile-2") == RESULT


def test_nobody_has_more_rights_than_needed(stack: Stack) -> None:
    """Pulsar reads its orders and nothing else, at its own vhost; S3, FTP and the web page want a password."""
    password = stack.secrets["PULSAR_PASSWORD"]
    asked = ("exec", "--no-TTY", "tespes", "python", "-", f"amqp://local:{password}@rabbitmq:5672/local")
    said = dict(line.split() for line in stack.compose(*asked, given=RIGHTS).splitlines())
    assert said == {
        "pulsar__setup": "True", "pulsar__kill": "True", "pulsar__status": "True",
        "pulsar__status_update": "False", "tespes.dead": "False", "anything": "False",
    }  # fmt: skip
    with pytest.raises(AssertionError, match=r"(?i)refused|not_allowed"):
        stack.compose(*asked[:-1], asked[-1].replace("/local", "/tespes"), given=RIGHTS)
    with pytest.raises(ftplib.error_perm):
        _ftp(stack, "wrong")
    stranger = _s3(stack, "wrong")
    with pytest.raises(stranger.exceptions.ClientError):
        stranger.list_objects_v2(Bucket="files")


def test_the_containers_cannot_change_themselves(stack: Stack) -> None:
    """TESPES is not root, and its root file system is read-only."""
    script = "import os; print(os.getuid()); open('/etc/tespes/x', 'w')"
    with pytest.raises(AssertionError, match=r"10001\n[\s\S]*Read-only file system"):
        stack.compose("exec", "--no-TTY", "tespes", "python", "-c", script)


def test_an_administrator_gets_on_with_the_rights_that_tespes_has(stack: Stack) -> None:
    """The doctor finds nothing to do, and a backup is made where TESPES may write."""
    inside = ("exec", "--no-TTY", "tespes", "tespes")
    stack.compose(*inside, "doctor")
    stack.compose(*inside, "backup", "make", "/var/lib/tespes/backup")
    stack.compose(*inside, "backup", "verify", "/var/lib/tespes/backup")
    stack.compose("cp", "tespes:/var/lib/tespes/backup", ".")
    assert (stack.directory / "backup" / "backup.json").is_file()


def test_everything_survives_a_new_start(stack: Stack) -> None:
    """`down` and `up`: the tasks are there, with their history, and so are the files; new ones run."""
    task_id = stack.submitted(_readme_task())
    before = stack.ended(task_id)
    stack.compose("down")
    stack.up("single")
    assert stack.ended(task_id) == before
    assert _got(stack, "outfile-1") == RESULT
    assert stack.ended(stack.submitted(_readme_task()))["state"] == "COMPLETE"


def test_three_doors_and_two_workers_share_the_work(stack: Stack) -> None:
    """The profile scale, from nothing: a task runs while an API process and the worker that dispatches are killed."""
    stack.compose("--profile", "*", "down", "--volumes")
    stack.up("scale")
    _put(stack, "holy_file", b"Hello World!")
    assert (len(stack.containers("api")), len(stack.containers("worker"))) == (3, 2)
    until(lambda: _holder(stack) is not None, within_s=30)
    task_id = stack.submitted(_readme_task())
    stack.engine.docker("kill", stack.containers("api")[0], str(_holder(stack)))
    assert stack.ended(task_id)["state"] == "COMPLETE"
    assert stack.ended(stack.submitted(_readme_task()))["state"] == "COMPLETE"


def test_the_profile_dev_runs_the_code_that_is_mounted(stack: Stack) -> None:
    """TESPES of src/ answers, and a restart, which `docker compose watch` does at each change, brings the new code."""
    stack.up("dev")
    assert stack.ended(stack.submitted(_readme_task()))["state"] == "COMPLETE"
    module = stack.directory / "src" / "tespes" / "__init__.py"
    module.write_text(re.sub(r'(__version__ = )".*"', r'\1"0.0.0.dev0"', module.read_text()))
    stack.compose("restart", "tespes-dev")
    until(lambda: "0.0.0.dev0" in json.dumps(stack.ready() and stack.get("/openapi.json")["info"]), within_s=60)


def _readme_task() -> Any:
    """As it is written there, but for the host, which is the service `ftp`."""
    text = re.search(r'\{"inputs".*?\]\}(?=\n\n)', (ROOT / "README.md").read_text(), re.DOTALL)
    assert text is not None
    return json.loads(re.sub(r"ftp://[^/]+/", "ftp://ftp/", text[0]))


def _figures(stack: Stack) -> list[str]:
    """Start to ready of TESPES alone, its database being up; and what each service takes of memory."""
    stack.compose("stop", "tespes")
    stack.compose("start", "tespes")
    until(stack.is_ready, within_s=60, every_s=0.02)
    ready = time.time()
    started = stack.engine.docker("inspect", "--format", "{{.State.StartedAt}}", *stack.containers("tespes"))
    took_s = ready - datetime.fromisoformat(f"{started[:26]}+00:00").timestamp()
    memory = stack.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    return [f"start of TESPES's container until it was ready: {took_s:.1f} s", *sorted(memory.splitlines())]


def _holder(stack: Stack) -> str | None:
    """The container of the worker that dispatches, as its lease says."""
    said = stack.ready()
    holder = said["checks"]["leases"]["holders"]["dispatch"] if said else None
    return holder.partition(":")[0] if holder else None


def _ftp(stack: Stack, password: str | None = None) -> ftplib.FTP:
    connection = ftplib.FTP()  # noqa: S321 - loopback
    connection.connect("127.0.0.1", stack.ports["FILES_FTP_PORT"], timeout=15)
    try:
        connection.login("tespes", password or stack.secrets["FILES_FTP_PASSWORD"])
    except ftplib.error_perm:
        connection.close()
        raise
    return connection


def _upload(stack: Stack, name: str, content: bytes) -> None:
    """As docs/compose.md does."""
    url = f"ftp://tespes:{stack.secrets['FILES_FTP_PASSWORD']}@127.0.0.1:{stack.ports['FILES_FTP_PORT']}/{name}"
    subprocess.run(["curl", "-sST", "-", url], input=content, check=True, timeout=60)


def _put(stack: Stack, name: str, content: bytes) -> None:
    with _ftp(stack) as connection:
        connection.storbinary(f"STOR {name}", io.BytesIO(content))


def _got(stack: Stack, name: str) -> bytes:
    received = io.BytesIO()
    with _ftp(stack) as connection:
        connection.retrbinary(f"RETR {name}", received.write)
    return received.getvalue()


def _s3(stack: Stack, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.ports['FILES_S3_PORT']}",
        region_name="us-east-1",
        aws_access_key_id=stack.secrets["FILES_ACCESS_KEY"],
        aws_secret_access_key=secret or stack.secrets["FILES_SECRET_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
