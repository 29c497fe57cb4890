"""Take every event of every task from RabbitMQ, in order, and print it. Stop it, kill it, start it again: none is missed.

    python consumer.py amqp://user:password@broker.example.org/ seen.txt

Needs aio-pika. In seen.txt is the sequence of the last event that was processed. Kept where your results are, in one
transaction with them, it makes sure that each event counts exactly once, even if this is killed in between.
"""

import asyncio
import sys
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractIncomingMessage


def process(message: AbstractIncomingMessage) -> None:
    """Yours: `headers` has the attributes of the CloudEvent, `body` its data as JSON."""
    said = [str(message.headers[f"cloudEvents_{name}"]) for name in ("sequence", "type", "subject")]
    print(*said, message.body.decode(), flush=True)


def process_once(message: AbstractIncomingMessage, seen: Path) -> None:
    """Whatever is not after the last one is a copy."""
    sequence = str(message.headers["cloudEvents_sequence"])
    if not seen.exists() or sequence > seen.read_text():
        process(message)
        new = seen.with_suffix(".new")
        new.write_text(sequence)
        new.replace(seen)


async def consume(url: str, seen: Path) -> None:
    """Until the connection is gone."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        exchange = await channel.declare_exchange("tespes.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("my-consumer", durable=True)  # yours alone: it keeps what comes while you are away
        await queue.bind(exchange, "task.#")
        async with queue.iterator() as messages:
            async for message in messages:
                process_once(message, seen)
                await message.ack()


async def main() -> None:
    """Whatever ends the connection: begin again."""
    while True:
        try:
            await consume(sys.argv[1], Path(sys.argv[2]))
        except (aio_pika.exceptions.AMQPError, OSError) as error:
            print(f"RabbitMQ is away: {error}", file=sys.stderr)
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
