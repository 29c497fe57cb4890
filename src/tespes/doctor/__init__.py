"""`tespes doctor`: whether all that TESPES needs is there and works, a line for each thing, with what to do about it.

    settings      given        what they say, and whether that fits together
    directory     directory    the state directory: whose it is, its version, room on its disk, the key
    database      database     it answers, its version, rights, majority, indexes, its clock, the keys it was first used with
    brokers       brokers      each RabbitMQ: login, version, exchanges, queues, dead letters
      Pulsars     pulsars      who reads its queues, its version
        a job     job, node    which a node runs: its Python, runtime, disk, clock, and whether it reaches TESPES
    storages      storages     each login of the settings is let in, each directory can be used
    receivers     receivers    each webhook, and the collector of traces, is found and trusted
    TESPES        running      what one that runs says of itself; else, whether one could

Nothing is changed: exchanges and queues are declared as TESPES declares them at its start, and what is written to find
out whether it may be is gone at once. A TESPES that runs is not disturbed (see `pulsar.probe`).
"""

import argparse
import json
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from tespes import door, errors, logging, surroundings
from tespes.doctor import brokers, database, directory, receivers, running, storages
from tespes.doctor.finding import Check, Finding, Level, carried_out, problem, worst
from tespes.doctor.given import Given, given
from tespes.doctor.stand_in import in_place_of_tespes
from tespes.door import Load
from tespes.settings import Settings

_WAIT_S: Final = 60.0
_STATUS: Final = {Level.OK: 0, Level.WARNING: 0, Level.PROBLEM: 1}
_COULD_NOT_LOOK: Final = 2


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the command; see `door.adder`."""
    parser = commands.add_parser("doctor", parents=[shared], help="look at everything that TESPES needs, and say what to do")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--quick", action="store_true", help="send no job to Pulsars")
    parser.add_argument("--wait", type=float, default=_WAIT_S, metavar="S", help="for a job's end (default: 60 s)")
    parser.set_defaults(command=partial(_doctor, load))


async def _doctor(load: Load, asked: argparse.Namespace) -> int:
    try:
        settings = load(asked)
    except errors.SetupError as error:
        _tell([problem("settings", str(error))], as_json=asked.json)
        return _COULD_NOT_LOOK
    logging.configure(settings.log.format, "error")
    found = await examine(settings, None if asked.quick else asked.wait)
    _tell(found, as_json=asked.json)
    return _STATUS[worst(found)]


async def examine(settings: Settings, job_s: float | None) -> list[Finding]:
    """All that there is to say.

    :param job_s: how long the small job may take at each Pulsar; None: it is not sent
    """
    key = _key(settings)
    async with in_place_of_tespes(settings, key) as place:
        patient, said = await given(settings, place.url, key, job_s)
        return [*said, *await carried_out(_checks(patient, is_free=place.is_free))]


def _checks(patient: Given, *, is_free: bool) -> Iterator[Check]:
    yield Check(directory.ABOUT, partial(directory.look, patient))
    yield Check(database.ABOUT, partial(database.look, patient))
    yield from brokers.checks(patient)
    yield from storages.checks(patient)
    yield from receivers.checks(patient)
    yield Check(running.ABOUT, partial(running.look, patient.url, is_free))


def _key(settings: Settings) -> bytes:
    """Another one if it is not made yet, or cannot be read: that is told by the check of the state directory."""
    try:
        return surroundings.kept_key(settings) or secrets.token_bytes()
    except errors.SetupError:
        return secrets.token_bytes()


def _tell(found: list[Finding], *, as_json: bool) -> None:
    if as_json:
        door.say(json.dumps({"status": worst(found).value, "findings": [each.document() for each in found]}))
        return
    for finding in found:
        door.say(finding.line())
