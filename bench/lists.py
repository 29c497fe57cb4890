"""GET /tasks with every filter, among few tasks and among many: does a page take longer when there are ten times as many?"""

import socket
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from bench import report, seed, serving
from bench.bench import README_TASK, Bench
from bench.report import at_most
from bench.serving import API_AND_VIEW, NO_BROKER, Server
from tespes.projections import TASK_VIEW
from tespes.store import Options
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf
from tespes.store.sqlite_search import NEWEST, Search

RARE = 200
_PAGE_SIZE = 64
_HOW = """\
`tespes serve --roles api,project` on SQLite, one with {few:,} and one with {many:,} tasks, asked in turn by one caller;
pages of {page} tasks, MINIMAL unless said otherwise. 80 % of the tasks have the common values, 2 % the uncommon ones, and
{rare} tasks, evenly spread, the rare ones, however many tasks there are. The figure is how much longer the median answer
takes among {many:,}; both medians, in ms, stand before it. The views are written directly, since nothing else is read.
What has no target has no remedy: if common things never come together, every task with the rarer of them is looked at."""

Query = Mapping[str, str]
FILTERS: dict[str, Query] = {
    "no filter": {},
    "common state": {"state": "COMPLETE"},
    "common tag": {"tag_key": "project", "tag_value": "demo"},
    "common prefix": {"name_prefix": "nightly-"},
    "uncommon state": {"state": "EXECUTOR_ERROR"},
    "uncommon tag": {"tag_key": "project", "tag_value": "other"},
    "uncommon prefix": {"name_prefix": "weekly-"},
    "rare state": {"state": "CANCELED"},
    "rare tag": {"tag_key": "urgent"},
    "rare prefix": {"name_prefix": "urgent-"},
    "common state and tag, rare prefix": {"state": "COMPLETE", "tag_key": "kind", "name_prefix": "rerun-"},
    "state and tag, common each, that no task has both": {"state": "COMPLETE", "tag_key": "project", "tag_value": "third"},
    "common state, tag and prefix": {"state": "COMPLETE", "tag_key": "kind", "name_prefix": "nightly-"},
}
_PLANS: dict[str, Sequence[Condition]] = {
    "no filter": (),
    "state": (OneOf("state", frozenset({"COMPLETE"})),),
    "two states": (OneOf("state", frozenset({"COMPLETE", "CANCELED"})),),
    "tag": (HasPair("tags", "project", "demo"),),
    "rare prefix": (BeginsWith("name", "urgent-"),),
    "common prefix": (BeginsWith("name", "nightly-"),),
    "common state, rare tag": (OneOf("state", frozenset({"COMPLETE"})), HasPair("tags", "urgent", None)),
}


@dataclass(frozen=True, slots=True)
class _Figure:
    """A page to ask for.

    :param turned: how many pages come before it; None: it is the last one
    """

    filters: str
    turned: int | None = 0
    view: str = "MINIMAL"
    page_size: int = _PAGE_SIZE

    @property
    def name(self) -> str:
        """For people."""
        place = {0: "first page", 99: "hundredth page", None: "last page"}.get(self.turned, f"page {self.turned}")
        size = "" if self.page_size == _PAGE_SIZE else f" of {self.page_size}"
        return f"{self.filters}, {place}{size}{'' if self.view == 'MINIMAL' else f', {self.view}'}"


async def measure(bench: Bench) -> report.Group:
    """How the median answer grows."""
    few, many = (1_000, 10_000) if bench.quick else (10_000, 100_000)
    group = report.Group("GET /tasks", _HOW.format(few=few, many=many, page=_PAGE_SIZE, rare=RARE))
    async with AsyncExitStack() as stack:
        places = [bench.fresh(), bench.fresh()]
        callers = []
        for count, place in zip((few, many), places, strict=True):
            await write(place, count)
            server = await stack.enter_async_context(_serving(place))
            callers.append(stack.enter_context(closing(_Caller(server))))
        for figure in _figures(12 if bench.quick else 99):
            _compare(bench, group, figure, callers)
        for view, target in (("MINIMAL", 5), ("FULL", 30)):
            usual = _Figure("no filter", 0, view, 256)
            path = callers[0].path(usual)
            found = [statistics.median(callers[0].times(path, 50)) for _ in range(bench.rounds)]
            group.add(f"{usual.name}, among {few:,}: p50", "ms", found, at_most(target))
    group.after = _plans(places[1])
    return group


def _figures(far: int) -> list[_Figure]:
    common = [name for name in FILTERS if name.startswith("common") and "rare" not in name]
    first = [_Figure(name) for name in FILTERS]
    later = [_Figure(name, far) for name in ("no filter", *common)]
    last = [_Figure(name, None) for name in FILTERS if name.startswith("rare")]
    return [*first, *later, *last, _Figure("common tag", 0, "FULL"), _Figure("rare prefix", 0, "FULL")]


def _compare(bench: Bench, group: report.Group, figure: _Figure, callers: Sequence["_Caller"]) -> None:
    """The two servers in turn, so that whatever else the machine does troubles both."""
    paths = [caller.path(figure) for caller in callers]
    rounds = []
    for _ in range(1 + bench.rounds):
        times: list[list[float]] = [[], []]
        for _ in range(20):
            for caller, path, taken in zip(callers, paths, times, strict=True):
                taken.extend(caller.times(path, 5))
        rounds.append([statistics.median(taken) for taken in times])
    few, many = (statistics.median(medians) for medians in zip(*rounds[1:], strict=True))
    ratios = [second / first for first, second in rounds[1:]]
    target = None if "no task" in figure.filters else at_most(1.5)
    group.add(f"{figure.name}: {few:.2f}, {many:.2f}", "times", ratios, target)


class _Caller:
    """A connection to a server: one request after the other, and nothing between them."""

    def __init__(self, server: Server) -> None:
        self._prefix = urlsplit(server.url).path
        port = urlsplit(server.url).port
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def path(self, figure: _Figure) -> str:
        """Where that page is: the pages before it are turned."""
        query = {**FILTERS[figure.filters], "view": figure.view, "page_size": str(figure.page_size)}
        turned = 0
        while True:
            path = f"{self._prefix}/tasks?{urlencode(query)}"
            if figure.turned == turned:
                return path
            page = orjson.loads(self._ask(path))
            if "next_page_token" not in page:
                return path
            query["page_token"] = page["next_page_token"]
            turned += 1

    def times(self, path: str, count: int) -> list[float]:
        """How long each answer took, in milliseconds."""
        found = []
        for _ in range(count):
            begin = time.perf_counter()
            self._ask(path)
            found.append((time.perf_counter() - begin) * 1000)
        return found

    def _ask(self, path: str) -> bytes:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(2**18)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        pieces = [body]
        while sum(map(len, pieces)) < length:
            pieces.append(self._socket.recv(2**18))
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"GET {path} failed: {head.decode()}")
        return b"".join(pieces)


@asynccontextmanager
async def _serving(state_dir: Path) -> AsyncIterator[Server]:
    async with serving.serve(state_dir, {"TESPES_RABBITMQ__URL": NO_BROKER}, roles=API_AND_VIEW) as server:
        yield server


async def write(directory: Path, count: int) -> None:
    """A view of that many tasks, beside a log that has one commit."""
    await seed.write(directory, README_TASK, 1)
    async with seed.opened(Options(), directory) as found:
        (pattern,) = await found.documents.page(TASK_VIEW, (), before=None, limit=1, whole=True)
        await found.documents.forget(TASK_VIEW)
        documents = [_like(pattern, number, count) for number in range(count)]
        head = (await found.log.head()).position
        for start in range(0, count, 500):
            await found.documents.save(TASK_VIEW, documents[start : start + 500], head)


def _like(pattern: dict[str, Any], number: int, count: int) -> dict[str, Any]:
    """The task of that number; whether it is one of the rare ones depends on where it is among all."""
    rare, other = number % (count // RARE) == 0, number % (count // RARE) == 1
    state, name, project = "COMPLETE", "nightly", "demo"
    if number % 50 == 7:
        state, name, project = "EXECUTOR_ERROR", "weekly", "other"
    elif number % 50 in range(8, 17):
        state, name, project = "SYSTEM_ERROR", "single", "third"
    tags = {"project": project, "kind": f"k{number % 10}", "number": str(number)}
    if rare:
        state, name, tags = "CANCELED", "urgent", {**tags, "urgent": "yes"}
    name = "rerun" if other else name
    fields = {"id": f"{number:032x}", "state": state, "name": f"{name}-{number}", "tags": tags}
    return {**pattern, **fields, "position": 8 * number + 1, "task": {**pattern["task"], **fields}}


def _plans(state_dir: Path) -> str:
    """What SQLite says of the statements behind some of these pages."""
    lines = ["The plans (`EXPLAIN QUERY PLAN`) of the first pages; `w` is what is walked:", "", "```"]
    with closing(sqlite3.connect(f"file:{state_dir / 'views.sqlite3'}?mode=ro", uri=True)) as database:
        for name, where in _PLANS.items():
            statements: list[str] = []
            database.set_trace_callback(statements.append)
            Search(TASK_VIEW, where, NEWEST, _PAGE_SIZE).find(database, whole=False)
            database.set_trace_callback(None)
            lines.append(name)
            for each in statements:
                plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {each}")]
                steps = [
                    step for step in plan if not step.startswith(("CO-ROUTINE", "SCAN found", "SCAN (", "SCAN CONST", "SCALAR"))
                ]
                lines.append(f"    {'count: ' if 'count(*)' in each else ''}{'; '.join(steps)}")
    return "\n".join([*lines, "```"])
