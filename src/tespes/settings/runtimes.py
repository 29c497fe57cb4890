"""What runs containers at a Pulsar: one model for each kind."""

from typing import Annotated, Literal

from pydantic import Field

from tespes.settings.values import Section, UserAndGroup


class Sandbox(Section):
    """Executors in bubblewrap; images are not used. `network`: `none`, or `host` for the node's own."""

    kind: Literal["sandbox"]
    program: str = "bwrap"
    network: Literal["none", "host"] = "none"


class _Engine(Section):
    """What runs images. `arguments`: for the program itself; `run_arguments`: for its command that runs a container."""

    arguments: tuple[str, ...] = ()
    run_arguments: tuple[str, ...] = ()


class Docker(_Engine):
    """Executors in Docker. `host`: of the daemon, for example unix:///run/docker.sock; None is the node's own.

    `user`: whom containers run as and their files belong to; None is the image's own.
    """

    kind: Literal["docker"]
    program: str = "docker"
    host: str | None = None
    network: Literal["none", "bridge", "host"] = "bridge"
    user: UserAndGroup | None = None


class Podman(_Engine):
    """Executors in Podman. `network`: `private` is a bridge under root, else user-mode networking. `user`: as Docker's."""

    kind: Literal["podman"]
    program: str = "podman"
    network: Literal["none", "private", "bridge", "host"] = "private"
    user: UserAndGroup | None = None


class Apptainer(_Engine):
    """Executors in Apptainer, as the user that Pulsar runs as. `limits`: whether cpus and memory can be limited."""

    kind: Literal["apptainer"]
    program: str = "apptainer"
    network: Literal["none", "host"] = "host"
    limits: bool = False


Runtime = Annotated[Sandbox | Docker | Podman | Apptainer, Field(discriminator="kind")]
