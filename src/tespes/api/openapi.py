"""The public routes and their description (OpenAPI 3.1), which is made from the same `Operation`: they cannot drift apart.

A route is added together with what it promises:

    openapi.add(app, Operation("GET", "/tasks/{id}", "GetTask", ...), self.get_task)

Schemas come from the types that requests are read with and answers are described with, see `schemas`.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NotRequired

from aiohttp import web
from typing_extensions import TypedDict

from tespes.api.schemas import Json, Schemas

PREFIXES = ("/ga4gh/tes/v1", "/v1", "")
PROBLEM_TYPE = "application/problem+json"
_ID = "{id:[^/:]+}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(TypedDict):
    """Why a request was not served (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    retryable: NotRequired[bool]
    field: NotRequired[str]
    found: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path, a query or a header.

    :param kind: its type, as pydantic reads it; limits and format are in it
    """

    name: str
    kind: Any
    description: str
    default: str | int | None = None
    place: Literal["query", "path", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a public route promises.

    :param path: below the prefix, for example `/tasks/{id}`
    :param answer: the type of the answer's body, which is JSON unless `media_type` says something else
    :param problems: the status codes that may come in its place, as JSON problems
    :param body: the type that the request's body is read with
    :param example: a body that works
    """

    method: Literal["GET", "POST"]
    path: str
    operation_id: str
    description: str
    answer: Any
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    example: Json | None = None
    is_deprecated: bool = False
    media_type: str = "application/json"


OPERATIONS: web.AppKey[list[Operation]] = web.AppKey("operations", list)

_PROBLEMS = {
    400: "Something in the request is wrong: `field` names it, `found` is what was there, `detail` says what is expected.",
    404: "There is no such task.",
    409: "The idempotency key belongs to a task that was asked for with another body.",
    413: "The request's body is too large.",
    415: "The request's body is packed, as Content-Encoding says. It is expected as it is.",
    503: "Something that TESPES needs is away. The same request may do better later.",
}


def add(app: web.Application, operation: Operation, handler: Handler) -> None:
    """Add a public route, under every prefix, and its description."""
    for prefix in PREFIXES:
        path = prefix + operation.path.replace("{id}", _ID)
        if operation.method == "GET":
            app.router.add_get(path, handler)
        else:
            app.router.add_route(operation.method, path, handler)
    app[OPERATIONS].append(operation)


def document(operations: Iterable[Operation], version: str) -> Json:
    """The OpenAPI document of these operations.

    :param version: of TESPES
    """
    schemas = Schemas()
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TESPES",
            "version": version,
            "summary": "GA4GH Task Execution Service 1.1",
            "description": "Tasks are taken, run in containers at one of several Pulsar sites, and never lost.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix} for prefix in PREFIXES if prefix],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.found.items()))},
    }


def _described(operation: Operation, schemas: Schemas) -> Json:
    described: Json = {
        "tags": ["TaskService"],
        "summary": operation.operation_id,
        "description": operation.description,
        "operationId": operation.operation_id,
        "parameters": [_parameter(each, schemas) for each in operation.parameters],
    }
    if operation.is_deprecated:
        described["deprecated"] = True
    if operation.body is not None:
        content: Json = {"schema": schemas.read(operation.body)}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    answer = {"schema": schemas.answered(operation.answer)}
    described["responses"] = {"200": {"description": "Done.", "content": {operation.media_type: answer}}}
    for status in operation.problems:
        content = {PROBLEM_TYPE: {"schema": schemas.answered(Problem)}}
        described["responses"][str(status)] = {"description": _PROBLEMS[status], "content": content}
    return described


def _parameter(parameter: Parameter, schemas: Schemas) -> Json:
    schema = schemas.answered(parameter.kind)
    if parameter.default is not None:
        schema = {**schema, "default": parameter.default}
    described = {"name": parameter.name, "in": parameter.place, "description": parameter.description, "schema": schema}
    match parameter.place:
        case "path":
            return described | {"required": True}
        case "query":
            return described | {"required": False, "allowEmptyValue": True}
        case "header":
            return described | {"required": False}
