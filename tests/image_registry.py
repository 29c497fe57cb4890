"""A registry of images on loopback."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tespes.local.ports import free_port

_START_TIMEOUT_S = 30
_SETTINGS = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {directory}/images}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """`host:port` of an empty registry that speaks HTTP, gone afterwards."""
    directory, port = Path(tempfile.mkdtemp(prefix="tespes-registry-")), free_port()
    (directory / "settings.yaml").write_text(_SETTINGS.format(directory=directory, port=port))
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", f"{directory}/settings.yaml"], stdout=log, stderr=log)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/v2/", server, directory)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(directory)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - it is http
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the registry did not come up:\n{(directory / 'log').read_text()[-3000:]}")
