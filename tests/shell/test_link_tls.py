"""The link to a Pulsar whose broker speaks TLS only: who it trusts, and who is trusted there."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from simulated import Way
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import Site, amqp
from tespes.pulsar.site import Tls

pytestmark = pytest.mark.servers

AUTHORITY = trustme.CA()
HOST = "localhost"


@asynccontextmanager
async def linked(node: PrivateRabbitMQ, tls: Tls | None, *, asks_for_certificate: bool = False) -> AsyncIterator[amqp.Link]:
    """A link to that RabbitMQ through TLS, which runs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(HOST).configure_cert(context)
    if asks_for_certificate:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    parts = urlsplit(node.url)
    async with Way(parts.port or 0, tls=context) as way:
        url = f"amqps://{parts.username}:{parts.password}@{HOST}:{way.port}{parts.path}"
        site = Site("secure", url, "secure", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1", tls=tls)
        link = amqp.Link(site, handle)
        running = asyncio.ensure_future(link.run())
        try:
            yield link
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def handle(_: str, __: bytes) -> str | None:
    """Nothing is said here."""


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """The certificate of who signed the broker's."""
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return str(path)


async def test_a_broker_of_an_authority_that_is_named_is_talked_to(rabbitmq: PrivateRabbitMQ, authority: str) -> None:
    """`tls.ca` names who is trusted."""
    async with linked(rabbitmq, Tls(authority)) as link:
        async with asyncio.timeout(15):
            await link.up.wait()
        await link.submit("task-1", "true")


async def test_a_broker_that_nobody_vouches_for_gets_no_password(
    rabbitmq: PrivateRabbitMQ, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `tls`, the system's authorities count: those of the tests are none. The log says what is wrong."""
    said = ""
    async with linked(rabbitmq, None) as link, asyncio.timeout(15):
        while "certificate verify failed" not in said:
            await asyncio.sleep(0.05)
            said += capsys.readouterr().out
        assert not link.up.is_set()


async def test_a_broker_that_asks_for_a_certificate_gets_it(rabbitmq: PrivateRabbitMQ, authority: str, tmp_path: Path) -> None:
    """`tls.certificate` and `tls.key`; whoever comes without is not let in."""
    own, key = tmp_path / "own.pem", tmp_path / "key.pem"
    mine = AUTHORITY.issue_cert("tespes.example.org")
    mine.cert_chain_pems[0].write_to_path(str(own))
    mine.private_key_pem.write_to_path(str(key))
    async with linked(rabbitmq, Tls(authority, str(own), str(key)), asks_for_certificate=True) as link:
        async with asyncio.timeout(15):
            await link.up.wait()
    async with linked(rabbitmq, Tls(authority), asks_for_certificate=True) as link:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await link.up.wait()
