"""The settings of Pulsars: where each is, what it has, what runs containers there; and the same as `pulsar.Site`s."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, model_validator

from tespes import errors, pulsar
from tespes.pulsar import batch, site, wire
from tespes.settings.runtimes import Runtime
from tespes.settings.values import Name, Secret, Section, listed

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SIZE = "{size}"
_USUAL_SLOTS = 8
_PORTS = {"amqp": 5672, "amqps": 5671}
_Queues = tuple[str | None, int, str, str]


def _template(value: str) -> str:
    batch.check(value)
    return value


def _slots(value: Any) -> Any:
    if value == 0:
        raise ValueError("a Pulsar with 0 places gets no task: to send nothing there, use `tespes pulsars drain NAME`")
    return value


def _broker_url(value: Any) -> Any:
    if isinstance(value, str) and urlsplit(value).scheme not in _PORTS:
        raise ValueError("an AMQP URL is expected: amqp://user:password@host:5672/vhost, or amqps:// for TLS")
    return value


Slots = Annotated[int, BeforeValidator(_slots), Field(ge=1)]
Cpus = Annotated[int, Field(ge=1)]
Gigabytes = Annotated[float, Field(gt=0)]
Labels = Annotated[tuple[Name, ...], BeforeValidator(listed)]
BrokerUrl = Annotated[Secret, BeforeValidator(_broker_url)]
Template = Annotated[str, AfterValidator(_template)]


class Tls(Section):
    """See `site.Tls`."""

    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key, or none of them, are expected")
        return self


class Largest(Section):
    """The most that one task can have."""

    cpus: Cpus | None = None
    ram_gb: Gigabytes | None = None


class Size(Section):
    """A size class: a manager of its own, for tasks of up to so much."""

    cpus: Cpus
    ram_gb: Gigabytes
    slots: Slots | None = None


class Pulsar(Section):
    """A Pulsar. `broker_url`: of the RabbitMQ it listens to, if that is not `rabbitmq.url`. The rest: see `site.Site`.

    `capacity`: `site` if its batch system queues what does not fit; `slots` is then the most that is sent there at a time.
    """

    broker_url: BrokerUrl | None = None
    tls: Tls | None = None
    manager: Annotated[str, Field(min_length=1)] = "_default_"
    key_prefix: Annotated[str, Field(min_length=1)] | None = None
    capacity: Literal["site"] | None = None
    slots: Slots | None = None
    cpus: Cpus | None = None
    ram_gb: Gigabytes | None = None
    largest: Largest = Largest()
    labels: Labels = ()
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    runtime: Runtime
    callback_url: str | None = None
    submit_params: dict[str, Template] = Field(default_factory=dict)
    sizes: dict[Name, Size] = Field(default_factory=dict)

    @property
    def is_uncounted(self) -> bool:
        """Whether nothing was said of what it has."""
        return self.capacity is None and self.slots is None and self.cpus is None and self.ram_gb is None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.capacity is not None and (self.cpus is not None or self.ram_gb is not None):
            raise ValueError("with capacity = 'site' the batch system counts cpus and ram_gb: name slots at most, or largest")
        counted = (self.slots, self.cpus, self.ram_gb, self.largest.cpus, self.largest.ram_gb)
        if self.sizes and any(each is not None for each in counted):
            raise ValueError(
                "with size classes, slots, cpus and ram_gb stand in the tables sizes.NAME, and largest is not used"
            )
        if self.sizes and (_SIZE not in self.manager or self.key_prefix is not None):
            raise ValueError(f"each size class has a manager of its own: write manager = 'name_{_SIZE}', and no key_prefix")
        if not self.sizes and _SIZE in self.manager:
            raise ValueError(f"manager has {_SIZE} in it, so tables named sizes.NAME are expected")
        if self.tls is not None and self.broker_url is not None and not _is_secure(self.broker_url.get_secret_value()):
            raise ValueError("tls is for a broker_url that begins with amqps://")
        return self


def sites(pulsars: Mapping[str, Pulsar], *, broker_url: str, public_url: str | None, own_url: str) -> dict[str, pulsar.Site]:
    """The Pulsars, by name; one with size classes as a Pulsar for each of them, `NAME.SIZE`.

    :param broker_url: the RabbitMQ of those that name no other; :param public_url: how others reach TESPES, if that was set
    :param own_url: where nodes on this machine reach it
    :raises errors.SetupError: a Pulsar elsewhere has no callback_url, tls is for a broker without it, two have the same queues
    """
    found: dict[str, pulsar.Site] = {}
    queues: dict[_Queues, str] = {}
    for name, each in pulsars.items():
        url = each.broker_url.get_secret_value() if each.broker_url else broker_url
        if each.tls is not None and not _is_secure(url):
            raise errors.SetupError(f"pulsars.{name}.tls is for a broker whose URL begins with amqps://")
        callback = (each.callback_url or public_url or _near(name, url, own_url)).rstrip("/")
        for made in _made(name, each, url, callback):
            if made.name in found:
                raise errors.SetupError(f"two Pulsars are called {made.name}: rename pulsars.{name}, or its size class")
            _alone(made, queues)
            found[made.name] = made
    return found


def _near(name: str, url: str, own_url: str) -> str:
    """Where nodes of this machine reach TESPES; those of others need to be told."""
    if urlsplit(url).hostname in _LOOPBACK:
        return own_url
    raise errors.SetupError(
        f"pulsars.{name}.callback_url is missing: its broker is not on this machine, so name the address where its"
        " nodes reach TESPES"
    )


def _alone(made: pulsar.Site, queues: dict[_Queues, str]) -> None:
    other = queues.setdefault(_queues(made), made.name)
    if other != made.name:
        raise errors.SetupError(
            f"pulsars.{other} and pulsars.{made.name} have the same queues and would take each other's messages: give one"
            " of them another vhost (broker_url), manager or key_prefix"
        )


def _queues(made: pulsar.Site) -> _Queues:
    """What tells the queues of one Pulsar from those of another."""
    parts = urlsplit(made.broker_url)
    host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    return host, parts.port or _PORTS[parts.scheme], vhost, wire.prefix(made.manager, made.key_prefix)


def _made(name: str, each: Pulsar, url: str, callback: str) -> tuple[pulsar.Site, ...]:
    whole = pulsar.Site(
        name=name,
        broker_url=url,
        manager=each.manager,
        key_prefix=each.key_prefix,
        slots=_USUAL_SLOTS if each.is_uncounted else each.slots,
        runtime=each.runtime.model_dump(exclude_none=True),
        callback_url=callback,
        cpus=each.cpus,
        ram_gb=each.ram_gb,
        largest=site.Largest(each.largest.cpus, each.largest.ram_gb),
        labels=frozenset(each.labels),
        weight=each.weight,
        submit_params=each.submit_params,
        tls=_tls(each.tls),
    )
    return tuple(_sized(whole, name, size) for name, size in each.sizes.items()) or (whole,)


def _sized(whole: pulsar.Site, name: str, size: Size) -> pulsar.Site:
    return replace(
        whole,
        name=f"{whole.name}.{name}",
        manager=whole.manager.replace(_SIZE, name),
        slots=size.slots or whole.slots,
        largest=site.Largest(size.cpus, size.ram_gb),
        group=whole.name,
    )


def _tls(tls: Tls | None) -> site.Tls | None:
    return site.Tls(*(str(file) if file else None for file in (tls.ca, tls.certificate, tls.key))) if tls else None


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme == "amqps"
