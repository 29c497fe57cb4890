"""RO-Crates held to Process Run Crate 0.5 by the community's validator, and read back by its library; offline."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import crates
from servers import ROOT, Tespes, until
from tespes.flow import crate as crate_files
from tespes.local.ftp import LocalFTP
from tespes.projections import crate

pytestmark = pytest.mark.slow

SETTINGS = {"TESPES_AUDIT__SEAL_S": "1"}
ENVIRONMENT = ROOT / ".venv-rocrate"
RECOMMENDED = {
    "The Application SHOULD have a url",  # a task says no more of its programs than what they are called
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The SoftwareApplication SHOULD have a version or softwareVersion",  # an image's tag, where images are used
    "Missing or invalid `encodingFormat` linked to the `File Data Entity`",  # nobody looked into the files
    "The ContainerImage SHOULD have a registry",  # podman's own affair, if the task names none
    "The Action SHOULD have a result",
}
UNSEEN = "availability could not be verified"


def held_to_the_profile(*places: Path) -> list[dict[str, Any]]:
    """What does not hold of these crates, and what they tell."""
    assert (ENVIRONMENT / "ready").is_file(), f"no validator in {ENVIRONMENT}: make .venv-rocrate/ready"
    program = str(ROOT / "tests" / "clients" / "rocrate_checks.py")
    arguments = [f"{ENVIRONMENT}/bin/python", program, *map(str, places)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_crates_of_every_kind_of_task_conform(tmp_path: Path) -> None:
    """Nothing that the profile demands is missing; of what it recommends, only what nobody knows."""
    for name, happened in crates.HISTORIES.items():
        metadata = orjson.dumps(crates.made(crates.recorded(*happened)))
        suffix = ".zip" if name == "failed" else ""
        crate_files.save({crate.METADATA: metadata, crate.EVENTS: b"{}\n"}, tmp_path / (name + suffix))
    places = sorted(tmp_path.iterdir())
    for place, found in zip(places, held_to_the_profile(*places), strict=True):
        unmet = {message for _, _, message in found["issues"] if not message.endswith(UNSEEN)}
        assert unmet <= RECOMMENDED, place
        assert {severity for severity, _, _ in found["issues"]} <= {"RECOMMENDED"}
        happened = crates.HISTORIES[place.stem]
        assert len(found["actions"]) == len([each for each in happened if type(each).__name__ == "ExecutorStarted"])


def command(server: Tespes, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `tespes` beside the service, on the same store."""
    where = ["--state-dir", str(server.state_dir), "--settings", str(server.state_dir / "settings.toml")]
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/root", **server.variables}
    program = [sys.executable, "-m", "tespes", *words, *where]
    return subprocess.run(program, env=variables, capture_output=True, text=True, check=False, timeout=60)


def test_a_task_that_ran_is_exported_and_proven(server: Tespes, ftp: LocalFTP, tmp_path: Path) -> None:
    """From a real Pulsar to a crate that conforms, whose events a third party verifies with the public key alone."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "words").write_bytes(b"Hello World!")
    executor = {"image": "alpine", "command": ["wc", "-c"], "stdin": "/data/in", "stdout": "/data/out"}
    task = {
        "inputs": [{"url": f"ftp://{host}/words", "path": "/data/in"}],
        "outputs": [{"url": f"ftp://{host}/count", "path": "/data/out"}],
        "executors": [executor],
    }
    task_id = server.submit(task)
    assert server.ended(task_id)["state"] == "COMPLETE"
    to = tmp_path / "crate"

    def exported() -> str:
        made = command(server, "export", task_id, "--format", "ro-crate", "--to", str(to), "--license", "https://example.org/l")
        assert made.returncode == 0, made.stderr
        return made.stderr

    until(lambda: "no seal yet" not in exported(), within_s=30, what=exported)
    graph = {each["@id"]: each for each in json.loads((to / crate.METADATA).read_text())["@graph"]}
    (action,) = (each for each in graph.values() if each["@type"] == "CreateAction")
    assert graph[action["object"]["@id"]]["contentSize"] == "12"
    count = (ftp.directory / "count").read_bytes()
    assert graph[action["result"]["@id"]]["sha256"] == hashlib.sha256(count).hexdigest()
    assert graph["./"]["license"] == {"@id": "https://example.org/l"}
    verified = command(server, "audit", "verify", "--export", str(to / crate.EVENTS))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "sound" in verified.stdout
    (found,) = held_to_the_profile(to)
    assert {severity for severity, _, _ in found["issues"]} <= {"RECOMMENDED"}
    assert found["actions"] == [action["name"]]
