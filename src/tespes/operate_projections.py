"""`tespes projections`: how the read models are, what is in them, making one anew, and whether it is what the events make.

A TESPES that runs is asked, but for `verify`, which reads the store itself: beside a TESPES that runs, or without one.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from tespes import door, errors, logging, settings, store
from tespes.door import Door, Load
from tespes.flow import verify

_LOOK_S = 1.0
_HEADS = ("VIEW", "VERSION", "GENERATION", "POSITION", "BEHIND", "DOCUMENTS", "PARKED", "REBUILD")
_NAMES = ("name", "version", "generation", "position", "lag_commits", "documents", "parked", "rebuild")


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the commands; see `door.adder`."""
    command = door.adder(shared, load)
    group = door.group(commands, "projections", "the views that are made from the log")
    command(group, "list", _list, "each one's position, documents and rebuild")
    show = command(group, "show", _show, "a task's document, the newest documents, or totals")
    show.add_argument("name")
    show.add_argument("id", nargs="?", help="of a task; without it: the newest documents")
    show.add_argument("--by", help="totals by a column, such as owner, day or pulsar, or by tag:KEY")
    show.add_argument("--since", help="only of tasks created on that day or later: YYYY-MM-DD")
    show.add_argument("--until", help="only of tasks created on that day or before")
    command(group, "rebuild", _rebuild, "make a view anew from the log, beside the old one, and wait for it").add_argument(
        "name"
    )
    checked = group.add_parser("verify", parents=[shared], help="compare every document with the task's events")
    checked.add_argument("name")
    checked.set_defaults(command=_verifying(load))


async def _list(doors: Door, _: argparse.Namespace) -> None:
    found = await doors.get("projections")
    shown = [each | {"rebuild": _said(each)} for each in found["projections"]]
    door.table(_HEADS, [[door.plain(str(each[name])) for name in _NAMES] for each in shown])


async def _show(doors: Door, given: argparse.Namespace) -> None:
    if given.id:
        found = await doors.get(f"{_at(given)}/documents/{quote(given.id, safe='')}")
        for line in orjson.dumps(found, option=orjson.OPT_INDENT_2).decode().splitlines():
            door.say(line)
    elif given.by or given.since or given.until:
        asked = {name: getattr(given, name) for name in ("by", "since", "until") if getattr(given, name)}
        _totals(await doors.get(f"{_at(given)}/totals?{urlencode(asked)}"))
    else:
        found = (await doors.get(_at(given)))["documents"]
        names = tuple(found[0]) if found else ("id",)
        door.table([name.upper() for name in names], [door.texts(each, names) for each in found])


def _at(given: argparse.Namespace) -> str:
    return f"projections/{quote(given.name, safe='')}"


def _totals(found: dict[str, Any]) -> None:
    names = tuple(found["totals"][0]["sums"]) if found["totals"] else ()
    heads = [found["by"], "tasks", *(f"{name.removesuffix('_ms')}_s" if name.endswith("_ms") else name for name in names)]
    rows = [
        [_of(each), str(each["documents"]), *(_sum(name, each["sums"][name]) for name in names)] for each in found["totals"]
    ]
    door.table([head.upper() for head in heads], rows)


def _of(total: dict[str, Any]) -> str:
    return "-" if total["of"] is None else door.plain(str(total["of"]))


def _sum(name: str, value: int) -> str:
    return f"{value / 1000:.3f}" if name.endswith("_ms") else str(value)


async def _rebuild(doors: Door, given: argparse.Namespace) -> None:
    """Whoever stops waiting does not stop it."""
    wanted = (await doors.post(f"{_at(given)}/rebuild", {}))["newest"]
    door.complain(f"{given.name} is made anew from the log, as generation {wanted}")
    while True:
        (found,) = [each for each in (await doors.get("projections"))["projections"] if each["name"] == given.name]
        if found["building"] is None:
            break
        await asyncio.sleep(_LOOK_S)
    if found["generation"] < wanted:
        raise errors.SetupError(f"{given.name} stays as it was: {found['outcome']}")
    door.say(f"{given.name}: {found['outcome']}")


def _said(each: dict[str, Any]) -> str:
    return each["outcome"] or "" if each["building"] is None else f"at position {each['building']}"


def _verifying(load: Load) -> Callable[[argparse.Namespace], Awaitable[int]]:
    async def command(given: argparse.Namespace) -> int:
        chosen = load(given)
        logging.configure(chosen.log.format, "warning")
        models = {model.name: model for model in settings.read_models(chosen)}
        if given.name not in models:
            raise errors.SetupError(f"there is no view {given.name}; there are: {', '.join(models)}")
        async with AsyncExitStack() as stack:
            opened = await store.open_store(settings.store_options(chosen), chosen.state_dir, stack, writable=False)
            found = await verify.verify(opened.log, opened.documents, models[given.name])
        for each in found.named:
            door.say(f"{each.task_id} {each.what}")
        door.say(f"{given.name}: {found.documents} documents up to position {found.position}, {found.different} different")
        return 1 if found.different else 0

    return command
