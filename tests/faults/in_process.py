"""A whole TESPES in this very process that can be crashed: cut off from everything at once, and left behind.

It is what `app.service` builds. Everything it has to do with the world goes through ways of its own; a crash shuts them
first, so that whatever it still does while it ends reaches nobody. (SQLite is no server: what was being written when it
crashed is written, as if the crash had come a moment later.)
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from simulated import Way
from tespes import app, errors
from tespes.settings import Settings

START_WITHIN_S = 30.0
TRIES = 20
TRY_EVERY_S = 0.3
END_WITHIN_S = 60.0
ENDS = 4


@dataclass
class Life:
    """One TESPES from its start to its crash.

    :param http: clients' and runners' way to it; :param amqp: its way to RabbitMQ; :param database: to MongoDB, if it uses one
    """

    http: Way
    amqp: Way
    database: Way | None
    task: asyncio.Task[None]

    def ways(self) -> list[Way]:
        """All of them."""
        return [way for way in (self.http, self.amqp, self.database) if way is not None]


@dataclass
class Crashable:
    """One TESPES, life after life.

    :param broker_url: of the RabbitMQ; :param front: the address that stays the same: where clients and runners find all
        TESPES that are alive; :param mongodb_port: of a MongoDB, or None for SQLite in the state directory
    :param settings: everything else that is set
    """

    state_dir: Path
    broker_url: str
    front: Way
    mongodb_port: int | None
    settings: dict[str, Any]
    life: Life | None = None
    left_behind: list[asyncio.Task[None]] = field(default_factory=list)
    all_ways: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start it, again and again if need be, as whatever looks after services does; it answers when this returns."""
        for _ in range(TRIES):
            try:
                await self._start()
            except errors.SetupError as error:  # its database is away
                said = error
                await asyncio.sleep(TRY_EVERY_S)
            else:
                return
        raise said

    async def _start(self) -> None:
        http, amqp = Way(), Way(urlsplit(self.broker_url).port or 0)
        database = Way(self.mongodb_port) if self.mongodb_port else None
        for way in (http, amqp, database):
            if way is not None:
                await self.all_ways.enter_async_context(way)
        ready = asyncio.Event()
        self.life = life = Life(http, amqp, database, asyncio.create_task(self._live(http, amqp, database, ready)))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({waiting, life.task}, timeout=START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if life.task.done():
            await life.task  # says why
        self.front.targets.append(http.port)

    async def crash(self) -> None:
        """End it in the middle of whatever it does."""
        life, self.life = self.life, None
        if life is None:
            return
        if life.http.port in self.front.targets:
            self.front.targets.remove(life.http.port)
        for way in life.ways():
            way.shut()
        life.task.cancel()
        if self.mongodb_port:
            self.left_behind.append(life.task)
        else:  # its files are locked until it is gone
            await _end([life.task])

    async def is_well(self) -> None:
        """Nobody but a crash may end it.

        :raises AssertionError: it ended by itself
        """
        if self.life is not None and self.life.task.done():
            try:
                await self.life.task
            except BaseException as error:
                raise AssertionError("TESPES ended by itself") from error
            raise AssertionError("TESPES ended by itself, without a word")

    async def bury(self) -> None:
        """Nothing of it is left."""
        await self.crash()
        await _end(self.left_behind)
        await self.all_ways.aclose()

    async def _live(self, http: Way, amqp: Way, database: Way | None, ready: asyncio.Event) -> None:
        parts = urlsplit(self.broker_url)
        broker_url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{amqp.port}").geturl()
        values: dict[str, Any] = {"state_dir": self.state_dir, "rabbitmq": {"url": broker_url}, **self.settings}
        if database is not None:
            uri = f"mongodb://127.0.0.1:{database.port}/?directConnection=true"
            values["store"] = {"mongodb_uri": uri, **values.get("store", {})}
        async with app.service(Settings.model_validate(values)) as running:
            http.targets.append(urlsplit(running.url).port or 0)
            ready.set()
            await asyncio.Event().wait()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """They are over, in whatever way: what they raise when everything is cut off is of no interest."""
    if not tasks:
        return
    pending = set(tasks)
    for _ in range(ENDS):
        _, pending = await asyncio.wait(pending, timeout=END_WITHIN_S / ENDS)
        if not pending:
            break
        for task in pending:
            task.cancel()
    assert not pending, f"does not end: {pending}"
    await asyncio.gather(*tasks, return_exceptions=True)
