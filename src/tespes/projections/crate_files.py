"""The files of a task as entities of its crate: by URL, or by their path in the container where they have none.

Everything that was measured is there: what was fetched and what was stored, with its size and SHA-256. A declared directory
is a Dataset that has the files below it as parts. Where several attempts left different files at one URL, the URL is the
last one's; the others are known by their SHA-256.
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tespes import tes
from tespes.events import File
from tespes.projections.course import Attempt, Course
from tespes.tes import places

Entity = dict[str, Any]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/]*)(.*)", re.DOTALL)
_IN_A_PATH = "/:@!$&'()*+,;=%"  # what RFC 3986 lets stand there, beside letters, digits and -._~
_IN_A_HOST = f"{_IN_A_PATH}[]"


def entity(identifier: str, kind: str, /, **known: Any) -> Entity:
    """An entity with what is known of it."""
    return {"@id": identifier, "@type": kind, **{name: value for name, value in known.items() if value is not None}}


def ref(identifier: str) -> Entity:
    """A reference to another entity."""
    return {"@id": identifier}


def one_or_more(values: Iterable[Any]) -> Any:
    """As RO-Crate wants them: a single one does not stand in a list, and none is not there."""
    found = list(values)
    return found if len(found) > 1 else next(iter(found), None)


def refs(identifiers: Iterable[str]) -> Any:
    """References, likewise."""
    return one_or_more(map(ref, identifiers))


def time(at: datetime) -> str:
    """A moment as the profile's rules have it: ISO 8601, with an offset in digits."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


class Files:
    """The files and directories of a task's attempts."""

    def __init__(self, course: Course) -> None:
        self._streams = _streams(course.task)
        self._directories = _directories(course.task)
        moved = [(file, attempt) for attempt in course.attempts for file in (*attempt.inputs, *attempt.outputs)]
        self._latest = {_place(file): file.sha256 for file, _ in moved}
        self._names: dict[str, dict[str, None]] = defaultdict(dict)  # in the order in which they came
        self._parts: dict[str, dict[str, None]] = defaultdict(dict)
        self._moved: dict[str, tuple[File, datetime]] = {}
        for file, attempt in moved:
            self._add(file, attempt.ended_at or course.created_at)

    def fetched(self, attempt: Attempt) -> list[str]:
        """The ids of what was fetched: of a declared directory, its own."""
        return self._tops(attempt.inputs)

    def stored(self, attempt: Attempt, executor: int) -> list[str]:
        """The ids of what the executor may have made.

        Its standard streams are its own; of other files nobody knows which executor made them.
        """
        return self._tops(file for file in attempt.outputs if executor in self._streams.get(places.key(file.path), {executor}))

    def parts(self) -> list[str]:
        """The ids of what the crate itself has as parts: all that is on the web, and in no directory that is, too."""
        inside = {part for directory, parts in self._parts.items() if _is_web(directory) for part in parts}
        return [identifier for identifier in self._names if _is_web(identifier) and identifier not in inside]

    def entities(self) -> Iterator[Entity]:
        """All of them."""
        for identifier, names in self._names.items():
            path = next(iter(names))
            known: Entity = {"name": posixpath.basename(path.rstrip("/")) or path, "alternateName": one_or_more(names)}
            if identifier in self._parts:
                yield entity(identifier, "Dataset", **known, hasPart=refs(self._parts[identifier]))
            else:
                file, at = self._moved[identifier]
                known |= {"contentSize": str(file.size_bytes), "sha256": file.sha256}
                yield entity(identifier, "File", **known, sdDatePublished=time(at) if _is_web(identifier) else None)

    def _add(self, file: File, at: datetime) -> None:
        identifier = self._id(file)
        self._names[identifier][file.path] = None
        self._moved[identifier] = file, at
        directory = self._directory(file)
        if directory is not None:
            self._names[directory.id][directory.path] = None
            self._parts[directory.id][identifier] = None

    def _id(self, file: File) -> str:
        place = _place(file)
        return place if self._latest[place] == file.sha256 else f"#{file.sha256}"

    def _directory(self, file: File) -> "_Directory | None":
        """The innermost of the declared directories that the file is in."""
        own = places.key(file.path)
        around = next((above for above in _around(own) if above in self._directories), None)
        return _Directory(_directory_id(_place(file), own, around), around[:-1]) if around else None

    def _tops(self, files: Iterable[File]) -> list[str]:
        """The ids of the files, or of the directories that they are in, each once."""
        found = ((self._directory(file), file) for file in files)
        return list(dict.fromkeys(directory.id if directory else self._id(file) for directory, file in found))


@dataclass(frozen=True, slots=True)
class _Directory:
    """A declared directory: its id in the crate, and its path in the container."""

    id: str
    path: str


def _directories(task: tes.Task) -> frozenset[str]:
    """What was declared: an output that was declared as a file may turn out to be a directory, too."""
    paths = (*(each.path for each in task.inputs or ()), *(each.path for each in task.outputs or ()))
    return frozenset(map(places.key, paths))


def _streams(task: tes.Task) -> dict[str, set[int]]:
    """Which executors write their standard streams to a path."""
    found: dict[str, set[int]] = defaultdict(set)
    for number, executor in enumerate(task.executors):
        for path in filter(None, (executor.stdout, executor.stderr)):
            found[places.key(path)].add(number)
    return dict(found)


def _around(path: str) -> Iterator[str]:
    """The directories that a path is in, from the innermost on; each with a slash at its end, as the path has."""
    while (path := path[:-1].rpartition("/")[0] + "/") != "/":
        yield path


def _place(file: File) -> str:
    """Where a file is: a URL, or else its path in the container."""
    match = _URL.match(file.url or "")
    if match:
        return quote(match[1], safe=_IN_A_HOST) + quote(match[2], safe=_IN_A_PATH)
    if file.url and file.url.startswith("/"):
        return f"file://{quote(file.url)}"
    return f"#{quote(file.path)}"


def _directory_id(place: str, path: str, around: str) -> str:
    """Where a directory is, by the place and the path of a file in it."""
    name = path[len(around) : -1]
    names = (quote(name), quote(name, safe=_IN_A_PATH))
    return next((place.removesuffix(each) for each in names if place.endswith(f"/{each}")), f"#{quote(around)}")


def _is_web(identifier: str) -> bool:
    return not identifier.startswith("#")
