"""What a site's batch system is told of each job: Pulsar's `submit_params`, made from templates of the settings.

A template is a text with fields in braces: `--cpus-per-task={cpus} --mem={ram_mb} [--account {owner}]`. What stands in
brackets is one piece, else each word is; a piece with a field whose value is not known is left out, and so is an entry of
which nothing stays. A bracket that is meant is written twice: `[-R rusage[[mem={ram_mb}]]]`.

Only digits, letters and `_.-` can come in by a field, none of them as a `-` at its beginning: no shell and no batch system
sees anything else in it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tespes import tes

STOPPING_S = 300
FIELDS = ("cpus", "ram_mb", "ram_gb", "disk_gb", "minutes", "seconds", "owner", "task")

_DOUBLED = (("[[", "\x01"), ("]]", "\x02"))
_PIECE = re.compile(r"\[[^][]*\]|[^][\s]+|\s+")
_FIELD = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|^[.-]")


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of a job.

    :param running_s: how long its task may run, if there is a limit
    """

    task_id: str
    owner: str
    resources: tes.Resources | None
    running_s: float | None


def submit_params(templates: Mapping[str, str], job: Job) -> dict[str, str]:
    """The parameters of that job, by the names that the templates have."""
    values = _values(job)
    filled = {name: _filled(template, values) for name, template in templates.items()}
    return {name: text for name, text in filled.items() if text}


def check(template: str) -> None:
    """Nothing, if it is a template.

    :raises ValueError: it is none, and why
    """
    for piece in _pieces(template):
        strange = [name for name in _FIELD.findall(piece) if name not in FIELDS]
        if strange or set("{}") & set(_FIELD.sub("", piece)):
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f"there is no field {{{strange[0]}}}: {known}" if strange else f"a brace is no field: {known}")


def _pieces(template: str) -> list[str]:
    """The blanks, words and bracketed pieces, one after the other."""
    for doubled, mark in _DOUBLED:
        template = template.replace(doubled, mark)
    pieces = _PIECE.findall(template)
    if "".join(pieces) != template:
        raise ValueError("brackets come in pairs and not in one another; one that is meant is written twice")
    return pieces


def _values(job: Job) -> dict[str, str]:
    """Each field that is known, as it is written. The time leaves the runner some to stop, store and report by itself."""
    asked = job.resources or tes.Resources()
    time_s = math.ceil(job.running_s) + STOPPING_S if job.running_s else None
    known = {
        "cpus": asked.cpu_cores,
        "ram_mb": math.ceil(asked.ram_gb * 1000) if asked.ram_gb else None,
        "ram_gb": math.ceil(asked.ram_gb) if asked.ram_gb else None,
        "disk_gb": math.ceil(asked.disk_gb) if asked.disk_gb else None,
        "minutes": math.ceil(time_s / 60) if time_s else None,
        "seconds": time_s,
    }
    numbers = {name: str(value) for name, value in known.items() if value}
    texts = {"owner": _UNSAFE.sub("_", job.owner), "task": _UNSAFE.sub("_", job.task_id)}
    return numbers | {name: text for name, text in texts.items() if text}


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The pieces that can be filled, with one blank where there were some."""
    pieces = [piece for piece in _pieces(template) if all(name in values for name in _FIELD.findall(piece))]
    text = " ".join("".join(piece[1:-1] if piece[0] == "[" else piece for piece in pieces).split())
    for doubled, mark in _DOUBLED:
        text = text.replace(mark, doubled[0])
    return _FIELD.sub(lambda field: values[field[1]], text)
