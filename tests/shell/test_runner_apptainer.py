"""What is said to Apptainer: tested as data, for there is no Apptainer here to run it."""

from __future__ import annotations

from typing import Any, cast

import pytest
from runner_at_work import file, plan

from tespes.runner import apptainer, faults, mounts

ALWAYS = ["--containall", "--cleanenv", "--writable-tmpfs", "--no-init", "--no-umask", "--no-eval"]


def vector(executor: dict[str, Any], order: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    planned = cast("Any", plan(executor, **changes))
    layout = mounts.lay_out(planned, "/job/tespes")
    runtime: Any = {"kind": "apptainer", "network": "host", **(order or {})}
    return apptainer.arguments(planned["executors"][0], "/job/tespes/image-0.sif", layout, runtime, planned["resources"])


def test_a_command_is_executed_in_the_image() -> None:
    """Nothing of the node is in the container but the task's files; the words come last, exactly as they are."""
    words = ["echo", "", "$HOME", "a b", "--quiet", "new\nline", "'\"ü"]
    assert vector({"command": words}) == ["--quiet", "exec", *ALWAYS, "--no-home", "/job/tespes/image-0.sif", *words]


def test_no_command_is_the_images_own() -> None:
    """TES 1.1 permits an empty command."""
    assert vector({"command": []}) == ["--quiet", "run", *ALWAYS, "--no-home", "/job/tespes/image-0.sif"]


def test_files_are_at_their_paths() -> None:
    """Inputs are read-only. A mount is a line of CSV: colons, commas and quotes in paths are safe."""
    outputs = [file(0, "/out/a"), file(1, '/o:u,t "x"/b')]
    said = vector({"command": ["x"], "workdir": "/out//sub/"}, inputs=[file(0, "/data/in")], outputs=outputs)
    assert said[said.index("--mount") : said.index("/job/tespes/image-0.sif")] == [
        *("--mount", "type=bind,source=/job/tespes/inputs/0,destination=/data/in,ro"),
        *("--mount", 'type=bind,source=/job/tespes/shared/0,"destination=/o:u,t ""x"""'),
        *("--mount", "type=bind,source=/job/tespes/shared/1,destination=/out"),
        *("--pwd", "/out/sub"),
    ]


def test_the_settings_arguments_are_before_and_after_the_command_word() -> None:
    """`arguments` are for the program, `run_arguments` for exec and run."""
    said = vector({"command": ["x"]}, {"arguments": ["--debug"], "run_arguments": ["--nv"], "network": "none"})
    assert said[:3] == ["--debug", "--quiet", "exec"]
    assert said[-3:] == ["--nv", "/job/tespes/image-0.sif", "x"]
    assert said[said.index("--net") : said.index("--nv")] == ["--net", "--network", "none"]


def test_limits_are_asked_for_where_the_settings_say_that_they_work() -> None:
    """They need cgroups that the user may use."""
    resources = {"cpu_cores": 1.5, "ram_gb": 2}
    assert "--memory" not in vector({"command": ["x"]}, resources=resources)
    said = vector({"command": ["x"]}, {"limits": True}, resources=resources)
    assert said[said.index("--cpus") : -2] == ["--cpus", "1.5", "--memory", "2000000000"]


def test_values_of_variables_are_in_the_environment_only() -> None:
    """Whoever looks at the processes of a node does not see them; what Pulsar's own environment holds is not handed over."""
    executor: Any = {"command": ["x"], "env": {"A": "secret\nlines", "_b2": "", "LD_LIBRARY_PATH": "/x"}}
    inherited = {"PATH": "/bin", "APPTAINERENV_OF_PULSAR": "x", "SINGULARITYENV_Y": "y"}
    assert apptainer.environment(executor, inherited) == {
        "PATH": "/bin",
        "APPTAINERENV_A": "secret\nlines",
        "APPTAINERENV__b2": "",
        "APPTAINERENV_LD_LIBRARY_PATH": "/x",
    }
    assert "secret" not in " ".join(vector(executor))


@pytest.mark.parametrize("name", ["a.b", "x y", "", "1A", "Ü", "APPEND_PATH", "APPTAINER_NAME", "UID", "A\n"])
def test_names_that_apptainer_does_not_hand_over_are_refused(name: str) -> None:
    """Rather than lost without a word."""
    with pytest.raises(faults.SystemFailure, match="cannot be handed to a container by apptainer"):
        apptainer.environment(cast("Any", {"env": {name: "x"}}), {})


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("alpine", "docker://alpine"),
        ("quay.io/biocontainers/samtools:1.19", "docker://quay.io/biocontainers/samtools:1.19"),
        ("docker://alpine", "docker://alpine"),
        ("oras://registry.example.org/x:1", "oras://registry.example.org/x:1"),
        ("/images/tool.sif", "/images/tool.sif"),
    ],
)
def test_an_image_is_a_name_a_reference_or_a_file(image: str, expected: str) -> None:
    """A name alone is one of a registry, as for docker."""
    assert apptainer.reference(image) == expected


@pytest.mark.parametrize("image", ["", "instance://other", "/etc", "/root/image.img", "../x.sif", "file:///etc"])
def test_what_would_open_the_node_is_no_image(image: str) -> None:
    """A directory of the node, or a container that runs there."""
    with pytest.raises(faults.SystemFailure, match="image"):
        apptainer.reference(image)


@pytest.mark.parametrize(
    ("message", "returncode", "expected"),
    [
        ('FATAL:   "nosuch": executable file not found in $PATH', 255, 127),
        ("only words", 255, 255),
        ("FATAL:   of the command", 3, 3),
    ],
)
def test_exit_codes_are_the_commands(message: str, returncode: int, expected: int) -> None:
    """Apptainer ends with 255 and a line of its own when it fails; a program that cannot be run is the user's."""
    notes: list[str] = []
    given: Any = type("Given", (), {"note": staticmethod(notes.append)})
    found = apptainer.Apptainer(cast("Any", {}), given)
    assert found.exit_code(0, cast("Any", {"image": "i", "command": ["nosuch"]}), returncode, message) == expected
    assert len(notes) == (expected == 127)


def test_a_failure_of_apptainer_is_the_systems() -> None:
    """In its own words."""
    with pytest.raises(faults.SystemFailure, match=r"^failed to set working directory: no such file$"):
        apptainer.Apptainer(cast("Any", {}), cast("Any", None)).exit_code(
            0, {}, 255, "x\nFATAL:   failed to set working directory: no such file\n"
        )
