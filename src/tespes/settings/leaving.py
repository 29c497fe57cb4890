"""The time in which a process that is told to stop is gone, divided among those that have something to finish."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leaving:
    """How long each may take, in seconds.

    First requests are answered, while the followers finish; then the log writes what it has begun, and the database is left.

    :param requests_s: until those that came in are answered; :param cut_s: until those that were not are cut off
    :param followers_s: until messages that were heard are settled, leases given back, signs of life told
    :param again_s: after which a follower that goes on is cancelled again
    :param write_s: until the last write is over; :param goodbye_s: until the database is left
    """

    requests_s: float
    cut_s: float
    followers_s: float
    again_s: float
    write_s: float
    goodbye_s: float


def leaving_within(drain_s: float) -> Leaving:
    """The parts of that time: requests, cut (twice, at worst), write and goodbye follow each other and fit it."""
    return Leaving(
        requests_s=0.5 * drain_s,
        cut_s=0.05 * drain_s,
        followers_s=0.35 * drain_s,
        again_s=0.4 * drain_s,
        write_s=0.2 * drain_s,
        goodbye_s=0.1 * drain_s,
    )
