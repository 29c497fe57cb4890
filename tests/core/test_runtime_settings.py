"""The settings of runtimes: `kind` says which keys there are."""

from pathlib import Path

import pytest

from tespes import errors, settings


def loaded(directory: Path, runtime: str) -> settings.Settings:
    path = directory / "settings.toml"
    path.write_text(f"[default.pulsars.one]\nruntime = {runtime}\n[development.log]\nformat = 'console'\n")
    return settings.load(path, {})


@pytest.mark.parametrize(
    ("runtime", "sent"),
    [
        (
            '{kind = "docker", user = "1000:100", run_arguments = ["--gpus", "all"]}',
            {
                "kind": "docker",
                "program": "docker",
                "network": "bridge",
                "user": "1000:100",
                "arguments": (),
                "run_arguments": ("--gpus", "all"),
            },
        ),
        (
            '{kind = "podman", arguments = ["--runtime", "/usr/sbin/runc"]}',
            {
                "kind": "podman",
                "program": "podman",
                "network": "private",
                "arguments": ("--runtime", "/usr/sbin/runc"),
                "run_arguments": (),
            },
        ),
        (
            '{kind = "apptainer", limits = true}',
            {
                "kind": "apptainer",
                "program": "apptainer",
                "network": "host",
                "limits": True,
                "arguments": (),
                "run_arguments": (),
            },
        ),
        ('{kind = "sandbox"}', {"kind": "sandbox", "program": "bwrap", "network": "none"}),
    ],
)
def test_each_runtime_has_its_keys_and_defaults(tmp_path: Path, runtime: str, sent: dict[str, object]) -> None:
    """What is set is what the runner is told."""
    assert loaded(tmp_path, runtime).pulsars["one"].runtime.model_dump(exclude_none=True) == sent


@pytest.mark.parametrize(
    "runtime",
    [
        '{kind = "kubernetes"}',
        '{network = "none"}',
        '{kind = "sandbox", user = "1000:1000"}',
        '{kind = "podman", host = "unix:///run/podman.sock"}',
        '{kind = "apptainer", network = "bridge"}',
        '{kind = "docker", user = "nobody"}',
        '{kind = "docker", user = "1000"}',
        '{kind = "docker", run_arguments = "--gpus all"}',
    ],
)
def test_what_a_runtime_does_not_know_is_refused(tmp_path: Path, runtime: str) -> None:
    """A key of another runtime, or one that is misspelt, would otherwise be believed to work."""
    with pytest.raises(errors.SetupError, match=r"pulsars\.one\.runtime"):
        loaded(tmp_path, runtime)
