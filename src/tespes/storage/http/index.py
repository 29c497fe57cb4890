"""What is below a web address, by the links of its index pages, where only TESPES may look at them."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from tespes import errors
from tespes.runner import links
from tespes.storage.http import ranges
from tespes.storage.http.address import address
from tespes.storage.http.client import Asked, Client
from tespes.storage.http.failures import failed
from tespes.storage.promise import Entry
from tespes.tes import urls

MOST_PAGE_BYTES: Final = 16 * 1024 * 1024


async def entries(client: Client, asked: Asked) -> AsyncGenerator[Entry]:
    """All of it, page by page.

    :raises errors.TransferError: a page does not come, or is none
    """
    left, seen = [""], set[str]()
    while left:
        directory = left.pop()
        for name in [directory + each for each in await _page(client, _below(asked, directory))]:
            if name in seen:
                continue
            seen.add(name)
            yield Entry(name.rstrip("/"), is_directory=name.endswith("/"))
            if name.endswith("/"):
                left.append(name)
            if name.count("/") > links.DEEPEST:
                raise errors.TransferRefused(f"{asked.shown}: is more than {links.DEEPEST} directories deep")


async def _page(client: Client, asked: Asked) -> list[str]:
    async with client.get(asked, {}) as response:
        if response.status != HTTPStatus.OK:
            raise failed(asked.shown, response)
        if "html" not in response.headers.get("Content-Type", ""):
            raise errors.TransferRefused(f"{asked.shown}: is not a page with links to files")
        if not ranges.tells_its_end(response.headers):
            raise errors.TransferRefused(f"{asked.shown}: the server does not say how long the page is")
        content = bytearray()
        async for piece in client.pieces(asked.shown, response):
            content += piece
            if len(content) > MOST_PAGE_BYTES:
                raise errors.TransferRefused(f"{asked.shown}: is a page of more than {MOST_PAGE_BYTES:,} bytes")
        try:
            return await asyncio.to_thread(links.names, content.decode("utf-8", "surrogateescape"), str(response.url))
        except ValueError as error:
            raise errors.TransferRefused(f"{asked.shown}: {error}") from error


def _below(asked: Asked, directory: str) -> Asked:
    path, mark, query = urls.below(asked.address.url, directory.rstrip("/")).partition("?")
    where = replace(address(f"{path.rstrip('/')}/{mark}{query}"), login=asked.address.login)
    return replace(asked, address=where, shown=urls.shown(where.url))
