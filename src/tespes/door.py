"""The operators' doors of a TESPES that runs, seen from the command line, and lines of text for a terminal."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tespes import errors, serving
from tespes.api import operator
from tespes.settings import Settings

_ANSWER_S = 60.0
_OK = 200
_UNAUTHORIZED = 401
_REASON_CHARACTERS = 100
_REPLACED = "\N{REPLACEMENT CHARACTER}"

Load = Callable[[argparse.Namespace], Settings]
Command = Callable[[argparse.Namespace], Awaitable[int]]


class Door:
    """The doors of a TESPES that runs.

    :param made_of: what the token was derived from, for people
    """

    def __init__(self, url: str, token: str, made_of: str) -> None:
        self._made_of = made_of
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
                if answer.status == _UNAUTHORIZED:
                    raise errors.SetupError(
                        f"TESPES at {answer.url.origin()} has another key than {self._made_of}: name the settings, or the"
                        " state directory, that it runs with"
                    )
                if answer.status != _OK:
                    detail = found.get("detail") if isinstance(found, dict) else answer.reason
                    raise errors.SetupError(f"TESPES says: {detail}")
                return found
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            asked = self._url.removesuffix(operator.PREFIX)
            raise errors.SetupError(
                f"no TESPES answers at {asked}: start it, or name its address with --url ({error})"
            ) from error


Run = Callable[[Door, argparse.Namespace], Awaitable[None]]


Add = Callable[[Any, str, Run, str], argparse.ArgumentParser]


def adder(shared: argparse.ArgumentParser, load: Load) -> Add:
    """What adds a command that asks at the doors: to a group, by its name, what it does, and what it is for.

    :param load: the settings that the arguments name
    """
    asking = argparse.ArgumentParser(add_help=False, parents=[shared])
    asking.add_argument("--url", help="where TESPES listens (default: http.host and http.port of the settings)")

    def add(group: Any, name: str, run: Run, said: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = group.add_parser(name, parents=[asking], help=said)
        parser.set_defaults(command=_command(run, load))
        return parser

    return add


def _command(run: Run, load: Load) -> Command:
    async def command(given: argparse.Namespace) -> int:
        settings = load(given)
        key, made_of = _key(settings)
        url = given.url or serving.address(settings.http.host, settings.http.port)
        await run(Door(url, operator.token(key), made_of), given)
        return 0

    return command


def _key(settings: Settings) -> tuple[bytes, str]:
    """The key of the TESPES that runs with these settings, and where it was found."""
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode(), "runner.key of the settings"
    path: Path = settings.state_dir / "runner.key"
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise errors.SetupError(f"{path} cannot be read: name the state directory of the TESPES with --state-dir") from error


def group(commands: Any, name: str, said: str) -> Any:
    """Commands that begin with the same word."""
    return commands.add_parser(name, help=said).add_subparsers(required=True, metavar="COMMAND")


def texts(each: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Cells of a table, none too wide."""
    return [plain(str(each[name]).replace("\n", " "))[:_REASON_CHARACTERS] for name in names]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them."""
    for line in _lines([heads, *rows]):
        say(line)


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def say(line: str) -> None:
    """A line of what was asked for."""
    print(plain(line))  # noqa: T201 - the command's product


def complain(line: str) -> None:
    """A line beside it."""
    print(f"tespes: {plain(line)}", file=sys.stderr)  # noqa: T201 - the command line's own output


def plain(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(each if each.isprintable() else _REPLACED for each in text)
