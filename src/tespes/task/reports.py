"""Starts and ends of executors: in order or not at all, each once, however often they are told."""

from dataclasses import replace

from tespes import events
from tespes.task import commands
from tespes.task.state import Claimed

Reported = tuple[events.Event, ...]


def started(claimed: Claimed, command: commands.ReportStart) -> Reported:
    """In order or not at all: what a lost report leaves out, the result brings."""
    if command.executor != claimed.started or claimed.ended != claimed.started or _is_over(claimed):
        return ()
    return (events.ExecutorStarted(attempt=command.attempt, executor=command.executor, at=command.at),)


def ended(claimed: Claimed, told: events.ExecutorEnded) -> Reported:
    """The end, with the start that was lost if it was."""
    if told.executor != claimed.ended or claimed.started > told.executor + 1 or _is_over(claimed):
        return ()
    if claimed.started > told.executor:
        return (told,)
    return (events.ExecutorStarted(attempt=told.attempt, executor=told.executor, at=told.started_at), told)


def missing(claimed: Claimed, result: commands.Result) -> Reported:
    """The executors that the reports left out, each once and in order."""
    brought: Reported = ()
    for each in result.executors:
        if more := ended(claimed, each):
            brought += more
            claimed = replace(claimed, started=each.executor + 1, ended=each.executor + 1)
    return brought


def _is_over(claimed: Claimed) -> bool:
    """Whether all executors of the task ended: there are no more, whatever a runner says."""
    return claimed.ended >= len(claimed.order.ignore_errors)
