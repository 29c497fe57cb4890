"""Everything that can be set, with its default: one model for each section of the settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

Secret = Annotated[SecretStr, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]
Seconds = Annotated[float, Field(gt=0)]
Role = Literal["api", "dispatch", "listen", "project"]
ROLES: tuple[Role, ...] = ("api", "dispatch", "listen", "project")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Http(_Section):
    """Where TESPES listens. `public_url`: how clients see it, if that differs."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 2**20


class StoreSection(_Section):
    """Without `mongodb_uri`, the store is SQLite in the state directory."""

    mongodb_uri: Secret | None = None
    mongodb_database: str = "tespes"


class RabbitMQ(_Section):
    """Without `url`: the RabbitMQ at 127.0.0.1:5672 if one is there, else a private one that TESPES starts."""

    url: Secret | None = None


class Log(_Section):
    """TESPES's own log lines, on standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Sandbox(_Section):
    """Executors in bubblewrap; images are not used. `network`: `none`, or `host` for the node's own."""

    kind: Literal["sandbox"]
    program: str = "bwrap"
    network: Literal["none", "host"] = "none"


class Docker(_Section):
    """Executors in Docker. `host`: of the daemon, for example unix:///run/docker.sock; None is the node's own."""

    kind: Literal["docker"]
    program: str = "docker"
    host: str | None = None
    network: Literal["none", "bridge", "host"] = "bridge"


class Pulsar(_Section):
    """A Pulsar. `broker_url`: of the RabbitMQ it listens to, if that is not `rabbitmq.url`."""

    broker_url: Secret | None = None
    manager: str = "_default_"
    key_prefix: str | None = None
    slots: Annotated[int, Field(ge=1)] = 8
    runtime: Annotated[Sandbox | Docker, Field(discriminator="kind")]
    callback_url: str | None = None


class FtpLogin(_Section):
    """Who TESPES is on an FTP server."""

    user: str
    password: Secret


class Storage(_Section):
    """`ftp`: a login for each `host` or `host:port`."""

    ftp: dict[str, FtpLogin] = Field(default_factory=dict)
    silence_s: Seconds = 30.0


class Runner(_Section):
    """How runners on the nodes behave. `key`: what attempts' tokens are derived from; the same in all processes."""

    key: Annotated[Secret, Field(min_length=32)] | None = None
    claim_timeout_s: Seconds = 60.0
    report_patience_s: Seconds = 120.0
    heartbeat_s: Seconds = 10.0
    silence_s: Seconds = 45.0
    tail_bytes: Annotated[int, Field(ge=0, le=2**17)] = 10_240


class Waiting(_Section):
    """How long is waited for a Pulsar, see `Patience`."""

    ask_after_s: Seconds = 60.0
    ask_at_most_s: Seconds = 600.0
    kill_every_s: Seconds = 1.0
    silence_s: Seconds = 120.0


class ServiceSection(_Section):
    """What service info says."""

    id: str = "org.example.tespes"
    name: str = "TESPES"
    description: str = "GA4GH Task Execution Service with an event log, run by Galaxy Pulsar"
    organization_name: str = "not configured"
    organization_url: str = "https://example.org"
    environment: str | None = None


class Settings(_Section):
    """Everything that can be set."""

    state_dir: Path = Path.home() / ".local" / "state" / "tespes"
    roles: tuple[Role, ...] = ROLES
    http: Http = Http()
    store: StoreSection = StoreSection()
    rabbitmq: RabbitMQ = RabbitMQ()
    log: Log = Log()
    pulsars: dict[str, Pulsar] = Field(default_factory=dict)
    storage: Storage = Storage()
    runner: Runner = Runner()
    patience: Waiting = Waiting()
    service: ServiceSection = ServiceSection()

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) else value
