"""Inputs to the node, outputs from it: streamed, counted and hashed on the way (design, section 7)."""

from __future__ import annotations

import hashlib
import os

from . import call, faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from . import callback, files, protocol


def fetch_input(tespes: callback.Callback, entry: protocol.File, place: str) -> protocol.MovedFile:
    """The input is at `place` on the node, or a `SystemFailure` says why not."""
    with faults.about(f"input {entry['path']}"):
        size_bytes, sha256 = tespes.persistently(lambda: _fetch(tespes, entry["index"], place))
    return {"index": entry["index"], "path": entry["path"], "size_bytes": size_bytes, "sha256": sha256}


def store_output(tespes: callback.Callback, entry: protocol.File, task_files: files.TaskFiles) -> protocol.MovedFile:
    """The output is stored; raises `FileNotFoundError` if the task did not make it, `SystemFailure` for all else."""
    with faults.about(f"output {entry['path']}"):
        try:
            descriptor, size_bytes = task_files.open_to_read(entry["path"])
        except FileNotFoundError:
            raise
        except OSError as error:
            raise faults.SystemFailure(faults.node_reason(error)) from error
        try:
            sha256 = tespes.persistently(lambda: _store(tespes, entry["index"], descriptor, size_bytes))
        finally:
            os.close(descriptor)
    return {"index": entry["index"], "path": entry["path"], "size_bytes": size_bytes, "sha256": sha256}


def _fetch(tespes: callback.Callback, index: int, place: str) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    with faults.on_the_node():
        file = open(place, "wb", buffering=0)  # noqa: SIM115 - errors of the network must not count as errors of the node
    with file, tespes.transfer("GET", f"inputs/{index}") as answer:
        for chunk in answer.chunks():
            digest.update(chunk)
            size_bytes += len(chunk)
            _write(file.fileno(), chunk)
    return size_bytes, digest.hexdigest()


def _write(descriptor: int, chunk: bytes) -> None:
    with faults.on_the_node():
        while chunk:
            chunk = chunk[os.write(descriptor, chunk) :]


def _store(tespes: callback.Callback, index: int, descriptor: int, size_bytes: int) -> str:
    digest = hashlib.sha256()
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
    with tespes.transfer("PUT", f"outputs/{index}", _read(descriptor, size_bytes, digest), headers):
        pass
    return digest.hexdigest()


def _read(descriptor: int, size_bytes: int, digest: hashlib._Hash) -> Iterator[bytes]:
    at = 0
    while at < size_bytes:
        with faults.on_the_node():
            piece = os.pread(descriptor, min(call.CHUNK_BYTES, size_bytes - at), at)
        if not piece:
            raise faults.SystemFailure("became shorter while it was read")
        digest.update(piece)
        at += len(piece)
        yield piece
