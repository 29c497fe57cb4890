"""What came is one version of one file, and all of it: tespes.runner.download and tespes.runner.versions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from runner_at_work import Tespes, file, moved, plan
from storage_at_work import Request, Storage, Trouble, tag

from tespes.runner import versions

Start = Callable[..., Any]
OLD, NEW = os.urandom(1_000_000), os.urandom(1_000_000)
HALF = 500_000
LONG_AGO, JUST_NOW, NOW = (f"Sun, 22 Nov 2026 {time} GMT" for time in ("18:58:59", "18:59:30", "19:00:00"))


def fetching(tespes: Tespes, storage: Storage, *troubles: Trouble, count: int = 1) -> None:
    """Inputs come straight from the storage, and their first tries go wrong."""
    storage.fails(*troubles)
    storage.files |= {f"/{index}": OLD for index in range(count)}
    tespes.way_in = lambda index, _: storage.way(f"/{index}")
    inputs = [file(index, f"/in/{index}", through=False) for index in range(count)]
    tespes.plan = plan({"command": ["true"]}, inputs=inputs)


def replaced_after_half(storage: Storage, new: bytes, first: Trouble, then: Trouble) -> None:
    """Half of the old file came; the storage, which does not know If-Range, has a new one since."""

    def trouble(_: Request) -> Trouble | None:
        storage.files["/0"] = OLD if len(storage.heard) == 1 else new
        return {1: first, 2: then}.get(len(storage.heard))

    storage.trouble = trouble


def cut_chunks(content: bytes) -> Trouble:
    """The old file, its size not said, and no more of it than this."""
    headers = {"Transfer-Encoding": "chunked", "ETag": tag(OLD)}
    body = b"%x\r\n" % len(OLD) + content
    return Trouble(status=200, headers=headers, body=body, said_bytes=-1, cut_after=len(body))


@pytest.mark.parametrize(
    ("first", "version"),
    [(Trouble(cut_after=HALF), ""), (cut_chunks(OLD[:HALF]), None)],
    ids=["the file was longer", "another ETag"],
)
async def test_half_of_a_file_is_not_its_replacement_of_that_size(
    tespes: Tespes, start: Start, storage: Storage, first: Trouble, version: str | None
) -> None:
    """416 says that nothing is missing; but of that file something is, or the ETag is another: all of it is fetched again."""
    fetching(tespes, storage)
    replaced_after_half(storage, NEW[:HALF], first, Trouble(if_range=False, version=version))
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/0", NEW[:HALF])], line["reason"]
    assert [request.headers.get("range") for request in storage.heard] == [None, f"bytes={HALF}-", None]


async def test_a_file_without_a_size_is_over_where_nothing_follows(tespes: Tespes, start: Start, storage: Storage) -> None:
    """A chunked answer that was cut at its very end: 416 is how a server says so."""
    fetching(tespes, storage, cut_chunks(OLD + b"\r\n"))
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/0", OLD)], line["reason"]
    assert storage.heard[1].headers["range"] == f"bytes={len(OLD)}-"
    assert len(storage.heard) == 2


async def test_a_part_of_nobody_knows_how_much_is_not_the_end(tespes: Tespes, start: Start, storage: Storage) -> None:
    """`bytes 500000-599999/*`: it may be any part, so the file is fetched from its beginning."""
    part = {"ETag": tag(OLD), "Content-Range": f"bytes {HALF}-599999/*"}
    fetching(tespes, storage, cut_chunks(OLD[:HALF]), Trouble(status=206, headers=part, body=OLD[HALF:600_000]))
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/0", OLD)], line["reason"]
    assert [request.headers.get("range") for request in storage.heard] == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize(
    "headers",
    [
        {"Last-Modified": JUST_NOW, "Date": NOW},
        {"Last-Modified": LONG_AGO},
        {"Last-Modified": LONG_AGO, "Date": NOW, "ETag": 'W/"x"'},
    ],
    ids=["just now", "without Date", "weak"],
)
async def test_a_date_that_may_be_that_of_two_versions_is_no_version(
    tespes: Tespes, start: Start, storage: Storage, headers: dict[str, str]
) -> None:
    """A file changed within the second has the same date: nothing of the old one is kept."""
    fetching(tespes, storage)
    first = Trouble(cut_after=HALF, headers=headers, version="")
    replaced_after_half(storage, NEW, first, Trouble(headers=headers, version="", if_range=False))
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/0", NEW)], line["reason"]
    assert [request.headers.get("range") for request in storage.heard] == [None, None]


async def test_an_old_date_is_a_version(tespes: Tespes, start: Start, storage: Storage) -> None:
    """Servers without ETags can be resumed, too."""
    dates = {"Last-Modified": LONG_AGO, "Date": NOW}
    trouble = Trouble(headers=dates, version="", if_range=False)
    fetching(tespes, storage, Trouble(cut_after=HALF, headers=dates, version=""), trouble)
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/0", OLD)], line["reason"]
    assert storage.heard[1].headers["if-range"] == LONG_AGO


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"etag": '"1"', "last-modified": LONG_AGO, "date": NOW}, '"1"'),
        ({"etag": 'W/"1"', "last-modified": LONG_AGO, "date": NOW}, ""),
        ({"etag": "1"}, ""),
        ({"last-modified": LONG_AGO, "date": NOW}, LONG_AGO),
        ({"last-modified": "Sun, 22 Nov 2026 18:59:00 GMT", "date": NOW}, "Sun, 22 Nov 2026 18:59:00 GMT"),
        ({"last-modified": "Sun, 22 Nov 2026 18:59:01 GMT", "date": NOW}, ""),
        (
            {"last-modified": "Thu, 31 Dec 2026 23:59:59 GMT", "date": "Fri, 01 Jan 2027 00:01:00 GMT"},
            "Thu, 31 Dec 2026 23:59:59 GMT",
        ),
        ({"last-modified": NOW, "date": LONG_AGO}, ""),
        ({"last-modified": "Sunday, 06-Nov-94 08:49:37 GMT", "date": NOW}, ""),
        ({"last-modified": "Sun, 22 Foo 2026 18:00:00 GMT", "date": NOW}, ""),
        ({"last-modified": "Sun, 31 Feb 2026 18:00:00 GMT", "date": NOW}, ""),
        ({}, ""),
    ],
)
def test_a_version_names_these_very_bytes(headers: dict[str, str], version: str) -> None:
    """A strong ETag, or a date that is a minute older than the answer; what cannot be read is none."""
    assert versions.named(headers) == version


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 5-9/*", (5, 9, None)),
        ("bytes */10", (-1, -1, 10)),
        ("lines 5-9/10", (-1, -1, None)),
        ("bytes \xb2-9/10", (-1, 9, 10)),
        ("bytes 0-9/" + "9" * 5000, (0, 9, None)),
        ("", (-1, -1, None)),
    ],
)
def test_a_part_that_cannot_be_read_is_none(text: str, part: tuple[int, int, int | None]) -> None:
    """Whatever a server writes there."""
    assert versions.part({"content-range": text}) == part


async def test_a_file_that_may_be_cut_is_noted(tespes: Tespes, start: Start, storage: Storage) -> None:
    """An answer that just ends cannot be told from a cut one: no failure, but said, for so many files as people read."""
    fetching(tespes, storage, *(Trouble(said_bytes=-1, cut_after=HALF) for _ in range(24)), count=25)
    tespes.plan["files"] = {**tespes.plan["files"], "at_once": 1}
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [*(moved(i, f"/in/{i}", OLD[:HALF]) for i in range(24)), moved(24, "/in/24", OLD)]
    words = "did not say how long it is: that it is whole is not certain"
    assert line["notes"][1:] == [
        *sorted(f"input /in/{index}: web://{index}: {words}" for index in range(24))[:20],
        "that 4 further inputs are whole is not certain",
    ]


async def test_a_cut_of_tls_is_not_the_end_of_a_file(tespes: Tespes, start: Start, storage: Storage, tmp_path: Path) -> None:
    """TLS says when a connection is over; without that it was cut, by whomever. With it an answer may just end."""
    authority, certificate = trustme.CA(), tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(str(certificate))
    issued = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(chain))
    issued.private_key_pem.write_to_path(str(key))
    fetching(tespes, storage, Trouble(said_bytes=-1, cut_after=HALF), Trouble(said_bytes=-1))
    async with storage.secured(chain, key) as secure:
        tespes.way_in = lambda *_: {"url": secure + "/0", "headers": {}, "shown": secure + "/0"}
        line = await (await start(tespes.url, env={"SSL_CERT_FILE": str(certificate)})).ended()
    assert line["inputs"] == [moved(0, "/in/0", OLD)], line["reason"]
    assert len(storage.heard) == 2
    assert len(line["notes"]) == 1, "the sandbox's own"
