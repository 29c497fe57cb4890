"""Each Pulsar: its queues, who reads them, which version it is, and what a small job finds at its nodes."""

import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from tespes.doctor import job
from tespes.doctor.finding import Check, Finding, Level, ok, problem, warning
from tespes.doctor.given import Given
from tespes.pulsar import Queue, Site, broker, probe, topology, wire

_ANSWER_S: Final = 10.0
_LOOK_S: Final = 40.0
_MANY: Final = 1000


def check(given: Given, site: Site, connection: AbstractConnection) -> Check:
    """All of one.

    :param connection: to its RabbitMQ
    """
    return Check(f"pulsar {site.name}", partial(_look, given, site, connection), _LOOK_S + (given.job_s or 0))


async def _look(given: Given, site: Site, connection: AbstractConnection) -> AsyncIterator[Finding]:
    """As far as it makes sense: what is not there is not asked."""
    about = f"queues of {site.name}"
    refusals = [said for thing in topology.of_site(site) if (said := await topology.refusal(connection, thing))]
    for said in refusals:
        yield problem(about, said)
    if refusals:
        return
    found = await _queues(site, connection)
    is_read = True
    for finding in _judged(site, found):
        is_read = is_read and finding.level is not Level.PROBLEM
        yield finding
    if is_read:
        try:
            async for finding in _asked(given, site, connection):
                yield finding
        except ChannelAccessRefused as error:
            yield problem(about, f"RabbitMQ lets TESPES make them and not use them ({error}): {topology.MAY_NOT}")


async def _queues(site: Site, connection: AbstractConnection) -> Mapping[str, Queue]:
    """How full each is, and how many read it; by their plain names."""
    found = {}
    with broker.talking():
        async with connection.channel() as channel:
            for name in (*wire.COMMANDS, *wire.ANSWERS):
                seen = (await channel.declare_queue(_named(site, name), passive=True)).declaration_result
                found[name] = Queue(seen.message_count or 0, seen.consumer_count or 0)
    return found


def _named(site: Site, name: str) -> str:
    return wire.queue(wire.prefix(site.manager, site.key_prefix), name)


def _judged(site: Site, found: Mapping[str, Queue]) -> list[Finding]:
    unread = [_named(site, name) for name in wire.COMMANDS if not found[name].consumers]
    if unread:
        said = "Pulsar is down, or a message there killed its consumer: start it; if it runs, purge the queue and restart it"
        return [problem(f"pulsar {site.name}", f"nobody reads {', '.join(unread)}: {said}")]
    about, judged = f"queues of {site.name}", list[Finding]()
    if found["setup"].consumers > 1:
        said = "two Pulsars take each other's jobs: give one of them another vhost, manager or key_prefix"
        judged.append(warning(about, f"{found['setup'].consumers} read {_named(site, 'setup')}: {said}"))
    for name, each in found.items():
        if each.messages > _MANY:
            judged.append(warning(about, f"{each.messages:,} messages wait in {_named(site, name)}: see who reads it"))
    heard = found["status_update"]
    said = "which TESPES reads" if heard.consumers else "until a TESPES with the role listen runs"
    waiting = f"{heard.messages:,} messages wait in {_named(site, 'status_update')}"
    return [*judged, ok(about, f"all there; {waiting}, {said}")]


async def _asked(given: Given, site: Site, connection: AbstractConnection) -> AsyncIterator[Finding]:
    about = f"pulsar {site.name}"
    async with probe.look_at(site, connection) as looked:
        begun = time.monotonic()
        version = await looked.version(_ANSWER_S)
        took_s = time.monotonic() - begun
        if version is None:
            yield problem(about, f"takes messages and does not answer within {_ANSWER_S:g} s: see Pulsar's log, restart it")
        elif probe.is_old(version):
            yield problem(about, probe.too_old(version))
        else:
            yield ok(about, f"Pulsar {version} answers within {took_s:.3f} s")
            if given.job_s is not None:
                async for finding in job.look(site, looked, given.key, given.job_s):
                    yield finding
