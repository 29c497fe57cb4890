"""An image with a workflow engine inside, made of this machine's Python and the engine's environment: nothing is pulled.

Everything lies at the paths that it has here, so the environment works as it is. `pip` does nothing: Snakemake asks it for
the storage plugin in each job, and the plugin is there already.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from docker_engine import DockerEngine

_PROGRAMS = ("bash", "sh", "cat", "env", "md5sum", "mkdir", "rm", "sleep", "stat", "touch", "tr")
_LEFT_OUT = re.compile(r"(^|/)(__pycache__|test|tests|idlelib|ensurepip|site-packages|dist-packages)(/|$)")


def make(engine: DockerEngine, environment: Path, name: str) -> None:
    """The image is made and imported.

    :param environment: a virtual environment with the engine and its plugins
    :param name: what tasks call the image, with a tag
    """
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w", dereference=False) as archive:
        _add_python(archive, environment)
        _add_programs(archive)
        _add_text(archive, "etc/passwd", "root:x:0:0:root:/tmp:/bin/sh\n")
        _add_text(archive, "usr/bin/pip", "#!/bin/sh\nexit 0\n")
        directory = tarfile.TarInfo("tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(directory)
    path = f"PATH={environment}/bin:/usr/bin:/bin"
    command = ["docker", "--host", engine.host, "import", "--change", f"ENV {path}", "--change", "ENV HOME=/tmp", "-", name]
    made = subprocess.run(command, input=root.getvalue(), check=False, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()


def _add_python(archive: tarfile.TarFile, environment: Path) -> None:
    """The interpreter, its library, the environment, and the shared libraries of all of them."""
    library = Path(sysconfig.get_path("stdlib"))
    archive.add(environment, str(environment)[1:], filter=_without_pip)
    archive.add(library, str(library)[1:], filter=_needed)
    link = environment / "bin" / "python"
    while link.is_symlink():  # a link may lead to a link, and each must be there
        link = link.parent / link.readlink()
        _add_file(archive, link, str(link))
    modules = [*library.glob("lib-dynload/*.so"), *environment.rglob("*.so")]
    _add_libraries(archive, [link, *modules])


def _add_programs(archive: tarfile.TarFile) -> None:
    found = [Path(str(shutil.which(name))) for name in _PROGRAMS]
    for program in found:
        _add_file(archive, program.resolve(), f"/usr/bin/{program.name}")
    link = tarfile.TarInfo("bin")
    link.type, link.linkname = tarfile.SYMTYPE, "usr/bin"
    archive.addfile(link)
    _add_libraries(archive, found)


def _add_libraries(archive: tarfile.TarFile, programs: Iterable[Path]) -> None:
    for library in sorted({os.path.normpath(each) for each in _libraries(programs)}):  # some lead through `..`
        _add_file(archive, Path(library).resolve(), library)


def _add_file(archive: tarfile.TarFile, file: Path, path: str) -> None:
    """Docker refuses an archive that has a name twice."""
    if path[1:] not in archive.getnames():
        archive.add(file, path[1:])


def _libraries(programs: Iterable[Path]) -> Iterator[str]:
    asked = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    for line in asked.splitlines():
        if found := re.search(r"(/\S+) \(0x", line):
            yield found[1]


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT.search(entry.name) else entry


def _without_pip(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The environment's own `pip` would stand before the one that does nothing."""
    return None if re.search(r"/bin/pip[0-9.]*$|/__pycache__(/|$)", entry.name) else entry


def _add_text(archive: tarfile.TarFile, path: str, text: str) -> None:
    file = tarfile.TarInfo(path)
    file.size, file.mode = len(text), 0o755
    archive.addfile(file, io.BytesIO(text.encode()))
