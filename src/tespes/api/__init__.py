"""HTTP: the TES routes, the runners' routes, problems."""

from aiohttp import web

from tespes.api.problems import answer_errors
from tespes.api.runners import RunnerRoutes
from tespes.api.tasks import TaskRoutes


def application(tasks: TaskRoutes, runners: RunnerRoutes, max_body_bytes: int) -> web.Application:
    """The web application.

    :param max_body_bytes: of a request other than a transfer; larger: 413
    """
    app = web.Application(middlewares=[answer_errors], client_max_size=max_body_bytes)
    tasks.add_to(app)
    runners.add_to(app)
    return app


__all__ = ["RunnerRoutes", "TaskRoutes", "application"]
