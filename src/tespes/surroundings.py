"""What a TESPES finds around it, or makes there: its RabbitMQ, its key, its limits."""

import asyncio
import contextlib
import hashlib
import resource
import secrets
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tespes import errors
from tespes.events import seal
from tespes.local import files
from tespes.local.rabbitmq import PrivateRabbitMQ, listens
from tespes.pulsar import Site, broker, probe, topology
from tespes.settings import Settings
from tespes.store import Agreements

USUAL_URL = "amqp://guest:guest@127.0.0.1:5672/"
RUNNER_KEY = "runner.key"
USUAL = ("127.0.0.1", 5672)
_KEY_BYTES = 32
_DESCRIPTORS = 65_536
_LOOK_S = 5.0
_VERSION_S = 2.0  # a Pulsar that is at work with a message answers later: then nobody knows

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
    if await listens(*USUAL):
        await broker.check(USUAL_URL)
        return USUAL_URL, f"RabbitMQ at {broker.shown(USUAL_URL)}"
    _log.info("starting a private RabbitMQ", directory=str(settings.state_dir / "rabbitmq"))
    node = await stack.enter_async_context(PrivateRabbitMQ(settings.state_dir / "rabbitmq"))
    return node.url, f"a private RabbitMQ at {broker.shown(node.url)}, log in {settings.state_dir / 'rabbitmq'}"


async def check_pulsars(sites: Collection[Site]) -> None:
    """Find out before anything starts what would never work with these Pulsars. Who is away for the moment is awaited.

    A broker that refuses what TESPES needs is awaited, too, as long as another Pulsar can be used.

    :raises errors.SetupError: every Pulsar's broker refuses, or a Pulsar is too old
    """
    refused = [said for said in await asyncio.gather(*map(_refused, sites)) if said is not None]
    if refused and len(refused) == len(sites):
        raise errors.SetupError(refused[0])
    for said in refused:
        _log.error("a Pulsar cannot be used until that is mended", reason=said)


async def _refused(site: Site) -> str | None:
    """What its broker refuses; raises errors.SetupError for an old one."""
    version = None
    with contextlib.suppress(*broker.AWAY, errors.BrokerUnavailable):
        async with asyncio.timeout(_LOOK_S):
            try:
                connection = await broker.logged_in(site.broker_url, site.tls, f"pulsars.{site.name}.broker_url")
            except errors.SetupError as error:
                return str(error)
            async with connection:
                for thing in topology.of_site(site):
                    if said := await topology.refusal(connection, thing):
                        return f"pulsars.{site.name}: {said}"
                async with probe.look_at(site, connection) as looked:
                    version = await looked.version(_VERSION_S) if await looked.is_there() else None
    if version and probe.is_old(version):
        raise errors.SetupError(f"pulsars.{site.name}: {probe.too_old(version)}")
    return None


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
    await _agree(RUNNER_KEY, key_print(key), set(map(key_print, former_keys(settings))), agreements)
    return key


def former_keys(settings: Settings) -> tuple[bytes, ...]:
    """What tokens were derived from before: attempts that were sent then go on."""
    return tuple(key.get_secret_value().encode() for key in settings.runner.old_keys)


def key_print(key: bytes) -> str:
    """What a database keeps of the runners' key: by it a process with another one is known, and nothing else can be done."""
    return hashlib.sha256(b"tespes runner key " + key).hexdigest()


async def agreed_audit_key(settings: Settings, agreements: Agreements | None) -> Ed25519PrivateKey:
    """What the log is sealed with, the same in all processes of the database; raises as `agreed_key` does."""
    key = seal.key(settings.audit.key.get_secret_value().encode() if settings.audit.key else _runner_key(settings))
    await _agree("audit.key", seal.public(key), _former_audit_keys(settings), agreements)
    return key


def public_audit_key(settings: Settings) -> str | None:
    """What the seals of a TESPES with these settings are checked with, hexadecimal; None if it never ran.

    :raises errors.SetupError: the key cannot be read, or is damaged
    """
    key = settings.audit.key.get_secret_value().encode() if settings.audit.key else kept_key(settings)
    return seal.public(seal.key(key)) if key is not None else None


def audit_keys(settings: Settings) -> frozenset[str]:
    """What all seals of a TESPES with these settings are checked with, hexadecimal, also those of before a key was changed.

    :raises errors.SetupError: see `public_audit_key`
    """
    own = public_audit_key(settings)
    return _former_audit_keys(settings) | {own} if own else frozenset()


def _former_audit_keys(settings: Settings) -> frozenset[str]:
    made_of_runners = former_keys(settings) if settings.audit.key is None else ()
    return frozenset(settings.audit.old_keys).union(seal.public(seal.key(key)) for key in made_of_runners)


async def _agree(name: str, print_of_it: str, former: Collection[str], agreements: Agreements | None) -> None:
    """:param former: what it may have been: from now on it is the new one"""
    if agreements is None:
        return
    found = await agreements.agree(name, print_of_it)
    if found in former:
        await agreements.replace(name, found, print_of_it)
        found = await agreements.agree(name, print_of_it)
    if found != print_of_it:
        raise errors.SetupError(
            f"{name} is not the one that this database was last used with: give all processes the same; to change it for all,"
            f" stop them, and name the old one in {name.partition('.')[0]}.old_keys"
        )


def _runner_key(settings: Settings) -> bytes:
    """Set, or made once and kept in the state directory."""
    key = kept_key(settings)
    if key is None:
        try:
            files.make_private_directory(settings.state_dir)
            files.write_once(settings.state_dir / RUNNER_KEY, secrets.token_hex(_KEY_BYTES))
        except OSError as error:
            raise errors.SetupError(f"the state directory {settings.state_dir} cannot be used: {error}") from error
        key = kept_key(settings)
    if key is None:
        raise errors.SetupError(f"{settings.state_dir / RUNNER_KEY} was removed as soon as it was made: see who does that")
    return key


def kept_key(settings: Settings) -> bytes | None:
    """What tokens are derived from: set, or kept in the state directory; None if it is not made yet.

    :raises errors.SetupError: it cannot be read, or is damaged
    """
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode()
    path = settings.state_dir / RUNNER_KEY
    try:
        key = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.SetupError(f"the state directory {settings.state_dir} cannot be used: {error}") from error
    if len(key) < _KEY_BYTES:
        raise errors.SetupError(f"{path} is damaged: remove it; the attempts that run now will be turned away")
    return key
