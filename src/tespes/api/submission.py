"""A task as a client submits it, read from the body of a request."""

from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from tespes import errors, events, tes
from tespes.api.body import read_object, refuse_nul
from tespes.api.problems import bad_request
from tespes.flow import texts
from tespes.store.appender import COMMIT_BYTES
from tespes.tes import parameters, rules

_NUL = b"\\u0000"
_SURELY_LARGE_BYTES = 2 * COMMIT_BYTES
_SURELY_SMALL_BYTES = COMMIT_BYTES // 4  # what TESPES fills in makes a task at most twice as long


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was asked for.

    :param notes: what of it is not heeded, in words
    """

    task: tes.Task
    notes: tuple[str, ...] = ()


def read_task(body: bytes) -> Submitted:
    """The task in a request's body.

    :raises errors.BadRequest: it is none, or it can never work, and where
    """
    sent = read_object(body)
    if len(body) > _SURELY_LARGE_BYTES:
        _refuse_far_too_large(sent)
    try:
        task = tes.Task.model_validate(sent)
    except ValidationError as error:
        raise bad_request(error) from error
    if _NUL in body:
        refuse_nul(task.document())
    rules.check(task)
    submitted = Submitted(task, parameters.tag_notes(task.tags))
    if task.resources is not None:
        resources, notes = parameters.heeded(task.resources)
        submitted = Submitted(task.model_copy(update={"resources": resources}), (*notes, *submitted.notes))
    if len(body) > _SURELY_SMALL_BYTES:
        _refuse_too_large(submitted, len(body))
    return submitted


def _refuse_far_too_large(sent: dict[str, Any]) -> None:
    """What will never fit is not looked at in detail: that would take seconds."""
    known = {name: value for name, value in sent.items() if name in tes.Task.model_fields}
    if isinstance(known.get("inputs"), list):
        known["inputs"] = [{**each, "content": ""} if isinstance(each, dict) else each for each in known["inputs"]]
    parts = {name: len(orjson.dumps(value)) for name, value in known.items()}
    if sum(parts.values()) > _SURELY_LARGE_BYTES:
        raise _too_large(sum(parts.values()), parts)


def _refuse_too_large(submitted: Submitted, sent_bytes: int) -> None:
    """The task must fit one commit of the log; long contents do not count, they are kept elsewhere."""
    lengths = (len(each.content or "") for each in submitted.task.inputs or ())
    if sent_bytes - sum(length for length in lengths if length > texts.INLINE_BYTES) <= _SURELY_SMALL_BYTES:
        return
    shortened, long = texts.without_contents(submitted.task)
    created = events.TaskCreated(task=shortened, kept=tuple(kept for kept, _ in long), notes=submitted.notes)
    size_bytes = len(events.encode(created).data.encode())
    if size_bytes > COMMIT_BYTES:
        raise _too_large(size_bytes, {name: len(orjson.dumps(part)) for name, part in shortened.document().items()})


def _too_large(size_bytes: int, parts: dict[str, int]) -> errors.BadRequest:
    largest = max(parts, key=lambda name: parts[name])
    found = f"a task of {size_bytes:,} bytes, {parts[largest]:,} of them in {largest}"
    beside = f"beside contents of inputs of more than {texts.INLINE_BYTES:,} bytes"
    return errors.BadRequest(largest, found, f"at most {COMMIT_BYTES:,} bytes are expected, {beside}")
