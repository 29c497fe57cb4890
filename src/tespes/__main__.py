"""The command line: `tespes serve`, `demo`, `contracts write`, and what is in `examine` and `operate…`."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
import uvloop

from tespes import (
    __version__,
    app,
    contracts,
    demo,
    doctor,
    errors,
    examine,
    logging,
    operate,
    operate_backups,
    operate_projections,
    settings,
    show,
)
from tespes.settings import Settings

_OWNER_ONLY = 0o077  # the log has tasks' environments in it, and the state directory has keys

Command = Callable[[argparse.Namespace], Awaitable[int]]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status. What a person has to mend is one line on standard error, never a traceback."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        return uvloop.run(_run(command, given))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except errors.TespesError as error:
        return _complain(error)
    except BaseExceptionGroup as group:
        ours = group.subgroup(errors.TespesError)
        if ours is None:
            raise
        return _complain(_first(ours))


async def _run(command: Command, given: argparse.Namespace) -> int:
    """The command, until it is done or somebody ends it (SIGINT, SIGTERM)."""
    _spare_the_collector()
    work = asyncio.ensure_future(command(given))
    loop = asyncio.get_running_loop()
    stopping = False

    def stop() -> None:
        """Once: what is being ended must not be cut short by impatience."""
        nonlocal stopping
        if not stopping:
            stopping = True
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await work
    except asyncio.CancelledError:
        return 0


def _complain(error: BaseException) -> int:
    print(f"tespes: {error}", file=sys.stderr)  # noqa: T201 - the command line's own output
    return 2


def _first(group: BaseExceptionGroup[errors.TespesError]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _serve(given: argparse.Namespace) -> int:
    os.umask(_OWNER_ONLY)
    chosen = _settings(given)
    logging.configure(chosen.log.format, chosen.log.level)
    async with app.service(chosen) as service:
        _spare_the_collector()
        if chosen.log.format == "json":
            structlog.get_logger(__name__).info("TESPES listens", url=service.url, uses=service.uses)
        else:
            show.serving(service.url, service.uses)
        await asyncio.Event().wait()
    return 0


def _spare_the_collector() -> None:
    """Walking all that is known again and again would stop the world for a second at a time; few cycles are ever made."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _demo(given: argparse.Namespace) -> int:
    os.umask(_OWNER_ONLY)
    plan = demo.Plan(
        state_dir=given.state_dir,
        pulsar_main=given.pulsar_main,
        mongodb=given.mongodb,
        port=given.port,
        once=given.once,
    )
    return await demo.run(plan)


async def _contracts_write(given: argparse.Namespace) -> int:
    for path in contracts.write(given.root):
        print(path)  # noqa: T201 - the command's product
    return 0


def _settings(given: argparse.Namespace) -> Settings:
    http = {"host": getattr(given, "host", None), "port": getattr(given, "port", None)}
    over: dict[str, Any] = {"state_dir": given.state_dir, "roles": getattr(given, "roles", None)}
    over["http"] = {name: value for name, value in http.items() if value is not None}
    kept: Mapping[str, Any] = {name: value for name, value in over.items() if value}
    return settings.load(given.settings, kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tespes", description="GA4GH Task Execution Service with an event log")
    parser.add_argument("--version", action="version", version=f"tespes {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--settings", type=Path, help="settings file (default: settings.toml, if there is one)")
    shared.add_argument("--state-dir", type=Path, help="where everything is kept (default: ~/.local/state/tespes)")
    _add_serve(commands, shared)
    _add_demo(commands)
    examine.add_to(commands, shared, _settings)
    contract = commands.add_parser("contracts", help="schemas for others").add_subparsers(required=True, metavar="COMMAND")
    write = contract.add_parser("write", help="write events/ and projections/ anew from the code")
    write.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    write.set_defaults(command=_contracts_write)
    doctor.add_to(commands, shared, _settings)
    operate.add_to(commands, shared, _settings)
    operate_projections.add_to(commands, shared, _settings)
    operate_backups.add_to(commands, shared, _settings)
    return parser


def _add_serve(commands: Any, shared: argparse.ArgumentParser) -> None:
    serve = commands.add_parser("serve", parents=[shared], help="run the service")
    serve.add_argument("--host", help="address to listen at (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen at (default: 8080)")
    serve.add_argument("--roles", help=f"parts to run, with commas (default: {','.join(settings.ROLES)})")
    serve.set_defaults(command=_serve)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser("demo", help="run one task through a Pulsar, RabbitMQ and FTP server of its own")
    parser.add_argument("--state-dir", type=Path, default=Path(".demo"), help="where everything is kept (default: .demo)")
    parser.add_argument("--pulsar-main", type=Path, default=Path(".venv-pulsar/bin/pulsar-main"), help="Pulsar's program")
    parser.add_argument("--mongodb", type=Path, help="program of a MongoDB wire server to keep the log in")
    parser.add_argument("--port", type=int, default=8080, help="port to listen at, 0 for any (default: 8080)")
    parser.add_argument("--once", action="store_true", help="end after the task, with exit status 0 if all was well")
    parser.set_defaults(command=_demo)


if __name__ == "__main__":
    sys.exit(main())
