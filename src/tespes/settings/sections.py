"""Everything that can be set, with its default: one model for each section of the settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from tespes.settings.audit import Audit
from tespes.settings.projections import Reference
from tespes.settings.pulsars import Pulsar
from tespes.settings.storages import Outputs, Storage
from tespes.settings.traces import Traces
from tespes.settings.values import Address, Contact, Name, Origins, Seconds, SecondsOrNever, Secret, Section, listed
from tespes.settings.webhooks import Webhook

RunnerKey = Annotated[Secret, Field(min_length=32)]
Role = Literal["api", "dispatch", "listen", "project", "publish"]
ROLES: tuple[Role, ...] = ("api", "dispatch", "listen", "project", "publish")


class Http(Section):
    """Where TESPES listens, and how it answers. `public_url`: how clients see it, if that differs.

    `drain_s`: within which a process that is told to stop has answered what came in, and is gone.
    `cors_origins`: whose pages may call it, see `api.cors`. The two last: see `tes.Showing`.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 2**20
    cancel_wait_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    drain_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    cors_origins: Origins = ()
    legacy_states: bool = False
    minimal_includes_executors: bool = False


class StoreSection(Section):
    """Without `mongodb_uri`, the store is SQLite in the state directory."""

    mongodb_uri: Secret | None = None
    mongodb_database: str = "tespes"


class Lease(Section):
    """How long a process that does what one alone may do is waited for, see `flow.lead`."""

    expires_s: Annotated[float, Field(ge=1, le=60)] = 5.0


class RabbitMQ(Section):
    """Without `url`: the RabbitMQ at 127.0.0.1:5672 if one is there, else a private one that TESPES starts."""

    url: Secret | None = None


class Events(Section):
    """Where events are published: a topic exchange. Without `url`: at the RabbitMQ of `rabbitmq.url`."""

    exchange: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,127}$")] = "tespes.events"
    url: Secret | None = None


class Streams(Section):
    """How events are sent to those who watch live, see `flow.subscribe`.

    `quiet_s`: after which they are told that the connection lives. `silence_s`: for how long they may take nothing.
    """

    at_most: Annotated[int, Field(ge=1)] = 1000
    quiet_s: Seconds = 15.0
    silence_s: Seconds = 30.0


class Metrics(Section):
    """Where `/metrics` is: without `port` at `http.port`, with all else. `host`: of that port; without it, `http.host`."""

    host: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] | None = None


class Log(Section):
    """TESPES's own log lines, on standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Placement(Section):
    """What a task counts for that does not say what it needs; how long others may overtake one that finds no place."""

    default_cpus: Annotated[int, Field(ge=1)] = 1
    default_ram_gb: Annotated[float, Field(gt=0)] = 2.0
    patience_s: Seconds = 300.0


class Runner(Section):
    """How runners on the nodes behave. `key`: what attempts' tokens are derived from; the same in all processes.

    `old_keys`: what they were derived from before: attempts that were sent then go on.
    """

    key: RunnerKey | None = None
    old_keys: Annotated[tuple[RunnerKey, ...], BeforeValidator(listed)] = ()
    claim_timeout_s: Seconds = 60.0
    report_patience_s: Seconds = 120.0
    heartbeat_s: Seconds = 10.0
    tail_bytes: Annotated[int, Field(ge=0, le=2**17)] = 10_240


class Waiting(Section):
    """How long is waited for Pulsars and runners, see `Patience`. `never`: for ever."""

    ask_after_s: Seconds = 60.0
    ask_at_most_s: Seconds = 600.0
    runner_hears_s: Seconds = 1.0
    runner_stops_s: Seconds = 15.0
    kill_every_s: Seconds = 1.0
    unreceived_s: SecondsOrNever = 60.0
    withdraw_s: SecondsOrNever = 300.0
    unanswered_s: SecondsOrNever = 300.0
    staging_s: SecondsOrNever = 600.0
    silence_s: SecondsOrNever = 120.0
    abandon_s: SecondsOrNever = 3600.0


class Limits(Section):
    """How long any task may take, see `Limits` in `tes`; its user may ask for less by backend parameters."""

    queued_s: SecondsOrNever = None
    running_s: SecondsOrNever = None
    total_s: SecondsOrNever = None


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
    lease: Lease = Lease()
    rabbitmq: RabbitMQ = RabbitMQ()
    events: Events = Events()
    streams: Streams = Streams()
    metrics: Metrics = Metrics()
    log: Log = Log()
    traces: Traces = Traces()
    pulsars: dict[Name, Pulsar] = Field(default_factory=dict)
    placement: Placement = Placement()
    storage: Storage = Storage()
    outputs: Outputs = Outputs()
    webhooks: dict[Name, Webhook] = Field(default_factory=dict)
    projections: Annotated[tuple[Reference, ...], BeforeValidator(listed)] = ()
    runner: Runner = Runner()
    audit: Audit = Audit()
    patience: Waiting = Waiting()
    limits: Limits = Limits()
    service: ServiceSection = ServiceSection()
