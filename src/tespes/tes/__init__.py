"""The standard's words: GA4GH TES 1.1, and nothing of TESPES."""

from tespes.tes.task import (
    TERMINAL,
    Executor,
    FileType,
    Input,
    Output,
    Resources,
    State,
    Task,
)
from tespes.tes.views import Showing, View, states_shown_as

__all__ = [
    "TERMINAL",
    "Executor",
    "FileType",
    "Input",
    "Output",
    "Resources",
    "Showing",
    "State",
    "Task",
    "View",
    "states_shown_as",
]
