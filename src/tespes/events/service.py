"""What can happen to the service rather than to a task, in streams of its own: their names have a colon.

The rules of `types` hold here too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PulsarDrained:
    """An operator wants no further attempt at that Pulsar; those that are there go on. In the stream `pulsar:<name>`."""

    pulsar: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PulsarEnabled:
    """An operator wants attempts at that Pulsar again. In the stream `pulsar:<name>`."""

    pulsar: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTaken:
    """A process began to do what one process alone may do. In the stream `lease:<name>`, whose version is its fence.

    Whatever another process, which did it before, still wants to append for it is refused from now on.

    :param name: what is done, for example `dispatch`; :param holder: host, process and a random part
    """

    name: str
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSigned:
    """The log is sealed up to that position: without the key nobody changes, or cuts off, what is before it unseen.

    In the stream `log:heads`.

    :param position: of the last commit that is sealed, and `hash` of that commit; :param first: of the first one that
        the seal before does not cover
    :param root: of the Merkle tree over the hashes of the commits from `first` to `position`, see `seal`; hexadecimal
    :param key: the public key, Ed25519, and `signature` of what `seal.signed` makes of all this; hexadecimal
    """

    first: int
    position: int
    hash: str
    root: str
    key: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRestored:
    """The log goes on from a backup: what came after that position before, if anything did, is not known any more.

    Whoever has events of this log with a higher sequence than that, and other ids, has what never happened for it. In the
    stream `log:restores`.

    :param position: of the last commit that the backup had, and `hash` of that commit
    """

    position: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParked:
    """A webhook refused its events for too long and gets no more of them until it is resumed. In the stream `webhook:<name>`.

    :param position: of the event that it did not take
    """

    webhook: str
    position: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookResumed:
    """An operator wants a parked webhook to get its events again, from the one on that it did not take.

    In the stream `webhook:<name>`.
    """

    webhook: str


ServiceEvent = PulsarDrained | PulsarEnabled | LeaseTaken | HeadSigned | LogRestored | WebhookParked | WebhookResumed
