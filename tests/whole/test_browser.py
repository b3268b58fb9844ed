"""A foreign page in a real browser on the same machine: it does not come in, whatever it shows, and one that is allowed
does. What a browser sends by itself, no test that writes its own headers can know."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.browser import CHROMIUM, Pages
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
