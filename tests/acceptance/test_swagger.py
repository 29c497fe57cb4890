"""Swagger UI at `/docs`, in a real browser (Chromium, through its DevTools protocol): the README's task can be run from it."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servers import Tespes, until
from tespes.api.operations import EXAMPLE

pytestmark = [pytest.mark.servers, pytest.mark.slow]

OPERATION = "document.querySelector('#operations-TaskService-CreateTask')"
STATUS = f"{OPERATION}.querySelector('.live-responses-table tbody .response-col_status')"


class Page:
    """A page of the browser.

    :param asked: the URLs that it asked for; :param refused: what its Content-Security-Policy kept from it
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.asked: list[str] = []
        self.refused: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        """Give the browser an order; what it answers."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json(timeout=30)
            self._note(said)
            if said.get("id") == number:
                return said["result"]

    async def value(self, script: str) -> Any:
        """What the script comes to in the page; None if it cannot be run yet."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value") if "exceptionDetails" not in found else None

    async def true(self, script: str) -> None:
        """Wait until that is true in the page."""
        async with asyncio.timeout(30):
            while not await self.value(script):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.05)

    def _note(self, said: dict[str, Any]) -> None:
        match said:
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}}:
                self.asked.append(url)
            case {"method": "Log.entryAdded", "params": {"entry": {"source": "security", "text": text}}}:
                self.refused.append(text)
            case _:
                pass


@asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Page]:
    """An empty page of a browser of its own."""
    program = shutil.which("chromium")
    assert program, "no chromium: install it"
    words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        f"--user-data-dir={directory}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port_file = directory / "DevToolsActivePort"
        until(port_file.exists, what=lambda: "the browser does not start")
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                address = (await answer.json(content_type=None))["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        await process.wait()


async def test_the_readmes_task_is_run_from_the_page(alone: Tespes, tmp_path: Path) -> None:
    """From `/` to an answer in four steps, with nothing asked of another host and nothing refused by the page's own policy."""
    async with browser(tmp_path / "browser") as page:
        for domain in ("Network", "Log", "Page"):
            await page.call(f"{domain}.enable")
        await page.call("Page.navigate", url=alone.url)
        await page.true(f"{OPERATION} !== null")
        await page.value(f"{OPERATION}.querySelector('.opblock-summary-control').click()")
        await page.true(f"{OPERATION}.querySelector('textarea').value.includes('md5sum')")
        await page.value(f"{OPERATION}.querySelector('button.execute').click()")
        await page.true(f"{STATUS} !== null")
        assert (await page.value(f"{STATUS}.innerText")).split()[0] == "200"
        assert await page.value("location.pathname") == "/docs"
        await page.value("document.querySelectorAll('.opblock-summary-control').forEach(each => each.click())")
        await page.true("document.querySelectorAll('.opblock.is-open .responses-table').length > 3")
    (task,) = alone.get("/v1/tasks?view=FULL")["tasks"]
    assert {name: task[name] for name in EXAMPLE} == EXAMPLE
    assert f"{alone.url}/ga4gh/tes/v1/tasks" in page.asked
    assert [url for url in page.asked if not url.startswith((alone.url, "data:"))] == []
    assert page.refused == []
