"""Signs of life where one process hears them all: in its memory. After a restart, everybody has to be heard anew."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from tespes.store.shared import Sign

_JOBS: Final = 5_000  # more are well known without: who asks is in the same process, and heard each sign at once


class Signs:
    """See shared.Signs. Of very many jobs, those that were not heard of for the longest time are forgotten.

    :param jobs: how many are remembered
    """

    def __init__(self, jobs: int = _JOBS) -> None:
        self._jobs = jobs
        self._signs: OrderedDict[str, Sign] = OrderedDict()

    async def add(self, signs: Mapping[str, Sign]) -> None:
        """See shared.Signs.add."""
        for job_id, sign in signs.items():
            known = self._signs.pop(job_id, Sign())
            self._signs[job_id] = Sign(
                known.runner + sign.runner, known.pulsar + sign.pulsar, sign.status or known.status, sign.told or known.told
            )
        while len(self._signs) > self._jobs:
            self._signs.popitem(last=False)

    async def get(self, job_ids: Sequence[str]) -> dict[str, Sign]:
        """See shared.Signs.get."""
        return {job_id: self._signs[job_id] for job_id in job_ids if job_id in self._signs}
