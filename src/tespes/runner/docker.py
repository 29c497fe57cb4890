"""Executors in Docker containers, through the docker command line (20.10 or later)."""

from __future__ import annotations

from . import engine, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from . import protocol


class Docker(engine.Engine):
    """A daemon makes the containers: it may be elsewhere, or away."""

    name = "docker"
    network = "bridge"
    says = messages.Messages(
        ("docker: ", "Error response from daemon: ", "Error: "),
        ("cannot connect to the docker daemon", "error during connect", "failed to connect to the docker api"),
    )
    of_the_client = ("DOCKER_", "BUILDKIT_")

    def _options(self, order: protocol.RuntimeOrder) -> List[str]:
        """The host is named here, not in DOCKER_HOST: so it reaches the reaper too."""
        host = ["--host", str(order["host"])] if order.get("host") else []
        return [*host, *(order.get("arguments") or ())]
