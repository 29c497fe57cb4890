"""The contracts that people outside code against, generated from the code: `events/` and `projections/` at the root.

Each event version has a JSON Schema and an example, all that is published an AsyncAPI document, each stored view a schema, an
example and its indexes. An example that was published once stays: it must decode for ever.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import yaml
from pydantic import TypeAdapter

from tespes import __version__
from tespes.events import Event, asyncapi, codec, examples
from tespes.projections import READ_MODELS, ReadModel, TaskView, Usage, fold

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHAPES: dict[str, TypeAdapter[Any]] = {"task_view": TypeAdapter(TaskView), "usage": TypeAdapter(Usage)}


def files() -> Iterator[tuple[Path, str]]:
    """Every file of the contracts, by its path below the root, and its text."""
    for kind in get_args(Event):
        name = kind.__name__
        stem = f"{name}.v{codec.VERSIONS[name]}"
        yield Path("events", f"{stem}.schema.json"), _text({"$schema": _DIALECT, **codec.schema(name)})
        yield Path("events", f"{stem}.example.json"), _text(orjson.loads(codec.encode(examples.of(name)).data))
    yield Path("events", "asyncapi.yaml"), _yaml(asyncapi.document(__version__))
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
    if model.sums:
        indexes |= {"lines": model.lines, "sums": model.sums}
    yield Path("projections", f"{stem}.indexes.json"), _text(indexes)


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _Blocks.represent_text)


def _yaml(value: Any) -> str:
    dumped: str = yaml.dump(value, Dumper=_Blocks, sort_keys=False, allow_unicode=True, width=120)
    return dumped


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"
