"""One child process and the owner that starts, adopts and ends it.

The child leads a session of its own: a Ctrl-C in the terminal does not reach it, and what it started is found by that
session. `<directory>/process.json` names it, so that a TESPES that was killed finds its child again.
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tespes import errors
from tespes.local import files, identity
from tespes.local.identity import Identity

RECORD: Final = "process.json"
_LOOK_EVERY_S: Final = 0.02
_KILL_PATIENCE_S: Final = 5.0

Ready = Callable[[], Awaitable[bool]]


class OwnedProcess:
    """A program on this machine that ends with its owner.

    :param name: what people call it; it stands in errors
    :param directory: where the record file is kept; it exists
    :param log_file: what gets the program's standard output and error, appended
    :param stop_signal: what asks the program to end
    :param patience_s: how long it may take to end before it is killed
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        log_file: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience_s: float = 10.0,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._record = directory / RECORD
        self._stop_signal = stop_signal
        self._patience_s = patience_s
        self._leaders: list[Identity] = []  # each program started or adopted; the last is the one of today
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running program; None if it is not running."""
        return self._leaders[-1].pid if self.is_running else None

    @property
    def is_running(self) -> bool:
        return bool(self._leaders) and identity.is_alive(self._leaders[-1])

    def adopt(self) -> bool:
        """Take over what an earlier owner left in the record file; says whether the program itself still runs."""
        self._leaders = self._leaders or self._recorded()
        return self.is_running

    async def start(self, argv: Sequence[str], *, environment: Mapping[str, str], directory: Path) -> None:
        """Start the program with exactly this environment, in this working directory.

        :raises errors.SetupError: the program is not there or may not be executed
        """
        if self.adopt():
            raise errors.SetupError(f"{self.name} runs already (pid {self.pid}): end it before another is started")
        try:
            self._child = await self._spawn(argv, environment, directory)
        except OSError as error:
            raise errors.SetupError(f"{self.name} cannot be started: {argv[0]}: {error.strerror}") from error
        if (seen := identity.look(self._child.pid)) is not None:
            self._leaders.append(seen.identity)
            self._remember()

    async def wait_until(self, ready: Ready, *, within_s: float) -> None:
        """Return as soon as `ready` answers True.

        :raises errors.SetupError: the program ended before, or `within_s` seconds were not enough
        """
        try:
            async with asyncio.timeout(within_s):
                while not await ready():
                    if not self.is_running:
                        raise errors.SetupError(await self._epitaph())
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError as error:
            waited = f"{self.name} (pid {self.pid}) was not ready after {within_s:g} s"
            raise errors.SetupError(f"{waited}: {self._last_words()}") from error

    async def wait(self) -> None:
        """Return when the program has ended."""
        while self.is_running:  # noqa: ASYNC110 - one that was adopted is not our child: nobody sends us an event
            await asyncio.sleep(_LOOK_EVERY_S)
        if self._child is not None:
            await self._child.wait()

    async def stop(self) -> None:
        """End the program and everything that came from it, also from those before a `kill`; forget the record."""
        if self.adopt():
            came_from_it = identity.family(self._leaders)
            identity.send(self._leaders[-1], self._stop_signal)
            await self._gone_within(self._patience_s)
        else:
            came_from_it = set()
        await self._kill_all(came_from_it)
        self._leaders = []
        self._record.unlink(missing_ok=True)

    async def kill(self) -> None:
        """Crash the program, and it alone, as a power cut would (SIGKILL); the record stays."""
        if self.is_running:
            identity.send(self._leaders[-1], signal.SIGKILL)
            await self.wait()

    async def _spawn(self, argv: Sequence[str], environment: Mapping[str, str], directory: Path) -> asyncio.subprocess.Process:
        with self.log_file.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
            )

    async def _gone_within(self, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await self.wait()
        except TimeoutError:
            return

    async def _kill_all(self, known: set[Identity]) -> None:
        """SIGKILL what is left, and look again until nothing is: a program may start another while it is ended."""
        deadline = asyncio.get_running_loop().time() + _KILL_PATIENCE_S
        while left := identity.family(self._leaders) | {one for one in known if identity.is_alive(one)}:
            if asyncio.get_running_loop().time() > deadline:
                numbers = ", ".join(str(one.pid) for one in sorted(left, key=lambda one: one.pid))
                raise errors.SetupError(f"{self.name} does not end, even by SIGKILL: look at the processes {numbers}")
            for one in left:
                identity.send(one, signal.SIGKILL)
            await asyncio.sleep(_LOOK_EVERY_S)
        await self.wait()

    async def _epitaph(self) -> str:
        code = None if self._child is None else await self._child.wait()
        ended = "ended" if code is None else f"ended with exit code {code}"
        return f"{self.name} {ended} before it was ready: {self._last_words()}"

    def _last_words(self) -> str:
        return f"{files.last_line(self.log_file) or 'it said nothing'} (log: {self.log_file})"

    def _remember(self) -> None:
        # Of the earlier ones only those are kept that left something behind.
        self._leaders = [one for one in self._leaders if identity.family([one])]
        record = {"boot": identity.boot_id(), "leaders": [asdict(one) for one in self._leaders]}
        files.write_private(self._record, json.dumps(record))

    def _recorded(self) -> list[Identity]:
        match files.read_json(self._record):
            case {"boot": str(boot), "leaders": [*leaders]} if boot == identity.boot_id():
                return [Identity(int(one["pid"]), int(one["started_ticks"])) for one in leaders]
            case _:
                return []
