"""What a task asks of this server beyond the standard's fields: backend parameters, and the tags `tespes.*`.

A backend parameter with a value that it cannot have is refused. Tags are the users' own free text: one that cannot be heeded
is a line in system_logs.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from tespes import errors
from tespes.errors import quoted
from tespes.tes import limits as time_limits
from tespes.tes.task import Resources, Task

MAX_ATTEMPTS = range(1, 11)
PRIORITIES = range(-1000, 1001)
PREEMPTIBLE_ATTEMPTS = 3
LABELS_TAG = "tespes.labels"
PULSAR_TAG = "tespes.pulsar"

_FIELD = "resources.backend_parameters"
_FOUND_CHARACTERS = 80
_NOTES_MAX = 20
_LABELS_MAX = 32
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_NAME_WORDS = "a name of 1 to 255 letters, digits, '_', '.' and '-' is expected"
_SECONDS_WORDS = "a whole number of seconds, from 1 to 999,999,999, as a text, is expected"
_LABELS_WORDS = f"at most {_LABELS_MAX} names of letters, digits, '_', '.' and '-', with commas between them, are expected"
_ZONES = "zones are not used here: the sites of this server are its Pulsars"


def max_attempts(resources: Resources | None) -> int:
    """How many attempts a task may use up once its commands began: users' commands are not idempotent."""
    if resources is None:
        return 1
    asked = _whole(_sent(resources, "max_attempts"), MAX_ATTEMPTS)
    return asked or (PREEMPTIBLE_ATTEMPTS if resources.preemptible else 1)


def priority(resources: Resources | None) -> int:
    """Whose turn it is among tasks that wait: the higher goes first."""
    return _whole(_sent(resources, "priority"), PRIORITIES) or 0


def limits(resources: Resources | None) -> time_limits.Limits:
    """How long the task may take, as far as it says."""
    return time_limits.read((resources.backend_parameters if resources else None) or {})


def labels(task: Task) -> frozenset[str]:
    """The labels that its Pulsar must have: by the backend parameter, else by the tag."""
    return _labels(_sent(task.resources, "labels") or (task.tags or {}).get(LABELS_TAG, "")) or frozenset()


def pulsar(task: Task) -> str | None:
    """The Pulsar that it wants: by the backend parameter, else by the tag."""
    return _name(_sent(task.resources, "pulsar") or (task.tags or {}).get(PULSAR_TAG, ""))


def heeded(resources: Resources) -> tuple[Resources, tuple[str, ...]]:
    """The resources with the backend parameters that are supported, and a note for whatever has no effect.

    Keys are read whatever their case, and kept in lower case (TES 1.1, tesResources.backend_parameters).

    :raises errors.BadRequest: one is not supported although they are strict, is there twice, or has a value it cannot have
    """
    notes = (_ZONES,) if resources.zones else ()
    if not resources.backend_parameters:
        return resources, notes
    kept, unsupported = _sifted(resources.backend_parameters, strict=bool(resources.backend_parameters_strict))
    for name, value in kept.items():
        wrong = _PARAMETERS[name](value)
        if wrong is not None:
            raise errors.BadRequest(f"{_FIELD}.{name}", quoted(value), wrong)
    return resources.model_copy(update={"backend_parameters": kept}), (*notes, *_notes(unsupported))


def _sifted(sent: Mapping[str, str], *, strict: bool) -> tuple[dict[str, str], list[str]]:
    """What is supported, in lower case, and the names of the rest."""
    unsupported = [name for name in sent if name.lower() not in SUPPORTED_BACKEND_PARAMETERS]
    if unsupported and strict:
        found = ", ".join(map(quoted, unsupported[:_NOTES_MAX]))
        known = ", ".join(SUPPORTED_BACKEND_PARAMETERS)
        allowed = f"only what is supported is expected, since backend_parameters_strict is true: {known}"
        raise errors.BadRequest(_FIELD, found, allowed)
    for name, times in Counter(map(str.lower, sent)).items():
        if times > 1:
            same = ", ".join(quoted(each) for each in sent if each.lower() == name)
            raise errors.BadRequest(_FIELD, same, "keys that differ in more than upper and lower case are expected")
    kept = {name.lower(): value for name, value in sent.items() if name.lower() in SUPPORTED_BACKEND_PARAMETERS}
    return kept, unsupported


def tag_notes(tags: Mapping[str, str] | None) -> tuple[str, ...]:
    """A note for each tag of ours that cannot be heeded."""
    wrong = ((name, allowed(tags[name])) for name, allowed in _TAGS.items() if tags and name in tags)
    return tuple(f"the tag {name} was not used: {words}" for name, words in wrong if words is not None)


def _sent(resources: Resources | None, name: str) -> str:
    return (resources.backend_parameters or {}).get(name, "") if resources else ""


def _whole(text: str, allowed: range) -> int | None:
    """The whole number that the text is; None if it is none, or not allowed."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(allowed[-1]))):
        return None
    return int(text) if int(text) in allowed else None


def _labels(text: str) -> frozenset[str] | None:
    names = [each.strip() for each in text.split(",")]
    fit = len(names) <= _LABELS_MAX and all(_NAME.fullmatch(name) for name in names)
    return frozenset(names) if fit else None


def _name(text: str) -> str | None:
    return text if _NAME.fullmatch(text) else None


def _number(allowed: range) -> Callable[[str], str | None]:
    words = f"a whole number from {allowed[0]:,} to {allowed[-1]:,}, as a text, is expected"
    return lambda text: words if _whole(text, allowed) is None else None


def _seconds_allowed(text: str) -> str | None:
    return _SECONDS_WORDS if time_limits.seconds(text) is None else None


def _labels_allowed(text: str) -> str | None:
    return _LABELS_WORDS if _labels(text) is None else None


def _name_allowed(text: str) -> str | None:
    return _NAME_WORDS if _name(text) is None else None


# What each takes: the words that say so, of a value that it cannot have; None of one that it can.
_PARAMETERS: dict[str, Callable[[str], str | None]] = {
    "max_attempts": _number(MAX_ATTEMPTS),
    "priority": _number(PRIORITIES),
    "labels": _labels_allowed,
    "pulsar": _name_allowed,
    **dict.fromkeys(time_limits.NAMES, _seconds_allowed),
}
_TAGS = {LABELS_TAG: _labels_allowed, PULSAR_TAG: _name_allowed}

SUPPORTED_BACKEND_PARAMETERS = tuple(_PARAMETERS)


def _notes(unsupported: list[str]) -> Iterable[str]:
    for name in unsupported[:_NOTES_MAX]:
        shown = name if len(name) <= _FOUND_CHARACTERS else f"{name[:_FOUND_CHARACTERS]}…"
        yield f"the backend parameter {shown} is not supported and was not used"
    if len(unsupported) > _NOTES_MAX:
        yield f"{len(unsupported) - _NOTES_MAX:,} more backend parameters are not supported and were not used"
