"""The docker runtime, the whole way, with a real engine."""

import pytest

from docker_engine import DockerEngine
from servers import Tespes
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers


@pytest.mark.docker
@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_a_task_runs_in_docker(tespes: Tespes, ftp: LocalFTP, docker_engine: DockerEngine) -> None:
    """The docker runtime behind the same promise, with a real engine; a missing image is a reason."""
    (ftp.directory / "holy_file").write_bytes(b"Hello World!")
    host = ftp.url.rpartition("@")[2]
    docker = f'runtime = {{kind = "docker", network = "none", host = "{docker_engine.host}"}}'
    tespes.settings = tespes.settings.replace('runtime = {kind = "sandbox", network = "host"}', docker)
    tespes.start()
    task = {
        "inputs": [{"url": f"ftp://{host}/holy_file", "path": "/data/file1"}],
        "outputs": [{"path": "/data/outfile", "url": f"ftp://{host}/by-docker"}],
        "executors": [{"image": docker_engine.image, "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
    }
    first = tespes.submit(task)
    second = tespes.submit({"executors": [{"image": "missing:none", "command": ["true"]}]})
    assert tespes.ended(first)["state"] == "COMPLETE", tespes.task(first)
    assert (ftp.directory / "by-docker").read_text() == "ed076287532e86365e841e92bfc50d8c  -\n"
    failed = tespes.ended(second, within_s=60)
    assert failed["state"] == "SYSTEM_ERROR"
    assert "missing:none" in str(failed["logs"][-1]["system_logs"])
    assert docker_engine.docker("ps", "-aq") == ""
