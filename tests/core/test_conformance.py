"""docs/conformance.md has a row for everything that the standard has, and every test that the documents name is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers import ROOT

STANDARD = ROOT / "tests" / "data" / "ga4gh" / "tes-openapi-v1.1.yaml"
SERVICE_INFO = ROOT / "tests" / "data" / "ga4gh" / "service-info-v1.0.0.yaml"
CONFORMANCE = ROOT / "docs" / "conformance.md"
DOCUMENTS = (CONFORMANCE, ROOT / "docs" / "clients.md")


def fields(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """`schema.field` for each property, `schema.VALUE` for each value of an enumeration, of it and of its parts."""
    for part in (schema, *(each for each in schema.get("allOf", ()) if "$ref" not in each)):
        for field, inner in part.get("properties", {}).items():
            yield f"{name}.{field}"
            yield from fields(f"{name}.{field}", inner)
        for value in part.get("enum", ()):
            yield f"{name}.{value}"


def names() -> set[str]:
    """Every endpoint, parameter, view, state and field of the standard."""
    standard = yaml.safe_load(STANDARD.read_text())
    shared = standard["components"]["parameters"]
    found: set[str] = set()
    for path, methods in standard["paths"].items():
        for method, operation in methods.items():
            found.add(f"{method.upper()} {path}")
            for parameter in operation.get("parameters", ()):
                resolved = shared[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter
                found.add(f"{operation['operationId']}.{resolved['name']}")
    found |= {f"view={view}" for view in shared["view"]["schema"]["enum"]}
    for name, schema in standard["components"]["schemas"].items():
        found |= set(fields(name, schema))
    for name, schema in yaml.safe_load(SERVICE_INFO.read_text())["components"]["schemas"].items():
        found |= set(fields(name, schema))
    return found


def rows() -> dict[str, list[str]]:
    """The other cells of each row, by what its first cell names in backticks."""
    found: dict[str, list[str]] = {}
    for line in CONFORMANCE.read_text().splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            assert name.strip("`") not in found, f"two rows for {name}"
            found[name.strip("`")] = cells
    return found


def test_the_table_has_a_row_for_everything_in_the_standard() -> None:
    """Endpoints, parameters, views, states and fields: none is missing, none is made up."""
    assert names() - set(rows()) == set(), "rows are missing"
    assert set(rows()) - names() == set(), "rows that the standard does not know"


def test_every_row_says_what_happens_and_which_test_proves_it() -> None:
    """Two more cells, the second one with a test; nothing is ignored in silence."""
    for name, cells in rows().items():
        assert len(cells) == 2, f"{name} has {len(cells) + 1} cells"
        assert re.search(r"tests/\S+::\w+", cells[1]), f"{name} has no test"
        assert "ignored" not in cells[0], name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    """`tests/FILE::NAME` is a function in that file."""
    found = re.findall(r"(tests/[\w/]+\.py)::(\w+)", document.read_text())
    assert found
    for file, name in found:
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}::{name} is not there"
