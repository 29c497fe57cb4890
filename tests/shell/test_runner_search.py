"""What a task left, as the runner finds it: tespes.runner.search. Nothing but the task's own files is ever looked at."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import pytest
from runner_at_work import file, plan

from tespes.runner import faults, files, mounts, search

OUT: Any = file(0, "/out/tree", type="DIRECTORY")


class Node:
    """A task's files on disk, `root` being what the containers see as /out/tree."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        changes = {"outputs": [OUT], **changes}
        place = directory / "tespes"
        place.mkdir()
        self.outside = directory / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.files = files.TaskFiles(mounts.lay_out(cast("Any", plan(**changes)), str(place)), str(place))
        self.files.create()
        self.root = self.at("/out/tree")

    def at(self, path: str) -> Path:
        return Path(str(self.files.layout.host_path(path)))

    def has(self, *names: str, below: str = "/out/tree") -> None:
        """Files with their names as content; those that end with a slash are directories."""
        for name in names:
            place = self.at(below) / name
            (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                place.write_text(name)

    def read(self, path: str) -> str:
        descriptor, size_bytes = self.files.open_to_read(path)
        content = os.read(descriptor, size_bytes + 1)
        os.close(descriptor)
        return content.decode()

    def find(self, path: str = "/out/tree", most: int = 1000, **changes: Any) -> search.Found:
        return search.find(cast("Any", file(0, path, **changes)), self.files, most)

    def match(self, path: str) -> list[str]:
        return paths(self.find(path, is_pattern=True))


def paths(found: search.Found) -> list[str]:
    return [path for path, _ in found.files]


def failures(found: search.Found) -> list[str]:
    return [str(failure) for failure in found.failures]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_file_is_itself(node: Node) -> None:
    """With its size."""
    node.has("a")
    found = node.find("/out/tree/a")
    assert (found.files, found.is_directory, found.is_missing, found.notes) == ([("/out/tree/a", 1)], False, False, [])


def test_what_is_not_there_is_missing(node: Node) -> None:
    """Also a link to nothing, and a pattern that nothing matches."""
    (node.root / "link").symlink_to("nothing")
    for found in (node.find("/out/tree/a"), node.find("/out/tree/link"), node.find("/out/tree/a*", is_pattern=True)):
        assert (found.files, found.is_missing) == ([], True)
    assert node.find("/out/tree/a/*", is_pattern=True).is_missing


def test_a_directory_is_all_that_is_in_it(node: Node) -> None:
    """At any depth, hidden ones too, sorted. Empty directories are said apart: not every storage can have them."""
    node.has("b", "a/b/c", ".hidden/.x", "empty/er/", "a-b")
    found = node.find()
    assert found.is_directory
    assert paths(found) == [f"/out/tree/{name}" for name in (".hidden/.x", "a-b", "a/b/c", "b")]
    assert found.empty_directories == ["/out/tree/empty/er"]


@pytest.mark.parametrize("type_", ["FILE", "DIRECTORY"])
def test_an_empty_directory_is_found(node: Node, type_: str) -> None:
    """It is there before the first executor, as its parent would be. An output of type FILE may be one, too."""
    found = node.find(type=type_)
    assert (found.files, found.empty_directories, found.is_directory, found.is_missing) == ([], ["/out/tree"], True, False)


def test_a_file_is_no_directory(node: Node) -> None:
    """What was declared as one, and was replaced."""
    node.has("a")
    with pytest.raises(faults.SystemFailure, match=r"^output /out/tree/a: is a file where a directory is declared$"):
        node.find("/out/tree/a", type="DIRECTORY")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.txt", "b.log", "s1/x1.txt", "s1/x22.txt", "s1/.h", "s2/deep/er/y"]),
        ("*.txt", ["a.txt"]),
        ("*/x?.txt", ["s1/x1.txt"]),
        ("s[!1]", ["s2/deep/er/y"]),
        ("*/deep", ["s2/deep/er/y"]),
        (".*", [".x"]),
        ("*/.h", ["s1/.h"]),
        ("*/*/*/*", ["s2/deep/er/y"]),
        ("a.txt/*", []),
        ("[z]", []),
    ],
)
def test_a_pattern_is_all_that_matches(node: Node, pattern: str, expected: list[str]) -> None:
    """Of directories all that is in them (Nextflow): hidden files are only matched explicitly, but are there below a match."""
    node.has("a.txt", "b.log", ".x", "s1/x1.txt", "s1/x22.txt", "s1/.h", "s2/deep/er/y")
    assert node.match(f"/out/tree/{pattern}") == sorted(f"/out/tree/{name}" for name in expected)


def test_an_empty_directory_matches(node: Node) -> None:
    """It is not nothing."""
    node.has("e1/", "e2/f/")
    found = node.find("/out/tree/e*", is_pattern=True)
    assert (found.empty_directories, found.is_missing) == (["/out/tree/e1", "/out/tree/e2/f"], False)


def test_links_inside_the_tasks_files_are_followed(tmp_path: Path) -> None:
    """What they lead to is found under their own name: to a file, a directory, a volume, an input, and by way of others."""
    node = Node(tmp_path, volumes=["/vol"], inputs=[file(0, "/data/in")])
    node.has("real/x", "a")
    node.has("v/y", below="/vol")
    node.at("/data/in").write_text("input")
    links = {"file": "a", "dir": "/out/tree/real", "volume": "/vol/v", "input": "/data/in", "far": "volume/../../out/tree/a"}
    for name, target in links.items():
        (node.root / name).symlink_to(target)
    found = node.find()
    contents = {"a": "a", "dir/x": "real/x", "far": "a", "file": "a", "input": "input", "real/x": "real/x", "volume/y": "v/y"}
    assert found.files == [(f"/out/tree/{name}", len(content)) for name, content in contents.items()]
    assert [node.read(path) for path in paths(found)] == list(contents.values())
    assert found.notes == []
    assert node.match("/out/tree/*/y") == ["/out/tree/volume/y"]


def test_loops_of_links_end(node: Node) -> None:
    """Each directory is entered once on the way down, whatever leads back to it."""
    node.has("a/b/x", "c/y")
    (node.root / "a/b/up").symlink_to("../..")
    (node.root / "a/b/self").symlink_to(".")
    (node.root / "a/other").symlink_to("/out/tree/c")
    (node.root / "c/other").symlink_to("/out/tree/a")
    (node.root / "itself").symlink_to("itself")
    found = node.find()
    assert {"/out/tree/a/b/x", "/out/tree/c/y", "/out/tree/a/other/y", "/out/tree/c/other/b/x"} == set(paths(found))
    assert any(
        note == "output /out/tree/a/b/up: is a link to a directory that it is in, and was left out" for note in found.notes
    )
    assert "output /out/tree/itself: is a link that leads nowhere, and was left out" in found.notes


def test_what_no_file_can_be_made_of_is_left_out(node: Node) -> None:
    """With a note for each; the rest is found. A directory that has nothing else is an empty one."""
    node.has("a", "only/")
    (node.root / "dangling").symlink_to("nothing")
    (node.root / "through").symlink_to("a/b")
    (node.root / "outside").symlink_to(node.outside)
    (node.root / "shadow").symlink_to("/etc/shadow")
    os.mkfifo(node.root / "only" / "pipe")
    here = os.open(node.root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    found = node.find()
    assert (paths(found), found.empty_directories) == (["/out/tree/a"], ["/out/tree/only"])
    assert found.notes == [
        "output /out/tree/dangling: is a link that leads nowhere, and was left out",
        "output /out/tree/only/pipe: is a socket, a pipe or a device, and was left out",
        "output /out/tree/outside: leads outside the task's files, and was left out",
        "output /out/tree/shadow: leads outside the task's files, and was left out",
        "output /out/tree/socket: is a socket, a pipe or a device, and was left out",
        "output /out/tree/through: is a link that leads nowhere, and was left out",
    ]
    assert [note.split(":")[0] for note in node.find("/out/tree/s*", is_pattern=True).notes] == [
        "output /out/tree/shadow",
        "output /out/tree/socket",
    ]
    assert node.find("/out/tree/*/x", is_pattern=True).notes == []


def test_many_that_are_left_out_are_counted(node: Node) -> None:
    """The notes are for people."""
    for number in range(100):
        (node.root / f"{number:03}").symlink_to("nothing")
    notes = node.find().notes
    assert len(notes) == 21
    assert notes[-1] == "output /out/tree: 80 more were left out"


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/root/etc", "../../../../../../etc"])
def test_a_declared_output_that_leads_outside_is_a_failure(node: Node, target: str) -> None:
    """As for files that are stored by their own name."""
    (node.root / "a").symlink_to(target)
    with pytest.raises(faults.SystemFailure, match=r"^output /out/tree/a: leads outside the task's files$"):
        node.find("/out/tree/a")


def test_a_declared_pipe_is_a_failure(node: Node) -> None:
    """It is not waited for."""
    os.mkfifo(node.root / "a")
    with pytest.raises(faults.SystemFailure, match=r"^output /out/tree/a: is not a regular file$"):
        node.find("/out/tree/a")


def test_mounts_inside_a_directory_are_what_the_container_saw(tmp_path: Path) -> None:
    """An input in the working directory: not the empty mount point (cwl-tes, Nextflow)."""
    inputs = [file(0, "/out/tree/in"), file(1, "/out/tree/s/dir", type="DIRECTORY")]
    node = Node(tmp_path, inputs=inputs, volumes=["/out/tree/s/dir/v"])
    node.at("/out/tree/in").write_text("content")
    Path(node.files.input_place(cast("Any", inputs[1]), "a/b")).write_text("b")
    node.at("/out/tree/s/dir/v/w").write_text("ww")
    found = node.find()
    assert found.files == [("/out/tree/in", 7), ("/out/tree/s/dir/a/b", 1), ("/out/tree/s/dir/v/w", 2)]
    assert node.match("/out/tree/s/d*/v/?") == ["/out/tree/s/dir/v/w"]


def test_an_output_inside_an_input_directory_is_the_inputs(tmp_path: Path) -> None:
    """Nothing can be written there."""
    source: Any = file(0, "/in", type="DIRECTORY")
    node = Node(tmp_path, inputs=[source], outputs=[file(0, "/in/a"), file(1, "/in/s/*", is_pattern=True), OUT])
    Path(node.files.input_place(source, "a")).write_text("a")
    Path(node.files.input_place(source, "s/b")).write_text("b")
    assert (paths(node.find("/in/a")), node.match("/in/s/*")) == (["/in/a"], ["/in/s/b"])


NAMES = ["spaces  in", "Ünï ☃ 𝄞", "quote'\"`", "100%", "#?&;:@", "new\nline", "\x01\x7f", "*[a]", "-x", "..."]


def test_odd_names_are_found_as_they_are(node: Node) -> None:
    """Whatever a URL can escape."""
    node.has(*(f"{name}/{name}" for name in NAMES))
    assert paths(node.find()) == sorted(f"/out/tree/{name}/{name}" for name in NAMES)


def test_names_that_are_no_text_are_a_failure_that_can_be_read(node: Node) -> None:
    """Neither JSON nor a URL can name them; to leave a result out in silence is no answer. A pattern may pass them by."""
    node.has("a.txt")
    (Path(os.fsdecode(os.fsencode(node.root) + b"/b\xff"))).write_text("x")
    found = node.find()
    assert (paths(found), found.empty_directories) == (["/out/tree/a.txt"], [])
    assert failures(found) == [r"output /out/tree/b\udcff: its name is not UTF-8, so nothing can be stored under it"]
    assert failures(node.find("/out/tree/b*", is_pattern=True)) == failures(found)
    found = node.find("/out/tree/*.txt", is_pattern=True)
    assert (paths(found), failures(found)) == (["/out/tree/a.txt"], [])


@pytest.mark.parametrize(("depth", "name"), [(1100, "d"), (2100, "d"), (40, "d" * 200)])
def test_deep_trees_are_found_or_refused(node: Node, depth: int, name: str) -> None:
    """As deep as Linux takes a path; Python's own depth is no limit. What nobody can open by its path has a reason."""
    here = os.open(node.root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("x", os.O_CREAT, dir_fd=here))
    os.close(here)
    if depth == 1100:
        assert paths(node.find()) == ["/out/tree" + "/d" * 1100 + "/x"]
    else:
        (failure,) = failures(node.find())
        assert re.search(r": (its path|the name) is too long$", failure)
    assert files.remove(str(node.root))


def test_too_many_files_are_refused_before_they_are_counted(node: Node) -> None:
    """Also if links make many of few: 2^40 here."""
    node.has(*(f"{number}/x" for number in range(40)))
    for number in range(39):
        for name in ("one", "two"):
            (node.root / str(number) / name).symlink_to(f"../{number + 1}")
    begun = time.perf_counter()
    with pytest.raises(faults.SystemFailure, match=r"^output /out/tree: is more files than a task may have$"):
        node.find(most=5000)
    assert time.perf_counter() - begun < 5
    node.has(*(f"many/{number}" for number in range(11)))
    assert len(node.find("/out/tree/many", most=11).files) == 11
    with pytest.raises(faults.SystemFailure, match=r"^output /out/tree/many: is more files than a task may have$"):
        node.find("/out/tree/many", most=10)
    for path, is_pattern in (("/out/tree/many/1", False), ("/out/tree/many/?", True)):
        with pytest.raises(faults.SystemFailure, match="more files than a task may have"):
            node.find(path, most=0, is_pattern=is_pattern)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_that_may_not_be_read_is_a_reason() -> None:
    """Root may; a Pulsar that is not root may not, if the container's user was another one."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        node = Node(Path(place))
        (Path(place) / "tespes").chmod(0o755)
        node.has("closed/x", "a")
        (node.root / "closed").chmod(0)
        assert len(node.find().files) == 2
        os.seteuid(65533)
        try:
            found = node.find()
            assert (paths(found), found.empty_directories) == (["/out/tree/a"], [])
            assert failures(found) == ["output /out/tree/closed: permission denied on the node"]
            assert failures(node.find("/out/tree/closed")) == failures(found)
            assert failures(node.find("/out/tree/*/x", is_pattern=True)) == failures(found)
            with pytest.raises(faults.SystemFailure, match="more files than a task may have"):
                node.find(most=1)
        finally:
            os.seteuid(0)
