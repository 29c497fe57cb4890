"""The operators' commands: `tespes pulsars`, `dead`, `parked`. They ask a TESPES that runs, with a token made of its key."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tespes import errors
from tespes.api import operator
from tespes.settings import Settings

_ANSWER_S = 60.0
_OK = 200
_REASON_CHARACTERS = 100
_REPLACED = "\N{REPLACEMENT CHARACTER}"

Load = Callable[[argparse.Namespace], Settings]
Command = Callable[[argparse.Namespace], Awaitable[int]]


def add_to(commands: Any, shared: argparse.ArgumentParser, load: Load) -> None:
    """Add the commands.

    :param load: the settings that the arguments name
    """
    asking = argparse.ArgumentParser(add_help=False, parents=[shared])
    asking.add_argument("--url", help="where TESPES listens (default: http.host and http.port of the settings)")

    def command(group: Any, name: str, run: "_Run", said: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = group.add_parser(name, parents=[asking], help=said)
        parser.set_defaults(command=_command(run, load))
        return parser

    pulsars = _group(commands, "pulsars", "the Pulsars: who is there, and who gets tasks")
    command(pulsars, "list", _list_pulsars, "each Pulsar's state, and what of it is taken")
    drain = command(pulsars, "drain", _drain, "send a Pulsar no further attempt; those that are there go on")
    drain.add_argument("name")
    drain.add_argument("--reason", help="shown where tasks wait")
    command(pulsars, "enable", _enable, "send a Pulsar attempts again").add_argument("name")
    dead = _group(commands, "dead", "messages from Pulsars that nobody could do anything with")
    command(dead, "list", _list_dead, "each with its reason")
    command(dead, "show", _show_dead, "what is in one").add_argument("id")
    _add_which(command(dead, "retry", _retry_dead, "put one, or all, back into their queues"), "id")
    parked = _group(commands, "parked", "tasks whose events could not be folded into the list of tasks")
    command(parked, "list", _list_parked, "each with its reason")
    _add_which(command(parked, "retry", _retry_parked, "fold one, or all, anew"), "task")


class _Door:
    """The doors of a TESPES that runs."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/") + operator.PREFIX
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str) -> Any:
        """What is answered; raises as `post` does."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: Any) -> Any:
        """What is answered.

        :raises errors.SetupError: nobody answers, or says no
        """
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session,
                session.request(method, self._url + path, json=body) as answer,
            ):
                found = await answer.json(content_type=None)
                if answer.status != _OK:
                    detail = found.get("detail") if isinstance(found, dict) else answer.reason
                    raise errors.SetupError(f"TESPES says: {detail}")
                return found
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            asked = self._url.removesuffix(operator.PREFIX)
            raise errors.SetupError(
                f"no TESPES answers at {asked}: start it, or name its address with --url ({error})"
            ) from error


_Run = Callable[[_Door, argparse.Namespace], Awaitable[None]]


def _command(run: _Run, load: Load) -> Command:
    async def command(given: argparse.Namespace) -> int:
        settings = load(given)
        host, port = settings.http.host, settings.http.port
        named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared
        await run(_Door(given.url or f"http://{named}:{port}", operator.token(_key(settings))), given)
        return 0

    return command


def _key(settings: Settings) -> bytes:
    """The key of the TESPES that runs with these settings."""
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode()
    path: Path = settings.state_dir / "runner.key"
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.SetupError(f"{path} cannot be read: name the state directory of the TESPES with --state-dir") from error


def _group(commands: Any, name: str, said: str) -> Any:
    return commands.add_parser(name, help=said).add_subparsers(required=True, metavar="COMMAND")


def _add_which(parser: argparse.ArgumentParser, name: str) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(name, nargs="?")
    which.add_argument("--all", action="store_true")


async def _list_pulsars(door: _Door, _: argparse.Namespace) -> None:
    found = await door.get("pulsars")
    heads = ("PULSAR", "STATE", "TASKS", "CPUS", "RAM GB", "TROUBLE")
    _table(heads, [_pulsar(each) for each in found["pulsars"]])
    _say(f"{found['waiting']} tasks wait for a place")


async def _drain(door: _Door, given: argparse.Namespace) -> None:
    await door.post(f"pulsars/{given.name}/drain", {"reason": given.reason} if given.reason else {})
    _say(f"{given.name} is drained")


async def _enable(door: _Door, given: argparse.Namespace) -> None:
    await door.post(f"pulsars/{given.name}/enable", {})
    _say(f"{given.name} is enabled")


async def _list_dead(door: _Door, _: argparse.Namespace) -> None:
    found = await door.get("dead")
    names = ("id", "at", "pulsar", "queue", "size_bytes", "reason")
    _table(("ID", "WHEN", "PULSAR", "QUEUE", "BYTES", "REASON"), [_texts(each, names) for each in found["letters"]])
    for reason in found["away"]:
        _complain(reason)


async def _show_dead(door: _Door, given: argparse.Namespace) -> None:
    found = await door.get(f"dead/{given.id}")
    for name, value in found.items():
        _say(f"{name}: {value}")


async def _retry_dead(door: _Door, given: argparse.Namespace) -> None:
    found = await door.post("dead/retry", {} if given.all else {"id": given.id})
    _say(f"{len(found['retried'])} put back into their queues")
    for reason in found["kept"]:
        _complain(reason)


async def _list_parked(door: _Door, _: argparse.Namespace) -> None:
    found = await door.get("parked")
    _table(
        ("TASK", "SINCE", "POSITION", "REASON"), [_texts(each, ("id", "at", "position", "reason")) for each in found["tasks"]]
    )


async def _retry_parked(door: _Door, given: argparse.Namespace) -> None:
    found = await door.post("parked/retry", {} if given.all else {"task": given.task})
    _say(f"{len(found['freed'])} not parked any more")


def _pulsar(each: dict[str, Any]) -> list[str]:
    state = f"{each['state']} ({each['reason']})" if each["reason"] else each["state"]
    taken = [_taken(each[name]) for name in ("places", "cpus", "ram_gb")]
    return [each["name"], state, *taken, each["trouble"] or ""]


def _taken(of: dict[str, float | None]) -> str:
    used, free = of["used"] or 0, of["free"]
    return f"{used:g}" if free is None else f"{used:g} of {used + free:g}"


def _texts(each: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [_plain(str(each[name]).replace("\n", " "))[:_REASON_CHARACTERS] for name in names]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them."""
    for line in _lines([heads, *rows]):
        _say(line)


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _say(line: str) -> None:
    print(_plain(line))  # noqa: T201 - the command's product


def _complain(line: str) -> None:
    print(f"tespes: {_plain(line)}", file=sys.stderr)  # noqa: T201 - the command line's own output


def _plain(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(each if each.isprintable() else _REPLACED for each in text)
