"""The settings of webhooks: what they become, and what is said of wrong ones."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tespes import errors, settings
from tespes.flow.webhooks import TASK_EVENTS, Webhook

KEY = b"k" * 32
GOOD: dict[str, Any] = {"url": "https://portal.example.org/hook", "secret": f"whsec_{base64.b64encode(KEY).decode()}"}


def load(tmp_path: Path, **what: Any) -> Webhook:
    """The one webhook of these settings."""
    file = tmp_path / "settings.toml"
    file.touch()
    [webhook] = settings.webhooks(settings.load(file, {"webhooks": {"portal": GOOD | what}}))
    return webhook


def test_what_is_not_said_is_what_most_want(tmp_path: Path) -> None:
    """All events of tasks, from now on."""
    webhook = load(tmp_path)
    assert webhook == Webhook(name="portal", url=GOOD["url"], key=KEY)
    assert (webhook.begin, webhook.owner, webhook.types) == ("now", None, TASK_EVENTS)
    assert {"TaskCreated", "DataRedacted"} < webhook.types
    assert not {"LeaseTaken", "HeadSigned", "WebhookParked"} & webhook.types


def test_everything_can_be_said(tmp_path: Path) -> None:
    """A list may be one text; `never` is for ever; a login and a query belong to the URL."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    webhook = load(
        tmp_path,
        url="https://ada:secret@portal.example.org:8443/hook?token=1",
        types="TaskCompleted, HeadSigned",
        owner="ada",
        begin="beginning",
        timeout_s=3,
        give_up_after_s="never",
        ca=str(authority),
    )
    assert webhook.types == {"TaskCompleted", "HeadSigned"}
    assert (webhook.owner, webhook.begin, webhook.timeout_s, webhook.give_up_after_s) == ("ada", "beginning", 3.0, None)
    assert webhook.ca_file == str(authority)
    assert webhook.shown == "https://portal.example.org:8443"
    assert "secret" not in repr(webhook)


def bad_secret(length: int) -> str:
    """One of so many bytes."""
    return f"whsec_{base64.b64encode(b'k' * length).decode()}"


@pytest.mark.parametrize(
    ("what", "key", "said"),
    [
        ({"url": "ftp://portal.example.org/"}, "portal.url", "an http or https address is expected"),
        ({"url": "https:///hook"}, "portal.url", "an http or https address is expected"),
        ({"url": "https://portal..example.org/"}, "portal.url", "an http or https address is expected"),
        ({"url": f"https://{'a' * 64}.example.org/"}, "portal.url", "an http or https address is expected"),
        ({"url": "https://ada:hunter2@[zz]/"}, "portal.url", "an http or https address is expected"),
        ({"url": "https://portal.example.org:99999/"}, "portal.url", "an http or https address is expected"),
        ({"url": "portal.example.org/hook"}, "portal.url", "an http or https address is expected"),
        ({"secret": "hunter2"}, "portal.secret", "whsec_ and 24 to 64 bytes in base64 are expected"),
        ({"secret": "whsec_hunter2!"}, "portal.secret", "whsec_ and 24 to 64 bytes in base64 are expected"),
        ({"secret": bad_secret(23)}, "portal.secret", "whsec_ and 24 to 64 bytes in base64 are expected"),
        ({"secret": bad_secret(65)}, "portal.secret", "openssl rand -base64 32"),
        ({"types": ["TaskCompleted", "TaskDone"]}, "portal.types", "TaskDone is no event; there are: AttemptClaimed, "),
        ({"types": ""}, "portal.types", "nothing is no event; there are: "),
        ({"owner": ""}, "portal.owner", "at least 1 character"),
        ({"begin": "yesterday"}, "portal.begin", "'now' or 'beginning'"),
        ({"timeout_s": 0}, "portal.timeout_s", "greater than 0"),
        ({"timeout_s": 301}, "portal.timeout_s", "less than or equal to 300"),
        ({"give_up_after_s": -1}, "portal.give_up_after_s", "greater than 0"),
        ({"ca": "/nowhere/ca.pem"}, "portal.ca", "does not point to a file"),
        ({"url": "http://portal.example.org/", "ca": __file__}, "portal", "ca is for a url that begins with https://"),
        ({"retries": 3}, "portal.retries", "there is no such setting"),
    ],
)
def test_what_cannot_work_is_refused_without_a_secret(tmp_path: Path, what: dict[str, Any], key: str, said: str) -> None:
    """The key is named, and what was expected."""
    with pytest.raises(errors.SetupError) as refused:
        load(tmp_path, **what)
    assert f"the setting webhooks.{key} (" in str(refused.value)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("missing", ["url", "secret"])
def test_where_and_what_is_signed_with_must_be_said(tmp_path: Path, missing: str) -> None:
    """Nothing is sent unsigned."""
    file = tmp_path / "settings.toml"
    file.touch()
    given = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(errors.SetupError, match=rf"webhooks\.portal\.{missing} .*it is missing"):
        settings.load(file, {"webhooks": {"portal": given}})
