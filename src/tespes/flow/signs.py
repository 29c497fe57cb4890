"""Signs of life: what this process hears of jobs. Its own dispatcher hears it at once, every other within about a second."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from tespes import errors, store
from tespes.flow.follow import wait
from tespes.store import Sign

_FLUSH_S = 1.0

_log = structlog.get_logger(__name__)


class Signs:
    """What was heard of jobs, here and by other processes.

    :param kept: where all processes keep it; :param last_flush_s: how long telling them may take at the end

    `noted` is called with each sign that is heard here.
    """

    def __init__(self, kept: store.Signs, last_flush_s: float = 2.0) -> None:
        self.noted: Callable[[str, Sign], None] = lambda *_: None
        self._kept = kept
        self._last_flush_s = last_flush_s
        self._unsaid: dict[str, Sign] = {}
        self._urgent = asyncio.Event()

    def runner(self, job_id: str) -> None:
        """The runner is alive."""
        self._note(job_id, Sign(runner=1))

    def told(self, job_id: str) -> None:
        """The runner has heard that it should stop; that it has the time for it must be known before it is killed."""
        self._note(job_id, Sign(runner=1, told=True))
        self._urgent.set()

    def pulsar(self, job_id: str, status: str | None = None) -> None:
        """Pulsar said something of the job: this status, if it was one."""
        self._note(job_id, Sign(pulsar=1, status=status))

    async def get(self, job_ids: Sequence[str]) -> dict[str, Sign]:
        """What all processes have heard of these jobs.

        :raises errors.StoreUnavailable: nobody knows
        """
        return await self._kept.get(job_ids)

    async def run(self) -> None:
        """Tell the others until cancelled, and then once more."""
        try:
            while True:
                await wait(self._urgent, _FLUSH_S)
                self._urgent.clear()
                await self._flush()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._last_flush_s):
                    await self._flush()

    def _note(self, job_id: str, sign: Sign) -> None:
        self._unsaid[job_id] = _sum(self._unsaid.get(job_id, Sign()), sign)
        self.noted(job_id, sign)

    async def _flush(self) -> None:
        if not self._unsaid:
            return
        unsaid, self._unsaid = self._unsaid, {}
        try:
            await self._kept.add(unsaid)
        except errors.Unavailable as error:
            _log.warning("signs of life are told later", jobs=len(unsaid), reason=str(error))
            newer, self._unsaid = self._unsaid, unsaid
            for job_id, sign in newer.items():
                self._unsaid[job_id] = _sum(unsaid.get(job_id, Sign()), sign)


def _sum(one: Sign, more: Sign) -> Sign:
    return Sign(one.runner + more.runner, one.pulsar + more.pulsar, more.status or one.status, more.told or one.told)
