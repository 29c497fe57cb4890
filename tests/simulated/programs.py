r"""The few commands that a simulated node can run. Each does the same in a real shell, so that tests can use both.

`true`, `false`, `sleep S`, `exit N`, `kill -9 $$`, `echo WORDS`, `printf '\377'`, `yes | head -c N`, and what talks to
`servers.Counter`.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

_COUNTER = re.compile(r"/dev/tcp/(?P<host>[\d.]+)/(?P<port>\d+)")
_SHELLS = frozenset({"sh", "bash"})
_NO_SUCH_PROGRAM = 127
NOT_UTF8 = "\udcff"  # a byte that is none, as Python reads it with `surrogateescape`


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: `exit_code` as a shell would name it."""

    exit_code: int
    stdout: str = ""


async def run(command: Sequence[str]) -> Done:  # noqa: PLR0911 - one case for each program
    """Run it to its end; cancelling it is its SIGKILL."""
    match list(command):
        case [shell, "-c", script] if shell in _SHELLS:
            return await run_script(script)
        case ["true"]:
            return Done(0)
        case ["false"]:
            return Done(1)
        case ["sleep", seconds]:
            await asyncio.sleep(float(seconds))
            return Done(0)
        case ["exit", code]:
            return Done(int(code))
        case ["kill", "-9", "$$"]:
            return Done(137)
        case ["printf", "'\\377'"]:
            return Done(0, NOT_UTF8)
        case ["yes", "|", "head", "-c", count]:
            return Done(0, ("y\n" * (int(count) // 2 + 1))[: int(count)])
        case ["echo", *words]:
            return Done(0, " ".join(words) + "\n")
        case _:
            return Done(_NO_SUCH_PROGRAM)


async def run_script(script: str) -> Done:
    """Commands with `;` between them, one after the other; the last one's exit code counts."""
    if found := _COUNTER.search(script):
        return await _counted(found["host"], int(found["port"]))
    done, output = Done(0), ""
    for command in script.split(";"):
        done = await run(command.split())
        output += done.stdout
        if command.split()[:1] in (["exit"], ["kill"]):
            break
    return Done(done.exit_code, output)


async def _counted(host: str, port: int) -> Done:
    """What `servers.Counter.command` does: say that it ran, wait to be released."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"ran\n")
        await reader.readline()
    finally:
        writer.close()
    return Done(0, "done\n")
