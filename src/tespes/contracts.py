"""The contracts that people outside code against, generated from the code: `events/` and `projections/` at the root.

Each event version has a JSON Schema and an example, each stored view a schema, an example and its indexes. An example
that was published once stays: it must decode for ever.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
from pydantic import TypeAdapter

from tespes.events import Event, codec, examples
from tespes.projections import READ_MODELS, ReadModel, TaskView, fold

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHAPES: dict[str, TypeAdapter[Any]] = {"task_view": TypeAdapter(TaskView)}


def files() -> Iterator[tuple[Path, str]]:
    """Every file of the contracts, by its path below the root, and its text."""
    for kind in get_args(Event):
        name = kind.__name__
        stem = f"{name}.v{codec.VERSIONS[name]}"
        yield Path("events", f"{stem}.schema.json"), _text({"$schema": _DIALECT, **codec.schema(name)})
        yield Path("events", f"{stem}.example.json"), _text(orjson.loads(codec.encode(examples.of(name)).data))
    for model in READ_MODELS:
        yield from _of_model(model)


def write(root: Path) -> Iterator[Path]:
    """Write them; the paths that were written."""
    for path, text in files():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        yield target


def _of_model(model: ReadModel) -> Iterator[tuple[Path, str]]:
    stem = f"{model.name}.v{model.version}"
    schema = _SHAPES[model.name].json_schema(mode="serialization")
    yield Path("projections", f"{stem}.schema.json"), _text({"$schema": _DIALECT, **schema})
    yield Path("projections", f"{stem}.example.json"), _text(fold(model, examples.history()))
    indexes = {"columns": model.columns, "pairs": model.pairs, "indexes": model.indexes}
    yield Path("projections", f"{stem}.indexes.json"), _text(indexes)


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"
