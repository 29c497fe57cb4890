"""What the runner's tests share: a TESPES to talk to, and runners that are started as Pulsar starts them."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runner_at_work
import storage_at_work
from runner_at_work import Tespes
from storage_at_work import Storage


@pytest.fixture
async def tespes() -> AsyncIterator[Tespes]:
    """See `tespes_at_work`."""
    async with runner_at_work.tespes_at_work() as server:
        yield server


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    """See `storage_at_work`."""
    async with storage_at_work.storage_at_work() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """See `starting`."""
    with runner_at_work.starting(tmp_path, runner_at_work.bundled(tmp_path)) as starter:
        yield starter
