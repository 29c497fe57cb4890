"""How a task behaves: commands, situations, what follows from a command, what to do next."""

from tespes.task.commands import Command
from tespes.task.decide import Decision, decide
from tespes.task.evolve import evolve, fold
from tespes.task.next_step import next_step
from tespes.task.state import State, tes_state
from tespes.task.steps import Contact, Patience, Reach, Step

__all__ = [
    "Command",
    "Contact",
    "Decision",
    "Patience",
    "Reach",
    "State",
    "Step",
    "decide",
    "evolve",
    "fold",
    "next_step",
    "tes_state",
]
