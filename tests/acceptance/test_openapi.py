"""`/openapi.json` says what TESPES does: held against the routes, against real answers, and against the standard's own file."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
import yaml
from api_at_work import EXECUTOR, PREFIXES, SERVICE, Api, api_at_work

from servers import ROOT
from tespes import __version__, tes
from tespes.api import cors
from tespes.events import asyncapi, examples
from tespes.projections import TASK_VIEW
from tespes.tes.service import service_info

GA4GH = ROOT / "tests" / "data" / "ga4gh"
PAGES = {"/", "/docs", "/docs/{name}", "/openapi.json", "/asyncapi.json", "/healthz", "/readyz"}
Json = dict[str, Any]

# What differs from the standard on purpose: where, and why. A place is `schema.field`, with `[]` for the entries of a list.
MINIMAL_VIEW = "in the view MINIMAL, which the standard has too, a task has id and state and nothing else"
ALWAYS_THERE = "TESPES always fills it in"
DELIBERATE = {
    "tesTask.executors required": MINIMAL_VIEW,
    "tesListTasksResponse.tasks[].executors required": MINIMAL_VIEW,
    "tesTask.id required": ALWAYS_THERE,
    "tesTask.state required": ALWAYS_THERE,
    "tesListTasksResponse.tasks[].id required": ALWAYS_THERE,
    "tesListTasksResponse.tasks[].state required": ALWAYS_THERE,
}
OWN_PATHS = {"/tasks/{id}/logs", "/tasks/{id}/events", "/tasks/service-info", "/events", "/events/stream"}
OWN_PARAMETERS = {"Idempotency-Key", "X-Request-ID", "traceparent", "as_of"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The interface."""
    async with api_at_work(tmp_path) as running:
        yield running


@pytest.fixture
async def document(api: Api) -> Json:
    """What it says of itself."""
    answer = await api.client.get("/openapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    found: Json = await answer.json()
    return found


async def test_what_is_published_is_described_beside_it(api: Api) -> None:
    """`/asyncapi.json`, for programs: see `test_asyncapi`."""
    answer = await api.client.get("/asyncapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert await answer.json() == asyncapi.document(__version__)


@pytest.fixture(scope="module")
def standard() -> Json:
    """The standard's file, with the parts of service info that it refers to."""
    found: Json = yaml.safe_load((GA4GH / "tes-openapi-v1.1.yaml").read_text())
    parts = yaml.safe_load((GA4GH / "service-info-v1.0.0.yaml").read_text())
    found["components"]["schemas"] |= parts["components"]["schemas"]
    return found


def test_the_document_is_openapi(document: Json) -> None:
    """Version 3.1, by its own schema; the standard's prefix comes first."""
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1.")
    assert [server["url"] for server in document["servers"]] == ["/ga4gh/tes/v1", "/v1"]


def test_the_document_has_every_public_route_and_no_other(api: Api, document: Json) -> None:
    """On every prefix; what runners call, and the pages, are left out."""
    routes = {(route.method, route.resource.canonical) for route in api.application.router.routes() if route.resource}
    served = {(method, path) for method, path in routes if path not in PAGES and not path.startswith(cors.INTERNAL)}
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    heads = {("HEAD", path) for method, path in described if method == "GET"}
    assert served == {(method, prefix + path) for prefix in PREFIXES for method, path in described | heads}


def test_the_paths_are_the_standards(document: Json, standard: Json) -> None:
    """Same paths, methods, operation ids, answers and bodies; what TESPES adds is named."""
    assert set(document["paths"]) - set(standard["paths"]) == OWN_PATHS
    for path, methods in standard["paths"].items():
        ours = document["paths"][path]
        assert set(ours) == set(methods)
        for method, theirs in methods.items():
            assert ours[method]["operationId"] == theirs["operationId"]
            assert name_of(answer_of(ours[method])) == name_of(answer_of(theirs))
            assert ("requestBody" in ours[method]) == ("requestBody" in theirs)


def test_the_parameters_are_the_standards(document: Json, standard: Json) -> None:
    """Same names, places, types, words and defaults; the limits of page_size are those of the standard's prose."""
    for path, methods in standard["paths"].items():
        for method, theirs in methods.items():
            ours = {each["name"]: each for each in document["paths"][path][method]["parameters"]}
            expected = {each["name"]: each for each in resolved(theirs.get("parameters", []), standard)}
            assert set(ours) - OWN_PARAMETERS == set(expected)
            for name, parameter in expected.items():
                assert ours[name]["in"] == parameter["in"]
                assert ours[name]["required"] == parameter.get("required", False)
                found, wanted = ours[name]["schema"], parameter["schema"]
                assert dict(places(found, document, name)) == dict(places(wanted, standard, name))
    sizes = {each["name"]: each["schema"] for each in document["paths"]["/tasks"]["get"]["parameters"]}
    size = sizes["page_size"]
    assert (size["minimum"], size["maximum"], size["default"], size["format"]) == (1, 2047, 256, "int32")
    assert sizes["view"]["default"] == "MINIMAL"


def test_the_schemas_are_the_standards(document: Json, standard: Json) -> None:
    """Every schema of the standard, every field, with its type and words; differences are listed with their reasons."""
    ours, theirs = document["components"]["schemas"], standard["components"]["schemas"]
    different = set()
    for name in theirs:
        if name.startswith("tes"):
            found = set(places({"$ref": f"#/components/schemas/{name}"}, document, name))
            wanted = set(places({"$ref": f"#/components/schemas/{name}"}, standard, name))
            different |= {said if kind == "required" else f"{said} {kind}" for said, kind in found ^ wanted}
    assert {name for name in theirs if name.startswith("tes")} <= set(ours)
    assert different == set(DELIBERATE)


def test_a_submitted_task_is_the_standards_without_what_the_server_owns(document: Json, standard: Json) -> None:
    """Every field of tesTask may be sent; what may be null may also be absent."""
    found = set(places({"$ref": "#/components/schemas/tesTaskRequest"}, document, "tesTask"))
    wanted = set(places({"$ref": "#/components/schemas/tesTask"}, standard, "tesTask"))
    owned = ("tesTask.id", "tesTask.state", "tesTask.logs", "tesTask.creation_time")
    assert found == {(place, kind) for place, kind in wanted if not place.startswith(owned)}


async def test_what_is_answered_is_what_the_document_says(api: Api, document: Json) -> None:
    """Real answers of every operation, in every view, and problems; service info has the standard's fields only."""
    running = await api.task_in(tes.State.RUNNING)
    created = await api.client.post("/v1/tasks", json={"executors": [EXECUTOR]})
    await api.project()
    assert fits(await created.json(), "tesCreateTaskResponse", document)
    for view in tes.View:
        assert fits(await (await api.client.get(f"/v1/tasks/{running}?view={view}")).json(), "tesTask", document)
        listed = await (await api.client.get(f"/v1/tasks?view={view}&page_size=1")).json()
        assert "next_page_token" in listed
        assert fits(listed, "tesListTasksResponse", document)
    assert fits(await (await api.client.post(f"/v1/tasks/{running}:cancel")).json(), "tesCancelTaskResponse", document)
    assert fits(await (await api.client.get(f"/v1/tasks/{running}/logs")).json(), "TaskOutput", document)
    assert fits(await (await api.client.get(f"/v1/tasks/{running}?as_of=1")).json(), "tesTask", document)
    assert fits(await (await api.client.get(f"/v1/tasks/{running}/events")).json(), "TaskEvents", document)
    assert fits(await (await api.client.get("/v1/events")).json(), "EventPage", document)
    assert fits(await (await api.client.get("/v1/service-info")).json(), "tesServiceInfo", document)
    assert fits(await (await api.client.get("/v1/tasks/service-info")).json(), "OldServiceInfo", document)
    for path in (
        "/v1/tasks?view=SOME",
        "/v1/tasks/unknown",
        "/v1/tasks/unknown/logs",
        "/v1/events?after=-1",
        "/v1/events/stream?type=no",
    ):
        assert fits(await (await api.client.get(path)).json(), "Problem", document)


@pytest.mark.parametrize("view", tes.View)
def test_a_task_fits_its_schema_at_every_moment_of_its_life(document: Json, view: tes.View) -> None:
    """With logs, outputs, exit codes: after each event of a history, in each view; and it has no other field."""
    shown = None
    for recorded in examples.history():
        shown = TASK_VIEW.apply(shown, recorded)
        assert shown is not None
        assert fits(tes.Showing().show(shown["task"], view), "tesTask", document)


def test_service_info_fits_the_standard(standard: Json) -> None:
    """Everything that can be set is there, and nothing that the standard does not know."""
    at = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    more = {"contact_url": "mailto:a@example.org", "documentation_url": "https://example.org/docs", "environment": "test"}
    found = service_info(replace(SERVICE, created_at=at, updated_at=at, **more), ("ftp://",), ("key",))
    schema = resolved(standard["components"]["schemas"]["tesServiceInfo"], standard)
    assert set(found) == set(schema["properties"])
    jsonschema.validate(found, schema, format_checker=jsonschema.FormatChecker())
    assert found["createdAt"] == "2026-01-01T00:00:00Z"


def test_the_example_is_the_task_of_the_readme(document: Json) -> None:
    """Who opens /docs can run what the README shows."""
    body = document["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]
    example = body["example"]
    assert fits(example, "tesTaskRequest", document)
    readme = (ROOT / "README.md").read_text()
    assert json.JSONDecoder().raw_decode(readme, readme.index('{"inputs"'))[0] == example


def fits(value: Any, name: str, document: Json) -> bool:
    """The value is what that schema says, without any other field; else why not is raised."""
    strict = {each: schema | {"additionalProperties": False} for each, schema in document["components"]["schemas"].items()}
    strict |= {each: schema for each, schema in document["components"]["schemas"].items() if "properties" not in schema}
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": strict}}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)
    return True


def answer_of(operation: Json) -> Json:
    """The schema of what is answered if all is well."""
    answers = {str(status): answer for status, answer in operation["responses"].items()}
    schema: Json = answers["200"]["content"]["application/json"]["schema"]
    return schema


def name_of(schema: Json) -> str:
    """What it refers to."""
    return str(schema["$ref"]).rpartition("/")[2]


def resolved(value: Any, document: Json) -> Any:
    """With what it refers to in place of the references; several parts (`allOf`) become one, and null is left out."""
    if isinstance(value, list):
        return [resolved(each, document) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        kind, _, name = value["$ref"].rpartition("/")
        return resolved(document["components"][kind.rpartition("/")[2] or "schemas"][name], document)
    if "allOf" in value:
        whole: Json = {"properties": {}, "required": []}
        for part in resolved(value["allOf"], document):
            whole["properties"] |= part.get("properties", {})
            whole["required"] += [name for name in part.get("required", []) if name not in whole["required"]]
        return whole
    if "anyOf" in value:
        (only,) = [each for each in value["anyOf"] if each != {"type": "null"}]
        return resolved(only, document)
    return {name: resolved(each, document) for name, each in value.items()}


def places(schema: Json, document: Json, place: str) -> Iterator[tuple[str, str]]:
    """Each field at any depth and its type or words; and, beside it, whether it is required."""
    yield from _places(resolved(schema, document), place)


def _places(schema: Json, place: str) -> Iterator[tuple[str, str]]:
    if schema.get("properties"):
        for name, field in schema["properties"].items():
            yield from _places(field, f"{place}.{name}")
        for name in schema.get("required", ()):
            yield f"{place}.{name} required", "required"
    elif "items" in schema:
        yield from _places(schema["items"], f"{place}[]")
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from _places(schema["additionalProperties"], f"{place}{{}}")
    else:
        words = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        yield place, " or ".join(sorted(words)) if words else str(schema.get("type"))
