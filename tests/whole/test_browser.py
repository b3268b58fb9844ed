"""A foreign page in a real browser on the same machine: it does not come in, whatever it shows, and one that is allowed
does. What a browser sends by itself, no test that writes its own headers can know."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.browser import CHROMIUM, FLAGS
from support.processes import House

PAGE = """<!doctype html><body><script>
const door = DOOR, token = TOKEN, said = {};
const socket = (name, protocols) => new Promise(done => {
  const it = new WebSocket(door.replace("http", "ws") + "/ws", protocols);
  it.onopen = () => it.send(JSON.stringify({type: "server_info", id: 1, data: {}}));
  it.onmessage = event => { said[name] = JSON.parse(event.data).type; it.close(); done(); };
  it.onerror = () => { said[name] = "refused"; done(); };
});
const page = (name, path, options) => fetch(door + path, options)
  .then(answer => answer.text()).then(text => { said[name] = "read " + text.length; })
  .catch(() => { said[name] = "refused"; });
(async () => {
  await socket("socket without a token", ["comfyledger"]);
  await socket("socket with the token", ["comfyledger", "token." + token]);
  await page("health", "/healthz", {});
  await page("metrics with the token", "/metrics", {headers: {Authorization: "Bearer " + token}});
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = `<script>
    const it = new WebSocket("${door.replace("http", "ws")}/ws", ["comfyledger", "token.${token}"]);
    it.onopen = () => parent.postMessage("came in", "*"); it.onerror = () => parent.postMessage("refused", "*");
    <` + `/script>`;
  const told = new Promise(done => onmessage = event => { said["socket of a sandboxed frame"] = event.data; done(); });
  document.body.append(frame);
  await told;
  await fetch("/said", {method: "POST", body: JSON.stringify(said)});
})();
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


async def test_a_foreign_page_is_refused_and_an_allowed_one_needs_the_token(house: House) -> None:
    async with Pages() as foreign, Pages() as allowed:
        house.daemon.environment["COMFYLEDGER_DOOR__ALLOWED_ORIGINS"] = json.dumps([allowed.origin])
        await house.begin()
        foreign.page = allowed.page = page_for(house)
        there, here = await asyncio.gather(foreign.visited(house.folder / "a"), allowed.visited(house.folder / "b"))
    assert set(there.values()) == {"refused"}
    assert len(there) == 5
    assert here["socket without a token"] == "refused"
    assert here["socket with the token"] == "result"
    assert here["socket of a sandboxed frame"] == "refused"


def page_for(house: House) -> str:
    return PAGE.replace("DOOR", json.dumps(house.daemon.url), 1).replace("TOKEN", json.dumps(house.daemon.token), 1)


class Pages:
    """A web server of somebody else, on a port of its own, and a browser that looks at its page."""

    def __init__(self) -> None:
        self.page = self.origin = ""
        self._said: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Pages:
        app = web.Application()
        app.add_routes([web.get("/", self._answer), web.post("/said", self._take)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(text=self.page, content_type="text/html")

    async def _take(self, request: web.Request) -> web.Response:
        self._said.set_result(await request.json())
        return web.Response()

    async def visited(self, profile: Path) -> dict[str, Any]:
        """What the page's script has found out."""
        assert CHROMIUM is not None
        words = (CHROMIUM, *FLAGS, f"--user-data-dir={profile}", self.origin + "/")
        silent = asyncio.subprocess.DEVNULL
        browser = await asyncio.create_subprocess_exec(*words, stdout=silent, stderr=silent, start_new_session=True)
        try:
            async with asyncio.timeout(60):
                return await self._said
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            await browser.wait()
