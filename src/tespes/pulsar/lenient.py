"""Message properties that the AMQP library cannot read (a time beyond the year 9999, text that is no UTF-8) are none.

RabbitMQ takes them from any publisher. The library (pamqp 4.0) ends the connection over them, and the broker brings the same
message again on the next one: a single message would make TESPES deaf for ever. So the message comes, marked as unreadable.
"""

import struct

from pamqp import commands, header

UNREADABLE = "tespes-unreadable"
_unmarshal = header.ContentHeader.unmarshal


def read_any_properties() -> None:
    """From now on; again: nothing."""
    header.ContentHeader.unmarshal = _read  # type: ignore[method-assign]


def _read(self: header.ContentHeader, data: bytes) -> None:
    """As the library does. The body's size comes before the properties, so that it is known in any case."""
    try:
        _unmarshal(self, data)
    except (struct.error, ValueError) as error:
        self.properties = commands.Basic.Properties(headers={UNREADABLE: str(error)})
