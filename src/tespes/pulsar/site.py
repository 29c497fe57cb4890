"""A Pulsar as the settings name it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tespes.task.placement import Offer, megabytes


@dataclass(frozen=True, slots=True)
class Tls:
    """What an amqps broker is trusted by, and told who TESPES is with: files in PEM.

    :param ca: certificates to trust beside none else; None is the system's
    :param certificate: TESPES's own, if the broker wants one; :param key: its key
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Largest:
    """The most that one task can have; None is what the Pulsar has."""

    cpus: int | None = None
    ram_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """One manager of one Pulsar.

    :param name: what it is called in events and logs
    :param broker_url: AMQP URL of the RabbitMQ that it listens to, with vhost
    :param manager: the manager's name in Pulsar; :param key_prefix: Pulsar's `amqp_key_prefix`, if it has one
    :param slots: how many attempts may be there at a time; None is as many as there are
    :param runtime: for the runner: `kind` (docker, podman, apptainer or sandbox) and what belongs to it
    :param callback_url: where the site's nodes reach TESPES
    :param cpus, ram_gb: of all its attempts together, None is no limit; :param largest: of one
    :param labels: what tasks can ask for; :param weight: see `placement.Offer`
    :param group: the Pulsar of the settings, if this is one of its size classes
    :param submit_params: templates of what its batch system is told of each job, see `batch`
    """

    name: str
    broker_url: str
    manager: str
    key_prefix: str | None
    slots: int | None
    runtime: dict[str, Any]
    callback_url: str
    cpus: int | None = None
    ram_gb: float | None = None
    largest: Largest = Largest()
    labels: frozenset[str] = frozenset()
    weight: float = 1.0
    group: str | None = None
    submit_params: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None

    @property
    def runtime_kind(self) -> str:
        """What runs the executors there."""
        return str(self.runtime["kind"])

    @property
    def offer(self) -> Offer:
        """What it has, for placement."""
        largest = self.largest
        return Offer(
            group=self.group or self.name,
            places=self.slots,
            cpus=self.cpus,
            ram_mb=megabytes(self.ram_gb) if self.ram_gb is not None else None,
            largest_cpus=largest.cpus,
            largest_ram_mb=megabytes(largest.ram_gb) if largest.ram_gb is not None else None,
            labels=self.labels,
            weight=self.weight,
        )
