"""The first and the last act of a job: take the order, print the result as one line."""

from __future__ import annotations

import os

from . import attempt, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from . import protocol


def main(order: protocol.Order) -> NoReturn:
    """The attempt's result as the job's only output, a line of ASCII JSON; then the end, with 0 (design, section 6).

    Pulsar sits for ever on a job whose output is not UTF-8: nothing but that line can reach the job's stdout or stderr.
    """
    output = _keep_output_for_the_line()
    _write_all(output, result.line(attempt.perform(order)))
    os._exit(0)  # nothing is left to tidy, and taking the interpreter apart costs a millisecond or two


def _keep_output_for_the_line() -> int:
    output = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    return output


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
