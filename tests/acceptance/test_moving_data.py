"""Files and directories by every kind of storage, the whole way: real storages, a real Pulsar, the sandbox."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from servers import Tespes, until
from storages import KINDS, InBucket, OnDisk, Places, Tree
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ
from web_server import Answer, Cut, Failure, Lie, Silent

pytestmark = pytest.mark.servers

PULSAR = '[default.pulsars.real]\nslots = 64\nruntime = {kind = "sandbox", network = "host"}\n'
SHORT = {"TESPES_STORAGE__SILENCE_S": "1", "TESPES_STORAGE__URL_LIFETIME_S": "2", "TESPES_STORAGE__PART_BYTES": str(5 * 2**20)}
WORK = "/work"  # where Nextflow works in a container
TREE: Tree = {
    "plain.txt": b"plain",
    ".hidden": b"hidden",
    "deep/deeper/with space & 50% #1?.txt": b"odd",
    "deep/ünïcödé 名前": b"unicode",
    "deep/empty": None,
    "zero": b"",
}


@pytest.fixture(scope="module")
def mover(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, places: Places
) -> Iterator[Tespes]:
    """TESPES that knows all places, is soon out of patience, and whose URLs are good for two seconds."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, **SHORT}
    running = Tespes(tmp_path_factory.mktemp("mover"), variables, PULSAR + places.settings)
    running.start()
    yield running
    running.stop()


def task(script: str, **more: Any) -> dict[str, Any]:
    """A task that runs a script."""
    return {"executors": [{"image": "alpine", "command": ["bash", "-c", f"set -eu; {script}"]}], **more}


WRONG_URLS = [
    ("s3://no-such-entry/x", "the settings have no S3 bucket no-such-entry"),
    ("s3://seaweed-data", "names a bucket, but no object in it"),
    ("ftp://127.0.0.1:1/x", "ftp://127.0.0.1:1/x: "),
    ("http://127.0.0.1:1/x?token=hunter2", "http://127.0.0.1:1/x: connection refused"),
    ("http://user:hunter2@127.0.0.1:1/x", "http://127.0.0.1:1/x: connection refused"),
    ("file:///etc/passwd", "file:///etc/passwd: "),
    ("/etc/passwd", " /etc/passwd: "),
    ("gopher://host/x", "gopher:// is not supported"),
    ("relative/path", "a URL without a scheme is not supported"),
]
MISBEHAVIOUR: dict[str, tuple[Failure, str, str]] = {  # and what is said of it straight, and through TESPES
    "silent in the middle": (Silent(0), "for 1 s", "for 1 s"),
    "silent": (Silent(None), "for 1 s", "for 1 s"),
    "cut": (Cut(0), "", ""),
    "elsewhere": (Answer(302, {"Location": "http://127.0.0.2:1/elsewhere?token=hunter2"}), "127.0.0.2", "127.0.0.2"),
    "a file": (Answer(302, {"Location": "file:///etc/passwd"}), "leads to what is no address of the web", "file:///etc/passwd"),
    "itself": (Answer(302, {"Location": "itself"}), "redirect", "redirect"),
    "busy": (Answer(503), "503", "503"),
    "forbidden": (Answer(403), "403", "403"),
    "gone": (Answer(410), "410", "410"),
}
LIES = (1000, -1000)


@pytest.fixture(scope="module", autouse=True)
def hopeless(mover: Tespes, places: Places) -> Iterator[Mapping[str, str]]:
    """Tasks that cannot work, by what is wrong: what may pass is tried for long, so they begin before all others."""
    tasks = {}
    for url, _ in WRONG_URLS:
        tasks[f"in {url}"] = task("true", inputs=[{"url": url, "path": "/in/x"}])
        tasks[f"out {url}"] = task("echo > /out/x", outputs=[{"url": url, "path": "/out/x"}])
    for kind in ("http", "http with a login"):
        for name, (failure, _, _) in MISBEHAVIOUR.items():
            places[kind].put(f"odd/{name}", b"x" * 100_000)
            places.web.misbehave(f"/{places[kind].url.rpartition('/')[2]}/odd/{name}", failure, times=None)
            url = f"{places[kind].url}/odd/{quote(name)}"
            tasks[f"{kind} {name}"] = task("true", inputs=[{"url": url, "path": "/in/x"}])
    for more in LIES:
        places["http"].put(f"lie/{more}", b"x" * 100_000)
        places.web.misbehave(f"/public/lie/{more}", Lie(more), times=None)
        url = f"{places['http'].url}/lie/{more}"
        tasks[f"lie {more}"] = task("wc -c < /in/x", inputs=[{"url": url, "path": "/in/x"}])
    yield {name: mover.submit(each) for name, each in tasks.items()}
    places.web.behave()


def completed(server: Tespes, submitted: dict[str, Any], within_s: float = 60) -> dict[str, Any]:
    """The log of its only attempt."""
    ended = server.ended(server.submit(submitted), within_s)
    assert ended["state"] == "COMPLETE", ended["logs"][-1]["system_logs"]
    (log,) = ended["logs"]
    found: dict[str, Any] = log
    return found


def failed(server: Tespes, submitted: dict[str, Any]) -> str:
    """Why it failed."""
    (reason,) = all_failed(server, [submitted])
    return reason


def all_failed(server: Tespes, submitted: Sequence[dict[str, Any]]) -> list[str]:
    """Why each of them failed. They run side by side: what may pass is tried again for a while."""
    return [why(server, task_id) for task_id in [server.submit(each) for each in submitted]]


def why(server: Tespes, task_id: str) -> str:
    """Why it failed."""
    ended = server.ended(task_id, within_s=120)
    assert ended["state"] == "SYSTEM_ERROR", ended["logs"][-1]
    return "\n".join(ended["logs"][-1]["system_logs"])


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_directories_go_in_and_out(kind: str, mover: Tespes, places: Places) -> None:
    """FILE, DIRECTORY and wildcards, nested, hidden, odd names, empty directories; logs.outputs has every file."""
    place = places[kind]
    place.put("in/file one.txt", b"one")
    for name, content in TREE.items():
        if content is not None or not isinstance(place, OnDisk) or "http" not in kind:
            place.put(f"in/tree/{name}", content)
    url = place.url
    one = "file one.txt" if url.startswith(("s3", "/")) else "file%20one.txt"
    log = completed(
        mover,
        task(
            "cat /data/one > /out/one; cp -a /data/tree/. /out/tree; mkdir -p /out/tree/deep/empty /out/made;"
            " cd /out/made; echo a > a.txt; echo b > .b.txt; mkdir c.txt; echo c > c.txt/inside; echo no > no",
            inputs=[
                {"url": f"{url}/in/{one}", "path": "/data/one"},
                {"url": f"{url}/in/tree", "path": "/data/tree", "type": "DIRECTORY"},
            ],
            outputs=[
                {"url": f"{url}/out/one", "path": "/out/one", "type": "FILE"},
                {"url": f"{url}/out/tree/", "path": "/out/tree", "type": "DIRECTORY"},
                {"url": f"{url}/out/matched", "path": "/out/made/*.txt", "path_prefix": "/out/made"},
            ],
        ),
    )
    expected: Tree = {f"tree/{name}": content for name, content in TREE.items()}
    expected |= {"one": b"one", "matched/a.txt": b"a\n", "matched/c.txt/inside": b"c\n"}
    if kind.startswith("http"):
        del expected["tree/deep/empty"]
        assert any("is an empty directory" in line for line in log["system_logs"])
        expected.pop("tree/.hidden")  # index pages, as those of real servers, do not show it
    assert place.tree("out") == expected
    sizes = {each["url"].removeprefix(f"{url}/out/"): each["size_bytes"] for each in log["outputs"]}
    assert len(sizes) == len([content for content in expected.values() if content is not None])
    assert sizes["matched/c.txt/inside"] == "2"


def test_checksums_of_every_file_are_in_the_log(mover: Tespes, places: Places) -> None:
    """In and out, with their URLs; made on the node."""
    place = places["ftp"]
    place.put("sums/a", b"a" * 100_000)
    submitted = task(
        "mkdir -p /out/x; cp /in/a /out/x/b",
        inputs=[{"url": f"{place.url}/sums", "path": "/in", "type": "DIRECTORY"}],
        outputs=[{"url": f"{place.url}/sums-out", "path": "/out/x", "type": "DIRECTORY"}],
    )
    completed(mover, submitted)
    shown = _log_of(mover, mover.get("/v1/tasks")["tasks"][0]["id"])
    digest = hashlib.sha256(b"a" * 100_000).hexdigest()
    assert shown.count(f"sha256 {digest[:12]}") == 2, shown


def test_what_nextflow_sends_runs_whole(mover: Tespes, places: Places) -> None:
    """Its work directory in a bucket: wrapper and inputs by S3, outputs with wildcards of type FILE, one of them a directory.

    Source: nextflow-io/nextflow plugins/nf-ga4gh TesTaskHandler.groovy (nf-ga4gh 1.4).
    """
    place = places["s3"]
    work = f"{place.url}/nextflow/ab/cdef"
    script = (
        "cat 'sample[1].fq' > copy.txt; mkdir results; echo r > results/r.bam; echo second > second.txt; echo out; echo err >&2"
    )
    place.put("nextflow/ab/cdef/.command.sh", f"#!/bin/bash -ue\n{script}\n".encode())
    place.put(
        "nextflow/ab/cdef/.command.run",
        b"cd /work; bash .command.sh > .command.out 2> .command.err; code=$?; echo -n $code > .exitcode; exit $code\n",
    )
    place.put("nextflow/stage/sample[1].fq", b"@read\n")
    control = (".command.out", ".command.err", ".command.log", ".exitcode")
    log = completed(
        mover,
        {
            "name": "align (1)",
            "inputs": [
                {"url": f"{work}/.command.sh", "path": f"{WORK}/.command.sh", "type": "FILE"},
                {"url": f"{work}/.command.run", "path": f"{WORK}/.command.run", "type": "FILE"},
                {"url": f"{place.url}/nextflow/stage/sample[1].fq", "path": "/work/sample[1].fq", "type": "FILE"},
            ],
            "outputs": [
                *({"url": f"{work}/{name}", "path": f"/work/{name}", "type": "FILE"} for name in control),
                {"url": work, "path": "/work/*.txt", "path_prefix": "/work", "type": "FILE"},
                {"url": work, "path": "/work/resul*", "path_prefix": "/work", "type": "FILE"},
                {"url": f"{work}/results", "path": "/work/results", "type": "FILE"},
            ],
            "executors": [
                {
                    "image": "debian:stable",
                    "command": ["bash", "-o", "pipefail", "-c", f"bash {WORK}/.command.run 2>&1 | tee {WORK}/.command.log"],
                    "workdir": "/work",
                }
            ],
        },
    )
    found = place.tree("nextflow/ab/cdef")
    assert {name: found[name] for name in found if name not in {".command.run", ".command.sh"}} == {
        ".command.out": b"out\n",
        ".command.err": b"err\n",
        ".command.log": b"",
        ".exitcode": b"0",
        "copy.txt": b"@read\n",
        "second.txt": b"second\n",
        "results/r.bam": b"r\n",
    }
    assert {"url": f"{work}/results/r.bam", "path": "/work/results/r.bam", "size_bytes": "2"} in log["outputs"]
    assert any("/work/results" in line and "directory" in line for line in log["system_logs"])


def test_what_cwl_tes_sends_runs_whole(mover: Tespes, places: Places) -> None:
    """The working directory is the output, with the inputs in it; files of a shared file system, as paths too.

    Source: cwl_tes/tes.py (cwl-tes 0.3.0).
    """
    place = places["file"]
    assert isinstance(place, OnDisk)
    place.put("cwl/whale.txt", b"call me\n")
    completed(
        mover,
        {
            "inputs": [{"url": f"{place.directory}/cwl/whale.txt", "path": "/var/spool/cwl/whale.txt", "type": "FILE"}],
            "outputs": [{"url": f"{place.url}/cwl/out", "path": "/var/spool/cwl", "type": "DIRECTORY"}],
            "executors": [
                {
                    "image": "debian:stable",
                    "command": ["wc", "-l", "whale.txt"],
                    "workdir": "/var/spool/cwl",
                    "stdout": "/var/spool/cwl/count.txt",
                }
            ],
        },
    )
    assert place.tree("cwl/out") == {"whale.txt": b"call me\n", "count.txt": b"1 whale.txt\n"}


@pytest.mark.parametrize("kind", ["s3", "moto"])
def test_an_attempt_outlives_its_urls(kind: str, mover: Tespes, places: Places) -> None:
    """URLs are good for two seconds; the command alone takes three, and the upload is in parts."""
    place = places[kind]
    assert isinstance(place, InBucket)
    place.put("late/in", b"in")
    completed(
        mover,
        task(
            "sleep 3; cat /in/in > /out/small; head -c 12000000 /dev/zero > /out/large",
            inputs=[{"url": f"{place.url}/late/in", "path": "/in/in"}],
            outputs=[{"url": f"{place.url}/late/out/{name}", "path": f"/out/{name}"} for name in ("small", "large")],
        ),
    )
    found = place.tree("late/out")
    assert (found["small"], len(found["large"] or b"")) == (b"in", 12_000_000)
    assert place.uploads() == []


def test_a_cancel_leaves_no_open_upload(mover: Tespes, places: Places) -> None:
    """An upload in parts of an attempt that is canceled in its middle is given up at the store."""
    place = places["s3"]
    assert isinstance(place, InBucket)
    script = "truncate -s 400000000000 /out/large"  # sparse, and far too much to be uploaded meanwhile
    task_id = mover.submit(task(script, outputs=[{"url": f"{place.url}/canceled/large", "path": "/out/large"}]))
    until(lambda: place.uploads() == ["some/where/canceled/large"], within_s=30, what=lambda: str(mover.task(task_id)))
    mover.post(f"/v1/tasks/{task_id}:cancel")
    assert mover.ended(task_id)["state"] == "CANCELED"
    until(lambda: place.uploads() == [], within_s=20)
    assert place.tree("canceled") == {}


def test_outputs_that_are_missing_are_said_and_the_others_stored(mover: Tespes, places: Places) -> None:
    """After success and after an executor's error; a wildcard that nothing matches is missing, too."""
    place = places["ftp"]
    for script, state in (("echo x > /out/x", "COMPLETE"), ("echo x > /out/x; exit 7", "EXECUTOR_ERROR")):
        outputs = [
            {"url": f"{place.url}/missing/{state}/x", "path": "/out/x"},
            {"url": f"{place.url}/missing/{state}/y", "path": "/out/y"},
            {"url": f"{place.url}/missing/{state}", "path": "/out/*.bam", "path_prefix": "/out"},
        ]
        ended = mover.ended(mover.submit(task(script, outputs=outputs)))
        assert ended["state"] == state
        (log,) = ended["logs"]
        assert place.tree(f"missing/{state}") == {"x": b"x\n"}
        assert [each["path"] for each in log["outputs"]] == ["/out/x"]
        said = "\n".join(log["system_logs"])
        if state == "COMPLETE":
            assert "/out/y" in said
            assert "/out/*.bam" in said


def test_a_missing_output_fails_the_task_if_that_is_wanted(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, places: Places
) -> None:
    """`outputs.missing = "fail"`: after the others were stored."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_OUTPUTS__MISSING": "fail"}
    strict = Tespes(tmp_path / "strict", variables, PULSAR + places.settings)
    strict.start()
    try:
        place = places["ftp"]
        outputs = [{"url": f"{place.url}/strict/{name}", "path": f"/out/{name}"} for name in ("x", "y")]
        assert "output /out/y: does not exist" in failed(strict, task("echo x > /out/x", outputs=outputs))
        assert place.tree("strict") == {"x": b"x\n"}
    finally:
        strict.stop()


WRONG_INPUTS = [
    ("ftp", "/nowhere", "FILE", "550"),
    ("ftp", "/wrong/dir", "FILE", "is a directory, a file was declared"),
    ("ftp", "/wrong/file", "DIRECTORY", "is a file, a directory was declared"),
    ("vsftpd", "/nowhere", "FILE", "550"),
    ("vsftpd", "/nowhere", "DIRECTORY", ""),
    ("http", "/nowhere", "FILE", "404 Not Found"),
    ("http", "/nowhere", "DIRECTORY", "404 Not Found"),
    ("http with a login", "/nowhere", "FILE", "404 Not Found"),
    ("file", "/nowhere", "FILE", "No such file or directory"),
    ("file", "/wrong/dir", "FILE", "is a directory, a file was declared"),
    ("file", "/wrong/file", "DIRECTORY", "is a file, a directory was declared"),
    ("s3", "/nowhere", "FILE", "404 NoSuchKey"),
    ("s3", "/nowhere", "DIRECTORY", "404 no such directory"),
    ("s3", "/wrong/file", "DIRECTORY", "is a file, a directory was declared"),
    ("moto", "/nowhere", "FILE", "404 NoSuchKey"),
]


def test_an_input_that_does_not_come_is_a_reason(mover: Tespes, places: Places) -> None:
    """The URL, and the storage's own words."""
    submitted = []
    for kind, name, declared, _ in WRONG_INPUTS:
        places[kind].put("wrong/file", b"a file")
        places[kind].put("wrong/dir/inside", b"inside")
        submitted.append(task("true", inputs=[{"url": f"{places[kind].url}{name}", "path": "/in/x", "type": declared}]))
    for (kind, name, _, reason), said in zip(WRONG_INPUTS, all_failed(mover, submitted), strict=True):
        assert f"input /in/x: {places[kind].url}{name}" in said
        assert reason.lower() in said.lower()


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_url_that_cannot_be_used_is_a_reason(way: str, mover: Tespes, hopeless: Mapping[str, str]) -> None:
    """For inputs and for outputs, without what is secret in it."""
    for url, reason in WRONG_URLS:
        said = why(mover, hopeless[f"{way} {url}"])
        assert reason.lower() in said.lower()
        assert "hunter2" not in said


@pytest.mark.parametrize("kind", ["http", "http with a login"])
def test_a_web_server_that_misbehaves_is_a_reason(
    kind: str, mover: Tespes, places: Places, hopeless: Mapping[str, str]
) -> None:
    """Nothing hangs, and nothing that is not whole is taken for whole; no query is shown."""
    for name, (_, straight, through) in MISBEHAVIOUR.items():
        said = why(mover, hopeless[f"{kind} {name}"])
        assert f"{places[kind].url}/odd/{quote(name)}" in said
        assert (straight if kind == "http" else through) in said
        assert "hunter2" not in said


@pytest.mark.parametrize("more", LIES)
def test_a_server_that_lies_about_sizes_fools_nobody(more: int, mover: Tespes, hopeless: Mapping[str, str]) -> None:
    """Whatever it says: the file is whole, or the task says why not."""
    ended = mover.ended(hopeless[f"lie {more}"], within_s=120)
    seen = [log["stdout"] for log in ended["logs"][-1]["logs"]]
    assert ended["state"] == "SYSTEM_ERROR" or seen in (["100000\n"], [f"{100_000 + more}\n"]), ended["logs"]


def test_names_that_escape_are_refused(mover: Tespes, places: Places) -> None:
    """An object store may have keys that no directory can hold."""
    place = places["moto"]
    assert isinstance(place, InBucket)
    submitted = []
    for number, key in enumerate(("../escaped", "a//b", "/absolute", "x/./y")):
        place.put(f"escape/{number}/{key}", b"x")
        submitted.append(task("true", inputs=[{"url": f"{place.url}/escape/{number}", "path": "/in/d", "type": "DIRECTORY"}]))
    for said in all_failed(mover, submitted):
        assert "input /in/d" in said


def test_a_file_where_a_directory_was_declared_is_said(mover: Tespes, places: Places) -> None:
    """The reverse is stored as a directory, which Nextflow needs."""
    place = places["ftp"]
    output = {"url": f"{place.url}/reversed", "path": "/out/x", "type": "DIRECTORY"}
    said = failed(mover, task("rmdir /out/x; echo x > /out/x", outputs=[output]))
    assert "output /out/x: is a file where a directory is declared" in said
    assert place.tree("reversed") == {}


def test_service_info_names_what_can_be_used(mover: Tespes, places: Places) -> None:
    """Servers, buckets and roots of the settings, and what works without them."""
    known = mover.get("/service-info")["storage"]
    assert {"s3://seaweed-data/", "s3://moto-data/", "http://", "https://", "ftp://", "ftps://"} <= set(known)
    assert f"{places['file'].url.rstrip('/')}/" in known
    assert any(place.startswith("ftp://127.0.0.1:") for place in known)
    assert not [place for place in known if "password" in place or "@" in place]


def _log_of(server: Tespes, task_id: str) -> str:
    """Its events, as `tespes log show` prints them."""
    command = [sys.executable, "-m", "tespes", "log", "show", task_id, "--state-dir", str(server.state_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
