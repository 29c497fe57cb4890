"""What podman alone can do wrong: there is no daemon, but a low-level runtime that it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from runner_at_work import Tespes, plan

from podman_engine import PodmanEngine
from tespes.runner import podman

pytestmark = pytest.mark.docker
Start = Callable[..., Any]


async def test_a_podman_that_cannot_work_is_a_reason(podman_engine: PodmanEngine, tespes: Tespes, start: Start) -> None:
    """Another attempt, on another node, may help."""
    changed = {"arguments": [*podman_engine.arguments, "--runtime", "/nonexistent"]}
    for changes, reason in (
        (changed, "podman: no valid executable found for OCI runtime /nonexistent: invalid argument"),
        ({"program": "no-podman"}, "the program no-podman is not on this node"),
    ):
        tespes.plan = plan({"command": ["true"]}, runtime={**podman_engine.runtime, **changes})
        line = await (await start(tespes.url)).ended()
        assert (line["outcome"], line["retryable"], line["reason"]) == ("system_failed", True, reason)


@pytest.mark.parametrize(("user", "version", "enforced"), [(0, 1, True), (1000, 2, True), (1000, 1, False)])
def test_limits_need_root_or_cgroups_of_version_2(
    monkeypatch: pytest.MonkeyPatch, user: int, version: int, *, enforced: bool
) -> None:
    """What is not enforced is said."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os.path, "exists", lambda _: version == 2)
    given: Any = None
    planned: Any = plan({"command": ["true"]}, resources={"cpu_cores": 1, "ram_gb": 1})
    notes = podman.Podman({"kind": "podman"}, given).notes(planned)
    assert notes == ([] if enforced else ["podman: cpu_cores is not enforced", "podman: ram_gb is not enforced"])
