"""HTTP: the TES routes and their description, the runners' routes, problems."""

from aiohttp import web

from tespes.api import cors, docs, openapi
from tespes.api.events import EventRoutes
from tespes.api.health import HealthRoutes
from tespes.api.live import LiveRoutes
from tespes.api.metrics import MetricsRoute
from tespes.api.operator import OperatorRoutes
from tespes.api.problems import answer_errors
from tespes.api.runners import RunnerRoutes
from tespes.api.stream import StreamRoutes
from tespes.api.tasks import TaskRoutes
from tespes.api.transfers import TransferRoutes
from tespes.events import asyncapi


def application(
    tasks: TaskRoutes,
    live: LiveRoutes,
    runners: RunnerRoutes,
    transfers: TransferRoutes,
    health: HealthRoutes,
    *,
    events: EventRoutes,
    stream: StreamRoutes,
    operator: OperatorRoutes,
    metrics: MetricsRoute | None = None,
    max_body_bytes: int,
    cors_origins: tuple[str, ...] = (),
    public_url: str | None = None,
    exchange: str = asyncapi.EXCHANGE,
) -> web.Application:
    """The web application.

    :param metrics: None: they are elsewhere
    :param max_body_bytes: of a request other than a transfer; larger: 413
    :param cors_origins: whose pages may call the public routes; :param public_url: what browsers call TESPES, see `cors`
    :param exchange: on which events are published
    """
    app = web.Application(middlewares=[answer_errors], client_max_size=max_body_bytes)
    app[openapi.OPERATIONS] = []
    tasks.add_to(app)
    live.add_to(app)
    events.add_to(app)
    stream.add_to(app)
    docs.add_to(app, exchange)
    runners.add_to(app)
    transfers.add_to(app)
    health.add_to(app)
    operator.add_to(app)
    if metrics is not None:
        metrics.add_to(app)
    cors.protect(app, cors_origins, public_url)
    cors.allow(app, cors_origins)
    return app


def nothing_but(*routes: HealthRoutes | MetricsRoute) -> web.Application:
    """The web application of a process, or of a port, that serves no tasks."""
    app = web.Application(middlewares=[answer_errors])
    for each in routes:
        each.add_to(app)
    return app


__all__ = [
    "EventRoutes",
    "HealthRoutes",
    "LiveRoutes",
    "MetricsRoute",
    "OperatorRoutes",
    "RunnerRoutes",
    "StreamRoutes",
    "TaskRoutes",
    "TransferRoutes",
    "application",
    "nothing_but",
]
