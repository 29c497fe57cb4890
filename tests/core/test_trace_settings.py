"""The settings of traces: what they become, and what is said of wrong ones; nothing of it is ever shown."""

from pathlib import Path
from typing import Any

import pytest

from tespes import errors, settings
from tespes.flow.collector import Collector, Endpoint

GOOD = "https://ada:hunter2@collector.example.org"


def load(tmp_path: Path, **what: Any) -> Endpoint | None:
    """The collector of these settings."""
    file = tmp_path / "settings.toml"
    file.touch()
    return settings.endpoint(settings.load(file, {"traces": what}))


def test_nobody_is_told_unless_somebody_wants_that(tmp_path: Path) -> None:
    """Without an endpoint there is none."""
    assert load(tmp_path) is None


def test_everything_can_be_said(tmp_path: Path) -> None:
    """Headers as OpenTelemetry's own variable has them: with commas, values %-encoded."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    found = load(tmp_path, endpoint=GOOD, headers="Authorization=Bearer%20a=b, x-scope = 1,", timeout_s=3, ca=str(authority))
    headers = {"Authorization": "Bearer a=b", "x-scope": "1"}
    assert found == Endpoint(url=GOOD, headers=headers, timeout_s=3.0, ca_file=str(authority))
    assert "hunter2" not in repr(found)
    assert "Bearer" not in repr(found)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://c.example.org:4318", "http://c.example.org:4318/v1/traces"),
        ("http://c.example.org:4318/", "http://c.example.org:4318/v1/traces"),
        ("https://c.example.org/otlp/v1/traces?team=a", "https://c.example.org/otlp/v1/traces?team=a"),
    ],
)
def test_a_path_of_ones_own_is_asked_for_as_it_is(url: str, asked: str) -> None:
    """A host alone means the usual path."""
    assert str(Collector(Endpoint(url=url))._url) == asked


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ({"endpoint": "ada:hunter2@collector"}, "endpoint"),
        ({"endpoint": "grpc://ada:hunter2@collector:4317"}, "endpoint"),
        ({"endpoint": GOOD, "headers": "hunter2"}, "headers"),
        ({"endpoint": GOOD, "headers": "=hunter2"}, "headers"),
        ({"endpoint": GOOD, "headers": "token=hunter2%0Aother: x"}, "headers"),
        ({"endpoint": GOOD, "timeout_s": 0}, "timeout_s"),
        ({"endpoint": GOOD, "url": "hunter2"}, "url"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(tmp_path: Path, what: dict[str, Any], key: str) -> None:
    """Addresses may have logins, headers are tokens."""
    with pytest.raises(errors.SetupError, match=rf"the setting traces\.{key} ") as said:
        load(tmp_path, **what)
    assert "hunter2" not in str(said.value)
