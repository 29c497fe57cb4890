"""A real `tespes serve` in a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tespes.local import files, ports

NO_BROKER = "amqp://guest:guest@127.0.0.1:9/"  # nothing listens there: for servers whose roles need no RabbitMQ
API_AND_VIEW = "api,project"
_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 15.0
_KEY = "the same for all of several processes"


@dataclass(frozen=True, slots=True)
class Server:
    """A TESPES that runs. `url`: where its TES API is."""

    url: str
    pid: int


@asynccontextmanager
async def serve(
    state_dir: Path, environment: Mapping[str, str], *, roles: str | None = None, pulsars: str = ""
) -> AsyncIterator[Server]:
    """`tespes serve` in that directory; its settings are what is said here and their defaults.

    :param environment: settings, as TESPES_<SECTION>__<KEY>
    :param pulsars: the `[default.pulsars...]` part of a settings file
    """
    port = ports.free_port()
    settings = state_dir / "bench.toml"
    settings.write_text(f"[default]\n{pulsars}\n")
    arguments = ["serve", "--settings", str(settings), "--state-dir", str(state_dir), "--port", str(port)]
    arguments += ["--roles", roles] if roles else []
    with (state_dir / "tespes.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tespes", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**_inherited(), "TESPES_RUNNER__KEY": _KEY, **environment},
            cwd=state_dir,
        )
    try:
        url = f"http://127.0.0.1:{port}/ga4gh/tes/v1"
        await _answers(url, process, state_dir / "tespes.log")
        yield Server(url, process.pid)
    finally:
        await _stop(process)


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TESPES_")}


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(_START_WITHIN_S), aiohttp.ClientSession() as client:
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"tespes serve ended: {files.last_line(log)} (log: {log})")
            with suppress(aiohttp.ClientError):
                async with client.get(f"{url}/service-info") as answer:
                    answer.raise_for_status()
                    return
            await asyncio.sleep(0.02)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
