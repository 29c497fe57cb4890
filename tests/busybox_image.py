"""A small image, made on the spot: busybox, and a name for each of its programs that tests use."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

CHANGE = 'CMD ["echo", "by default"]'
_PROGRAMS = ("cat", "chmod", "dd", "echo", "env", "head", "id", "ls", "md5sum", "mkdir", "mv", "pwd", "rm", "sh", "sleep")
_MORE_PROGRAMS = ("stat", "touch", "tr", "true", "wc", "yes")


def archive() -> bytes:
    """Its root file system, as `docker import` and `podman import` take it."""
    busybox = shutil.which("busybox")
    assert busybox, "the package busybox-static is needed"
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as files:
        files.add(os.path.realpath(busybox), "bin/busybox")
        for program in _PROGRAMS + _MORE_PROGRAMS:
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            files.addfile(link)
    return root.getvalue()
