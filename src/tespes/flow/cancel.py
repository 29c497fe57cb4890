"""A cancel that is answered when the task is over, if that does not take long (TES 1.1, CancelTask).

Most clients do not know the state CANCELING: with a short wait they rarely see it.
"""

import asyncio

from tespes.flow.bell import Bell
from tespes.flow.execute import By, Tasks
from tespes.flow.follow import wait
from tespes.task import commands
from tespes.task.state import Ended


async def cancel(tasks: Tasks, bell: Bell, task_id: str, by: By, wait_s: float) -> None:
    """The cancel is in the log; and the task is over, or `wait_s` have gone by.

    :raises errors.NotFound: there is no such task
    """
    deadline = asyncio.get_running_loop().time() + wait_s
    with bell.listening(task_id) as rung:
        known = await tasks.execute(task_id, commands.CancelTask(), by)
        while not isinstance(known.state, Ended):
            left_s = deadline - asyncio.get_running_loop().time()
            if bell.closed or left_s <= 0 or not await wait(rung, left_s):
                return
            rung.clear()
            known = await tasks.load(task_id) or known
