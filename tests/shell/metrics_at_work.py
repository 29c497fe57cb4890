"""A whole TESPES in this process, and what its `/metrics` says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

import scraped
from scraped import Scraped
from stores import Place
from tespes import app
from tespes.settings import Settings
from tespes.store import Store

WITHIN_S = 20.0
TASK = {"executors": [{"image": "any", "command": ["true"]}]}
WHOLE = {
    "pulsars": {"a": {"slots": 1, "runtime": {"kind": "sandbox"}}},
    "webhooks": {"portal": {"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "A" * 43 + "="}},
}


@dataclass
class Watched:
    """A TESPES that runs.

    :param url: where it listens; :param metrics_url: where its metrics are
    """

    url: str
    metrics_url: str
    store: Store
    http: aiohttp.ClientSession

    async def scrape(self, accept: str = "") -> Scraped:
        """What it says now."""
        async with self.http.get(f"{self.metrics_url}/metrics", headers={"Accept": accept} if accept else {}) as answer:
            assert answer.status == 200, await answer.text()
            return scraped.read(await answer.text(), openmetrics=accept == scraped.OPENMETRICS)

    async def until(self, true: Callable[[Scraped], Any]) -> Scraped:
        """What it says once all that is asked for is there, and that is true of it."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                seen = await self.scrape()
                with contextlib.suppress(LookupError):
                    if true(seen):
                        return seen
                await asyncio.sleep(0.1)

    async def post(self, path: str = "/v1/tasks", body: Any = TASK) -> Any:
        """What it answers."""
        async with self.http.post(f"{self.url}{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@contextlib.asynccontextmanager
async def metrics_at_work(place: Place, broker_url: str, **settings: Any) -> AsyncIterator[Watched]:
    """TESPES on that store, with these settings."""
    values: dict[str, Any] = {
        "state_dir": place.state_dir,
        "http": {"port": 0},
        "rabbitmq": {"url": broker_url},
        "lease": {"expires_s": 1},
        "runner": {"key": "the same in all processes of the tests"},
    }
    if place.options.mongodb_uri:
        options = place.options
        values["store"] = {"mongodb_uri": options.mongodb_uri, "mongodb_database": options.mongodb_database}
    async with (
        app.service(Settings.model_validate({**values, **settings})) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as http,
    ):
        yield Watched(running.url, running.url, running.store, http)
