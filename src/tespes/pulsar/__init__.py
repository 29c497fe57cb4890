"""Galaxy Pulsar over RabbitMQ: what is said (wire), the connection (amqp), the job that is sent, the runner's result."""

from tespes.pulsar.job import Terms
from tespes.pulsar.plan import Habits
from tespes.pulsar.promise import Link, Queue
from tespes.pulsar.site import Site

__all__ = ["Habits", "Link", "Queue", "Site", "Terms"]
