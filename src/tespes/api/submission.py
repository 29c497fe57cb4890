"""A task as a client submits it, read from the body of a request."""

from typing import Any

from pydantic import ValidationError

from tespes import errors, tes
from tespes.api.problems import bad_request

_NUL = b"\\u0000"


def read_task(body: bytes) -> tes.Task:
    """The task in a request's body.

    :raises errors.BadRequest: it is none, and where
    """
    try:
        task = tes.Task.model_validate_json(body)
    except ValidationError as error:
        raise bad_request(error) from error
    if _NUL in body:
        _refuse_nul(task.document(), "")
    resources = task.resources
    if resources and resources.backend_parameters_strict and resources.backend_parameters:
        found = ", ".join(resources.backend_parameters)
        raise errors.BadRequest("resources.backend_parameters", found, "this release supports none, and they are strict")
    return task


def _refuse_nul(value: Any, field: str) -> None:
    """NUL can be in no path, argument or variable. (The body may also spell a backslash before `u0000`: that is fine.)"""
    if isinstance(value, str) and "\0" in value:
        raise errors.BadRequest(field, "a NUL character", "text without NUL is expected")
    if isinstance(value, dict):
        for name, entry in value.items():
            _refuse_nul(name, field)
            _refuse_nul(entry, f"{field}.{name}".lstrip("."))
    if isinstance(value, list):
        for index, entry in enumerate(value):
            _refuse_nul(entry, f"{field}.{index}".lstrip("."))
