"""The runtimes in tests that are the same for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from runner_at_work import plan, until


class Engine(Protocol):
    """`runtime` is what a plan says of it, `image` one with busybox, `ask` its command line."""

    @property
    def kind(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def runtime(self) -> dict[str, Any]: ...
    @property
    def directory(self) -> Path: ...
    def ask(self, *arguments: str) -> str: ...


class Sandbox:
    """The runtime without images, in the same place."""

    kind = "sandbox"
    image = "unused"
    runtime: dict[str, Any] = {"kind": "sandbox", "program": "bwrap", "network": "none"}  # noqa: RUF012 - never changed
    directory = Path("/nonexistent")

    def ask(self, *arguments: str) -> str:  # noqa: ARG002 - it lists nothing
        return ""


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine, which must be without a container afterwards."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    yield found
    assert found.ask("ps", "--all", "--quiet") == ""


@pytest.fixture(params=["docker", "podman", "sandbox"])
def anything(request: pytest.FixtureRequest) -> Engine:
    """Each runtime."""
    return Sandbox() if request.param == "sandbox" else request.getfixturevalue(f"{request.param}_engine")


def planned(engine: Engine, *executors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    of_the_image = [{"image": engine.image, **executor} for executor in executors]
    runtime = {**engine.runtime, **changes.pop("runtime", {})}
    return plan(*of_the_image, runtime=runtime, **changes)


async def container_is(engine: Engine, job_id: str, *, there: bool, within_s: float = 10) -> None:
    found = ("ps", "--all", "--quiet", "--filter", f"label=org.tespes.job={job_id}")
    await until(lambda: bool(engine.ask(*found)) is there, within_s)
