"""What a TESPES finds around it, or makes there: its RabbitMQ, its key, its limits."""

import resource
import secrets
from contextlib import AsyncExitStack

import structlog

from tespes import errors
from tespes.local import files
from tespes.local.rabbitmq import PrivateRabbitMQ, listens
from tespes.pulsar import broker
from tespes.settings import Settings

USUAL_URL = "amqp://guest:guest@127.0.0.1:5672/"
_USUAL = ("127.0.0.1", 5672)
_KEY_BYTES = 32
_DESCRIPTORS = 65_536

_log = structlog.get_logger(__name__)


async def rabbitmq(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    """The RabbitMQ of this installation: its URL, and what it is, for people."""
    if settings.rabbitmq.url is not None:
        url = settings.rabbitmq.url.get_secret_value()
        try:
            await broker.check(url)
        except errors.BrokerUnavailable as error:
            _log.warning("RabbitMQ is awaited", reason=str(error))
        return url, f"RabbitMQ at {broker.shown(url)}"
    if await listens(*_USUAL):
        await broker.check(USUAL_URL)
        return USUAL_URL, f"RabbitMQ at {broker.shown(USUAL_URL)}"
    _log.info("starting a private RabbitMQ", directory=str(settings.state_dir / "rabbitmq"))
    node = await stack.enter_async_context(PrivateRabbitMQ(settings.state_dir / "rabbitmq"))
    return node.url, f"a private RabbitMQ at {broker.shown(node.url)}, log in {settings.state_dir / 'rabbitmq'}"


def allow_descriptors() -> None:
    """Each running attempt holds a connection, and the usual 1024 open files are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def runner_key(settings: Settings) -> bytes:
    """What attempts' tokens are derived from: set, or made once and kept in the state directory.

    :raises errors.SetupError: it cannot be
    """
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode()
    path = settings.state_dir / "runner.key"
    try:
        if not path.exists():
            files.make_private_directory(settings.state_dir)
            files.write_private(path, secrets.token_hex(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise errors.SetupError(f"the state directory {settings.state_dir} cannot be used: {error}") from error
    if len(key) < _KEY_BYTES:
        raise errors.SetupError(f"{path} is damaged: remove it; the attempts that run now will be turned away")
    return key
