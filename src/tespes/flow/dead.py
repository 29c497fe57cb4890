"""The dead letters of all brokers that Pulsars listen to: what operators look at and send on its way again."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from tespes import errors
from tespes.pulsar import Site
from tespes.pulsar.dead import DeadLetters, Letter, Retried

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at all brokers found.

    :param away: the brokers that did not answer, and why: their letters are not among these
    """

    letters: tuple[Letter, ...]
    away: tuple[str, ...]


class DeadOffice:
    """Where dead letters are kept: in the queue `tespes.dead` of each broker."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self._kept = [DeadLetters(url, tls) for url, tls in {site.broker_url: site.tls for site in sites}.items()]

    async def look(self) -> Found:
        """All letters, oldest first."""
        found = await asyncio.gather(*(each.look() for each in self._kept), return_exceptions=True)
        letters: list[Letter] = []
        away: list[str] = []
        for answer in found:
            if isinstance(answer, errors.BrokerUnavailable):
                away.append(str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                letters += answer
        return Found(tuple(sorted(letters, key=lambda letter: letter.at)), tuple(away))

    async def show(self, letter_id: str) -> Letter:
        """The letter of that id.

        :raises errors.NotFound: there is none
        :raises errors.BrokerUnavailable: there is none at those brokers that answer
        """
        found = await self.look()
        for letter in found.letters:
            if letter.id == letter_id:
                return letter
        if found.away:
            raise errors.BrokerUnavailable("; ".join(found.away))
        raise errors.NotFound(f"there is no dead letter {letter_id}")

    async def retry(self, letter_id: str | None) -> Retried:
        """Put that letter, or all of them, back into the queues that they came from.

        :raises errors.NotFound: there is no such letter
        :raises errors.BrokerUnavailable: a broker does not answer; letters of others may be on their way
        """
        done = Retried((), ())
        for each in self._kept:
            more = await each.retry(lambda letter: letter_id is None or letter.id == letter_id)
            done = Retried(done.sent + more.sent, done.kept + more.kept)
        if letter_id is not None and not done.sent and not done.kept:
            raise errors.NotFound(f"there is no dead letter {letter_id}")
        _log.info("dead letters go back to their queues", letters=len(done.sent), kept=len(done.kept))
        return done
