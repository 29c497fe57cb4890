"""The auditors' commands, beside a TESPES that runs and after it ended."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import servers
from servers import Tespes
from tespes import errors
from tespes.__main__ import main
from tespes.events.cloud import CloudEvent
from tespes.flow import replay
from tespes.local.rabbitmq import PrivateRabbitMQ

SECRET = "Doe-4711"  # noqa: S105 - a secret of the tests
pytestmark = pytest.mark.servers
TASK = {"executors": [{"image": "alpine", "command": ["true"], "env": {"PASSWORD": SECRET}}], "name": "a name"}


@pytest.fixture(scope="module")
def tespes(tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateRabbitMQ) -> Iterator[Tespes]:
    """A TESPES that seals its log often; there is no Pulsar."""
    settings = f'[default.rabbitmq]\nurl = "{rabbitmq.url}"\n[default.audit]\nseal_s = 0.2\n'
    running = Tespes(tmp_path_factory.mktemp("audited"), {}, settings)
    running.start()
    yield running
    running.stop()


@dataclass(frozen=True)
class Said:
    """What a command said."""

    status: int
    out: str
    err: str


@dataclass
class Auditor:
    """Who types commands on the machine of a TESPES."""

    tespes: Tespes
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path, state_dir: Path | None = None) -> Said:
        """`tespes WORDS`."""
        where = ["--state-dir", str(state_dir or self.tespes.state_dir)]
        where += ["--settings", str(self.tespes.state_dir / "settings.toml")]
        self.capsys.readouterr()
        status = main([*map(str, words), *where])
        out, err = self.capsys.readouterr()
        return Said(status, out, err)

    def canceled(self) -> str:
        """A task that has ended, and is sealed; its id."""
        task_id = self.tespes.submit(TASK)
        self.tespes.post(f"/v1/tasks/{task_id}:cancel")
        self.tespes.ended(task_id)
        last = int(self("log", "show", task_id).out.splitlines()[-1].split()[0])
        servers.until(lambda: self.sealed >= last, what=lambda: f"{self.sealed} of {last}")
        return task_id

    @property
    def sealed(self) -> int:
        """Up to which position the log is sealed."""
        heads = self.tespes.state_dir / "heads.jsonl"
        lines = heads.read_text().splitlines() if heads.is_file() else []
        return int(json.loads(lines[-1])["position"]) if lines else 0


@pytest.fixture
def audit(tespes: Tespes, capsys: pytest.CaptureFixture[str]) -> Auditor:
    """Who audits that TESPES."""
    return Auditor(tespes, capsys)


def test_a_log_is_verified_with_seals(audit: Auditor) -> None:
    """Beside the TESPES that writes it, with its own key and its own seals; another key is named."""
    audit.canceled()
    key = audit("audit", "key").out.strip()
    found = audit("audit", "verify")
    assert found.status == 0, found.out + found.err
    assert f"with {key}" in found.out
    assert "sound" in found.out
    other = audit("audit", "verify", "--key", "ab" * 32)
    assert (other.status, key in other.out) == (1, True)


def test_an_export_is_verified_anywhere(audit: Auditor, tmp_path: Path) -> None:
    """With the public key and nothing else; one that was edited is refused."""
    task_id = audit.canceled()
    key = audit("audit", "key").out.strip()
    file = tmp_path / "task.jsonl"
    assert audit("export", task_id, "--to", file).err == ""
    found = audit("audit", "verify", "--export", file, "--key", key, state_dir=tmp_path / "elsewhere")
    assert (found.status, "sound" in found.out) == (0, True), found.out + found.err
    file.write_text(file.read_text().replace("a name", "another"))
    found = audit("audit", "verify", "--export", file, "--key", key, state_dir=tmp_path / "elsewhere")
    assert (found.status, "position" in found.out) == (1, True)
    file.write_text("nothing of ours\n")
    found = audit("audit", "verify", "--export", file)
    assert (found.status, found.err.count("\n")) == (2, 1)


def test_an_export_takes_a_place_only_when_it_is_whole(audit: Auditor, tmp_path: Path) -> None:
    """What was there before stays until then; only its owner may read it, for it has secrets in it."""
    file = tmp_path / "task.jsonl"
    file.write_text("another one")
    assert audit("export", "0" * 32, "--to", file).status == 2
    assert file.read_text() == "another one"
    assert audit("export", audit.canceled(), "--to", file).status == 0
    assert (file.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o600, [file])


def test_what_a_person_has_to_mend_is_one_sentence(audit: Auditor, tmp_path: Path) -> None:
    """Files that are not there, keys that are none, a URL that is none."""
    nowhere = tmp_path / "nowhere" / "x"
    for words in (
        ("audit", "verify", "--export", nowhere),
        ("export", "--all", "--to", nowhere),
        ("audit", "verify", "--key", "zz"),
        ("audit", "verify", "--heads", nowhere),
    ):
        found = audit(*words)
        assert (found.status, found.err.count("\n")) == (2, 1), found.err


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1", "amqp://127.0.0.1:port", "amqp://"])
async def test_only_a_rabbitmq_is_published_to(url: str) -> None:
    """What the settings say may be anything."""

    async def nothing() -> AsyncIterator[CloudEvent]:
        for _ in ():
            yield _

    with pytest.raises(errors.SetupError, match="no URL"):
        await replay.publish(nothing(), url, "tespes")


def test_nothing_in_the_log_moves_a_terminal(audit: Auditor) -> None:
    """A reason is what somebody wrote: no line of its own, no escape."""
    task_id = audit.canceled()
    reason = "\x1b[2J looks like\n       1  2026-11-22T12:00:00.000Z  TaskCompleted"
    words = ("--url", audit.tespes.url, "--field", "task.name", "--reason", reason)
    before = len(audit("log", "show", task_id).out.splitlines())
    assert audit("audit", "redact", task_id, *words).status == 0
    shown = audit("log", "show", task_id).out
    assert (len(shown.splitlines()), "\x1b" in shown) == (before + 1, False)


def test_history_is_shown_in_many_ways(audit: Auditor) -> None:
    """One task's, the end of the log, and a task as it was known then."""
    task_id = audit.canceled()
    shown = audit("log", "show", task_id).out.splitlines()
    assert {line.split()[2] for line in shown} >= {"TaskCreated", "TaskCancelRequested", "TaskCanceled"}
    created, *_, last = [int(line.split()[0]) for line in shown]
    assert any(task_id in line for line in audit("log", "tail").out.splitlines())
    after = audit("log", "tail", "--after", str(last - 1)).out.splitlines()
    assert f"{task_id}  TaskCancel" in after[0]
    then = json.loads(audit("log", "as-of", task_id, str(created)).out)
    assert (then["state"], then["executors"][0]["env"]["PASSWORD"]) == ("QUEUED", SECRET)
    assert json.loads(audit("log", "as-of", task_id, str(last)).out)["state"] == "CANCELED"
    assert "lease" in audit("log", "show", "lease:dispatch").err
    assert "log:heads" in audit("log", "tail", "--after", "0").out
    assert "PulsarDrained" not in audit("log", "show", "log:heads").out
    refused = audit("log", "as-of", task_id, "yesterday")
    assert (refused.status, refused.err.count("\n")) == (2, 1)


def test_all_that_belongs_to_a_task_is_found(audit: Auditor) -> None:
    """By its id; what nobody knows is said so."""
    task_id = audit.canceled()
    lines = audit("log", "trace", task_id).out.splitlines()
    assert len(lines) == len(audit("log", "show", task_id).out.splitlines())
    position = lines[0].split()[0]
    (event, *_) = map(json.loads, audit("replay", "--from", position, "--to", position, "--dry-run").out.splitlines())
    assert lines[0] in audit("log", "trace", event["id"]).out
    assert "no event belongs to nothing" in audit("log", "trace", "nothing").err


def test_what_is_taken_out_is_gone_and_the_log_still_verifies(audit: Auditor) -> None:
    """Through the TESPES that runs: it alone writes."""
    task_id = audit.canceled()
    assert audit.tespes.task(task_id)["executors"][0]["env"] == {"PASSWORD": SECRET}
    words = (
        "audit",
        "redact",
        task_id,
        "--url",
        audit.tespes.url,
        "--field",
        "task.executors.0.env.PASSWORD",
        "--reason",
        "it slipped in",
    )
    done = audit(*words)
    assert (done.status, "taken out" in done.out) == (0, True), done.err
    assert audit.tespes.task(task_id)["executors"][0]["env"] == {"PASSWORD": "[redacted]"}
    assert "taken out before" in audit(*words).out
    assert "it slipped in" in audit("log", "show", task_id).out
    assert audit("audit", "verify").status == 0
    refused = audit("audit", "redact", task_id, "--url", audit.tespes.url, "--field", "task.executors.0.image", "--reason", "r")
    assert (refused.status, refused.err.count("\n")) == (2, 1)


def test_events_are_published_again_with_the_same_ids(audit: Auditor) -> None:
    """Or only shown: as everybody may see them."""
    task_id = audit.canceled()
    first = int(audit("log", "show", task_id).out.split()[0])
    words = ("replay", "--from", str(first), "--to", str(first))
    (shown,) = map(json.loads, audit(*words, "--dry-run").out.splitlines())
    assert (shown["subject"], SECRET in json.dumps(shown)) == (task_id, False)
    done = audit(*words)
    assert done.out == "1 event was published again\n", done.err
    refused = audit("replay", "--from", "1", "--to", "999999", "--dry-run")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
