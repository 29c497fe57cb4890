"""Everything TESPES raises, on one tree.

    TespesError
    ├── RequestError               the client's fault: mend the request
    │   ├── BadRequest                 a field or parameter is wrong (names it)
    │   ├── NotFound                   no such task, job or route
    │   ├── Unauthorized               a runner's token is missing or wrong
    │   ├── Forbidden                  a page of another origin wants something done
    │   ├── AttemptGone                this attempt ended, was canceled or is another run's: the runner stops
    │   └── IdempotencyConflict        the same commit id with other data
    ├── TransferError              storage's fault: the file does not come or go
    │   ├── TransferRefused            asking again does not help (no such file, no such login)
    │   ├── TransferInterrupted        asking again may help (connection lost, server busy)
    │   └── TransferPostponed          nothing is wrong: as many files move as are allowed at a time
    ├── Unavailable                the surroundings' fault: try again later
    │   ├── StoreUnavailable           the database does not answer or its disk is full
    │   │   └── WriteUnconfirmed           nobody knows whether it wrote: asking again may do it twice
    │   └── BrokerUnavailable          RabbitMQ does not answer or did not confirm
    ├── VersionConflict            nobody's fault: another command came first; reload and decide again
    ├── LeaseLost                  nobody's fault: another process does now what one alone may do
    ├── CorruptLog                 the log does not verify (names the position)
    ├── Unfoldable                 a read model cannot take an event, and a rebuild must take all (names the position)
    ├── UnknownEvent               an event type or version that this TESPES does not know
    └── SetupError                 the operator's: one line that names the thing and what to do

`api/problems.py` turns them into status codes; `__main__.py` prints a SetupError as one line.
"""

from dataclasses import dataclass

_FOUND_CHARACTERS = 80


class TespesError(Exception):
    """Anything that TESPES raises on purpose; its text is meant for a person."""


class RequestError(TespesError):
    """The request cannot be served as it stands."""


@dataclass
class BadRequest(RequestError):
    """A field or parameter is wrong.

    :param field: where, as a path such as `inputs.0.path`; empty for the whole body
    :param found: what was there, cut to a readable length
    :param allowed: what is allowed
    """

    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = self.field or "the body"
        return f"{where}: found {self.found}; {self.allowed}"


def quoted(value: object) -> str:
    """What was found, for a person: as it would stand in JSON, or what it is, cut to a readable length."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str() if len(value) > _FOUND_CHARACTERS:
            return f"{value[:_FOUND_CHARACTERS]!r}… ({len(value):,} characters)"
        case _:
            return repr(value)


class NotFound(RequestError):
    """There is no such thing."""


class Unauthorized(RequestError):
    """The token does not open this attempt."""


class Forbidden(RequestError):
    """Whoever asks may not; asking again does not help."""


class AttemptGone(RequestError):
    """The attempt is over for this caller, who must stop at once."""


class IdempotencyConflict(RequestError):
    """The same commit id was already used for other events."""


class TransferError(TespesError):
    """A file did not come from, or go to, its storage. The text has no credentials in it."""


class TransferRefused(TransferError):
    """The storage said no; repeating the request does not help."""


class TransferInterrupted(TransferError):
    """The transfer broke; repeating the request may help."""


class TransferPostponed(TransferError):
    """The storage has as many connections of TESPES as it may have: asking again later helps, however often."""


class Unavailable(TespesError):
    """Something that TESPES needs is away for the moment."""


class StoreUnavailable(Unavailable):
    """The database does not answer, or cannot write."""


class WriteUnconfirmed(StoreUnavailable):
    """The database got a write and does not say what became of it: it may be in the log, now or soon."""


class BrokerUnavailable(Unavailable):
    """RabbitMQ does not answer, or did not confirm a message."""


class VersionConflict(TespesError):
    """Another commit took this version of the stream."""


class LeaseLost(TespesError):
    """Another process has taken the lease: what this one still wants to do for it is not done, unless the text says more."""


class CorruptLog(TespesError):
    """The log contradicts itself; nothing is read past this point."""


class Unfoldable(TespesError):
    """A rebuild meets an event that its read model cannot take."""


class UnknownEvent(TespesError):
    """An event of a type or version that this release does not know."""


class SetupError(TespesError):
    """TESPES cannot start: one line that names the thing and what to do about it."""
