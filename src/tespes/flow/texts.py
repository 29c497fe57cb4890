"""Texts and lists too long for an event are kept as blobs, written before the event that names them."""

import asyncio
import hashlib
from dataclasses import replace

import orjson

from tespes import events, tes
from tespes.store import Blobs

INLINE_BYTES = 4096
INLINE_FILES = 500


async def keep_contents(blobs: Blobs, task: tes.Task) -> tuple[tes.Task, tuple[events.Kept, ...]]:
    """The task without the contents of inputs that are too long, and where those are kept."""
    shortened, long = without_contents(task)
    for kept, content in long:
        await blobs.put(kept.sha256, content)
    return shortened, tuple(kept for kept, _ in long)


def without_contents(task: tes.Task) -> tuple[tes.Task, tuple[tuple[events.Kept, bytes], ...]]:
    """The task without the contents of inputs that are too long, and those."""
    inputs = list(task.inputs or ())
    long = []
    for index, each in enumerate(inputs):
        if each.content is not None and _is_long(each.content):
            long.append(_named(f"inputs.{index}.content", each.content))
            inputs[index] = each.model_copy(update={"content": ""})
    return (task.model_copy(update={"inputs": tuple(inputs)}), tuple(long)) if long else (task, ())


async def keep_files(
    blobs: Blobs, place: str, files: tuple[events.File, ...]
) -> tuple[tuple[events.File, ...], tuple[events.Kept, ...]]:
    """The list, or where it is kept if it is too long."""
    if len(files) <= INLINE_FILES:
        return files, ()
    whole = (await asyncio.to_thread(orjson.dumps, files)).decode()
    return (), (await _keep(blobs, place, whole),)


async def keep_tails(blobs: Blobs, ended: events.ExecutorEnded, inline_bytes: int = INLINE_BYTES) -> events.ExecutorEnded:
    """The event without the tails that are too long, and where those are kept."""
    if _is_long(ended.stdout, inline_bytes):
        kept = await _keep(blobs, "stdout", ended.stdout)
        ended = replace(ended, stdout="", kept=(*ended.kept, kept))
    if _is_long(ended.stderr, inline_bytes):
        kept = await _keep(blobs, "stderr", ended.stderr)
        ended = replace(ended, stderr="", kept=(*ended.kept, kept))
    return ended


def _is_long(text: str, inline_bytes: int = INLINE_BYTES) -> bool:
    return len(text) > inline_bytes or len(text.encode()) > inline_bytes


async def _keep(blobs: Blobs, place: str, text: str) -> events.Kept:
    kept, content = _named(place, text)
    await blobs.put(kept.sha256, content)
    return kept


def _named(place: str, text: str) -> tuple[events.Kept, bytes]:
    content = text.encode()
    return events.Kept(place=place, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)), content
