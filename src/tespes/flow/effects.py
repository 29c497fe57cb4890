"""What dispatch does about a task: a step becomes events, or messages to its Pulsar and a note that they were sent."""

from collections.abc import Mapping
from dataclasses import dataclass

from tespes import errors
from tespes.flow.execute import By, KnownTask, Tasks
from tespes.flow.lead import Lease
from tespes.flow.pulsars import Pulsars
from tespes.flow.watch import Watch
from tespes.pulsar import Link, Terms, batch, job
from tespes.task import Patience, commands
from tespes.task.state import Attempt
from tespes.task.steps import Ask, Delay, Expire, GiveUp, Kill, Send
from tespes.tes import limits

_ACTOR = "tespes:dispatch"

Effect = Send | Ask | Kill | Delay | GiveUp | Expire


@dataclass(frozen=True, slots=True)
class Means:
    """What dispatch works with.

    :param links: to the Pulsars, by name; :param pulsars: which of them can be used
    :param key: what attempts' tokens are derived from
    """

    links: Mapping[str, Link]
    pulsars: Pulsars
    key: bytes
    terms: Terms
    patience: Patience


class Effects:
    """The hand of the dispatcher that holds this lease: without it, it moves nothing."""

    def __init__(self, tasks: Tasks, watch: Watch, means: Means, lease: Lease) -> None:
        self._tasks = tasks
        self._watch = watch
        self._means = means
        self._lease = lease
        self._by = By(_ACTOR, fence=lease.fence)

    async def do(self, known: KnownTask, effect: Effect) -> None:
        """Do it.

        :raises errors.LeaseLost: another process does it now
        :raises errors.Unavailable: it could not be done now
        """
        match effect:
            case Send() | Ask() | Kill():
                await self._say(known, effect)
            case Delay(attempt, reason):
                await self.order(known.id, commands.DelayAttempt(attempt=attempt.number, reason=reason))
            case GiveUp(attempt, reason):
                await self.order(known.id, commands.GiveUpAttempt(attempt=attempt.number, reason=reason))
            case Expire(reason, claimed):
                await self.order(known.id, commands.ExpireTask(reason=reason, claimed=claimed))

    async def schedule(self, task_id: str, pulsar: str) -> None:
        """The task goes to that Pulsar; raises as `do` does."""
        runtime = self._means.links[pulsar].site.runtime_kind
        await self.order(task_id, commands.ScheduleAttempt(task_id=task_id, pulsar=pulsar, runtime=runtime))

    async def defer(self, task_id: str, reason: str) -> None:
        """The task waits, for this reason; raises as `do` does."""
        await self.order(task_id, commands.DeferTask(reason=reason))

    async def order(self, task_id: str, command: commands.Command) -> None:
        """Give a command; raises as `do` does."""
        self._hold()
        await self._tasks.execute(task_id, command, self._by)

    async def _say(self, known: KnownTask, effect: Send | Ask | Kill) -> None:
        link, job_id = self._link(effect.attempt), effect.attempt.job_id
        try:
            match effect:
                case Send(attempt):
                    await self._send(known, attempt)
                    self._watch.said(known.id, sent=1)
                case Ask():
                    await link.ask(job_id)
                    self._watch.said(known.id, asked=1)
                case Kill():
                    await link.kill(job_id)
                    self._watch.said(known.id, killed=1)
        except errors.BrokerUnavailable:
            self._watch.failed(known.id)
            raise

    async def _send(self, known: KnownTask, attempt: Attempt) -> None:
        link, means = self._link(attempt), self._means
        token = job.token(means.key, attempt.job_id)
        running_s = limits.stricter(known.state.order.limits, means.patience.limits).running_s
        told = batch.Job(known.id, known.owner, known.submitted.resources, running_s)
        command_line = job.command_line(attempt.job_id, link.site.callback_url, token, means.terms)
        await link.submit(attempt.job_id, command_line, batch.submit_params(link.site.submit_params, told))

    def _link(self, attempt: Attempt) -> Link:
        self._hold()
        return self._means.links[attempt.pulsar]

    def _hold(self) -> None:
        if not self._lease.is_held:
            raise errors.LeaseLost("another process may dispatch now")
