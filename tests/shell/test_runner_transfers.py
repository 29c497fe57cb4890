"""How files get to the node and away from it, whatever storages and lines do: one file at a time."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from runner_at_work import Tespes, file, moved, plan, problem, shell, until
from storage_at_work import Request, Storage, Trouble, tag

Start = Callable[..., Any]
MIB = 2**20
CONTENT = os.urandom(3 * MIB + 17)


def direct(tespes: Tespes, storage: Storage) -> None:
    """Files go straight between node and storage, where they are called `/0`, `/1`, or `/0/a/b`."""
    tespes.way_in = lambda index, name: storage.way(f"/{index}/{name}" if name else f"/{index}")
    tespes.way_out = lambda index, path, _: storage.way(f"/out/{index}{path}")


def fetching(tespes: Tespes, through: bool = False, **changes: Any) -> None:  # noqa: FBT001, FBT002
    tespes.plan = plan({"command": ["md5sum", "/in/f"]}, inputs=[file(0, "/in/f", through=through, **changes)])


def storing(tespes: Tespes, script: str = "head -c 1000000 /dev/zero > /out/x") -> None:
    tespes.plan = plan({"command": shell(script)}, outputs=[file(0, "/out/x", through=False)])


def changed(tespes: Tespes, **habits: Any) -> None:
    tespes.plan["files"] = {**tespes.plan["files"], **habits}


async def test_a_file_goes_straight_from_storage_to_node(tespes: Tespes, start: Start, storage: Storage) -> None:
    """TESPES is asked for the way, and sees none of the bytes; the storage sees no token, and what its way needs."""
    storage.files["/0"] = CONTENT
    direct(tespes, storage)
    tespes.way_in = lambda *_: storage.way("/0", Special="header")
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line["reason"]
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)]
    (request,) = storage.heard
    assert (request.target, request.headers["special"]) == ("/0?signature=secret", "header")
    assert "authorization" not in request.headers
    assert "tespes-run" not in request.headers
    assert [said for said in tespes.heard if "input" in said[0]] == [("inputs 0 ways", {"names": [""]})]


async def test_a_file_goes_straight_from_node_to_storage(tespes: Tespes, start: Start, storage: Storage) -> None:
    """One PUT, of just the announced length."""
    direct(tespes, storage)
    storing(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/x", bytes(10**6))]
    assert storage.files == {"/out/0/out/x": bytes(10**6)}
    asked = {"files": [{"path": "/out/x", "size_bytes": 10**6}]}
    assert [said for said in tespes.heard if "output" in said[0]] == [("outputs 0 ways", asked)]


@pytest.mark.parametrize("through", [True, False], ids=["through", "direct"])
@pytest.mark.parametrize("size_bytes", [0, 1, 4 * MIB, 4 * MIB + 1])
async def test_every_size_arrives(tespes: Tespes, start: Start, storage: Storage, size_bytes: int, through: bool) -> None:  # noqa: FBT001
    """There and back again: nothing is the size of a buffer by chance."""
    content = CONTENT[:size_bytes] + CONTENT[: max(0, size_bytes - len(CONTENT))]
    direct(tespes, storage)
    storage.files["/0"] = tespes.inputs[0] = content
    files = [file(0, path, through=through) for path in ("/in/f", "/out/f")]
    tespes.plan = plan({"command": ["cp", "/in/f", "/out/f"]}, inputs=files[:1], outputs=files[1:])
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", content)]
    assert line["outputs"] == [moved(0, "/out/f", content)]
    assert (tespes.stored.get(0) if through else storage.files.get("/out/0/out/f")) == content


async def test_a_cut_download_goes_on_where_it_was(tespes: Tespes, start: Start, storage: Storage) -> None:
    """What came is kept while the file's ETag says that it is the same; the digest covers all of it."""
    storage.files["/0"] = CONTENT
    direct(tespes, storage)
    storage.fails(*(Trouble(cut_after=500_000) for _ in range(6)))
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)]
    starts = [int(request.headers.get("range", "bytes=0-")[6:-1]) for request in storage.heard]
    assert starts == sorted(starts)
    assert len(starts) == 7, "cuts with progress do not count as failed tries"
    assert starts[-1] > MIB
    assert {request.headers.get("if-range") for request in storage.heard[1:]} == {tag(CONTENT)}


async def test_a_cut_transfer_through_tespes_goes_on_where_it_was(tespes: Tespes, start: Start, storage: Storage) -> None:
    """The same with the transfer route: Range, If-Range, and a Tespes-Before that says what had happened."""
    ranges: list[str | None] = []

    async def fetched(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range"))
        first = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        whole = len(CONTENT)
        headers = {"ETag": '"1"', "Content-Length": str(whole - first)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{whole - 1}/{whole}"
        answer = web.StreamResponse(status=206 if first else 200, headers=headers)
        await answer.prepare(request)
        await answer.write(CONTENT[first : first + MIB])
        if first + MIB < whole:
            request.transport.close()  # type: ignore[union-attr]
        return answer

    tespes._fetched = fetched  # type: ignore[method-assign]
    await tespes.stop()
    await tespes.start()
    fetching(tespes, through=True)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)]
    assert len(ranges) == 4
    assert ranges[1] is not None


async def test_why_tespes_broke_a_connection_is_the_reason(tespes: Tespes, start: Start) -> None:
    """What a storage did in the middle of a file can only be said at the next try."""

    def broken() -> web.StreamResponse:
        headers = {"Content-Length": "500", "Tespes-Before": "ftp%3A//files/x%3A 426 disk error"}
        answer = web.Response(body=b"half of it", headers=headers)
        answer.force_close()
        return answer

    tespes.answers["input 0"] = broken
    fetching(tespes, through=True)
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "input /in/f: ftp://files/x: 426 disk error"
    assert line["retryable"] is True


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(cut_after=1000, version=""),
        Trouble(cut_after=1000, version='"another"'),
        Trouble(cut_after=1000, version='W/"weak"'),
        Trouble(cut_after=1000, said_bytes=5_000_000),
        Trouble(cut_after=0),
        Trouble(status=503, headers={"Retry-After": "1"}),
        Trouble(status=429),
        Trouble(status=200, body=b"short", said_bytes=3),
    ],
    ids=lambda trouble: f"{trouble.status or 'cut'}-{trouble.version}-{trouble.headers or trouble.said_bytes}",
)
async def test_what_cannot_be_trusted_is_fetched_from_its_beginning(
    tespes: Tespes, start: Start, storage: Storage, trouble: Trouble
) -> None:
    """A file that changed or cannot be told from another, a part that was not asked for: the second try has it right."""
    storage.files["/0"] = CONTENT
    direct(tespes, storage)
    storage.fails(trouble)
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)], line["reason"]
    assert len([said for said in tespes.heard if said[0] == "inputs 0 ways"]) == len(storage.heard), "a new way for each try"


@pytest.mark.parametrize(
    "second",
    [
        {"status": 206, "headers": {"Content-Range": "bytes 5-9/10"}, "body": b"wrong"},
        {"status": 206, "body": b"wrong"},
        {"status": 416, "headers": {"Content-Range": "bytes */5"}},
        {"ranges": False},
        {"version": '"another"'},
    ],
)
async def test_a_wrong_answer_to_a_resume_spoils_nothing(
    tespes: Tespes, start: Start, storage: Storage, second: dict[str, Any]
) -> None:
    """Another part than was asked for is thrown away; the whole file in place of a part is taken as that."""
    storage.files["/0"] = CONTENT
    direct(tespes, storage)
    storage.fails(Trouble(cut_after=1_000_000), Trouble(**second))
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)], line["reason"]


async def test_two_versions_of_a_file_are_never_mixed(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Even by a store that does not know If-Range: the ETag of the second part tells."""
    versions = [CONTENT, CONTENT[::-1]]

    def trouble(request: Request) -> Trouble:
        storage.files["/0"] = versions[len(storage.heard) > 1]
        return Trouble(if_range=False, cut_after=1_000_000 if len(storage.heard) == 1 else None)

    storage.trouble = trouble
    direct(tespes, storage)
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT[::-1])], line["reason"]
    assert len(storage.heard) == 3


async def test_an_answer_that_just_ends_is_a_file(tespes: Tespes, start: Start, storage: Storage) -> None:
    """HTTP/1.0: no length is said, the end of the connection is the end."""
    storage.files["/0"] = CONTENT
    direct(tespes, storage)
    storage.fails(Trouble(said_bytes=-1))
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble(status=404), "web://0: 404 Not Found"),
        (Trouble(status=403, body=b"secret"), "web://0: 403 Whatever"),
        (
            Trouble(
                status=403,
                body=b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code>"
                b"<Message>The &quot;signature&quot;</Message><StringToSign>secret</StringToSign></Error>",
            ),
            'web://0: 403 SignatureDoesNotMatch: The "signature"',
        ),
        (
            Trouble(status=403, body=b"<Error><Code>RequestTimeTooSkewed</Code><Message>Too large</Message></Error>"),
            "web://0: 403 RequestTimeTooSkewed: Too large (the clock of TESPES or that of the store is wrong)",
        ),
        (
            Trouble(
                status=403,
                body=b"<Error><Code>Denied</Code><Message>GET /0?signature=secret Authorization: Basic x</Message></Error>",
            ),
            "web://0: 403 Denied: GET /0?... Authorization...",
        ),
        (Trouble(status=302, headers={"Location": "/0"}), "web://0: leads on and on, 10 redirects were followed"),
        (Trouble(status=302, headers={"Location": "ftp://x/y"}), "web://0: leads to what is no address of the web"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Trouble) else "",
)
async def test_a_storages_refusal_is_a_reason(
    tespes: Tespes, start: Start, storage: Storage, trouble: Trouble, reason: str
) -> None:
    """Its own words as far as they can be shown: no query, no signature, no page. It is not asked again."""
    storage.trouble = lambda _: trouble
    tespes.way_in = lambda *_: storage.way("/0")
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["retryable"]) == ("input /in/f: " + reason, False)
    assert len(storage.heard) == (11 if trouble.headers.get("Location") == "/0" else 1)


async def test_what_may_pass_is_tried_five_times(tespes: Tespes, start: Start, storage: Storage, tmp_path: Path) -> None:
    """Then it is a reason, too, and another attempt may help. Every output is tried, whatever becomes of the others."""
    expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    troubles = {
        "/0": Trouble(status=500),
        "/1": Trouble(is_silent=True),
        "/2": Trouble(status=403, body=expired),
        "/3": Trouble(cut_after=10),
    }
    storage.trouble = lambda request: troubles.get(request.target.partition("?")[0])
    async with storage.secured(*certified(tmp_path)) as secure:
        urls = [*(storage.url + path for path in troubles), "http://127.0.0.1:1/4", secure + "/5", storage.url + "/6"]
        tespes.way_out = lambda index, *_: {"url": urls[index] + "?secret", "headers": {}, "shown": urls[index]}
        outputs = [file(index, f"/out/{index}", through=False) for index in range(len(urls))]
        tespes.plan = plan({"command": shell("cd /out; echo hello world | tee 0 1 2 3 4 5 6")}, outputs=outputs)
        changed(tespes, at_once=7, silence_s=0.3)
        line = await (await start(tespes.url)).ended()
    said = [line["reason"], *line["notes"][1:]]
    reasons = ["500 Whatever", "said nothing for 0.3 s", "403 AccessDenied: Request has expired", None, "Connection refused"]
    for index, reason in enumerate(reasons):
        assert said[index].startswith(f"output /out/{index}: {urls[index]}: ")
        assert reason is None or said[index].endswith(": " + reason)
    assert said[5].startswith(f"output /out/5: {urls[5]}: [SSL: CERTIFICATE_VERIFY_FAILED]")
    assert line["retryable"] is True
    assert line["outputs"] == [moved(6, "/out/6", b"hello world\n")]
    asked = [request.target for request in storage.heard]
    assert [asked.count(f"/{index}?secret") for index in range(3)] == [5] * 3
    assert 5 <= asked.count("/3?secret") <= 10  # once more each time that a used connection breaks


async def test_one_outputs_way_that_is_refused_is_none_of_the_others(tespes: Tespes, start: Start, storage: Storage) -> None:
    """It has its reason, the others are stored."""
    direct(tespes, storage)
    tespes.plan = plan(
        {"command": shell("echo x | tee /out/0 /out/1")}, outputs=[file(i, f"/out/{i}", through=False) for i in (0, 1)]
    )
    tespes.answers["outputs 0 ways"] = lambda: problem(422, "s3://b/0: no such bucket")
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["retryable"]) == ("output /out/0: s3://b/0: no such bucket", False)
    assert line["outputs"] == [moved(1, "/out/1", b"x\n")]


async def test_a_way_that_is_refused_names_the_input(tespes: Tespes, start: Start) -> None:
    """Which one of them it was."""
    fetching(tespes)
    tespes.answers["inputs 0 ways"] = lambda: problem(422, "s3://b/0: no such bucket")
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["retryable"]) == ("input /in/f: s3://b/0: no such bucket", False)


async def test_files_come_and_go_encrypted(tespes: Tespes, start: Start, storage: Storage, tmp_path: Path) -> None:
    """From and to a server whose certificate the node trusts; cuts and early refusals are as without TLS."""
    certificate, key = certified(tmp_path)
    storage.files["/0"] = CONTENT
    storage.fails(Trouble(cut_after=MIB), Trouble(), Trouble(cut_after=1000), Trouble(), Trouble(status=413, reads_bytes=1000))
    async with storage.secured(certificate, key) as secure:
        tespes.way_in = lambda *_: {"url": secure + "/0", "headers": {}, "shown": "https://localhost/0"}
        tespes.way_out = lambda index, *_: {"url": f"{secure}/out/{index}", "headers": {}, "shown": f"{secure}/out/{index}"}
        outputs = [file(index, f"/out/{index}", through=False) for index in range(2)]
        script = shell("cp /in/f /out/0; head -c 20000000 /dev/zero > /out/1")
        tespes.plan = plan({"command": script}, inputs=[file(0, "/in/f", through=False)], outputs=outputs)
        changed(tespes, at_once=1)
        line = await (await start(tespes.url, env={"SSL_CERT_FILE": str(certificate)})).ended()
    assert line["inputs"] == [moved(0, "/in/f", CONTENT)], line["reason"]
    assert line["outputs"] == [moved(0, "/out/0", CONTENT)], line["reason"]
    assert line["reason"] == f"output /out/1: {secure}/out/1: 413 Whatever"
    assert len(storage.heard) == 5
    assert storage.heard[1].headers["range"].startswith("bytes=")


def certified(directory: Path) -> tuple[Path, Path]:
    """A certificate that nobody vouches for, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


async def test_a_login_stays_with_its_server(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Redirects are followed, also elsewhere, but there without the headers that the way has."""
    storage.files["/there"] = b"hello"
    elsewhere = storage.url.replace("127.0.0.1", "localhost")
    storage.fails(
        Trouble(status=307, headers={"Location": "/nearby"}),
        Trouble(status=301, headers={"Location": f"{elsewhere}/there"}),
    )
    tespes.way_in = lambda *_: storage.way("/0", Authorization="Basic secret")
    fetching(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", b"hello")], line["reason"]
    assert [request.headers.get("authorization") for request in storage.heard] == ["Basic secret", "Basic secret", None]


async def test_a_redirected_upload_is_sent_again(tespes: Tespes, start: Start, storage: Storage) -> None:
    """307 and 308, even if the first server does not read what it does not want; another redirect is a refusal."""
    direct(tespes, storage)
    storage.fails(Trouble(status=307, headers={"Location": "/there"}, reads_bytes=10))
    storing(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line["reason"]
    assert storage.files == {"/there": bytes(10**6)}
    storage.trouble = lambda _: Trouble(status=302, headers={"Location": "/there"})
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "output /out/x: web://out/0/out/x: 302 Found"


async def test_an_early_refusal_of_an_upload_is_its_reason(tespes: Tespes, start: Start, storage: Storage) -> None:
    """The storage does not wait for the end of what it will not take."""
    direct(tespes, storage)
    storage.trouble = lambda _: Trouble(status=413, reads_bytes=1000)
    storing(tespes, "head -c 50000000 /dev/zero > /out/x")
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["retryable"]) == ("output /out/x: web://out/0/out/x: 413 Whatever", False)
    assert len(storage.heard) == 1


async def test_a_stored_file_is_stored_however_much_is_said_about_it(tespes: Tespes, start: Start, storage: Storage) -> None:
    """A success with a long page, or with one that breaks off: the connection is not used again, that is all."""
    direct(tespes, storage)
    pages = Trouble(status=200, body=bytes(MIB)), Trouble(status=201, body=b"stored", said_bytes=100), Trouble()
    storage.fails(*pages)
    outputs = [file(index, f"/out/{index}", through=False) for index in range(3)]
    tespes.plan = plan({"command": shell("echo x | tee /out/0 /out/1 /out/2")}, outputs=outputs)
    changed(tespes, at_once=1)
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(index, f"/out/{index}", b"x\n") for index in range(3)], line["reason"]
    assert (len(storage.heard), storage.connections) == (3, 3)


async def test_a_storage_that_stumbles_gets_the_file_again(tespes: Tespes, start: Start, storage: Storage) -> None:
    """A cut, a 503 and an S3 that waited too long: sent again, each time by a new way."""
    direct(tespes, storage)
    slow = b"<?xml version='1.0'?><Error><Code>RequestTimeout</Code><Message>Too slow</Message></Error>"
    storage.fails(Trouble(cut_after=300_000), Trouble(status=503), Trouble(status=400, body=slow))
    storing(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/x", bytes(10**6))], line["reason"]
    assert storage.files == {"/out/0/out/x": bytes(10**6)}
    assert len([said for said in tespes.heard if said[0] == "outputs 0 ways"]) == 4


@pytest.mark.slow
async def test_a_busy_tespes_is_asked_until_it_has_time(tespes: Tespes, start: Start) -> None:
    """429 is no failure, however often."""
    busy = iter(range(7))
    tespes.inputs[0] = b"hello"
    tespes.answers["input 0"] = lambda: None if next(busy, None) is None else problem(429, "too many", retryable=True)
    fetching(tespes, through=True)
    line = await (await start(tespes.url)).ended(within_s=40)
    assert line["inputs"] == [moved(0, "/in/f", b"hello")]
    assert len([said for said in tespes.heard if said[0] == "input 0"]) == 8


async def test_a_large_file_goes_in_parts(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Each to a URL of its own, in any order, again if it fails; then TESPES has the ETags in their order."""
    tespes.way_out = lambda *_: {"upload": "u1", "part_bytes": 300_000, "shown": "s3://b/x"}
    tespes.part_url = lambda upload, number: f"{storage.url}/{upload}/{number}?signature=secret"
    storage.fails(Trouble(), Trouble(cut_after=1000), Trouble(status=503))
    storing(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/x", bytes(10**6))], line["reason"]
    parts = [storage.files[f"/u1/{number}"] for number in range(1, 5)]
    assert [len(part) for part in parts] == [300_000] * 3 + [100_000]
    assert tespes.completed == {"u1": [tag(part) for part in parts]}
    assert len([said for said in tespes.heard if said[0] == "uploads u1 parts"]) >= 5


async def test_a_part_that_is_refused_fails_the_file(tespes: Tespes, start: Start, storage: Storage) -> None:
    """The upload is not completed, and the other parts are not waited for."""
    tespes.way_out = lambda *_: {"upload": "u1", "part_bytes": 100_000, "shown": "s3://b/x"}
    tespes.part_url = lambda upload, number: f"{storage.url}/{upload}/{number}?signature=secret"
    storage.trouble = lambda request: Trouble(status=403) if "/u1/3?" in request.target else None
    storing(tespes)
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "output /out/x: s3://b/x: 403 Whatever"
    assert tespes.completed == {}


async def test_fifty_random_cuts_spoil_no_file(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Wherever a connection breaks, in either direction: every file is right."""
    chance = random.Random(18)
    sizes = [chance.randrange(MIB) for _ in range(25)]
    cuts = {f"/{index}": chance.randrange(size + 1) for index, size in enumerate(sizes)}
    cuts |= {f"/out/{index}/out/{index}": chance.randrange(size + 1) for index, size in enumerate(sizes)}
    direct(tespes, storage)
    storage.files = {f"/{index}": chance.randbytes(size) for index, size in enumerate(sizes)}

    def trouble(request: Request) -> Trouble | None:
        cut_after = cuts.pop(request.target.partition("?")[0], None)
        return None if cut_after is None else Trouble(cut_after=cut_after)

    storage.trouble = trouble
    tespes.plan = plan(
        {"command": shell("cp /in/* /out/")},
        inputs=[file(index, f"/in/{index}", through=False) for index in range(25)],
        outputs=[file(index, f"/out/{index}", through=False) for index in range(25)],
    )
    line = await (await start(tespes.url)).ended(within_s=40)
    assert line["outcome"] == "succeeded", line["reason"]
    assert cuts == {}
    for index in range(25):
        content = storage.files[f"/{index}"]
        assert line["inputs"][index] == moved(index, f"/in/{index}", content)
        assert line["outputs"][index] == moved(index, f"/out/{index}", content)
        assert storage.files[f"/out/{index}/out/{index}"] == content


async def test_an_order_to_stop_breaks_all_transfers_at_once(tespes: Tespes, start: Start, storage: Storage) -> None:
    """However many files are on their way, and however silent their storages are."""
    storage.trouble = lambda _: Trouble(is_silent=True)
    direct(tespes, storage)
    inputs = [file(index, f"/in/{index}", through=False) for index in range(8)]
    tespes.plan = plan({"command": ["true"]}, inputs=inputs, heartbeat_s=0.1)
    tespes.answers["heartbeat"] = lambda: problem(410, "canceled") if len(storage.heard) == 4 else None
    begin = time.monotonic()
    line = await (await start(tespes.url)).ended()
    assert time.monotonic() - begin < 3
    assert (line["outcome"], line["phase"]) == ("killed", "inputs")
    assert len(storage.heard) == 4


async def test_the_end_by_the_node_breaks_all_transfers(tespes: Tespes, start: Start, storage: Storage) -> None:
    """SIGTERM, while every thread waits for a storage."""
    storage.trouble = lambda _: Trouble(is_silent=True)
    direct(tespes, storage)
    inputs = [file(index, f"/in/{index}", through=False) for index in range(8)]
    tespes.plan = plan({"command": ["true"]}, inputs=inputs)
    job = await start(tespes.url)
    await until(lambda: len(storage.heard) == 4)
    job.process.terminate()
    line = await job.ended(within_s=3)
    assert (line["outcome"], line["reason"]) == ("system_failed", "the node ended the job (SIGTERM)")


async def test_one_input_that_fails_ends_the_others(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Nobody needs the rest any more, however long it would last."""
    direct(tespes, storage)
    storage.trouble = lambda request: None if request.target.startswith("/1?") else Trouble(is_silent=True)
    inputs = [file(index, f"/in/{index}", through=False) for index in range(3)]
    tespes.plan = plan({"command": ["true"]}, inputs=inputs)
    line = await (await start(tespes.url)).ended()
    assert (line["reason"], line["retryable"]) == ("input /in/1: web://1: 404 Not Found", False)
