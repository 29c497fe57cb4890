"""`tespes demo`: the main job on one machine, with a RabbitMQ, a Pulsar and an FTP server of its own."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from tespes import app, errors, events, logging, settings, show
from tespes.events import Entry
from tespes.flow.follow import follow
from tespes.local import files
from tespes.local.ftp import LocalFTP
from tespes.local.mongodb import LocalMongoDB
from tespes.local.ports import is_free
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store.lock import lock

CONTENT = b"Hello World!"
EXPECTED = "ed076287532e86365e841e92bfc50d8c"
_FTP_PORT = 25_127  # the one in the example that /docs shows
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for.

    :param pulsar_main: Pulsar's program, in a virtual environment of its own
    :param mongodb: the program of a MongoDB wire server; None keeps the log in SQLite
    """

    state_dir: Path
    pulsar_main: Path
    mongodb: Path | None
    port: int
    once: bool


async def run(plan: Plan) -> int:
    """Start everything, run the task, show what happened; the exit status.

    :raises errors.SetupError: something does not start (says what, and where its log is)
    """
    logging.configure("console", "warning")
    async with AsyncExitStack() as stack:
        ftp, service = await _start(plan, stack)
        task_id, shown = await _main_job(service, ftp)
        if plan.once:
            return 0 if shown else 1
        _say(
            "",
            f"TESPES stays up at {service.url}; its files are in {plan.state_dir.absolute()}. Ctrl-C ends it. Try:",
            "",
        )
        _say(f"  curl '{service.url}/ga4gh/tes/v1/tasks/{task_id}?view=BASIC'")
        if plan.mongodb is None:
            _say(f"  {sys.argv[0]} log show {task_id} --state-dir {plan.state_dir}")
        _say("")
        await asyncio.Event().wait()
    return 0


async def _start(plan: Plan, stack: AsyncExitStack) -> tuple[LocalFTP, app.Service]:
    state = plan.state_dir.absolute()
    lock(files.make_private_directory(state), stack, "demo.lock")  # before anything of another demo is touched
    if plan.port and not is_free(plan.port):
        raise errors.SetupError(f"port {plan.port} is in use: choose another with --port (make demo PORT=...)")
    given = settings.load(None, {"state_dir": state})
    broker = given.rabbitmq.url.get_secret_value() if given.rabbitmq.url else None
    if broker is None:
        with _Progress("RabbitMQ", state / "rabbitmq"):
            broker = (await stack.enter_async_context(PrivateRabbitMQ(state / "rabbitmq"))).url
    with _Progress("Pulsar", state / "pulsar"):
        path = f"{sys.base_exec_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        local = LocalPulsar(state / "pulsar", program=plan.pulsar_main, broker_url=broker, path=path)
        await stack.enter_async_context(local)
    with _Progress("FTP server", state / "ftp"):
        ftp = await stack.enter_async_context(LocalFTP(state / "ftp", port=_FTP_PORT if is_free(_FTP_PORT) else 0))
    over = await _settings(plan, stack, broker, ftp)
    with _Progress("TESPES", state):
        service = await stack.enter_async_context(app.service(settings.load(None, over)))
    show.serving(service.url, service.uses)
    return ftp, service


async def _settings(plan: Plan, stack: AsyncExitStack, broker: str, ftp: LocalFTP) -> dict[str, Any]:
    state = plan.state_dir.absolute()
    host = ftp.url.rpartition("@")[2]
    over: dict[str, Any] = {
        "state_dir": state,
        "http": {"port": plan.port},
        "rabbitmq": {"url": broker},
        "pulsars": {"demo": {"runtime": {"kind": "sandbox"}}},
        "storage": {"ftp": {host: {"user": ftp.user, "password": ftp.password}}},
    }
    if plan.mongodb is not None:
        with _Progress("MongoDB wire server", state / "mongodb"):
            server = await stack.enter_async_context(LocalMongoDB(state / "mongodb", program=plan.mongodb))
        over["store"] = {"mongodb_uri": server.uri}
    return over


async def _main_job(service: app.Service, ftp: LocalFTP) -> tuple[str, bool]:
    """The task's id, and whether everything came true."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "holy_file").write_bytes(CONTENT)
    (ftp.directory / "outfile-1").unlink(missing_ok=True)
    submitted = {
        "inputs": [{"url": f"ftp://{host}/holy_file", "path": "/data/file1", "type": "FILE"}],
        "outputs": [{"path": "/data/outfile", "url": f"ftp://{host}/outfile-1", "type": "FILE"}],
        "executors": [{"image": "alpine", "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
    }
    _say("", "The task:", json.dumps(submitted, indent=2), "", "What happened:")
    after = (await service.store.log.head()).position
    async with aiohttp.ClientSession(f"{service.url}/ga4gh/tes/v1/") as client:
        async with client.post("tasks", json=submitted) as answer:
            answer.raise_for_status()
            task_id = (await answer.json())["id"]
        await _tell(service, after, task_id)
        async with client.get(f"tasks/{task_id}", params={"view": "FULL"}) as answer:
            document = await answer.json()
    outfile = ftp.directory / "outfile-1"
    text = outfile.read_text() if outfile.exists() else "(it is not there)\n"
    _say("", f"ftp://{host}/outfile-1:", text, "The task in FULL view:", json.dumps(document, indent=2))
    return task_id, document["state"] == "COMPLETE" and EXPECTED in text


async def _tell(service: app.Service, after: int, task_id: str) -> None:
    """Print the task's events as they happen, until it is over."""
    begin: list[datetime] = []
    over = asyncio.Event()

    async def tell(entries: Sequence[Entry]) -> None:
        for entry in entries:
            for each in events.recorded(entry) if entry.commit.stream == task_id else ():
                begin.append(each.at)
                _say(show.since(begin[0], each))
                if isinstance(each.event, _ENDS):
                    over.set()

    following = asyncio.ensure_future(follow("demo", service.store.log, after, tell))
    try:
        async with asyncio.timeout(_WITHIN_S):
            await over.wait()
    except TimeoutError as error:
        raise errors.SetupError(f"the task did not end within {_WITHIN_S:g} s: tespes log show {task_id} says why") from error
    finally:
        following.cancel()
        await asyncio.wait({following})


_ENDS = (
    events.TaskCompleted,
    events.TaskExecutorFailed,
    events.TaskSystemFailed,
    events.TaskCanceled,
    events.TaskPreempted,
)


class _Progress:
    """Says that something starts, and how long it took."""

    def __init__(self, what: str, where: Path) -> None:
        self._what = what
        self._where = where
        self._begin = time.monotonic()

    def __enter__(self) -> None:
        print(f"starting {self._what} in {self._where} ... ", end="", flush=True)  # noqa: T201 - the demo's own output

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _say(f"{time.monotonic() - self._begin:.1f} s" if kind is None else "failed")


def _say(*lines: str) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201 - the demo's own output
