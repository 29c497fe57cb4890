"""A Pulsar as the settings name it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Site:
    """One manager of one Pulsar.

    :param name: what it is called in events and logs
    :param broker_url: AMQP URL of the RabbitMQ that it listens to, with vhost
    :param manager: the manager's name in Pulsar; :param key_prefix: Pulsar's `amqp_key_prefix`, if it has one
    :param slots: how many attempts may be there at a time
    :param runtime: for the runner: `kind` (docker, podman, apptainer or sandbox) and what belongs to it
    :param callback_url: where the site's nodes reach TESPES
    """

    name: str
    broker_url: str
    manager: str
    key_prefix: str | None
    slots: int
    runtime: dict[str, Any]
    callback_url: str

    @property
    def runtime_kind(self) -> str:
        """What runs the executors there."""
        return str(self.runtime["kind"])
