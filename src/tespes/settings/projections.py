"""The read models of this TESPES: its own, and those that the site names as `package.module:NAME`."""

import importlib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from tespes import errors
from tespes.projections import READ_MODELS, ReadModel


def _reference(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", value):
        raise ValueError("the name of a read model is expected, as package.module:NAME")
    return value


Reference = Annotated[str, AfterValidator(_reference)]


def read_models(references: Iterable[str]) -> tuple[ReadModel, ...]:
    """All of them, TESPES's own first.

    :raises errors.SetupError: one of the site's is not there, or is none
    """
    found = list(READ_MODELS)
    for reference in references:
        model = _read(reference)
        if model.name in {each.name for each in found}:
            raise errors.SetupError(f"projections: {reference} is called {model.name}, as another read model is: rename it")
        found.append(model)
    return tuple(found)


def _read(reference: str) -> ReadModel:
    module, _, name = reference.partition(":")
    try:
        model = getattr(importlib.import_module(module), name)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise errors.SetupError(f"projections: {reference} cannot be used ({what}): mend it, or PYTHONPATH") from error
    if not isinstance(model, ReadModel):
        raise errors.SetupError(f"projections: {reference} is no tespes.projections.ReadModel")
    if model.name.startswith(("parked_", "landmark_")) or model.generation is not None:
        raise errors.SetupError(f"projections: {reference} has a name, or a generation, that TESPES keeps for itself")
    return model
