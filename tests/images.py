"""Root file systems of images, made of what is on this machine: Debian's packages, this Python, single programs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_LEFT_OUT: Final = re.compile(r"^usr/share/(doc|man|locale|info|lintian|bash-completion)/")
_NOT_OF_PYTHON: Final = re.compile(
    r"(^|/)(__pycache__|test|tests|idlelib|tkinter|turtledemo|site-packages|dist-packages|config-3[^/]*)(/|$)"
)
_USERS: Final = (
    "root:x:0:0:root:/root:/bin/sh\nmongodb:x:999:999::/data/db:/bin/sh\nrabbitmq:x:998:998::/var/lib/rabbitmq:/bin/sh\n"
)
_GROUPS: Final = "root:x:0:\nmongodb:x:999:\nrabbitmq:x:998:\n"


class Files:
    """The root file system of an image, as it grows."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115 - closed by `archive`
        self._names: set[str] = set()
        for directory in ("bin", "sbin", "lib", "lib64"):
            self.link(directory, f"usr/{directory}")
        self.directory("tmp", 0o1777)
        self.text("etc/passwd", _USERS)
        self.text("etc/group", _GROUPS)

    def archive(self) -> bytes:
        """What `docker import` takes."""
        self._tar.close()
        return self._bytes.getvalue()

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        self._names.add(name)
        self._tar.addfile(link)

    def directory(self, name: str, mode: int = 0o755, owner: int = 0) -> None:
        """An empty directory."""
        directory = tarfile.TarInfo(name)
        directory.type, directory.mode, directory.uid, directory.gid = tarfile.DIRTYPE, mode, owner, owner
        self._tar.addfile(directory)

    def text(self, name: str, text: str, mode: int = 0o644) -> None:
        """A file with that text."""
        file = tarfile.TarInfo(name)
        file.size, file.mode = len(text.encode()), mode
        self._names.add(name)
        self._tar.addfile(file, io.BytesIO(text.encode()))

    def file(self, source: Path, name: str | None = None) -> None:
        """A file, a link or an empty directory of this machine, at the same path if no other is named."""
        there = name or str(source.parent.resolve() / source.name)[1:]
        if there not in self._names:
            self._names.add(there)
            self._tar.add(source, there, recursive=False)

    def tree(self, source: Path, name: str, left_out: re.Pattern[str] = _NOT_OF_PYTHON) -> None:
        """A directory of this machine with what is in it, but for what is left out."""
        self._tar.add(source, name, filter=lambda entry: None if left_out.search(entry.name.removeprefix(name)) else entry)

    def program(self, source: Path, name: str) -> None:
        """A program of this machine and the libraries that it loads."""
        self.file(source.resolve(), name)
        self.libraries([source])

    def libraries(self, programs: Iterable[Path]) -> None:
        """The libraries that those load."""
        told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
        for path in sorted({found for line in told.splitlines() for found in re.findall(r"(/\S+\.so\S*) \(", line)}):
            self.file(Path(path).resolve(), str(Path(path).parent.resolve() / Path(path).name)[1:])

    def packages(self, *names: str) -> None:
        """Debian packages of this machine, and those that they need."""
        needed = sorted(_closure(names))
        listed = subprocess.run(["dpkg", "-L", *needed], capture_output=True, text=True, check=True).stdout
        for path in map(Path, sorted(set(listed.split("\n")))):
            if (path.is_file() or path.is_symlink()) and not _LEFT_OUT.match(str(path)[1:]):
                self.file(path)

    def python(self, version: str = f"{sys.version_info.major}.{sys.version_info.minor}") -> None:
        """The Python of the tests in /usr/local, as in the published images, and the certificates that this machine trusts."""
        program, library = Path(sys.base_exec_prefix) / "bin" / f"python{version}", Path(sysconfig.get_path("stdlib"))
        self.program(program, f"usr/local/bin/python{version}")
        self.tree(library, f"usr/local/lib/python{version}")
        self.libraries(library.glob("lib-dynload/*.so"))
        for name in ("python3", "python"):
            self.link(f"usr/local/bin/{name}", f"python{version}")
        for file in (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/ssl/openssl.cnf"), Path("/etc/pip.conf")):
            if file.is_file():
                self.file(file)


def _closure(names: Iterable[str]) -> set[str]:
    """Those packages and all that they depend on, of the installed ones."""
    form = "${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n"
    told = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    needs: dict[str, list[str]] = {}
    provider: dict[str, str] = {}
    for line in told.splitlines():
        package, wanted, provided = line.split("\t")
        needs[package] = list(_named(wanted))
        provider |= dict.fromkeys(_named(provided), package)
    found: set[str] = set()
    left = list(names)
    while left:
        package = left.pop()
        package = package if package in needs else provider.get(package, "")
        if package and package not in found:
            found.add(package)
            left += needs[package]
    missing = [name for name in names if name not in needs]
    assert not missing, f"not installed: {' '.join(missing)}"
    return found


def _named(wanted: str) -> Iterator[str]:
    for each in re.split(r"[,|]", wanted):
        if words := each.split():
            yield words[0].removesuffix(":any")
