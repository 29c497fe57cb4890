"""Everything that can be set, with its default: one model for each section of the settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from tespes.settings.storages import Outputs, Storage
from tespes.settings.values import Address, Contact, Origins, Seconds, Secret, Section, UserAndGroup, listed

Role = Literal["api", "dispatch", "listen", "project"]
ROLES: tuple[Role, ...] = ("api", "dispatch", "listen", "project")


class Http(Section):
    """Where TESPES listens, and how it answers. `public_url`: how clients see it, if that differs.

    `cors_origins`: whose pages may call it, see `api.cors`. The two last: see `tes.Showing`.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 2**20
    cancel_wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    cors_origins: Origins = ()
    legacy_states: bool = False
    minimal_includes_executors: bool = False


class StoreSection(Section):
    """Without `mongodb_uri`, the store is SQLite in the state directory."""

    mongodb_uri: Secret | None = None
    mongodb_database: str = "tespes"


class RabbitMQ(Section):
    """Without `url`: the RabbitMQ at 127.0.0.1:5672 if one is there, else a private one that TESPES starts."""

    url: Secret | None = None


class Log(Section):
    """TESPES's own log lines, on standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


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


class Pulsar(Section):
    """A Pulsar. `broker_url`: of the RabbitMQ it listens to, if that is not `rabbitmq.url`."""

    broker_url: Secret | None = None
    manager: str = "_default_"
    key_prefix: str | None = None
    slots: Annotated[int, Field(ge=1)] = 8
    runtime: Annotated[Sandbox | Docker | Podman | Apptainer, Field(discriminator="kind")]
    callback_url: str | None = None


class Runner(Section):
    """How runners on the nodes behave. `key`: what attempts' tokens are derived from; the same in all processes."""

    key: Annotated[Secret, Field(min_length=32)] | None = None
    claim_timeout_s: Seconds = 60.0
    report_patience_s: Seconds = 120.0
    heartbeat_s: Seconds = 10.0
    silence_s: Seconds = 45.0
    tail_bytes: Annotated[int, Field(ge=0, le=2**17)] = 10_240


class Waiting(Section):
    """How long is waited for a Pulsar, see `Patience`."""

    ask_after_s: Seconds = 60.0
    ask_at_most_s: Seconds = 600.0
    runner_hears_s: Seconds = 1.0
    runner_stops_s: Seconds = 15.0
    kill_every_s: Seconds = 1.0
    silence_s: Seconds = 120.0


class ServiceSection(Section):
    """What service info says. `contact_url`: a page, or a mailto: address."""

    id: str = "org.example.tespes"
    name: str = "TESPES"
    description: str = "GA4GH Task Execution Service with an event log, run by Galaxy Pulsar"
    organization_name: str = "not configured"
    organization_url: Address = "https://example.org"
    contact_url: Contact | None = None
    documentation_url: Address | None = None
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    environment: str | None = None


class Settings(Section):
    """Everything that can be set."""

    state_dir: Path = Path.home() / ".local" / "state" / "tespes"
    roles: Annotated[tuple[Role, ...], BeforeValidator(listed)] = ROLES
    http: Http = Http()
    store: StoreSection = StoreSection()
    rabbitmq: RabbitMQ = RabbitMQ()
    log: Log = Log()
    pulsars: dict[str, Pulsar] = Field(default_factory=dict)
    storage: Storage = Storage()
    outputs: Outputs = Outputs()
    runner: Runner = Runner()
    patience: Waiting = Waiting()
    service: ServiceSection = ServiceSection()
