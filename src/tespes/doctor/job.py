"""The small job: a few lines of Python that Pulsar runs on a node, where they look at what a runner needs there.

It goes the way of every job, and needs no image. Its last line is what it found; TESPES takes no notice of it.
"""

import base64
import inspect
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from tespes.doctor import clocks, node
from tespes.doctor.finding import Finding, ok, problem, warning
from tespes.doctor.stand_in import GONE
from tespes.pulsar import Site, job, probe
from tespes.pulsar.probe import Probe

_RECEIPT_S: Final = 10.0
_NO_PYTHON: Final = "no python"
_ROOM_BYTES: Final = 2**30
_UNAUTHORIZED: Final = 401


async def look(site: Site, looked: Probe, key: bytes, within_s: float) -> AsyncIterator[Finding]:
    """Send it, and tell what it found.

    :param within_s: how long it may wait and run
    """
    about, job_id, sent = f"job at {site.name}", probe.new_id(), time.time()
    await looked.submit(job_id, script(site, job_id, key))
    if not await looked.received(job_id, min(_RECEIPT_S, within_s)):
        yield problem(about, f"Pulsar did not take it within {min(_RECEIPT_S, within_s):g} s: see Pulsar's log")
        return
    last = await looked.ended(job_id, within_s)
    if last is None:
        yield warning(
            about, f"Pulsar took it, and it did not end within {within_s:g} s: if jobs wait in a batch system, give it --wait"
        )
        return
    found = _found(last)
    if found is None:
        yield problem(about, _failed(last))
        return
    took_s = time.time() - sent
    yield ok(
        about, f"ran as user {found['user']} of {found['host']} with Python {found['python']}, {took_s:.1f} s after it was sent"
    )
    yield clocks.compared(f"the node of {site.name}", found["time"], sent, sent + took_s)
    yield _room(site, found["free_bytes"])
    yield _callback(site, found["callback"])
    yield _runtime(site, found["runtime"])


def script(site: Site, job_id: str, key: bytes) -> str:
    """The job's shell fragment."""
    claim = {
        "url": f"{site.callback_url}/runner/{job_id}/claim",
        "token": job.token(key, job_id),
        "run_id": secrets.token_hex(16),
    }
    order = base64.b64encode(json.dumps({"claim": claim, "commands": _commands(site.runtime)}).encode()).decode()
    program = base64.b64encode(f'{inspect.getsource(node)}\nmain("{order}")\n'.encode()).decode()
    return job.shell(f'import base64\nexec(base64.b64decode("{program}"))\n', _NO_PYTHON)


def _commands(runtime: dict[str, Any]) -> list[list[str]]:
    """How it is found out whether a runtime is there: which it is, and whether it works, without an image."""
    program, arguments = str(runtime["program"]), [*runtime.get("arguments", ())]
    match runtime["kind"]:
        case "docker":
            host = ["--host", runtime["host"]] if runtime.get("host") else []
            return [[program, *host, *arguments, "version", "--format", "Docker {{.Server.Version}}"]]
        case "podman":
            return [[program, "--version"], [program, *arguments, "info", "--format", "{{.Host.OS}}"]]
        case "sandbox":
            return [[program, "--version"], [program, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"]]
        case _:
            return [[program, "--version"]]


def _found(last: dict[str, Any]) -> dict[str, Any] | None:
    """What the job printed; None if that is nothing of ours."""
    try:
        found = json.loads(str(last.get("job_stdout") or "").strip().rpartition("\n")[2])
    except ValueError:
        return None
    return found if isinstance(found, dict) and "callback" in found else None


def _failed(last: dict[str, Any]) -> str:
    if _NO_PYTHON in str(last.get("job_stdout") or ""):
        return "the node has no Python 3.8 or newer where Pulsar's PATH finds it: install python3 there"
    words = " ".join(str(last.get("job_stderr") or "").split())[-200:]
    return f"it ended as {last.get('status')} with exit code {last.get('returncode')} and no result: see Pulsar's log ({words})"


def _room(site: Site, free_bytes: int) -> Finding:
    about, said = f"disk at {site.name}", f"{free_bytes // 2**20:,} MiB are free where jobs run"
    return ok(about, said) if free_bytes > _ROOM_BYTES else warning(about, f"{said}: make room, or remove old jobs there")


def _callback(site: Site, found: dict[str, Any]) -> Finding:
    about, status = f"callback of {site.name}", found.get("status")
    if status == GONE:
        return ok(about, f"the node reaches TESPES at {site.callback_url}")
    advice = f"name the address where nodes reach TESPES with pulsars.{site.group or site.name}.callback_url"
    if status is None:
        return problem(about, f"the node does not reach {site.callback_url}: {found.get('reason')}: open the way, or {advice}")
    if status == _UNAUTHORIZED:
        return problem(
            about, f"a TESPES with another key answers at {site.callback_url}: {advice}, or give both the same runner.key"
        )
    return problem(about, f"no TESPES answers at {site.callback_url}, but somebody who says {status}: {advice}")


def _runtime(site: Site, found: list[dict[str, Any]]) -> Finding:
    about, kind = f"runtime of {site.name}", site.runtime_kind
    setting = f"pulsars.{site.group or site.name}.runtime"
    for each in found:
        if "missing" in each:
            return problem(about, f"the node has no program {each['missing']}: install it, or name it in {setting}.program")
        if each["code"] != 0:
            return problem(
                about, f"{kind} does not work on the node: {each['said']}: mend that there, or choose another in {setting}"
            )
    return ok(about, f"{found[0]['said'].partition(chr(10))[0] or kind} works on the node")
