"""A task's RO-Crate: what Process Run Crate 0.5 and RO-Crate 1.1 demand, and what a reader may rely on.

`tests/acceptance/test_rocrate.py` holds crates to the profile with the community's own validator.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crates
import given as g
import strategies
from tespes import events, tes
from tespes.events import File, Recorded
from tespes.projections import crate
from tespes.projections.course import Attempt, Course, Run
from tespes.tes import images
from tespes.tes.images import Image

Entity = dict[str, Any]
SHA, OTHER_SHA = "ab" * 32, "cd" * 32
ELSEWHERE = (crate.SPECIFICATION, "https://w3id.org/ro/terms/workflow-run#")
ENDS = events.TaskCompleted | events.TaskExecutorFailed | events.TaskSystemFailed | events.TaskCanceled | events.TaskPreempted


def references(value: Any) -> Iterator[str]:
    """The ids that are referred to in a property's value."""
    match value:
        case {"@id": identifier}:
            assert len(value) == 1, value
            yield identifier
        case list():
            assert len(value) > 1, f"a single one is not a list: {value}"
            for each in value:
                yield from references(each)
        case str():
            pass
        case _:
            pytest.fail(f"neither a text nor a reference: {value!r}")


def checked(made: dict[str, Any]) -> dict[str, Entity]:
    """The crate's entities by their ids, if it is one: what the standards say MUST be, and that nothing leads nowhere."""
    assert json.loads(json.dumps(made)) == made
    graph = made["@graph"]
    found = {each["@id"]: each for each in graph}
    assert len(found) == len(graph), "an id that is taken"
    for each in graph:
        for name, value in each.items():
            if not name.startswith("@"):
                led = [target for target in references(value) if not target.startswith(ELSEWHERE)]
                assert set(led) <= set(found), (name, led)
    check_root(found)
    for each in graph:
        if each["@type"] == "CreateAction":
            assert found[each["instrument"]["@id"]]["@type"] == "SoftwareApplication"
            assert each["@id"].startswith("urn:uuid:")
            assert ("error" in each) == each["actionStatus"].endswith("FailedActionStatus")
    return found


def check_root(found: dict[str, Entity]) -> None:
    """The root has what it must, and leads to every file that is not only known by its path."""
    root = found["./"]
    assert found["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    assert found["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    assert {"name", "description", "datePublished", "license"} <= set(root)
    reached = set(references(root["hasPart"]))
    for identifier in tuple(reached):
        reached |= set(references(found[identifier].get("hasPart", "")))
    data = {each["@id"] for each in found.values() if each["@type"] in {"File", "Dataset"} and each["@id"] != "./"}
    assert {identifier for identifier in data if not identifier.startswith("#")} <= reached
    mentioned = set(references(root.get("mentions", "")))
    assert mentioned == {each["@id"] for each in found.values() if each["@type"] == "CreateAction"}


def actions(found: dict[str, Entity]) -> list[Entity]:
    """What ran, in order."""
    return [each for each in found.values() if each["@type"] == "CreateAction"]


lives = st.builds(
    crates.lived, strategies.orders | st.builds(events.TaskCreated, task=strategies.tasks), strategies.many_wishes
).filter(lambda history: any(isinstance(each.event, ENDS) for each in history))


@given(lives)
def test_every_task_that_is_over_makes_a_crate(history: list[Recorded]) -> None:
    """One action for each executor of each attempt that was started, once; nothing refers to what is not there."""
    found = checked(crates.made(history))
    started = {(each.event.attempt, each.event.executor) for each in history if isinstance(each.event, events.ExecutorStarted)}
    assert len(actions(found)) == len(started)
    assert crates.made(history) == crates.made(list(history))


moved = st.lists(
    st.builds(
        File,
        path=st.sampled_from(("/a", "/a/b", "/a/b/c d", "/a/b/e%20f", "/g")) | strategies.paths,
        url=st.none()
        | st.sampled_from(("s3://x/a/b", "s3://x/a/b/c d", "ftp://[::1]/a/b/c%20d", "/a/b", "…"))
        | strategies.texts,
        size_bytes=st.integers(0, 9),
        sha256=st.sampled_from((SHA, OTHER_SHA)),
    ),
    max_size=6,
).map(tuple)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 3),
    job_id=strategies.words,
    pulsar=strategies.words,
    runtime=strategies.words,
    host=strategies.maybe(strategies.words),
    runs=st.just((Run(0, g.at(0), g.at(1), 0),)),
    inputs=moved,
    outputs=moved,
    ended_at=st.just(g.at(2)),
)


@given(st.lists(attempts, max_size=3, unique_by=lambda each: each.job_id), strategies.tasks)
def test_files_of_any_name_have_a_place(tried: list[Attempt], task: tes.Task) -> None:
    """Whatever they are called and wherever they are; each content that was moved is there."""
    whole = Course(g.TASK, task, "ada", g.at(0), tuple(tried), tes.State.COMPLETE, g.at(9))
    found = checked(crate.crate(whole, crates.ATTACHED, crates.PUBLISHER))
    for attempt in tried:
        assert {file.sha256 for file in (*attempt.inputs, *attempt.outputs)} <= {each.get("sha256") for each in found.values()}


@pytest.mark.parametrize("history", crates.HISTORIES.values(), ids=crates.HISTORIES)
def test_what_users_keep_to_themselves_is_not_told(history: tuple[events.Event, ...]) -> None:
    """Neither values of environment variables nor contents nor passwords are in it; the names of variables are."""
    text = json.dumps(crates.made(crates.recorded(*history)))
    assert crates.SECRET not in text
    assert "pass@" not in text
    asked_for = crates.made(crates.recorded(*crates.COMPLETE), replace(crates.PUBLISHER, with_private=True))
    variables = {each["name"]: each["value"] for each in checked(asked_for).values() if each["@type"] == "PropertyValue"}
    assert variables == {"LANG": crates.SECRET, "TOKEN": crates.SECRET}


def test_a_task_that_went_well_is_told_in_full() -> None:
    """What ran, in which image, on what, with what result, when, for whom and where."""
    found = checked(crates.made(crates.recorded(*crates.COMPLETE)))
    first, second = actions(found)
    assert first["name"] == "wc, attempt 1 of count"
    assert first["description"] == "/usr/bin/wc -w 'two words' < /data/words > /data/count"
    assert (first["startTime"], first["endTime"]) == ("2026-11-22T12:00:00.250+00:00", "2026-11-22T12:00:00.750+00:00")
    assert first["object"] == second["object"]
    assert [each["@id"] for each in first["object"]] == [
        "ftp://files.example.org/words",
        "#/data/script",
        "s3://bucket/genomes/",
    ]
    assert [each["@id"] for each in first["result"]] == ["ftp://files.example.org/count", "ftp://files.example.org/plots/"]
    assert second["result"] == {"@id": "ftp://files.example.org/plots/"}
    assert found[first["agent"]["@id"]] == {"@id": "#owner", "@type": "Person", "name": "ada"}
    assert found[first["location"]["@id"]]["name"] == "node node-7 of the Pulsar server site-a"
    tool = found[first["instrument"]["@id"]]
    assert (tool["name"], tool["softwareVersion"], tool["memoryRequirements"]) == ("wc", "1.2--0", "4.5 GB")
    image = found[first["containerImage"]["@id"]]
    assert (image["registry"], image["name"], image["tag"]) == ("quay.io", "biocontainers/wc", "1.2--0")
    assert found[second["containerImage"]["@id"]]["sha256"] == "12" * 32
    assert [found[each["@id"]]["name"] for each in first["environment"]] == ["LANG", "TOKEN"]
    count = found["ftp://files.example.org/count"]
    assert (count["contentSize"], count["sha256"], count["alternateName"]) == ("7", "cc" * 32, "/data/count")
    assert found["s3://bucket/genomes/"]["hasPart"] == [
        {"@id": "s3://bucket/genomes/a/one.fa"},
        {"@id": "s3://bucket/genomes/two%20%5B2%5D.fa"},
    ]
    assert found["events.jsonl"]["sha256"] == crates.ATTACHED.sha256


def test_what_went_wrong_is_told_too() -> None:
    """An executor that failed, one that nobody heard of again, one whose failure was to be ignored; sandboxes use no image."""
    _, failed = actions(checked(crates.made(crates.recorded(*crates.FAILED))))
    assert failed["error"] == "exit code 3, which was to be ignored"
    _, cut_off = actions(checked(crates.made(crates.recorded(*crates.CUT_OFF))))
    assert cut_off["error"] == "stopped, since the task was canceled"
    assert cut_off["endTime"] == "2026-11-22T12:00:08.000+00:00"
    lost, again, _ = actions(checked(crates.made(crates.recorded(*crates.TWICE))))
    assert "containerImage" in lost
    assert "containerImage" not in again
    assert lost["@id"] != again["@id"]
    assert "softwareVersion" not in checked(crates.made(crates.recorded(*crates.TWICE)))[again["instrument"]["@id"]]


def test_a_url_is_that_of_the_last_content_that_was_there() -> None:
    """Two attempts left different files at one place: the first one's is known by its SHA-256."""
    url = "ftp://files.example.org/count"
    tried = tuple(
        Attempt(
            number,
            f"job-{number}",
            "site-a",
            "docker",
            runs=(Run(0, g.at(0)),),
            outputs=(crates.file("/data/count", url, sha),),
        )
        for number, sha in ((1, SHA), (2, OTHER_SHA))
    )
    whole = Course(g.TASK, crates.ORDER, "ada", g.at(0), tried, tes.State.COMPLETE, g.at(9))
    found = checked(crate.crate(whole, crates.ATTACHED, crates.PUBLISHER))
    assert [each["result"] for each in actions(found)] == [{"@id": f"#{SHA}"}, {"@id": url}]
    assert found[url]["sha256"] == OTHER_SHA


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("alpine", Image("library/alpine", "docker.io", "latest")),
        ("docker://alpine:3", Image("library/alpine", "docker.io", "3")),
        ("biocontainers/bwa:0.7", Image("biocontainers/bwa", "docker.io", "0.7")),
        ("docker.io/alpine", Image("library/alpine", "docker.io", "latest")),
        ("quay.io/a/b/c:1@sha256:ff", Image("a/b/c", "quay.io", "1", "ff")),
        ("localhost:5000/a", Image("a", "localhost:5000", "latest")),
        ("a@sha512:ff", Image("library/a", "docker.io")),
        ("/images/a.sif", Image("/images/a.sif", is_sif=True)),
        ("library://a/b:1", Image("library://a/b:1", is_sif=True)),
    ],
)
def test_images_are_read_as_engines_read_them(reference: str, image: Image) -> None:
    """A first part that looks like a host is a registry; Docker's own have `library/` before them; no tag means latest."""
    assert images.read(reference) == image


def test_podman_asks_its_node_for_the_registry() -> None:
    """So nobody knows it from here."""
    assert images.read("alpine:3", None) == Image("alpine", None, "3")
