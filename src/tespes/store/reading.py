"""The driver's errors in our words."""

import asyncio
import contextlib
from collections.abc import Iterator

from pymongo.errors import PyMongoError

from tespes import errors


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn the driver's errors into ours, and what it made of a cancellation back into one: an error, or nothing at all."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except PyMongoError as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise errors.StoreUnavailable(f"MongoDB: {error}") from error
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
