"""JSON schemas of what is read and answered, made of the types, under the standard's names (`tesTask`).

A type that is read from a request has `Request` after its name, since it accepts what is never answered: explicit nulls.
"""

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from tespes import tes
from tespes.tes import answers

_SCHEMAS = "#/components/schemas/"
_NULL = {"type": "null"}

Json = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Without a title for each field, which says nothing that its name does not."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the library's signature
        return False


class Schemas:
    """The schemas that were asked for, by the names that they have in the document."""

    def __init__(self) -> None:
        self.found: Json = {}

    def read(self, kind: Any) -> Json:
        """What is accepted in a request: explicit null counts as absent, in whatever may be absent (see `api.body`)."""
        return self._schema(kind, "validation", "Request", _with_null)

    def answered(self, kind: Any) -> Json:
        """What is answered: nothing that is absent is sent, so nothing is null."""
        return self._schema(kind, "serialization", "", _without_null)

    def _schema(self, kind: Any, mode: JsonSchemaMode, suffix: str, finished: Callable[[Json], Json]) -> Json:
        whole = TypeAdapter(kind).json_schema(mode=mode, schema_generator=_Generator)
        parts: Json = whole.pop("$defs", {})
        if "title" in whole:
            parts[whole["title"]] = whole
            whole = {"$ref": f"#/$defs/{whole['title']}"}
        names = {name: _name(name, schema, suffix) for name, schema in parts.items()}
        for name, schema in parts.items():
            self.found[names[name]] = finished(_renamed({**schema, "title": names[name]}, names))
        return finished(_renamed(whole, names))


def _name(name: str, schema: Json, suffix: str) -> str:
    """The standard's name, if it is one of the standard's types. A list of words is the same both ways."""
    named = f"tes{name}" if hasattr(answers, name) or hasattr(tes, name) else name
    return named if "enum" in schema else named + suffix


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            return {**value, "$ref": _SCHEMAS + names[value["$ref"].removeprefix("#/$defs/")]}
        return {name: _renamed(each, names) for name, each in value.items()}
    return [_renamed(each, names) for each in value] if isinstance(value, list) else value


def _with_null(schema: Json) -> Json:
    """An object whose fields may be null, unless they are required."""
    if "properties" not in schema:
        return schema
    required = schema.get("required", ())
    fields = {name: each if name in required else _or_null(each) for name, each in schema["properties"].items()}
    return {**schema, "properties": fields}


def _or_null(schema: Json) -> Json:
    """What is said there, or null; the values of an object without fields of its own likewise."""
    kinds = [dict(each) for each in schema.get("anyOf", [schema]) if each != _NULL]
    for kind in kinds:
        kind.pop("default", None)
        if isinstance(values := kind.get("additionalProperties"), dict):
            kind["additionalProperties"] = _or_null(values)
    default = {"default": schema["default"]} if "default" in schema else {}
    return {"anyOf": [*kinds, _NULL], **default}


def _without_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_null(each) for name, each in value.items() if not (name == "default" and each is None)}
    match [each for each in kept.get("anyOf", ()) if each != _NULL]:
        case [only]:
            del kept["anyOf"]
            return {**only, **kept}
        case _:
            return kept
