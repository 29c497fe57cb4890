"""The settings: merged by dynaconf, checked once by pydantic. Nothing else in TESPES reads files or the environment for them.

Sources, later ones win: `settings.toml` (section `[default]`, then the one that TESPES_ENV names), `.secrets.toml` beside
it, environment variables `TESPES_<SECTION>__<KEY>`, options of the command line.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import dynaconf
from dynaconf.utils import inspect
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tespes import __version__, errors, pulsar, storage, store
from tespes.storage import ftp
from tespes.task import Patience
from tespes.tes.service import Service

PREFIX = "TESPES"
SWITCHER = "TESPES_ENV"
_SWITCH = "env"
ENVIRONMENT = "development"
_SECRET = frozenset({"password", "url", "broker_url", "mongodb_uri", "key"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

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


def load(path: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """The settings.

    :param path: the settings file; None means `settings.toml` in the working directory, if there is one
    :param overrides: what the command line says, nested like the settings
    :raises errors.SetupError: a key is unknown or its value wrong (names key, file and what was expected)
    """
    if path is not None and not path.is_file():
        raise errors.SetupError(f"the settings file {path} does not exist")
    main = path or Path("settings.toml")
    _check_environment(main)
    merged = _merge([main, main.with_name(".secrets.toml")])
    values = _lowered(merged.as_dict())
    for name in [name for name in values if name.startswith("test_") or name == _SWITCH]:
        del values[name]  # variables such as TESPES_TEST_MONGODB_URI are for the tests
    try:
        return Settings.model_validate(_overlaid(values, overrides))
    except ValidationError as error:
        raise errors.SetupError(_explained(error, merged, main)) from error


def store_options(settings: Settings) -> store.Options:
    """What the store needs."""
    uri = settings.store.mongodb_uri
    return store.Options(uri.get_secret_value() if uri else None, settings.store.mongodb_database)


def storage_options(settings: Settings) -> storage.Options:
    """What the storages need."""
    logins = {host: ftp.Login(login.user, login.password.get_secret_value()) for host, login in settings.storage.ftp.items()}
    return storage.Options(logins, settings.storage.silence_s)


def patience(settings: Settings) -> Patience:
    """How long dispatch waits."""
    return Patience(**settings.patience.model_dump())


def habits(settings: Settings) -> pulsar.Habits:
    """How runners work."""
    runner = settings.runner
    return pulsar.Habits(runner.tail_bytes, runner.heartbeat_s, runner.report_patience_s)


def service(settings: Settings) -> Service:
    """Who answers here."""
    return Service(**settings.service.model_dump(), version=__version__)


def sites(settings: Settings, broker_url: str, own_url: str) -> dict[str, pulsar.Site]:
    """The Pulsars, by name.

    :param broker_url: the RabbitMQ of those that name no other; :param own_url: where nodes on this machine reach TESPES
    :raises errors.SetupError: a Pulsar elsewhere has no callback_url
    """
    return {name: _site(name, each, settings, broker_url, own_url) for name, each in settings.pulsars.items()}


def _site(name: str, each: Pulsar, settings: Settings, broker_url: str, own_url: str) -> pulsar.Site:
    url = each.broker_url.get_secret_value() if each.broker_url else broker_url
    callback = each.callback_url or settings.http.public_url
    if callback is None and urlsplit(url).hostname not in _LOOPBACK:
        raise errors.SetupError(
            f"pulsars.{name}.callback_url is missing: its broker is not on this machine, so name the address where its"
            " nodes reach TESPES"
        )
    return pulsar.Site(
        name=name,
        broker_url=url,
        manager=each.manager,
        key_prefix=each.key_prefix,
        slots=each.slots,
        runtime=each.runtime.model_dump(exclude_none=True),
        callback_url=(callback or own_url).rstrip("/"),
    )


def _merge(files: list[Path]) -> dynaconf.Dynaconf:
    try:
        merged = dynaconf.Dynaconf(
            envvar_prefix=PREFIX,
            settings_files=[str(file.resolve()) for file in files],
            environments=True,
            env_switcher=SWITCHER,
            env=os.environ.get(SWITCHER, ENVIRONMENT),
            merge_enabled=True,
        )
        merged.as_dict()
    except Exception as error:
        raise errors.SetupError(f"the settings in {files[0]} cannot be read: {error}") from error
    return merged


def _check_environment(main: Path) -> None:
    """A name that is asked for and has no section is a mistake, most likely a misspelt one."""
    chosen = os.environ.get(SWITCHER)
    if not chosen or not main.is_file():
        return
    try:
        sections = tomllib.loads(main.read_text())
    except (OSError, ValueError) as error:
        raise errors.SetupError(f"the settings in {main} cannot be read: {error}") from error
    if chosen.lower() not in {name.lower() for name in sections}:
        known = ", ".join(sections) or "no section at all"
        raise errors.SetupError(f"{SWITCHER} names {chosen}, which {main} has no section for; it has {known}")


def _lowered(value: Any) -> Any:
    """Keys as the models have them: variables of the environment come in capitals."""
    if isinstance(value, dict):
        return {str(name).lower(): _lowered(entry) for name, entry in value.items()}
    return value


def _overlaid(values: Any, over: Mapping[str, Any]) -> Any:
    laid = dict(values)
    for name, value in over.items():
        laid[name] = _overlaid(laid.get(name, {}), value) if isinstance(value, Mapping) else value
    return laid


def _explained(error: ValidationError, merged: dynaconf.Dynaconf, main: Path) -> str:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        said = "there is no such setting"
    elif first["type"] == "missing":
        said = "it is missing"
    else:
        said = f"{_found(where, first['input'])}{first['msg']}"
    return f"the setting {'.'.join(where)} ({_source(merged, where, main)}): {said}"


def _found(where: list[str], value: Any) -> str:
    """The wrong value, unless it could be a secret: those, and whole sections, are never shown."""
    plain = isinstance(value, str | int | float) and len(where) > 1 and not _SECRET & set(where)
    return f"found {value!r}: " if plain else ""


def _source(merged: dynaconf.Dynaconf, where: list[str], main: Path) -> str:
    """Which file or variable a wrong value comes from."""
    for length in range(len(where), 0, -1):
        variable = f"{PREFIX}_{'__'.join(where[:length])}".upper()
        if variable in os.environ:
            return f"environment variable {variable}"
    try:
        history = inspect.get_history(merged, key=where[0])
    except inspect.KeyNotFoundError:
        return "command line"
    named = [str(each["identifier"]) for each in history if Path(str(each["identifier"])).suffix == ".toml"]
    return named[-1] if named else str(main)
