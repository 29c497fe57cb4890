"""Fixtures that every folder of tests may use: real servers, each started once, and both stores."""

import pytest

from tespes import __main__, logging

pytest_plugins = [
    "docker_engine",
    "engines_at_work",
    "image_registry",
    "podman_engine",
    "s3_servers",
    "servers",
    "receivers",
    "collectors",
    "stores",
    "web_server",
    "storages",  # after those that it imports
    "compose_stack",  # likewise
]


@pytest.fixture(autouse=True)
def _process_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is run in the tests' own process sets up its log, and the garbage collector, for its own life only.

    That is the life of a program; here, it would be that of all tests that come after. `test_logging` runs programs.
    """
    monkeypatch.setattr(logging, "configure", lambda *_: None)
    monkeypatch.setattr(__main__, "_spare_the_collector", lambda: None)
