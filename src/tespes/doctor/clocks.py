"""Clocks: that of this machine beside those of whoever else writes down times, signs requests, or checks signatures."""

from typing import Final

from tespes.doctor.finding import Finding, ok, problem, warning

_LOOK_S: Final = 10.0
_WRONG_S: Final = 300.0  # from there on storages refuse signatures, and certificates seem too old or too new
_ADVICE: Final = "set one of the two by NTP"


def compared(whose: str, theirs: float, begun: float, ended: float) -> Finding:
    """Whether two clocks agree.

    :param theirs: what the other clock said, seconds since 1970, somewhere between `begun` and `ended` of ours
    """
    about = f"clock of {whose}"
    off_s = theirs - ended if theirs > ended else min(theirs - begun, 0.0)
    if abs(off_s) < _LOOK_S:
        return ok(about, "agrees with that of this machine")
    said = f"is {abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} that of this machine: {_ADVICE}"
    return problem(about, said) if abs(off_s) >= _WRONG_S else warning(about, said)
