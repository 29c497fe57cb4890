"""Old versions of events, lifted to today's on reading; what is stored is never rewritten.

An entry `("TaskCreated", 1): function` takes the data of version 1 and answers the data of version 2.
"""

from collections.abc import Callable, Mapping
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]


def _late_message_1(data: Data) -> Data:
    """Who says a word was never in doubt: `lost` and three more are Pulsar's, the others are runners' outcomes."""
    is_pulsars = data["status"] in {"complete", "failed", "cancelled", "lost"}
    return {**data, "source": "pulsar" if is_pulsars else "runner"}


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {("LateMessageRecorded", 1): _late_message_1}


def lift(name: str, version: int, data: Data, *, to: int, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Data:
    """The data of an event, from its stored version to version `to`, one step at a time.

    :raises KeyError: a step between the two is missing
    """
    for step in range(version, to):
        data = upcasters[name, step](data)
    return data
