"""What a process looks at to know whether it is well (see `health`)."""

import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tespes.flow import collector, publish
from tespes.flow import webhooks as hooks
from tespes.flow.health import Check, Finding, Level
from tespes.flow.parked import Parked
from tespes.flow.publish import Publisher
from tespes.flow.seal import Sealer
from tespes.flow.subscribe import Feed
from tespes.projections import ReadModel
from tespes.pulsar import Link
from tespes.store import Checkpoints, Documents, Held, Leases, Log

if TYPE_CHECKING:
    from tespes.flow.tell import Teller

_SLOW_S: Final = 1.0
_LAG_COMMITS: Final = 1000
_FREE_BYTES: Final = 256 * 2**20
_DRIFT_S: Final = 60.0


def usual(log: Log, documents: Documents, model: ReadModel, tasks: Sequence[Parked]) -> dict[str, Check]:
    """What every process looks at."""
    return {
        "store": store(log),
        "writing": writing(log),
        "list": view(log, documents, model),
        "clock": clock(),
        "parked": parked(tasks),
    }


def store(log: Log) -> Check:
    """Whether the database answers, and soon."""

    async def check() -> Finding:
        begun = time.monotonic()
        head = await log.head()
        took_s = round(time.monotonic() - begun, 3)
        facts = {"head": head.position, "took_s": took_s}
        if took_s > _SLOW_S:
            return Finding(Level.DEGRADED, f"the database took {took_s:g} s to answer", facts)
        return Finding(facts=facts)

    return check


def writing(log: Log) -> Check:
    """Whether the last append succeeded. The next one may: so this turns no request away."""

    async def check() -> Finding:
        if log.trouble:
            return Finding(Level.DEGRADED, f"the last append failed, and none was tried since: {log.trouble}")
        return Finding()

    return check


def disk(directory: Path) -> Check:
    """Whether there is room on the disk of the state directory."""

    async def check() -> Finding:
        free = shutil.disk_usage(directory).free
        facts = {"free_bytes": free}
        return (
            Finding(Level.DEGRADED, f"the disk of {directory} is full", facts) if free < _FREE_BYTES else Finding(facts=facts)
        )

    return check


def pulsars(links: Mapping[str, Link]) -> Check:
    """Whether the Pulsars can be talked to, and listen."""

    async def check() -> Finding:
        troubles = {name: _trouble(link) for name, link in links.items()}
        said = [f"{name}: {trouble}" for name, trouble in troubles.items() if trouble]
        facts = {"pulsars": {name: trouble or "ready" for name, trouble in troubles.items()}}
        return Finding(Level.DEGRADED, "; ".join(said), facts) if said else Finding(facts=facts)

    return check


def _trouble(link: Link) -> str | None:
    return (link.trouble or link.unheard) if link.up.is_set() else "RabbitMQ is away"


def roles(chosen: frozenset[str]) -> Check:
    """Whether this process, the only one there can be, does everything."""
    undone = [role for role in ("dispatch", "listen", "project", "publish") if role not in chosen]

    async def check() -> Finding:
        return Finding(Level.DEGRADED, f"nobody does: {', '.join(undone)}; see roles") if undone else Finding()

    return check


class Watched:
    """Whether somebody does what one alone may do, wherever: the beats of the leases go on.

    :param expires_s: after how long of standing still nobody does
    """

    def __init__(self, leases: Leases, names: Sequence[str], expires_s: float) -> None:
        self._leases = leases
        self._names = names
        self._expires_s = expires_s
        self._seen: dict[str, tuple[Held | None, float]] = {}

    async def __call__(self) -> Finding:
        """See Check."""
        holders = {name: await self._holder(name) for name in self._names}
        nobody = [name for name, holder in holders.items() if holder is None]
        facts = {"holders": holders}
        return Finding(Level.DEGRADED, f"nobody does: {', '.join(nobody)}", facts) if nobody else Finding(facts=facts)

    async def _holder(self, name: str) -> str | None:
        """Who does it; None if nobody does, or did for a while."""
        held, now = await self._leases.look(name), time.monotonic()
        before, since = self._seen.get(name, (held, now))
        self._seen[name] = (held, since if held == before else now)
        return held.holder or None if held and now - self._seen[name][1] < 2 * self._expires_s else None


def view(log: Log, documents: Documents, model: ReadModel) -> Check:
    """How far a view is behind the log."""

    async def check() -> Finding:
        lag = max((await log.head()).position - await documents.position(model), 0)
        facts = {"lag_commits": lag}
        return (
            Finding(Level.DEGRADED, f"{lag:,} commits are not in lists yet", facts)
            if lag > _LAG_COMMITS
            else Finding(facts=facts)
        )

    return check


def parked(tasks: Sequence[Parked]) -> Check:
    """Whether there are tasks whose events cannot be folded into a view."""

    async def check() -> Finding:
        count = len({task.id for each in tasks for task in await each.tasks()})
        facts = {"tasks": count}
        said = f"{count} {'task is' if count == 1 else 'tasks are'} parked: see `tespes parked list`"
        return Finding(Level.DEGRADED, said, facts) if count else Finding(facts=facts)

    return check


def sealing(sealer: Sealer) -> Check:
    """Whether the log is what was sealed before, so that it can be sealed on."""

    async def check() -> Finding:
        return Finding(Level.DEGRADED, sealer.trouble) if sealer.trouble else Finding()

    return check


def publishing(log: Log, checkpoints: Checkpoints, publisher: Publisher) -> Check:
    """Whether events are published, and how far that is behind the log."""

    async def check() -> Finding:
        lag = max((await log.head()).position - await checkpoints.position(publish.NAME), 0)
        facts = {"lag_commits": lag, "skipped_events": publisher.skipped}
        if publisher.trouble:
            return Finding(Level.DEGRADED, publisher.trouble, facts)
        if lag > _LAG_COMMITS:
            return Finding(Level.DEGRADED, f"{lag:,} commits are not published yet", facts)
        return Finding(facts=facts)

    return check


def telling(log: Log, checkpoints: Checkpoints, teller: "Teller") -> Check:
    """Whether the collector takes traces, and how far it is behind the log."""

    async def check() -> Finding:
        lag = max((await log.head()).position - await checkpoints.position(collector.NAME), 0)
        facts = {"lag_commits": lag, "lost_traces": teller.lost}
        return Finding(Level.DEGRADED, teller.trouble, facts) if teller.trouble else Finding(facts=facts)

    return check


def feed(those: Feed) -> Check:
    """How many events are not shown because this release cannot read them."""

    async def check() -> Finding:
        return Finding(facts={"skipped_events": those.skipped})

    return check


def webhooks(those: hooks.Webhooks) -> Check:
    """Whether webhooks take their events, and how far behind the log each is."""

    async def check() -> Finding:
        found = await those.look()
        said = [f"{each.webhook.name}: {trouble}" for each in found if (trouble := _kept_back(each))]
        facts = {"webhooks": {each.webhook.name: _facts(each) for each in found}}
        return Finding(Level.DEGRADED, "; ".join(said), facts) if said else Finding(facts=facts)

    return check


def _facts(webhook: hooks.Standing) -> dict[str, int]:
    return {"position": webhook.position, "lag_commits": webhook.lag, "skipped_events": webhook.skipped}


def _kept_back(webhook: hooks.Standing) -> str | None:
    match webhook.state:
        case hooks.Parked(position=position, reason=reason):
            return f"parked at position {position} ({reason}): see `tespes webhooks resume`"
        case hooks.Active():
            return webhook.trouble or (f"{webhook.lag:,} commits behind" if webhook.lag > _LAG_COMMITS else None)


def clock() -> Check:
    """Whether the clock of this machine was set since the process began: times in the log are by it, decisions are not."""
    began, steady = datetime.now(UTC), time.monotonic()

    async def check() -> Finding:
        drift_s = (datetime.now(UTC) - began).total_seconds() - (time.monotonic() - steady)
        facts = {"drift_s": round(drift_s, 1)}
        if abs(drift_s) > _DRIFT_S:
            return Finding(Level.DEGRADED, f"the clock was set by {drift_s:+.0f} s: times in the log jump", facts)
        return Finding(facts=facts)

    return check
