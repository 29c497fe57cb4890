"""The command line of the benchmarks: which groups, how long, and where the results go."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
import uvloop

from bench import (
    appends,
    cancels,
    lists,
    machine,
    memory,
    messages,
    publish,
    replay,
    report,
    rest,
    room,
    sites,
    streams,
    tasks,
    transfers,
    verify,
    writers,
)
from bench.bench import Bench

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "RESULTS.md"
GROUPS: dict[str, Callable[[Bench], Awaitable[report.Group]]] = {
    "appends": appends.measure,
    "writers": writers.measure,
    "post": rest.measure_post,
    "get": rest.measure_get,
    "list": lists.measure,
    "replay": replay.measure,
    "verify": verify.measure,
    "tasks": tasks.measure,
    "sites": sites.measure,
    "room": room.measure,
    "cancel": cancels.measure,
    "messages": messages.measure,
    "publish": publish.measure,
    "transfers": transfers.measure,
    "sse": streams.measure,
    "memory": memory.measure,
}


def main() -> int:
    """Measure, print, write the results; the exit status says nothing of the figures."""
    given = _parser().parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    begin = time.monotonic()
    groups = uvloop.run(_measure(given))
    described = machine.describe(given.state_dir, ROOT)
    if given.groups and given.out.exists():
        text = report.renewed(given.out.read_text(), _command(), described, groups)
    else:
        text = report.text(_command(), described, groups, time.monotonic() - begin)
    given.out.write_text(text)
    print(f"\n{given.out}, after {time.monotonic() - begin:.0f} s")
    return 0


async def _measure(given: argparse.Namespace) -> list[report.Group]:
    groups = []
    with tempfile.TemporaryDirectory(prefix="tespes-bench-", dir=given.state_dir) as directory:
        async with AsyncExitStack() as stack:
            bench = Bench(Path(directory), stack, quick=given.quick)
            for name in given.groups or GROUPS:
                print(f"\n{name}", flush=True)
                group = await GROUPS[name](bench)
                print("\n".join(report.lines(group)), flush=True)
                groups.append(group)
                await asyncio.sleep(1)
    return groups


def _command() -> str:
    return " ".join(["python", "bench/run.py", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="The benchmarks of TESPES")
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)} (default: all)", type=_group)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - each run makes a private directory in it
        help="a directory on the disk to measure with (default: /var/tmp)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="where the results go (default: bench/RESULTS.md); of some groups only: into their sections",
    )
    return parser


def _group(name: str) -> str:
    if name not in GROUPS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(GROUPS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
