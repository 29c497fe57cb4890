"""TESPES under fire: requests made from its own description, right ones and wrong ones, get what the description promises."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from servers import Tespes
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

OPERATIONS = (  # all but StreamEvents, which has no end
    "GetServiceInfo",
    "ListTasks",
    "CreateTask",
    "GetTask",
    "CancelTask",
    "GetTaskLogs",
    "GetOldServiceInfo",
    "ListEvents",
    "ListTaskEvents",
)
# What a schema cannot say, and the check that would expect it to: a page token must be one of ours, a position one of the
# log, a time one that it is; there are rules between the fields of a task, and one tag in a query is a list of one.
BEYOND_THE_SCHEMA: dict[str, list[Any]] = {
    "ListTasks": [positive_data_acceptance, negative_data_rejection],
    "CreateTask": [positive_data_acceptance],
    "GetTask": [positive_data_acceptance],
    "ListEvents": [positive_data_acceptance, negative_data_rejection],
}
PATHS = {"path", "workdir", "stdin", "stdout", "stderr"}
MENDED = {"url": "ftp://127.0.0.1:1/file", "image": "alpine", "argument": "true"}
INSIDE = {"volumes": "path", "command": "argument"}
TASK = {"name": "known", "executors": [{"image": "alpine", "command": ["true"]}], "tags": {"key": "value"}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateRabbitMQ) -> Iterator[Tespes]:
    """TESPES with no Pulsar: tasks wait."""
    running = Tespes(tmp_path_factory.mktemp("alone"), {"TESPES_RABBITMQ__URL": rabbitmq.url})
    running.start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_answer_is_as_the_document_says(alone: Tespes, operation_id: str) -> None:
    """No 5xx; status code, content type and body as documented, whatever is asked."""
    fuzz(alone, operation_id, cases=40)


@pytest.mark.slow
@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_answer_is_as_the_document_says_for_long(alone: Tespes, operation_id: str) -> None:
    """The same, ten times as often."""
    fuzz(alone, operation_id, cases=400)


def fuzz(alone: Tespes, operation_id: str, cases: int) -> None:
    """That many requests, half of them wrong. Every second one is mended: to a task that there is, or by the rules."""
    document = schemathesis.openapi.from_url(f"{alone.url}/openapi.json")
    operation = document.find_operation_by_id(operation_id)
    known = alone.submit(TASK)
    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(
        max_examples=cases,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=right | wrong, is_mended=st.booleans())
    def ask(case: Case[Any], is_mended: bool) -> None:  # noqa: FBT001 - drawn by name
        if is_mended and "id" in case.path_parameters:
            case.path_parameters["id"] = known
        if is_mended:
            case.body = mended(case.body, itertools.count())
        case.call_and_validate(excluded_checks=BEYOND_THE_SCHEMA.get(operation_id, []))

    ask()


def mended(value: Any, numbers: Iterator[int], field: str = "") -> Any:
    """What is sent as a task, with paths, names and the like as the rules want them, the rest as it was."""
    if isinstance(value, dict):
        is_named_freely = field in {"env", "tags"}
        return {
            f"name{next(numbers)}" if is_named_freely else name: mended(each, numbers, "" if is_named_freely else name)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [mended(each, numbers, INSIDE.get(field, "")) for each in value]
    if not isinstance(value, str):
        return False if field == "backend_parameters_strict" else value
    return f"/data/{next(numbers)}" if field in PATHS else MENDED.get(field, value.replace("\0", ""))
