"""URLs of files: their scheme, what is below them, and what people may see of them. Pure."""

from urllib.parse import quote, urlsplit


def scheme(url: str) -> str:
    """In lower case; `file` for a mere absolute path, empty if there is none."""
    if url.startswith("/"):
        return "file"
    named, mark, _ = url.partition("://")
    return named.lower() if mark and named.isascii() else ""


def below(url: str, name: str) -> str:
    """The URL of what is called `name` (parts with `/` between them) below a directory; the URL itself if it is empty."""
    if not name:
        return url
    if scheme(url) == "s3" or url.startswith("/"):
        return f"{url.rstrip('/')}/{name}"
    address, mark, query = url.partition("?")
    return f"{address.rstrip('/')}/{quote(name, safe='/')}{mark}{query}"


def shown(url: str) -> str:
    """A URL for people and logs: without user, password, query and fragment."""
    named, mark, rest = url.partition("://")
    if url.startswith("/"):
        return url
    if not mark:
        return f"{url.partition(':')[0]}:…" if ":" in url else url.partition("?")[0]
    if scheme(url) == "s3":
        authority, slash, key = rest.partition("/")
        return f"{named}://{authority.rpartition('@')[2]}{slash}{key}"
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def origin(url: str) -> str:
    """Scheme, host and port alone, of a URL whose path is nobody's business either."""
    named, mark, rest = shown(url).partition("://")
    return f"{named}{mark}{rest.partition('/')[0]}"
