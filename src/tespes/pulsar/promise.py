"""What flow needs of a way to a Pulsar. One implementation keeps it: `amqp`, over RabbitMQ.

A Pulsar that speaks REST only would be another: `submit`, `kill` and `ask` become requests to it, and the answers of `ask`,
which it repeats on its own for every job that it has submitted, go to the same handler as bodies of the queue
`status_update`, written by `wire` (`{"job_id": ..., "status": ..., "job_stdout": ...}`). A submit that was answered is its
own receipt. Nobody acknowledges anything to it, `up` is whether it answered last, and `trouble` says why it does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tespes.pulsar import wire
from tespes.pulsar.site import Site

Handler = Callable[[str, bytes], Awaitable[str | None]]
"""Called with the queue's plain name and the body of each message from Pulsar. None means that it is done with; a text is
why nobody can do anything with it. What it raises is a fault of ours: it is called again, a few times."""


@dataclass(frozen=True, slots=True)
class Queue:
    """How many messages wait in a queue, and how many read it."""

    messages: int
    consumers: int


class Link(Protocol):
    """What TESPES says to, and hears from, one Pulsar.

    `up` is set while it can be talked to; `connected` is called each time it can be again. `queues` is how the queues
    between the two were when they were looked at last, by their plain names; nothing while they cannot be seen.
    """

    site: Site
    up: asyncio.Event
    connected: Callable[[], None]
    queues: Mapping[str, Queue]

    @property
    def trouble(self) -> str | None:
        """Why nobody there heeds what is sent, as far as that can be seen from here; None if all is well or unknown."""

    @property
    def unheard(self) -> str | None:
        """Why nobody of TESPES hears what it says, as far as that can be seen from here; None if somebody does."""

    async def run(self) -> None:
        """Keep it up until cancelled; what was being handled then is finished."""

    async def submit(self, job_id: str, command_line: str, submit_params: Mapping[str, str] | None = None) -> None:
        """Send a job. It is safely on its way when this returns; a job that is there already is not started again.

        :param submit_params: what the site's batch system is told of it
        :raises errors.BrokerUnavailable: nobody knows whether it is
        """

    async def kill(self, job_id: str) -> None:
        """Send a kill; raises as `submit` does."""

    async def ask(self, job_id: str) -> None:
        """Ask for the status, which comes to the handler; raises as `submit` does."""

    async def acknowledge(self, wanted: wire.Acknowledge) -> None:
        """Tell a Pulsar that wants to know that its message arrived; raises as `submit` does."""
