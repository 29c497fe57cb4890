"""Storages of the settings: whether TESPES is let in with each login, and may list. Nothing is written, but on this machine
a file that is gone at once.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tespes import errors
from tespes import settings as configuration
from tespes.doctor import web
from tespes.doctor.finding import Check, Finding, ok, problem, warning
from tespes.doctor.given import Given
from tespes.storage import At, Options, Storage
from tespes.storage.s3 import Access

_EVERYBODY: Final = ""
_NOBODYS: Final = "tespes-doctor"  # a bucket that most likely is not there
_NO_LOGIN: Final = (": 401 ", ": 530 ", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_NO_BUCKET: Final = ": 404 "
_NO_LIST: Final = ": 403 "


def checks(given: Given) -> Iterator[Check]:
    """One for each server, bucket and directory, and for each owner with a login of his own."""
    options = configuration.storage_options(given.settings)
    for host, ftp in options.ftp.items():
        yield from _logins(options, f"{'ftps' if ftp.tls == 'implicit' else 'ftp'}://{host}/", ftp.owners)
    for host, server in options.http.items():
        url = f"https://{host}/" if not host.rpartition(":")[2].isdigit() else f"http://{host}/"
        yield from _logins(options, url, server.owners)
        yield from _server(options, url)
    for name, access in options.s3_buckets.items():
        yield from _logins(options, f"s3://{name.replace('*', _NOBODYS)}/", access.owners, shown=f"s3://{name}")
    for host, access in options.s3_hosts.items():
        yield from _logins(options, f"s3://{host}/{_NOBODYS}/", access.owners, shown=f"s3://{host}")
    for url in dict.fromkeys(_endpoints(options)):
        yield from _server(options, url)
    for root in dict.fromkeys((*options.file.read, *options.file.write)):
        yield Check(f"storage {root}", partial(_directory, root, is_written=root in options.file.write))


def _endpoints(options: Options) -> Iterator[str]:
    """The S3 stores, wherever the settings name them."""
    accesses: Iterable[Access] = (*options.s3_buckets.values(), *options.s3_hosts.values())
    yield from (access.endpoint for access in accesses if access.endpoint)
    yield from (f"https://{host}" for host, access in options.s3_hosts.items() if not access.endpoint)


def _server(options: Options, url: str) -> Iterator[Check]:
    about = f"server {url.rstrip('/')}"
    yield Check(about, partial(web.look, about, url, options.manners.ca_file))


def _logins(options: Options, url: str, owners: Iterable[str], shown: str | None = None) -> Iterator[Check]:
    for owner in (_EVERYBODY, *owners):
        about = f"storage {shown or url.rstrip('/')}" + (f" of {owner}" if owner else "")
        yield Check(about, partial(_listed, about, options, At(url, owner)))


async def _listed(about: str, options: Options, at: At) -> AsyncIterator[Finding]:
    """The first name in the listing, if there is one, says that TESPES is let in."""
    storage = Storage(options)
    try:
        listing = storage.list(at)
        if listing is not None:
            async with contextlib.aclosing(listing):
                await anext(listing, None)
        yield ok(about, "lets TESPES in" if listing is not None else "nodes go there by themselves, without a login")
    except errors.TransferRefused as error:
        yield _refused(about, at, str(error))
    except errors.TransferError as error:
        yield problem(about, f"{error}: see whether it runs, and whether this machine reaches it")
    finally:
        await storage.close()


def _refused(about: str, at: At, said: str) -> Finding:
    """What a refusal says of the login: who is let in may still not have, or not list, just that."""
    if any(each in said for each in _NO_LOGIN):
        return problem(about, f"{said}: mend the login in the settings")
    if at.url.startswith("http") or (_NO_BUCKET in said and _NOBODYS in at.url):
        return ok(about, "lets TESPES in")
    if _NO_LIST in said:
        return warning(about, f"{said}: without the right to list, directories cannot be inputs")
    return problem(about, f"{said}: mend its name, or what TESPES may do there")


async def _directory(root: Path, *, is_written: bool) -> AsyncIterator[Finding]:
    yield _usable(f"storage {root}", root, is_written=is_written)


def _usable(about: str, root: Path, *, is_written: bool) -> Finding:
    if not root.is_dir():
        return problem(about, "there is no such directory: make it, or take it out of storage.file")
    if not os.access(root, os.R_OK | os.X_OK):
        return problem(about, "it cannot be read by the user that this is: mend its owner or mode")
    if is_written and (why := _unwritable(root)):
        return problem(about, f"it cannot be written ({why}): mend its owner, mode or mount")
    return ok(about, "can be written" if is_written else "can be read")


def _unwritable(root: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=root):
            return None
    except OSError as error:
        return error.strerror
