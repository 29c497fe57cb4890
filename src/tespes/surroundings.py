"""What a TESPES finds around it, or makes there: its RabbitMQ, its key, its limits."""

import hashlib
import resource
import secrets
from collections.abc import Iterable
from contextlib import AsyncExitStack

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tespes import errors
from tespes.events import seal
from tespes.local import files
from tespes.local.rabbitmq import PrivateRabbitMQ, listens
from tespes.pulsar import Site, broker
from tespes.settings import Settings
from tespes.store import Agreements

USUAL_URL = "amqp://guest:guest@127.0.0.1:5672/"
_RUNNER_KEY = "runner.key"
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


def described(sites: Iterable[Site]) -> str:
    """The Pulsars, for people."""
    named = [f"{site.name} ({site.offer}, {site.runtime_kind})" for site in sites]
    if not named:
        return "Pulsar: no Pulsar is configured, so tasks will wait: name one under [default.pulsars] in the settings"
    return f"Pulsar: {', '.join(named)}"


def warn_of_own_address(sites: Iterable[Site], own_url: str, *, is_shared: bool) -> None:
    """A store that several processes can share, and runners that are told to call one of them, with nobody in its place."""
    called = [site.name for site in sites if site.callback_url == own_url]
    if is_shared and called:
        said = "runners call this process alone: if others share its database, set http.public_url or callback_url of these"
        _log.warning(said, pulsars=called, address=own_url)


async def agreed_key(settings: Settings, agreements: Agreements | None) -> bytes:
    """What tokens are derived from, the same in all processes of the database.

    :raises errors.SetupError: it cannot be had, or others have another
    """
    key = _runner_key(settings)
    await _agree(_RUNNER_KEY, hashlib.sha256(b"tespes runner key " + key).hexdigest(), agreements)
    return key


async def agreed_audit_key(settings: Settings, agreements: Agreements | None) -> Ed25519PrivateKey:
    """What the log is sealed with, the same in all processes of the database; raises as `agreed_key` does."""
    key = seal.key(settings.audit.key.get_secret_value().encode() if settings.audit.key else _runner_key(settings))
    await _agree("audit.key", seal.public(key), agreements)
    return key


def public_audit_key(settings: Settings) -> str | None:
    """What the seals of a TESPES with these settings are checked with, hexadecimal; None if it never ran."""
    named, path = settings.audit.key or settings.runner.key, settings.state_dir / _RUNNER_KEY
    if named is not None:
        return seal.public(seal.key(named.get_secret_value().encode()))
    return seal.public(seal.key(path.read_bytes())) if path.is_file() else None


async def _agree(name: str, print_of_it: str, agreements: Agreements | None) -> None:
    if agreements is not None and await agreements.agree(name, print_of_it) != print_of_it:
        raise errors.SetupError(
            f"{name} is not the one that this database was first used with: give all processes the same; to change it"
            f" for all, remove the document {name} from the collection agreed"
        )


def _runner_key(settings: Settings) -> bytes:
    """Set, or made once and kept in the state directory."""
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode()
    path = settings.state_dir / _RUNNER_KEY
    try:
        if not path.exists():
            files.make_private_directory(settings.state_dir)
            files.write_once(path, secrets.token_hex(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise errors.SetupError(f"the state directory {settings.state_dir} cannot be used: {error}") from error
    if len(key) < _KEY_BYTES:
        raise errors.SetupError(f"{path} is damaged: remove it; the attempts that run now will be turned away")
    return key
