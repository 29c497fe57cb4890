"""Large files, many files, and networks that break, the whole way: real storages, a real Pulsar, the sandbox."""

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from ftp_oddities import Gate
from s3_servers import OWNER, SeaweedFS
from servers import Loop, Tespes
from storages import InBucket, OnDisk, Place, Places
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

MIB = 2**20
GIB = 2**30
GROWTH_BYTES = 32 * MIB
CUTS = 51
PULSAR = '[default.pulsars.real]\nslots = 8\nruntime = {kind = "sandbox", network = "host"}\n'
PARTS = {"TESPES_STORAGE__PART_BYTES": str(5 * MIB)}


@contextmanager
def tespes_that_knows(directory: Path, rabbitmq: PrivateRabbitMQ, settings: str, **variables: str) -> Iterator[Tespes]:
    """TESPES as a process, with these storages."""
    running = Tespes(directory, {"TESPES_RABBITMQ__URL": rabbitmq.url, **variables}, PULSAR + settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def mover(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, places: Places) -> Iterator[Tespes]:
    """TESPES that knows all places."""
    with tespes_that_knows(tmp_path / "mover", rabbitmq, places.settings) as running:
        yield running


def task(script: str, **more: Any) -> dict[str, Any]:
    """A task that runs a script."""
    return {"executors": [{"image": "alpine", "command": ["bash", "-c", f"set -eu; {script}"]}], **more}


def completed(server: Tespes, submitted: dict[str, Any], within_s: float) -> dict[str, Any]:
    """The log of its only attempt."""
    ended = server.ended(server.submit(submitted), within_s)
    assert ended["state"] == "COMPLETE", ended["logs"][-1]["system_logs"]
    (log,) = ended["logs"]
    found: dict[str, Any] = log
    return found


def tell(what: str) -> None:
    """Say it to whoever asks (`pytest -s`, `-rP`), and beside a failure."""
    print(f"\n{what}")  # noqa: T201 - see above


# Large files


class Memory:
    """How much the resident memory of a process grows while the block runs, looked at every few milliseconds."""

    def __init__(self, server: Tespes) -> None:
        assert server.process is not None
        self._process = psutil.Process(server.process.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._before = self._most = 0

    @property
    def growth_bytes(self) -> int:
        """At its highest."""
        return self._most - self._before

    def __str__(self) -> str:
        return f"TESPES grew by {self.growth_bytes / MIB:.1f} MiB"

    def __enter__(self) -> Self:
        self._before = self._most = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self._most = max(self._most, self._process.memory_info().rss)


def copying(place: Place, source: str, target: str) -> dict[str, Any]:
    """A task that takes a file of a place and stores it there again."""
    return task(
        "cp /in/large /out/large",
        inputs=[{"url": f"{place.url}/{source}", "path": "/in/large"}],
        outputs=[{"url": f"{place.url}/{target}", "path": "/out/large"}],
    )


@pytest.mark.parametrize("size_bytes", [64 * MIB, pytest.param(2 * GIB, marks=pytest.mark.slow)], ids=["64 MiB", "2 GiB"])
def test_a_file_passes_through_and_takes_no_memory(size_bytes: int, mover: Tespes, places: Places) -> None:
    """By FTP in and out: TESPES grows by much less than the file is large."""
    place = places["vsftpd"]
    assert isinstance(place, OnDisk)
    place.put("large/warm", b"warm")
    completed(mover, copying(place, "large/warm", "large/warm-out"), 60)
    digest = _write(place.directory / "large" / "in", size_bytes)
    began = time.monotonic()
    with Memory(mover) as memory:
        completed(mover, copying(place, "large/in", "large/out"), 1200)
    tell(f"{size_bytes // MIB} MiB by FTP in and out in {time.monotonic() - began:.1f} s, {memory}")
    assert memory.growth_bytes < GROWTH_BYTES
    assert _sha256(place.directory / "large" / "out") == digest
    for name in ("in", "out"):
        (place.directory / "large" / name).unlink()


@pytest.mark.slow
def test_a_sparse_file_of_6_gib_arrives_whole(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar) -> None:
    """At an S3 store, in parts: its size and its SHA-256 there; no part is left over."""
    size_bytes, marks = 6 * GIB, (0, 64 * MIB - 3, 3 * GIB + 1, 6 * GIB - 6)
    store = SeaweedFS()
    try:
        place = InBucket("s3://large/data", store.start(), "large", "data")
        place.client.create_bucket(Bucket="large")
        settings = _bucket_settings("buckets.large", store.url)
        script = f"truncate -s {size_bytes} /out/large; " + "; ".join(
            f"printf 'mark {number}' | dd of=/out/large bs=1 seek={at} conv=notrunc status=none"
            for number, at in enumerate(marks)
        )
        output = {"url": f"{place.url}/sparse", "path": "/out/large"}
        began = time.monotonic()
        with tespes_that_knows(tmp_path / "tespes", rabbitmq, settings) as server, Memory(server) as memory:
            completed(server, task(script, outputs=[output]), 1800)
        tell(f"{size_bytes // GIB} GiB to S3 in {time.monotonic() - began:.1f} s, {memory}")
        stored = place.client.get_object(Bucket="large", Key="data/sparse")
        assert stored["ContentLength"] == size_bytes
        assert _digest(stored["Body"].iter_chunks(MIB)) == _digest(_sparse(size_bytes, marks))
        assert place.uploads() == []
    finally:
        store.remove()


def _sparse(size_bytes: int, marks: Sequence[int]) -> Iterator[bytes]:
    """The bytes that the script above makes, a MiB at a time."""
    zeros = bytes(MIB)
    for start in range(0, size_bytes, MIB):
        block = bytearray(zeros)
        for number, at in enumerate(marks):
            for offset, byte in enumerate(f"mark {number}".encode(), at - start):
                if 0 <= offset < MIB:
                    block[offset] = byte
        yield bytes(block)


def _digest(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _write(path: Path, size_bytes: int) -> str:
    """A file in which no two places are alike; its SHA-256."""
    chance = random.Random(size_bytes)
    with path.open("wb") as file:
        for _ in range(0, size_bytes, MIB):
            file.write(chance.randbytes(MIB))
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Many files


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("vsftpd", 500),
        ("s3", 500),
        *(pytest.param(kind, 10_000, marks=pytest.mark.slow) for kind in ("vsftpd", "http", "s3")),
    ],
)
def test_a_directory_of_many_small_files_goes_in_and_out(kind: str, count: int, mover: Tespes, places: Places) -> None:
    """Every one of them arrives, and is in logs.outputs; how long it took is told, not judged."""
    place = places[kind]
    top = f"many{count}"
    files = {f"{number % 7}/{number}": f"{number:064}".encode() for number in range(count)}
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda name: place.put(f"{top}/in/{name}", files[name]), files))) == count
    submitted = task(
        "cp -a /in/. /out/all",
        inputs=[{"url": f"{place.url}/{top}/in", "path": "/in", "type": "DIRECTORY"}],
        outputs=[{"url": f"{place.url}/{top}/out", "path": "/out/all", "type": "DIRECTORY"}],
    )
    began = time.monotonic()
    log = completed(mover, submitted, 1800)
    tell(f"{kind}: {count} files of 64 bytes in and out in {time.monotonic() - began:.1f} s")
    assert place.tree(f"{top}/out") == files
    assert {(each["path"], each["size_bytes"]) for each in log["outputs"]} == {(f"/out/all/{name}", "64") for name in files}


# Networks that break


@dataclass(frozen=True)
class Broken:
    """TESPES, and places whose ways are cut: 51 times in all.

    :param behind: the same places, without a gate before them
    """

    server: Tespes
    gates: Sequence[Gate]
    urls: dict[str, str]
    behind: dict[str, Place]

    @property
    def cuts(self) -> int:
        """So far."""
        return sum(gate.cuts for gate in self.gates)


@pytest.fixture
def broken(
    tmp_path: Path, loop_thread: Loop, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, places: Places
) -> Iterator[Broken]:
    """See Broken."""
    seed = int(os.environ.get("TESPES_TEST_SEED") or random.randrange(10**9))
    tell(f"TESPES_TEST_SEED={seed}")
    behind = {kind: places[kind] for kind in ("vsftpd", "http", "http with a login", "s3")}
    with ExitStack() as stack:

        def gate(port: int) -> Gate:
            made = Gate(port, random.Random(seed + port), most_bytes=3 * MIB, most_cuts=CUTS // 3)
            loop_thread.run(made.__aenter__())
            stack.callback(lambda: loop_thread.run(made.__aexit__()))
            made.is_open = False
            return made

        ftp, web, s3 = (gate(port) for port in (_port(behind["vsftpd"].url), places.web.port, _s3_port(behind["s3"])))
        ftp_path = "/" + behind["vsftpd"].url.split("/", 3)[3]
        urls = {
            "vsftpd": f"ftp://127.0.0.1:{ftp.port}{ftp_path}",
            "http": f"http://127.0.0.1:{web.port}/public",
            "http with a login": f"http://localhost:{web.port}/private",
            "s3": f"s3://localhost:{s3.port}/seaweed-data/some/where",
        }
        settings = places.settings
        for old, new in ((_port(behind["vsftpd"].url), ftp.port), (places.web.port, web.port)):
            settings = settings.replace(f':{old}"]', f':{new}"]')
        settings += _bucket_settings(f'hosts."localhost:{s3.port}"', f"http://localhost:{s3.port}")
        with tespes_that_knows(tmp_path / "tespes", rabbitmq, settings, **PARTS) as server:
            yield Broken(server, (ftp, web, s3), urls, behind)


@pytest.mark.slow
def test_after_fifty_cuts_every_file_is_right_or_the_task_says_why(broken: Broken) -> None:
    """Connections to FTP, HTTP and S3, through TESPES and straight, break at any byte, in downloads and uploads."""
    chance = random.Random(1)
    content = {size_bytes: chance.randbytes(size_bytes) for size_bytes in (0, 1000, 300_000, 2 * MIB, 11 * MIB)}
    for place in broken.behind.values():
        for size_bytes, data in content.items():
            place.put(f"cut/in/{size_bytes}", data)
    rounds = 0
    while broken.cuts < CUTS:
        rounds += 1
        assert rounds < 40, [gate.cuts for gate in broken.gates]
        ids = {kind: broken.server.submit(_through_the_gate(url, content, rounds)) for kind, url in broken.urls.items()}
        for kind, task_id in ids.items():
            ended = broken.server.ended(task_id, within_s=300)
            _check(ended, f"{broken.urls[kind]}/cut/out{rounds}", broken.behind[kind].tree(f"cut/out{rounds}"), content)
    assert broken.cuts == CUTS


def _through_the_gate(url: str, content: dict[int, bytes], number: int) -> dict[str, Any]:
    names = list(content)
    return task(
        "cp -a /in/. /out",
        inputs=[{"url": f"{url}/cut/in/{name}", "path": f"/in/{name}"} for name in names],
        outputs=[{"url": f"{url}/cut/out{number}/{name}", "path": f"/out/{name}"} for name in names],
    )


def _check(ended: dict[str, Any], target: str, stored: dict[str, bytes | None], content: dict[int, bytes]) -> None:
    """Nothing that is there under its name is not whole; what is not there has a reason."""
    whole = {str(size_bytes): data for size_bytes, data in content.items()}
    log = ended["logs"][-1]  # there may be more than one attempt
    wrong = [name for name, data in stored.items() if data != whole.get(name) and not name.startswith(".")]
    assert wrong == []
    if ended["state"] == "COMPLETE":
        assert stored == whole
        assert {(each["url"], each["size_bytes"]) for each in log["outputs"]} == {(f"{target}/{name}", name) for name in whole}
    else:
        assert ended["state"] == "SYSTEM_ERROR"
        assert any("/cut/" in line for line in log["system_logs"]), log["system_logs"]


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])


def _s3_port(place: Place) -> int:
    assert isinstance(place, InBucket)
    return place.server.port


def _bucket_settings(name: str, endpoint: str) -> str:
    keys = f'access_key = "{OWNER.access_key}"\nsecret_key = "{OWNER.secret_key}"\n'
    return f'[default.storage.s3.{name}]\nendpoint = "{endpoint}"\n{keys}'
