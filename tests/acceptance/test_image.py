"""The image of TESPES: built as its Dockerfile says, and run with as few rights as can be."""

import json
from typing import Any

import pytest

from compose_stack import based_on
from docker_engine import DockerEngine
from tespes import __version__

pytestmark = pytest.mark.docker
LOCKED = ("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")  # noqa: S108
AT_MOST_BYTES = 70_000_000  # what is put on top of the base image; with that, the whole is below 200 MB


def test_the_image_runs_as_nobody_in_particular(docker_engine: DockerEngine, tespes_image: str) -> None:
    """Not as root, with a health check, a volume for its state, and labels that say what it is."""
    made = _inspected(docker_engine, tespes_image)["Config"]
    assert made["User"] == "10001:10001"
    assert made["Healthcheck"]["Test"][0] == "CMD"
    assert made["Volumes"].keys() == {"/var/lib/tespes"}
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in made["Labels"].items()}
    assert (labels["title"], labels["version"]) == ("TESPES", __version__)


def test_the_image_works_where_nothing_can_be_written(docker_engine: DockerEngine, tespes_image: str) -> None:
    """Read-only, without capabilities and network: the program starts."""
    assert docker_engine.docker(*LOCKED, tespes_image, "--version") == f"tespes {__version__}"


def test_the_image_has_its_byte_code(docker_engine: DockerEngine, tespes_image: str) -> None:
    """Nothing can be written later, and each start would compile everything anew: no module of TESPES lacks it."""
    script = (
        "import tespes.app, sys; print([n for n, m in sys.modules.items() if n[:7] == 'tespes.' and not m.__spec__.cached])"
    )
    said = docker_engine.docker(*LOCKED, "--entrypoint", "python", tespes_image, "-c", script)
    assert said == "[]"


def test_the_image_is_small(docker_engine: DockerEngine, tespes_image: str, record_property: Any) -> None:
    """What TESPES and its libraries add to the base image is bounded."""
    sizes = [_inspected(docker_engine, name)["Size"] for name in (tespes_image, based_on("docker/tespes/Dockerfile"))]
    record_property("image_bytes", sizes)
    print(f"\nthe image has {sizes[0]:,} bytes, {sizes[1]:,} of them of its base, as that is made here")  # noqa: T201
    assert sizes[0] - sizes[1] < AT_MOST_BYTES


def _inspected(engine: DockerEngine, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.docker("image", "inspect", image))[0]
    return found
