"""Whether this process lives, and whether it can serve: for load balancers, orchestrators and people."""

from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web

from tespes.api.problems import json
from tespes.flow.health import Health, Level, worst

_OK, _AWAY = 200, 503


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    """The handlers, with what they need. They stand beside the standard, without prefix, in every process.

    :param roles: what this process does
    """

    health: Health
    roles: tuple[str, ...]

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self.lives)
        app.router.add_get("/readyz", self.ready)

    async def lives(self, _: web.Request) -> web.Response:
        """200: the process lives, whatever it lacks. Whoever gets no answer may start it anew."""
        return _answer({"status": "alive"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 with what is not as it should be, or 503: requests cannot be served, send them elsewhere."""
        report = await self.health.look()
        level = worst(report)
        checks = {name: finding.document() for name, finding in report.items()}
        said = {"status": level.value, "roles": self.roles, "checks": checks}
        return _answer(said, _AWAY if level is Level.AWAY else _OK)


def _answer(said: dict[str, Any], status: int = _OK) -> web.Response:
    answer = json(said, status)
    answer.headers[hdrs.CACHE_CONTROL] = "no-store"
    return answer
