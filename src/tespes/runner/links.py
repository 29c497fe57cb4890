"""What the index page of a directory links to (Apache, nginx, Python's http.server, Caddy). Pure; TESPES uses it as well."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

DEEPEST = 64


def names(page: str, url: str) -> List[str]:
    """The paths below a page, each once, those of directories with a slash at the end; raises `ValueError` for an odd one.

    Links to elsewhere, to the directory above, and to other orders of the same page are left out.
    """
    links = _Links()
    links.feed(page)
    found: Dict[str, None] = {}
    for link in links.found:
        name = _name(parse.urljoin(url, link), url)
        if name:
            found[name] = None
    return list(found)


def _name(url: str, page: str) -> str:
    here, there = parse.urlsplit(page), parse.urlsplit(url)
    outer = here.path.rpartition("/")[0] + "/"
    if there.query or (here.scheme, here.netloc) != (there.scheme, there.netloc):
        return ""
    if not parse.unquote(there.path).startswith(parse.unquote(outer)):
        return ""
    return "/".join(_part(part) for part in there.path.split("/")[outer.count("/") :])


def _part(quoted: str) -> str:
    try:
        part = parse.unquote(quoted, errors="strict")
        part.encode()  # what stood there unquoted may be no text either
    except UnicodeError:
        raise ValueError(f"the name {quoted!r} is not UTF-8") from None
    if "/" in part or part in (".", ".."):
        raise ValueError(f"{quoted!r} is not the name of a file below it")
    return part


class _Links(HTMLParser):
    """The `href` of each `a`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.found.append(href.strip())
