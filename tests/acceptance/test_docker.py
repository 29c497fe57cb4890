"""The runtimes with images, the whole way, with real engines."""

import json

import pytest
from engines_at_work import Engine

from servers import Tespes
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers


@pytest.mark.docker
@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_a_task_runs_in_a_container(tespes: Tespes, ftp: LocalFTP, engine: Engine) -> None:
    """The settings name the engine and its arguments; an image that cannot be is a reason, a missing program a line."""
    (ftp.directory / "holy_file").write_bytes(b"Hello World!")
    host = ftp.url.rpartition("@")[2]
    runtime = ", ".join(f"{name} = {json.dumps(value)}" for name, value in engine.runtime.items())
    tespes.settings = tespes.settings.replace('runtime = {kind = "sandbox", network = "host"}', f"runtime = {{{runtime}}}")
    tespes.start()
    task = {
        "inputs": [{"url": f"ftp://{host}/holy_file", "path": "/data/file1"}],
        "outputs": [{"path": "/data/outfile", "url": f"ftp://{host}/by-{engine.kind}"}],
        "executors": [{"image": engine.image, "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
    }
    first = tespes.submit(task)
    second = tespes.submit({"executors": [{"image": "UPPER/case", "command": ["true"]}]})
    third = tespes.submit({"executors": [{"image": engine.image, "command": ["no-such-program"]}]})
    assert tespes.ended(first)["state"] == "COMPLETE", tespes.task(first)
    assert (ftp.directory / f"by-{engine.kind}").read_text() == "ed076287532e86365e841e92bfc50d8c  -\n"
    failed = tespes.ended(second, within_s=60)
    assert failed["state"] == "SYSTEM_ERROR"
    assert "image UPPER/case: " in str(failed["logs"][-1]["system_logs"])
    failed = tespes.ended(third, within_s=60)
    assert failed["state"] == "EXECUTOR_ERROR"
    assert "the program no-such-program was not found in the image" in str(failed["logs"][-1]["system_logs"])
