"""The operators' commands: `tespes pulsars`, `dead`, `parked`, `webhooks`.

They ask a TESPES that runs, with a token made of its key.
"""

import argparse
from typing import Any

from tespes import door
from tespes.door import Door, Load


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the commands.

    :param load: the settings that the arguments name
    """
    command = door.adder(shared, load)
    pulsars = door.group(commands, "pulsars", "the Pulsars: who is there, and who gets tasks")
    command(pulsars, "list", _list_pulsars, "each Pulsar's state, and what of it is taken")
    drain = command(pulsars, "drain", _drain, "send a Pulsar no further attempt; those that are there go on")
    drain.add_argument("name")
    drain.add_argument("--reason", help="shown where tasks wait")
    command(pulsars, "enable", _enable, "send a Pulsar attempts again").add_argument("name")
    dead = door.group(commands, "dead", "messages from Pulsars that nobody could do anything with")
    command(dead, "list", _list_dead, "each with its reason")
    command(dead, "show", _show_dead, "what is in one").add_argument("id")
    _add_which(command(dead, "retry", _retry_dead, "put one, or all, back into their queues"), "id")
    parked = door.group(commands, "parked", "tasks whose events could not be folded into a view")
    command(parked, "list", _list_parked, "each with its reason")
    _add_which(command(parked, "retry", _retry_parked, "fold one, or all, anew"), "task")
    webhooks = door.group(commands, "webhooks", "who gets events by HTTP")
    command(webhooks, "list", _list_webhooks, "each one's state, and how far behind it is")
    command(webhooks, "resume", _resume_webhook, "let a parked one have its events again").add_argument("name")


def _add_which(parser: argparse.ArgumentParser, name: str) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(name, nargs="?")
    which.add_argument("--all", action="store_true")


async def _list_pulsars(doors: Door, _: argparse.Namespace) -> None:
    found = await doors.get("pulsars")
    heads = ("PULSAR", "STATE", "TASKS", "CPUS", "RAM GB", "TROUBLE")
    door.table(heads, [_pulsar(each) for each in found["pulsars"]])
    waiting = found["waiting"]
    door.say(f"{waiting} {'task waits' if waiting == 1 else 'tasks wait'} for a place")


async def _drain(doors: Door, given: argparse.Namespace) -> None:
    await doors.post(f"pulsars/{given.name}/drain", {"reason": given.reason} if given.reason else {})
    door.say(f"{given.name} is drained")


async def _enable(doors: Door, given: argparse.Namespace) -> None:
    await doors.post(f"pulsars/{given.name}/enable", {})
    door.say(f"{given.name} is enabled")


async def _list_dead(doors: Door, _: argparse.Namespace) -> None:
    found = await doors.get("dead")
    names = ("id", "at", "pulsar", "queue", "size_bytes", "reason")
    door.table(("ID", "WHEN", "PULSAR", "QUEUE", "BYTES", "REASON"), [door.texts(each, names) for each in found["letters"]])
    for reason in found["away"]:
        door.complain(reason)


async def _show_dead(doors: Door, given: argparse.Namespace) -> None:
    found = await doors.get(f"dead/{given.id}")
    for name, value in found.items():
        door.say(f"{name}: {value}")


async def _retry_dead(doors: Door, given: argparse.Namespace) -> None:
    found = await doors.post("dead/retry", {} if given.all else {"id": given.id})
    door.say(f"{len(found['retried'])} put back into their queues")
    for reason in found["kept"]:
        door.complain(reason)


async def _list_parked(doors: Door, _: argparse.Namespace) -> None:
    found = await doors.get("parked")
    names = ("view", "id", "at", "position", "reason")
    door.table(("VIEW", "TASK", "SINCE", "POSITION", "REASON"), [door.texts(each, names) for each in found["tasks"]])


async def _retry_parked(doors: Door, given: argparse.Namespace) -> None:
    found = await doors.post("parked/retry", {} if given.all else {"task": given.task})
    door.say(f"{len(found['freed'])} not parked any more")


async def _list_webhooks(doors: Door, _: argparse.Namespace) -> None:
    found = await doors.get("webhooks")
    door.table(("WEBHOOK", "STATE", "POSITION", "BEHIND", "URL", "TROUBLE"), [_webhook(each) for each in found["webhooks"]])


async def _resume_webhook(doors: Door, given: argparse.Namespace) -> None:
    await doors.post(f"webhooks/{given.name}/resume", {})
    door.say(f"{given.name} gets its events again")


def _webhook(each: dict[str, Any]) -> list[str]:
    trouble = each["reason"] or each["trouble"] or ""
    return [each["name"], each["state"], str(each["position"]), str(each["lag_commits"]), each["url"], trouble]


def _pulsar(each: dict[str, Any]) -> list[str]:
    state = f"{each['state']} ({each['reason']})" if each["reason"] else each["state"]
    taken = [_taken(each[name]) for name in ("places", "cpus", "ram_gb")]
    return [each["name"], state, *taken, each["trouble"] or ""]


def _taken(of: dict[str, float | None]) -> str:
    used, free = of["used"] or 0, of["free"]
    return f"{used:g}" if free is None else f"{used:g} of {used + free:g}"
