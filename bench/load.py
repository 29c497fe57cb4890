"""Load from another process: wrk, one thread, some connections that each send the next request after the last answer."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

_SCRIPTS = Path(__file__).with_name("wrk")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk measured; times in milliseconds."""

    requests: int
    duration_s: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.requests / self.duration_s


async def run(script: str, url: str, argument: Path, *, connections: int, seconds: int) -> Load:
    """Run wrk with one of the scripts in `bench/wrk`.

    :raises RuntimeError: a request failed, or wrk is not installed
    """
    arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=10s", "-s", str(_SCRIPTS / script), url]
    try:
        process = await asyncio.create_subprocess_exec(
            "wrk",
            *(*arguments, "--", str(argument)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "BENCH_WRK": str(_SCRIPTS)},
        )
    except FileNotFoundError as error:
        raise RuntimeError("wrk is not installed: apt-get install wrk") from error
    output, _ = await process.communicate()
    last = output.decode().strip().rpartition("\n")[2]
    if process.returncode != 0 or not last.startswith("{"):
        raise RuntimeError(f"wrk failed: {output.decode()}")
    found = json.loads(last)
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} of {found['requests']} requests to {url} failed")
    return Load(found["requests"], found["duration_us"] / 1e6, found["p50_us"] / 1e3, found["p99_us"] / 1e3)
