"""A RabbitMQ: logging in, finding out beforehand whether that works, and how it is named for people."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError, AuthenticationError, ProbableAuthenticationError

from tespes import errors
from tespes.pulsar import lenient
from tespes.pulsar.site import Tls

AWAY = (AMQPError, OSError, TimeoutError, RuntimeError)  # what talking to a broker that is away, or goes away, raises
_CONNECT_S = 10.0
_NO_VHOST = "Connection.OpenOk"  # the library does not say why it did not get that; before, the login was accepted


async def connect(url: str, tls: Tls | None = None) -> AbstractConnection:
    """A connection; whoever asks closes it.

    :param tls: for an amqps URL; None is the system's certificates
    """
    lenient.read_any_properties()
    if tls is None:
        return await aio_pika.connect(url, timeout=_CONNECT_S)
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key)
    return await aio_pika.connect(url, timeout=_CONNECT_S, ssl_context=context)


@contextlib.contextmanager
def talking() -> Iterator[None]:
    """Around what is said over a connection: the library takes cancellations for its own affair, and its own for ours.

    Whoever waits for an answer when the connection breaks is cancelled, as if somebody wanted that, or gets a bare
    `Exception` without a word. And who is cancelled while it breaks may not hear of that at all.

    :raises ConnectionError: it broke
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > before:
            raise
        raise ConnectionError("the connection broke") from error
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        if type(error) is not Exception:
            raise
        raise ConnectionError(f"the connection broke: {error}") from error
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def logged_in(url: str, tls: Tls | None = None, setting: str = "rabbitmq.url") -> AbstractConnection:
    """As `connect`, with whatever is wrong in words.

    :param setting: which names the URL
    :raises errors.SetupError: the broker refuses the login or the vhost
    :raises errors.BrokerUnavailable: nobody answers
    """
    try:
        with talking():
            return await connect(url, tls)
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise errors.SetupError(f"RabbitMQ at {shown(url)} refuses the login: mend user and password in {setting}") from error
    except ssl.SSLCertVerificationError as error:
        raise errors.SetupError(
            f"RabbitMQ at {shown(url)} shows a certificate that is not trusted: {error.verify_message}"
        ) from error
    except ValueError as error:
        raise errors.SetupError(f"{setting} cannot be read: write / and # in user or password as %2F and %23") from error
    except AWAY as error:
        if "NOT_ALLOWED" in str(error) or _NO_VHOST in str(error):
            raise errors.SetupError(
                f"RabbitMQ at {shown(url)} refuses the vhost: make it, let this user in, or mend {setting}"
            ) from error
        why = str(error) or "it takes connections and says nothing"
        raise errors.BrokerUnavailable(f"RabbitMQ does not answer at {shown(url)}: {why}") from error


async def check(url: str) -> None:
    """Log in once, to find out before anything starts; raises as `logged_in` does."""
    connection = await logged_in(url)
    with contextlib.suppress(AMQPError, OSError):
        await connection.close()


def shown(url: str) -> str:
    """A broker's address for people: without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}{parts.path}"
