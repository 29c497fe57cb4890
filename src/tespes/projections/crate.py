"""A task as an RO-Crate: what ran, on what, with what result, in the words of Process Run Crate 0.5 (on RO-Crate 1.1).

    ro-crate-metadata.json  ─about→  ./  ─hasPart→  events.jsonl, files and directories by their URLs
                                      └─mentions→  a CreateAction for each executor of each attempt that was started:
                                                   instrument, containerImage, object, result, agent, location, …

The same events make the same crate, byte for byte. What users keep to themselves is left out: of environment variables
there are the names, of inputs that were sent as contents and of what executors wrote there is nothing.

https://w3id.org/ro/wfrun/process/0.5, https://w3id.org/ro/crate/1.1
"""

import posixpath
import shlex
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from tespes import tes
from tespes.projections.course import Attempt, Course, Run
from tespes.projections.crate_files import Entity, Files, entity, ref, refs, time
from tespes.tes import images
from tespes.tes.service import Service

METADATA: Final = "ro-crate-metadata.json"
EVENTS: Final = "events.jsonl"
ROOT: Final = "./"
SPECIFICATION: Final = "https://w3id.org/ro/crate/1.1"
PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS: Final = "https://w3id.org/ro/terms/workflow-run#"
_CONTEXT: Final = [
    f"{SPECIFICATION}/context",
    {name: _TERMS + name for name in ("ContainerImage", "containerImage", "environment", "registry", "sha256", "tag")},
]
_COMPLETED, _FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"
_OWNER: Final = "#owner"
_NO_LICENSE: Final = "#license"
_DEFAULT_REGISTRY: Final = {"docker": images.DOCKER_HUB, "podman": None, "apptainer": images.DOCKER_HUB}  # by runtime


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who makes the crate.

    :param source: this TESPES, a URI; :param license: an address, under which the crate may be used
    :param with_private: whether the values of environment variables are in it
    """

    service: Service
    source: str
    license: str | None = None
    with_private: bool = False


@dataclass(frozen=True, slots=True)
class Attached:
    """The events with their proof, as a file of the crate: its size, and its SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


def crate(course: Course, attached: Attached, publisher: Publisher) -> dict[str, Any]:
    """What stands in `ro-crate-metadata.json`. The task is over.

    :param attached: the file `events.jsonl` beside it
    """
    files = Files(course)
    ran = [_Ran(course.task.executors[run.number], run, attempt) for attempt in course.attempts for run in attempt.runs]
    actions = [_action(each, course, files, publisher) for each in ran]
    graph = [
        entity(METADATA, "CreativeWork", conformsTo=ref(SPECIFICATION), about=ref(ROOT)),
        _root(course, files, actions, publisher),
        entity(PROFILE, "CreativeWork", name="Process Run Crate", version=PROFILE.rpartition("/")[2]),
        *_people(course, publisher),
        *actions,
        *_unique(_instruments(each, course.task.resources or tes.Resources()) for each in ran),
        *_unique(_variables(each, publisher) for each in ran),
        _events(attached),
        *files.entities(),
    ]
    return {"@context": _CONTEXT, "@graph": graph}


@dataclass(frozen=True, slots=True)
class _Ran:
    """An executor that ran in an attempt."""

    executor: tes.Executor
    run: Run
    attempt: Attempt

    @property
    def tool(self) -> str:
        """The id of what was run."""
        return f"#{self.attempt.runtime}/executor/{self.run.number}"

    @property
    def node(self) -> str:
        """The id of where it was run."""
        return f"#pulsar/{quote(self.attempt.pulsar)}/{quote(self.attempt.host or '')}"

    @property
    def image(self) -> str | None:
        """The id of the image; None where images are not used."""
        if self.attempt.runtime not in _DEFAULT_REGISTRY:
            return None
        return f"#{self.attempt.runtime}/{quote(self.executor.image)}"

    def variables(self) -> dict[str, str]:
        """The environment variables that were set, with their ids."""
        names = sorted(self.executor.env or {})
        return {f"#executor/{self.run.number}/env/{quote(name, safe='')}": name for name in names}


def _root(course: Course, files: Files, actions: list[Entity], publisher: Publisher) -> Entity:
    ended = course.ended_at or course.created_at
    said = f"A task of the GA4GH Task Execution Service {publisher.service.name}, which ended {course.end}."
    return entity(
        ROOT,
        "Dataset",
        conformsTo=ref(PROFILE),
        identifier=course.task_id,
        name=course.task.name or f"Task {course.task_id}",
        description=course.task.description or said,
        dateCreated=time(course.created_at),
        datePublished=time(ended),
        license=ref(publisher.license or _NO_LICENSE),
        author=ref(publisher.service.organization_url),
        publisher=ref(publisher.service.organization_url),
        hasPart=refs([EVENTS, *files.parts()]),
        mentions=refs(action["@id"] for action in actions),
    )


def _people(course: Course, publisher: Publisher) -> Iterator[Entity]:
    """Who and what had to do with it, beside the Pulsars."""
    service = publisher.service
    yield entity(service.organization_url, "Organization", name=service.organization_name, url=service.organization_url)
    yield entity(_OWNER, "Person", name=course.owner)
    yield entity(
        publisher.source,
        "WebAPI",
        name=service.name,
        description=service.description,
        provider=ref(service.organization_url),
        documentation=service.documentation_url,
    )
    if publisher.license:
        yield entity(publisher.license, "CreativeWork", name=publisher.license)
    else:
        yield entity(_NO_LICENSE, "CreativeWork", name="not stated", description="Nobody said how this may be used.")


def _action(ran: _Ran, course: Course, files: Files, publisher: Publisher) -> Entity:
    """One run of one executor."""
    run, attempt = ran.run, ran.attempt
    is_good = run.exit_code == 0
    return entity(
        uuid.uuid5(uuid.NAMESPACE_URL, f"{publisher.source}:{attempt.job_id}:{run.number}").urn,
        "CreateAction",
        name=f"{_program(ran.executor)}, attempt {attempt.number} of {course.task.name or course.task_id}",
        description=_command(ran.executor),
        startTime=time(run.started_at),
        endTime=time(run.ended_at or attempt.ended_at or course.created_at),
        actionStatus=_COMPLETED if is_good else _FAILED,
        error=None if is_good else _error(ran),
        instrument=ref(ran.tool),
        containerImage=ref(ran.image) if ran.image else None,
        environment=refs(ran.variables()),
        object=refs(files.fetched(attempt)),
        result=refs(files.stored(attempt, run.number)),
        agent=ref(_OWNER),
        participant=ref(publisher.source),
        location=ref(ran.node),
        subjectOf=ref(EVENTS),
    )


def _instruments(ran: _Ran, asked: tes.Resources) -> Iterator[Entity]:
    """What was run, in which image, and where."""
    image = images.read(ran.executor.image, _DEFAULT_REGISTRY.get(ran.attempt.runtime))
    yield entity(
        ran.tool,
        "SoftwareApplication",
        name=_program(ran.executor),
        softwareVersion=(image.sha256 or image.tag) if ran.image else None,
        processorRequirements=f"{asked.cpu_cores} cores" if asked.cpu_cores else None,
        memoryRequirements=f"{asked.ram_gb:g} GB" if asked.ram_gb else None,
        storageRequirements=f"{asked.disk_gb:g} GB" if asked.disk_gb else None,
    )
    if ran.image:
        kind = "SIFImage" if image.is_sif else "DockerImage"
        known = {"registry": image.registry, "name": image.name, "tag": image.tag, "sha256": image.sha256}
        yield entity(ran.image, "ContainerImage", additionalType=ref(_TERMS + kind), **known)
    yield entity(ran.node, "Place", name=f"node {ran.attempt.host} of the Pulsar server {ran.attempt.pulsar}")


def _variables(ran: _Ran, publisher: Publisher) -> Iterator[Entity]:
    for identifier, name in ran.variables().items():
        value = (ran.executor.env or {})[name] if publisher.with_private else None
        yield entity(identifier, "PropertyValue", name=name, value=value)


def _events(attached: Attached) -> Entity:
    return entity(
        EVENTS,
        "File",
        name="Every event of the task, with its proof",
        description=(
            "Each line is a JSON object: a commit of the log as it was hashed, a signature over the log's end, or the path "
            f"from the one to the other. `tespes audit verify --export {EVENTS}` checks them with nothing but the public key."
        ),
        encodingFormat="application/jsonl",
        contentSize=str(attached.size_bytes),
        sha256=attached.sha256,
    )


def _error(ran: _Ran) -> str:
    if ran.run.exit_code is None:
        return ran.attempt.reason or "nobody heard how it ended"
    return f"exit code {ran.run.exit_code}{', which was to be ignored' if ran.executor.ignore_error else ''}"


def _program(executor: tes.Executor) -> str:
    """What it is called; without a command, an image runs a program of its own."""
    return posixpath.basename(executor.command[0]) if executor.command else executor.image


def _command(executor: tes.Executor) -> str:
    """What was run, as one would type it."""
    streams = (("<", executor.stdin), (">", executor.stdout), ("2>", executor.stderr))
    words = (f"{mark} {shlex.quote(path)}" for mark, path in streams if path)
    return " ".join([shlex.join(executor.command) or "the image's own program", *words])


def _unique(groups: Iterable[Iterable[Entity]]) -> Iterator[Entity]:
    """Each of them once."""
    yield from {each["@id"]: each for group in groups for each in group}.values()
