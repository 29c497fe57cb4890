"""Worlds for tests of single faults, and what is cleaned up after crashes."""

import gc
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from faults import wall_clock
from faults.world import World
from stores import MongoDB, Place
from tespes.local.rabbitmq import PrivateRabbitMQ


@pytest.fixture
def after_crashes() -> Iterator[None]:
    """What crashed was not tidied up: that is collected here, and the broker's library does not complain of it."""
    complains = logging.getLogger("aiormq")
    before = complains.level
    complains.setLevel(logging.CRITICAL)
    yield
    gc.collect()
    complains.setLevel(before)


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, after_crashes: None, rabbitmq: PrivateRabbitMQ, place: Place
) -> AsyncIterator[World]:
    """A world on the store of the test, without any Pulsar yet."""
    mongodb: MongoDB | None = request.getfixturevalue("mongodb") if place.options.mongodb_uri else None
    port = urlsplit(mongodb.uri).port if mongodb else None
    with wall_clock.replaced():
        async with World(place, rabbitmq.url, port) as built:
            yield built
