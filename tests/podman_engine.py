"""Podman for tests, with places of its own and one small image made on the spot: nothing is pulled."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import busybox_image

# Without root's right to raise limits, podman's own wish for higher ones fails.
_RUN_ARGUMENTS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


@dataclass(frozen=True)
class PodmanEngine:
    """Everything is kept below `directory`; `image` has busybox in /bin. Networks: none and host only."""

    directory: Path
    image: str
    kind = "podman"

    @property
    def arguments(self) -> list[str]:
        """What makes it this one. The low-level runtime is runc: crun refuses machines with both versions of cgroups."""
        places = [f"--{name}={self.directory}/{name}" for name in ("root", "runroot", "tmpdir")]
        ways = ["--runtime", shutil.which("runc") or "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return [*places, *ways]

    @property
    def runtime(self) -> dict[str, Any]:
        """What a plan says of it."""
        named = {"kind": "podman", "program": "podman", "network": "none"}
        return {**named, "arguments": self.arguments, "run_arguments": _RUN_ARGUMENTS}

    def ask(self, *arguments: str) -> str:
        """What the podman command line prints."""
        command = ["podman", *self.arguments, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session", name="podman_engine")
def own_places() -> Iterator[PodmanEngine]:
    """Places that are gone afterwards, with all that ran in them."""
    directory = Path(tempfile.mkdtemp(prefix="tespes-podman-", dir="/tmp"))  # a socket's path must be short
    engine = PodmanEngine(directory, "localhost/busybox:local")
    try:
        command = ["podman", *engine.arguments, "import", "--quiet", "--change", busybox_image.CHANGE, "-", engine.image]
        subprocess.run(command, input=busybox_image.archive(), check=True, capture_output=True)
        yield engine
    finally:
        engine.ask("rm", "--all", "--force", "--time", "0")
        _wait_for_the_last(directory)
        for place in reversed([line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]):
            if place.startswith(f"{directory}/"):
                subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for_the_last(directory: Path) -> None:
    """Each container ends with a podman of its own that tidies up, a moment later."""
    deadline = time.monotonic() + 10
    while any(str(directory) in " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline, "something of podman does not end"
        time.sleep(0.05)
