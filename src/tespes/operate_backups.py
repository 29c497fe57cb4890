"""`tespes backup`: make a backup beside a TESPES that runs or without one, check it, and bring it into an empty store."""

import argparse
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tespes import door, errors, logging, settings, show, store, surroundings
from tespes.door import Load
from tespes.events.chain import Head
from tespes.flow import archive, backup, restore
from tespes.flow.archive import Contents
from tespes.flow.reading import Known
from tespes.flow.seal import HEADS_FILE, heads
from tespes.settings import Settings

_OWNER_ONLY = 0o077  # the log has tasks' environments in it
_Run = Callable[[Settings, argparse.Namespace], Awaitable[int]]


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the commands.

    :param load: the settings that the arguments name
    """
    group = door.group(commands, "backup", "copies of the log that can be brought back")
    for name, run, said in (
        ("make", _make, "write the log there, or what is new of it; TESPES may run meanwhile"),
        ("verify", _verify, "check what is there: chain, seals and texts; no store is asked"),
        ("restore", _restore, "bring what is there into an empty store of either kind"),
    ):
        parser: argparse.ArgumentParser = group.add_parser(name, parents=[shared], help=said)
        parser.add_argument("place", type=Path, help="a directory")
        parser.set_defaults(command=_command(run, load))
        if run is not _make:
            parser.add_argument(
                "--key", action="append", metavar="HEX", help="a public key of seals (default: those of the settings)"
            )


def _command(run: _Run, load: Load) -> Callable[[argparse.Namespace], Awaitable[int]]:
    async def command(given: argparse.Namespace) -> int:
        chosen = load(given)
        logging.configure(chosen.log.format, "warning")
        return await run(chosen, given)

    return command


async def _make(chosen: Settings, given: argparse.Namespace) -> int:
    place: Path = given.place
    async with AsyncExitStack() as stack:
        opened = await store.open_store(settings.store_options(chosen), chosen.state_dir, stack, writable=False)
        made = await backup.make(opened, place, surroundings.public_audit_key(chosen))
    door.say(f"{place}: {made.contents.position} commits, {made.new} of them new, head {made.contents.hash}")
    if chosen.runner.key is None and (chosen.state_dir / "runner.key").is_file():
        door.complain(f"{chosen.state_dir / 'runner.key'} is not in it: keep a copy of it elsewhere")
    _complain_of_taken_out(made.taken_out)
    return 0


async def _verify(chosen: Settings, given: argparse.Namespace) -> int:
    return 0 if _is_sound(chosen, given, _contents(given.place)) else 1


async def _restore(chosen: Settings, given: argparse.Namespace) -> int:
    place: Path = given.place
    made = _contents(place)
    if not _is_sound(chosen, given, made):
        return 1
    async with AsyncExitStack() as stack:
        stack.callback(os.umask, os.umask(_OWNER_ONLY))
        opened = await store.open_store(settings.store_options(chosen), chosen.state_dir, stack, restoring=True)
        head = await restore.restore(opened, place, made)
        door.say(
            f"{opened.description}: restored up to position {made.position}, head {head.hash}; views are made at the start"
        )
    for line in _what_differs(chosen, made, head):
        door.complain(line)
    return 0


def _contents(place: Path) -> Contents:
    made = archive.contents(place)
    if made is None:
        raise errors.SetupError(f"there is no backup in {place}")
    return made


def _is_sound(chosen: Settings, given: argparse.Namespace, made: Contents) -> bool:
    keys = frozenset(given.key or ()) or surroundings.audit_keys(chosen)
    found = archive.verify(given.place, made, Known(keys))
    for line in show.verdict(f"{given.place}", replace(found, unfinished=()), is_key_known=bool(keys)):
        door.say(line)
    _complain_of_taken_out(tuple(each.position for each in found.unfinished))
    return not found.flaws


def _complain_of_taken_out(positions: tuple[int, ...]) -> None:
    if positions:
        named = ", ".join(map(str, positions))
        door.complain(f"positions {named} were redacted since, and are in it as they were: make another, and remove this one")


def _what_differs(chosen: Settings, made: Contents, head: Head) -> Iterator[str]:
    """What a person has to know before the first start."""
    key = surroundings.public_audit_key(chosen)
    if key != made.key:
        yield (
            "this is not the key that the log was sealed with: put back runner.key, or set runner.key and audit.key, before the"
            " first start; else runners of then are turned away"
        )
    path = chosen.state_dir / HEADS_FILE
    beyond = [each.position for each in (heads([path]) if path.is_file() else []) if each.position >= head.position]
    if beyond:
        yield f"{path} has seals up to position {max(beyond)}, which this log does not: keep that file, but elsewhere"
