"""The auditors' commands: `tespes log`, `audit`, `export`, `replay`.

They read the store itself, beside a TESPES that runs; only `audit redact` asks it, since it alone writes.
"""

import argparse
import asyncio
import json
import os
import secrets
import string
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tespes import door, errors, logging, settings, show, store, surroundings, tes
from tespes.door import Door, Load
from tespes.events import cloud
from tespes.flow import audit, crate, export, exported, replay
from tespes.flow.read import TaskReader, point
from tespes.flow.reading import Known
from tespes.flow.seal import HEADS_FILE, heads
from tespes.projections.crate import Publisher
from tespes.settings import Settings

_TAIL = 20
_KEY_DIGITS = 64
_OWNER_ONLY = 0o600
_LOOK_EVERY_S = 0.2

Command = Callable[[argparse.Namespace], Awaitable[int]]
_Run = Callable[[Settings, argparse.Namespace], Awaitable[int]]


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the commands; see `door.adder`."""

    def command(group: Any, name: str, run: _Run, said: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = group.add_parser(name, parents=[shared], help=said)
        parser.set_defaults(command=_command(run, load))
        return parser

    log = door.group(commands, "log", "read the log")
    history = command(log, "show", _show, "a task's history, event by event; or that of another stream")
    history.add_argument("task", help="the task's id, or a stream such as pulsar:site-a, lease:dispatch or log:heads")
    tail = command(log, "tail", _tail, "the last events of all, and those that come")
    tail.add_argument("--after", type=int, metavar="N", help=f"begin after that position (default: the last {_TAIL} commits)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    trace = command(log, "trace", _trace, "all that belongs to a request, a trace, an event or a task")
    trace.add_argument("id", help="a correlation id, a trace id, the id of an event (it, and what it led to), or a task's")
    as_of = command(log, "as-of", _as_of, "a task as it was known then, whole")
    as_of.add_argument("task")
    as_of.add_argument("when", help="a position of the log, or a moment such as 2026-11-22T12:00:00Z")
    again = command(commands, "replay", _replay, "publish events again, with the same ids; consumers drop what they know")
    again.add_argument("--from", dest="first", type=int, required=True, metavar="N", help="the first position")
    again.add_argument("--to", dest="last", type=int, required=True, metavar="N", help="the last position")
    again.add_argument("--dry-run", action="store_true", help="only print them, a line of JSON for each")
    _add_export(command(commands, "export", _export, "a task's events, or all, with what proves them"))
    checks = door.group(commands, "audit", "check the log")
    command(checks, "key", _key, "the public key that this TESPES seals its log with")
    verify = command(checks, "verify", _verify, "chain, positions, versions, seals, and views = folds")
    verify.add_argument("--key", action="append", metavar="HEX", help="a public key of seals (default: that of the settings)")
    verify.add_argument(
        "--heads", action="append", type=Path, metavar="FILE", help="seals that were kept elsewhere, JSON lines"
    )
    verify.add_argument("--log-only", action="store_true", help="leave out views, and texts that are kept beside events")
    verify.add_argument("--export", type=Path, metavar="FILE", help="check that export, and no store")
    redact = door.adder(shared, load)(checks, "redact", _redact, "take something out of a finished task's events")
    redact.add_argument("task")
    redact.add_argument("--field", action="append", required=True, help="for example task.executors.0.env, stdout, reason")
    redact.add_argument("--reason", required=True, help="on record for ever, and for everybody who reads events")


def _add_export(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("task", nargs="?")
    which.add_argument("--all", action="store_true", help="the whole log")
    parser.add_argument("--format", choices=("jsonl", "ro-crate"), default="jsonl")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where to (default: standard output); a crate: DIR or FILE.zip")
    parser.add_argument("--license", metavar="URL", help="the license of what is in the crate")
    parser.add_argument("--private", action="store_true", help="with what users keep to themselves in the crate, too")


def _command(run: _Run, load: Load) -> Command:
    async def command(given: argparse.Namespace) -> int:
        chosen = load(given)
        logging.configure(chosen.log.format, "warning")
        return await run(chosen, given)

    return command


@asynccontextmanager
async def _opened(chosen: Settings) -> AsyncIterator[store.Store]:
    async with AsyncExitStack() as stack:
        yield await store.open_store(settings.store_options(chosen), chosen.state_dir, stack, writable=False)


async def _show(chosen: Settings, given: argparse.Namespace) -> int:
    async with _opened(chosen) as opened:
        _say(show.history(await audit.history(opened.log, given.task)))
    return 0


async def _tail(chosen: Settings, given: argparse.Namespace) -> int:
    async with _opened(chosen) as opened:
        after = (await opened.log.head()).position - _TAIL if given.after is None else given.after
        while True:
            while entries := await opened.log.read(max(after, 0)):
                _say(line for entry in entries for line in show.entry(entry))
                after = entries[-1].position
            if not given.follow:
                return 0
            sys.stdout.flush()
            await asyncio.sleep(_LOOK_EVERY_S)


async def _trace(chosen: Settings, given: argparse.Namespace) -> int:
    found = False
    async with _opened(chosen) as opened:
        async for entry in audit.traced(opened.log, given.id):
            _say(show.entry(entry))
            found = True
    if not found:
        raise errors.NotFound(f"no event belongs to {given.id}")
    return 0


async def _as_of(chosen: Settings, given: argparse.Namespace) -> int:
    try:
        when = point(given.when)
    except ValueError as error:
        raise errors.SetupError(
            f"{given.when} is no position of the log, and no moment such as 2026-11-22T12:00:00Z"
        ) from error
    async with _opened(chosen) as opened:
        reader = TaskReader(opened.log, opened.documents, opened.blobs, settings.showing(chosen))
        task = await reader.get(given.task, tes.View.FULL, when)
    _say(json.dumps(task, indent=2).split("\n"))
    return 0


async def _replay(chosen: Settings, given: argparse.Namespace) -> int:
    source = cloud.source(chosen.service.id)
    async with _opened(chosen) as opened:
        found = replay.between(opened.log, given.first, given.last, source)
        if given.dry_run:
            async for event in found:
                _say([json.dumps(event.document())])
            return 0
        url = chosen.events.url or chosen.rabbitmq.url
        named = url.get_secret_value() if url else surroundings.USUAL_URL
        count = await replay.publish(found, named, chosen.events.exchange)
    _say([f"{count} event{' was' if count == 1 else 's were'} published again"])
    return 0


async def _export(chosen: Settings, given: argparse.Namespace) -> int:
    if given.format == "ro-crate":
        return await _export_crate(chosen, given)
    async with _opened(chosen) as opened:
        if given.all:
            with _written(given.to) as file:
                async for line in export.whole_log(opened.log):
                    file.write(line)
            return 0
        found = await export.task_slice(opened.log, given.task)
        with _written(given.to) as file:
            file.writelines(found.lines())
    _complain_of_unsealed(found.unsealed)
    return 0


async def _export_crate(chosen: Settings, given: argparse.Namespace) -> int:
    if given.to is None or given.all:
        raise errors.SetupError("a crate is made of one task, and in a place of its own: name both, TASK and --to DIR|FILE.zip")
    service = settings.service(chosen)
    publisher = Publisher(service, cloud.source(service.id), given.license, with_private=given.private)
    async with _opened(chosen) as opened:
        made = await crate.make(opened, given.task, publisher)
    crate.save(made.files, given.to)
    _complain_of_unsealed(made.unsealed)
    return 0


async def _key(chosen: Settings, _: argparse.Namespace) -> int:
    key = surroundings.public_audit_key(chosen)
    if key is None:
        raise errors.SetupError(f"no TESPES ever ran in {chosen.state_dir}: name its state directory with --state-dir")
    _say([key])
    return 0


async def _verify(chosen: Settings, given: argparse.Namespace) -> int:
    keys = frozenset(map(_public_key, given.key)) if given.key else surroundings.audit_keys(chosen)
    own_heads = chosen.state_dir / HEADS_FILE
    files = [*(given.heads or []), *([own_heads] if own_heads.is_file() and not given.export else [])]
    pace = None if given.export else settings.pace(chosen)
    known = Known(keys, heads(files), pace)
    if given.export:
        with _read(given.export) as file:
            what, found = str(given.export), exported.verify(file, known)
    else:
        async with _opened(chosen) as opened:
            what, found = opened.description, await audit.verify(opened, known, log_only=given.log_only)
    _say(show.verdict(what, found, is_key_known=bool(keys)))
    return 1 if found.flaws or found.unfinished else 0


async def _redact(doors: Door, given: argparse.Namespace) -> None:
    found = await doors.post(f"tasks/{given.task}/redact", {"fields": given.field, "reason": given.reason})
    for each in found["redacted"]:
        door.say(f"position {each['position']}: {', '.join(each['fields'])}")
    door.say("all of that is taken out" if found["redacted"] else "all of that was taken out before")


@contextmanager
def _written(path: Path | None) -> Iterator[BinaryIO]:
    """What is written there takes the place of what was, once it is whole; only its owner may read it."""
    if path is None:
        yield sys.stdout.buffer
        return
    if path.exists() and not path.is_file():  # a pipe, a device
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:  # noqa: PTH123 - by its number
            yield file
        fresh.replace(path)
    except OSError as error:
        raise errors.SetupError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


@contextmanager
def _read(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise errors.SetupError(f"{path} cannot be read: {error.strerror}") from error


def _public_key(text: str) -> str:
    if len(text) != _KEY_DIGITS or not set(text) <= set(string.hexdigits):
        raise errors.SetupError(f"{text!r} is no public key: {_KEY_DIGITS} hexadecimal digits are, see `tespes audit key`")
    return text.lower()


def _complain_of_unsealed(positions: Sequence[int]) -> None:
    if positions:
        door.complain(f"positions {', '.join(map(str, positions))} are under no seal yet: nothing proves them")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(door.plain(line))  # noqa: T201 - the command's product
