"""The files below a web address, found by the links of its index pages."""

from __future__ import annotations

from urllib import parse

from . import faults, links, refusals, storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Set, Tuple

    from . import protocol, transfer

_MOST_PAGE_BYTES = 64 * 1024 * 1024


def below(carrier: transfer.Carrier, way: protocol.Way) -> Iterator[Tuple[str, bool]]:
    """The path of all that is linked below the page, and whether it is a directory; raises `SystemFailure` or `Passing`."""
    left: List[str] = [""]
    seen: Set[str] = set()
    while left:
        directory = left.pop()
        for name in (directory + each for each in _page(carrier, _page_of(way, directory))):
            if name in seen:
                continue
            seen.add(name)
            yield name.rstrip("/"), name.endswith("/")
            if name.count("/") > links.DEEPEST:
                raise faults.SystemFailure(f"{way['shown']}: is more than {links.DEEPEST} directories deep")
            if name.endswith("/"):
                left.append(name)


def _page(carrier: transfer.Carrier, way: protocol.Way) -> List[str]:
    with storage.request(carrier, "GET", way, {}) as answer:
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise refusals.of_a_storage(answer, way["shown"])
        if "html" not in answer.headers.get("content-type", ""):
            raise faults.SystemFailure(f"{way['shown']}: is not a page with links to files")
        text = answer.text(_MOST_PAGE_BYTES).decode("utf-8", "surrogateescape")
        try:
            return links.names(text, answer.url)
        except ValueError as error:
            raise faults.SystemFailure(f"{way['shown']}: {error}") from error


def _page_of(way: protocol.Way, directory: str) -> protocol.Way:
    """Where the page of a directory below is: its address ends with a slash."""
    parts = parse.urlsplit(way["url"])
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return {**way, "url": parts._replace(path=path + parse.quote(directory)).geturl()}
