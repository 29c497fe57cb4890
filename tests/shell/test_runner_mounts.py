"""Where the task's paths lie on the node: tespes.runner.mounts and tespes.runner.files."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from runner_at_work import file, plan

from tespes.runner import faults, files, mounts


def laid_out(**changes: Any) -> mounts.Layout:
    return mounts.lay_out(cast("Any", plan(**changes)), "/job/tespes")


def tree(index: int, path: str) -> dict[str, Any]:
    return file(index, path, type="DIRECTORY")


def pattern(index: int, path: str) -> dict[str, Any]:
    return file(index, path, is_pattern=True)


def shown(layout: mounts.Layout) -> list[tuple[str, str, bool]]:
    return [(mount.container_path, mount.host_path, mount.read_only) for mount in layout.mounts]


def on_disk(directory: Path, **changes: Any) -> files.TaskFiles:
    root = directory / "tespes"
    root.mkdir()
    task_files = files.TaskFiles(mounts.lay_out(cast("Any", plan(**changes)), str(root)), str(root))
    task_files.create()
    return task_files


def place(task_files: files.TaskFiles, path: str) -> Path:
    found = task_files.layout.host_path(path)
    assert found is not None
    return Path(found)


def read(task_files: files.TaskFiles, path: str) -> bytes:
    descriptor, size_bytes = task_files.open_to_read(path)
    content = os.read(descriptor, size_bytes + 1)
    os.close(descriptor)
    assert len(content) == size_bytes
    return content


def test_parents_of_outputs_and_streams_and_volumes_are_shared_directories() -> None:
    """What one executor writes there, the next one sees."""
    layout = mounts.lay_out(
        cast("Any", plan({"command": ["x"], "stdout": "/log/o"}, outputs=[file(0, "/out/a")], volumes=["/vol"])), "/d"
    )
    assert shown(layout) == [
        ("/log", "/d/shared/0", False),
        ("/out", "/d/shared/1", False),
        ("/vol", "/d/shared/2", False),
    ]


def test_only_the_topmost_of_nested_directories_is_mounted() -> None:
    """The inner ones are made inside it, so that a rename from one to the other works."""
    layout = laid_out(outputs=[file(0, "/data/sub/deep/a"), file(1, "/data/b"), file(2, "/database/c")])
    assert [mount.container_path for mount in layout.mounts] == ["/data", "/database"]
    assert layout.host_path("/data/sub/deep/a") == "/job/tespes/shared/0/sub/deep/a"


def test_inputs_are_read_only_and_on_top_of_what_is_shared() -> None:
    """Outer mounts come first, so that an input inside a shared directory is not covered by it."""
    layout = laid_out(inputs=[file(0, "/data/in")], outputs=[file(0, "/data/out")])
    assert shown(layout) == [
        ("/data", "/job/tespes/shared/0", False),
        ("/data/in", "/job/tespes/inputs/0", True),
    ]
    assert layout.host_path("/data/in") == "/job/tespes/inputs/0"


@pytest.mark.parametrize("path", ["/out", "/usr/out", "/etc/conf.d/out", "/lib64/out", "/opt/out", "/var/out"])
def test_an_output_beside_programs_does_not_hide_them(path: str) -> None:
    """The file alone is mounted where its directory belongs to the image."""
    assert shown(laid_out(outputs=[file(0, path)])) == [(path, "/job/tespes/files/0", False)]


@pytest.mark.parametrize("path", ["/opt/results/out", "/var/task/out", "/usrdata/out"])
def test_a_directory_of_the_tasks_own_is_shared_wherever_it_is(path: str) -> None:
    """Only the system's directories are special, and names that merely begin alike are not."""
    assert [mount.container_path for mount in laid_out(outputs=[file(0, path)]).mounts] == [str(Path(path).parent)]


def test_paths_are_taken_in_their_shortest_form() -> None:
    """/data//x and /data/./x are one path, and none leaves the root."""
    assert shown(laid_out(volumes=["//data/./sub/"], outputs=[file(0, "/../data/sub/x")])) == [
        ("/data/sub", "/job/tespes/shared/0", False)
    ]


S, F, IN = "/job/tespes/shared", "/job/tespes/files", "/job/tespes/inputs"


@pytest.mark.parametrize(
    ("changes", "mounted", "made"),
    [
        ({"outputs": [tree(0, "/data/out")]}, {"/data": f"{S}/0"}, ["/data", "/data/out"]),
        ({"outputs": [tree(0, "/out")]}, {"/out": f"{S}/0"}, ["/out"]),
        ({"outputs": [tree(0, "/usr/x"), file(1, "/usr/y")]}, {"/usr/x": f"{S}/0", "/usr/y": f"{F}/0"}, ["/usr/x"]),
        ({"outputs": [pattern(0, r"/d\\x/*")]}, {r"/d\x": f"{S}/0"}, [r"/d\x"]),
        ({"outputs": [pattern(0, "/data/s/*/x?.txt")]}, {"/data/s": f"{S}/0"}, ["/data/s"]),
        ({"inputs": [tree(0, "/in")]}, {"/in": f"{IN}/0"}, []),
        ({"outputs": [file(0, "/data"), file(1, "/data/out")]}, {"/data": f"{S}/0"}, ["/data"]),
        ({"outputs": [file(0, "/opt/x"), file(1, "/opt/x/y/z")]}, {"/opt/x": f"{S}/0"}, ["/opt/x", "/opt/x/y"]),
        ({"outputs": [file(0, "/o")], "inputs": [file(0, "/o/i")]}, {"/o": f"{S}/0", "/o/i": f"{IN}/0"}, ["/o"]),
        ({"outputs": [file(0, "/i")], "inputs": [file(0, "/i")]}, {"/i": f"{IN}/0"}, []),
    ],
)  # fmt: skip
def test_directories_and_patterns_are_laid_out(changes: dict[str, Any], mounted: dict[str, str], made: list[str]) -> None:
    """Like files: their parents are shared, but for those of the system. An output that must be a directory is one."""
    layout = laid_out(**changes)
    assert {mount.container_path: mount.host_path for mount in layout.mounts} == mounted
    assert layout.directories == made


@pytest.mark.parametrize(
    ("changes", "mounted"),
    [
        ({"outputs": [file(0, "/in/a"), file(1, "/in/s/b"), pattern(2, "/in/s/*"), pattern(3, "/in/*")]}, {}),
        ({"outputs": [file(0, "/in/s"), file(1, "/in/s/b"), tree(2, "/in")]}, {}),
        ({"outputs": [tree(0, "/in/s/out"), tree(1, "/in/s/out/deep")]}, {"/in/s/out": f"{S}/0"}),
        ({"volumes": ["/in/v/w", "/in/v"], "outputs": [file(0, "/in/v/a/o")]}, {"/in/v": f"{S}/0"}),
        ({"volumes": ["/in/v"], "inputs": [tree(0, "/in"), tree(1, "/in/v/t")]}, {"/in/v": f"{S}/0", "/in/v/t": f"{IN}/1"}),
        ({"volumes": ["/in"]}, {}),
    ],
)  # fmt: skip
def test_inside_an_input_directory_only_what_is_the_tasks_own_is_mounted(
    changes: dict[str, Any], mounted: dict[str, str]
) -> None:
    """An output's parent would hide what was fetched: the output is what the input has there."""
    layout = laid_out(**{"inputs": [tree(0, "/in")], **changes})
    assert {mount.container_path: mount.host_path for mount in layout.mounts} == {"/in": f"{IN}/0", **mounted}


def test_a_directory_around_an_input_directory_is_shared_as_ever() -> None:
    """Inner ones on top; and what is inside of the inner one but the task's own comes back on top of that."""
    layout = laid_out(inputs=[tree(3, "/w/in")], outputs=[file(0, "/w/out")], volumes=["/w/in/v"])
    assert shown(layout) == [("/w", f"{S}/0", False), ("/w/in", f"{IN}/3", True), ("/w/in/v", f"{S}/1", False)]
    assert layout.host_path("/w/in/v/x") == f"{S}/1/x"


def test_thousands_of_files_are_laid_out_at_once() -> None:
    """As many as fit a task."""
    begun = time.perf_counter()
    layout = laid_out(
        inputs=[file(index, f"/in/{index}") for index in range(10_000)], outputs=[file(0, "/out/" + "d/" * 2000 + "x")]
    )
    assert len(layout.mounts) == 10_001
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"volumes": ["/"]}, "volume /: would hide a system directory of the container"),
        ({"volumes": ["/usr/"]}, "volume /usr: would hide a system directory of the container"),
        ({"outputs": [file(0, "relative")]}, "output relative: is not an absolute path"),
        ({"inputs": [file(0, "/data")], "outputs": [file(0, "/data/out")]}, "/data: is a file and a directory at once"),
        ({"inputs": [file(0, "/a"), file(1, "/a/b")]}, "/a: is a file and a directory at once"),
        ({"inputs": [file(0, "/a")], "outputs": [tree(0, "/a")]}, "/a: is a file and a directory at once"),
        ({"inputs": [file(0, "/a")], "outputs": [pattern(0, "/a/*")]}, "/a: is a file and a directory at once"),
        ({"outputs": [tree(0, "/usr")]}, "output /usr: would hide a system directory of the container"),
        ({"outputs": [pattern(0, "/*")]}, "output /*: its directory /: would hide a system directory of the container"),
    ],
)
def test_paths_that_cannot_be_are_refused_with_their_name(changes: dict[str, Any], reason: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(faults.SystemFailure) as caught:
        laid_out(**changes)
    assert str(caught.value) == reason


def test_mount_points_are_made_inside_of_other_mounts(tmp_path: Path) -> None:
    """Container engines would make them outside of what the task may write, or cannot."""
    on_disk(tmp_path, inputs=[tree(0, "/in"), tree(1, "/in/a/t"), file(2, "/in/a/f")], volumes=["/in/v"])
    made = tmp_path / "tespes" / "inputs" / "0"
    assert sorted(str(each.relative_to(made)) for each in made.rglob("*")) == ["a", "a/f", "a/t", "v"]
    assert [(made / name).is_dir() for name in ("a/f", "a/t", "v")] == [False, True, True]


def test_an_input_directorys_files_have_places(tmp_path: Path) -> None:
    """Made by several threads, readable by everybody, with what the storage lists of directories."""
    entry: Any = tree(0, "/in")
    task_files = on_disk(tmp_path, inputs=[entry, file(1, "/in/a/f0")])
    names = [f"a/{'deep/' * (number % 3)}f{number}" for number in range(300)]
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda name: task_files.input_place(entry, name), names))
    task_files.make_input_directory(entry, "empty/er")
    assert places == [str(tmp_path / "tespes" / "inputs" / "0" / name) for name in names]
    assert all(Path(each).stat().st_mode & 0o777 == 0o644 for each in places[1:])
    assert place(task_files, "/in/empty/er").stat().st_mode & 0o777 == 0o777
    assert place(task_files, "/in/a/f0") != Path(places[0]), "the input that is mounted there is another one"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/x", "a//b", "a/.", "a/", "a\0b", "\udcff"])
def test_no_name_leads_out_of_an_input_directory(tmp_path: Path, name: str) -> None:
    """Storages list what they like: an object of S3 may be called `../x`."""
    entry: Any = tree(0, "/in")
    task_files = on_disk(tmp_path, inputs=[entry])
    for make in (task_files.input_place, task_files.make_input_directory):
        with pytest.raises(faults.SystemFailure, match=r"input /in/.*no file can have this name"):
            make(entry, name)
    assert list(place(task_files, "/in").iterdir()) == []


def test_a_name_is_not_a_file_and_a_directory(tmp_path: Path) -> None:
    """In an object store it may be both."""
    entry: Any = tree(0, "/in")
    task_files = on_disk(tmp_path, inputs=[entry])
    task_files.input_place(entry, "a/b")
    for make, name in (
        (task_files.input_place, "a"),
        (task_files.input_place, "a/b/c"),
        (task_files.make_input_directory, "a/b"),
    ):
        with pytest.raises(faults.SystemFailure, match="is a file and a directory at once"):
            make(entry, name)


def test_a_link_is_read_as_the_container_sees_it(tmp_path: Path) -> None:
    """Absolute targets are looked up in the task's directories, relative ones beside the link, over mounts as well."""
    task_files = on_disk(tmp_path, volumes=["/vol"], outputs=[file(0, "/out/a")])
    place(task_files, "/vol/real").write_bytes(b"real")
    place(task_files, "/out/a").symlink_to("/vol/step")
    place(task_files, "/vol/step").symlink_to("../out/../vol/./real")
    assert read(task_files, "/out/a") == b"real"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "/proc/self/environ", "/run/x"])
def test_a_link_out_of_the_tasks_files_is_refused(tmp_path: Path, target: str) -> None:
    """The runner works outside of the container: such a link would show it the node's files."""
    task_files = on_disk(tmp_path, outputs=[file(0, "/out/a")])
    place(task_files, "/out/a").symlink_to(target)
    for opened in (task_files.open_to_read, task_files.open_to_write):
        with pytest.raises(faults.SystemFailure, match="leads outside the task's files"):
            opened("/out/a")


def test_a_link_in_place_of_a_directory_is_refused_too(tmp_path: Path) -> None:
    """Every part of a path may be a link, not only the last."""
    task_files = on_disk(tmp_path, outputs=[file(0, "/out/sub/passwd"), file(1, "/out/b")])
    place(task_files, "/out/sub").rmdir()
    place(task_files, "/out/sub").symlink_to("/etc")
    with pytest.raises(faults.SystemFailure, match="leads outside the task's files"):
        task_files.open_to_read("/out/sub/passwd")


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    """As in Linux, after forty links."""
    task_files = on_disk(tmp_path, outputs=[file(0, "/out/a")])
    place(task_files, "/out/a").symlink_to("a")
    with pytest.raises(faults.SystemFailure, match="leads nowhere"):
        task_files.open_to_read("/out/a")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """Opening a FIFO would wait for its other end for ever."""
    task_files = on_disk(tmp_path, outputs=[file(0, "/out/a")])
    os.mkfifo(place(task_files, "/out/a"))
    for opened in (task_files.open_to_read, task_files.open_to_write):
        with pytest.raises(faults.SystemFailure, match="is not a regular file"):
            opened("/out/a")


def test_an_input_is_never_written(tmp_path: Path) -> None:
    """Nor through a link."""
    task_files = on_disk(tmp_path, inputs=[file(0, "/data/in")], outputs=[file(0, "/data/out")])
    place(task_files, "/data/out").symlink_to("in")
    with pytest.raises(faults.SystemFailure, match="is an input, which is read-only"):
        task_files.open_to_write("/data/out")


def test_a_link_in_the_way_of_a_mount_is_refused(tmp_path: Path) -> None:
    """A mount point is made outside of the container: a link there would make it anywhere on the node."""
    task_files = on_disk(tmp_path, inputs=[file(0, "/data/sub/in")], outputs=[file(0, "/data/out")])
    place(task_files, "/data/sub").rename(tmp_path / "away")
    place(task_files, "/data/sub").symlink_to(tmp_path)
    with pytest.raises(faults.SystemFailure, match=r"/data/sub: .* was replaced by the task"):
        task_files.make_mount_points()
    assert not (tmp_path / "in").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_only_root_gives_files_to_the_settings_user() -> None:
    """Anybody else gets a reason; a Pulsar that is that user itself has nothing to give."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o777)
        os.setegid(65533)
        os.seteuid(65533)
        try:
            theirs = files.TaskFiles(laid_out(), place, files.owner({"user": "1000:1000"}))
            with pytest.raises(faults.SystemFailure, match=r"given to the runtime's user 1000:1000: Pulsar is not root"):
                theirs.make_apart(f"{place}/a")
            files.TaskFiles(laid_out(), place, files.owner({"user": "65533:65533"})).make_apart(f"{place}/b")
        finally:
            os.seteuid(0)
            os.setegid(0)


def test_what_a_task_leaves_is_removed_and_what_its_links_name_is_not(tmp_path: Path) -> None:
    """Directories without permissions and deep ones included."""
    task_files = on_disk(tmp_path, volumes=["/vol"])
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    volume = place(task_files, "/vol")
    (volume / "link").symlink_to(kept)
    (volume / "closed").mkdir()
    (volume / "closed" / "file").touch()
    (volume / "closed").chmod(0)
    assert files.remove(str(tmp_path / "tespes"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()
