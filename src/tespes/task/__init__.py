"""How a task behaves: commands, situations, what follows from a command, what to do next."""

from tespes.task.commands import Command
from tespes.task.decide import Decision, decide
from tespes.task.next_step import Contact, Patience, next_step
from tespes.task.state import State, evolve, fold, tes_state

__all__ = ["Command", "Contact", "Decision", "Patience", "State", "decide", "evolve", "fold", "next_step", "tes_state"]
