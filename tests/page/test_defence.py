"""The page among others: what other servers of this machine learn of it, and what texts and files of strangers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from support import page as pages
from support.processes import House

HOSTILE = "<img src=x onerror=alert(1)>"
DRAWING = b"""<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" onload="alert(1)">
<script>alert(2)</script><image href="http://127.0.0.1:PORT/from-a-drawing" width="9" height="9"/>
<rect width="64" height="64" fill="teal"/></svg>"""
VIEWS = ("now", "gallery", "make", "care")


class Neighbour:
    """Another server at the same host, as ComfyUI is. It shows one page and remembers every request."""

    def __init__(self) -> None:
        self.html = "<p>another program</p>"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path_qs, dict(request.headers)))
        return web.Response(text=self.html, content_type="text/html")


@pytest_asyncio.fixture(loop_scope="session")
async def neighbour() -> AsyncIterator[Neighbour]:
    made = Neighbour()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def key_of(page: Page) -> str:
    kept = await page.evaluate("sessionStorage.getItem('comfyledger.session')")
    return str(json.loads(kept)["key"])


async def test_another_server_of_the_same_host_receives_nothing_of_ours(
    house: House, page: Page, neighbour: Neighbour
) -> None:
    await house.begin()
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    key = await key_of(page)
    await page.evaluate(f"location.href = '{neighbour.url}/by-a-link'")
    await page.get_by_text("another program").wait_for()
    assert await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage}) + document.cookie") == "{}"
    await page.goto(f"{neighbour.url}/by-hand")
    assert {path for path, _ in neighbour.requests} >= {"/by-a-link", "/by-hand"}
    for path, headers in neighbour.requests:
        assert key not in path + str(headers)
        assert house.daemon.token not in path + str(headers)
        assert house.daemon.url not in headers.get("Referer", "")
        assert {"cookie", "authorization"}.isdisjoint(name.lower() for name in headers)


async def test_the_page_is_in_no_frame(house: House, browser: Browser, neighbour: Neighbour) -> None:
    await house.begin()
    neighbour.html = f'<iframe src="{house.daemon.url}/"></iframe>'
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(neighbour.url)
    framed = page.frames[1]
    assert framed.url.startswith("chrome-error:")
    await context.close()


FORGED = """async ([door, key]) => {
  const tried = {};
  const send = (name, options) => fetch(door + "/v1/pause", { method: "POST", ...options }).then(
    (answer) => { tried[name] = answer.type + answer.status; }, () => { tried[name] = "refused"; });
  const body = '{"scope": "everything"}';
  await send("plain", { mode: "no-cors", credentials: "include", body, headers: { "Content-Type": "text/plain" } });
  await send("with the key", { body, headers: { "Content-Type": "application/json", Authorization: "Bearer " + key } });
  await new Promise((done) => {
    const socket = new WebSocket(door.replace("http", "ws") + "/ws", ["comfyledger", "token." + key]);
    socket.onopen = () => { tried.socket = "open"; done(); };
    socket.onerror = () => { tried.socket = "refused"; done(); };
  });
  return tried;
}"""


async def test_a_request_that_another_page_forges_changes_nothing(
    house: House, browser: Browser, neighbour: Neighbour
) -> None:
    await house.begin()
    context = await browser.new_context()
    page = await context.new_page()
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    key = await key_of(page)
    other = await context.new_page()
    await other.goto(neighbour.url)
    tried = await other.evaluate(FORGED, [house.daemon.url, key])
    assert tried == {"plain": "opaque0", "with the key": "refused", "socket": "refused"}
    neighbour.html = (
        f'<form method="post" enctype="text/plain" action="{house.daemon.url}/v1/pause"><input name="{{"></form>'
    )
    await other.goto(neighbour.url)
    async with other.expect_response("**/v1/pause") as sent:
        await other.evaluate("document.forms[0].submit()")
    assert (await sent.value).status == 403
    async with house.app() as app:
        assert (await app.ask("server_info"))["lanes"] == []
    await context.close()


async def test_hostile_names_are_text_in_every_view(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1, username=HOSTILE, character=HOSTILE, tags=[HOSTILE])
        await app.settled(asked["batch_id"])
        house.comfyui.control(fail_next=3, fail_text=HOSTILE)
        other = await app.submit("r2", quantity=1, username=HOSTILE, character=HOSTILE)
        await app.settled(other["batch_id"])
        await app.ask("pause", scope="everything")
        await app.submit("r3", quantity=1, username=HOSTILE, character=HOSTILE)
    shown: list[str] = []
    page.on("dialog", lambda dialog: shown.append(dialog.message) or asyncio.ensure_future(dialog.dismiss()))
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    await expect(page.get_by_text(HOSTILE).first).to_be_visible()
    images = [f"image/{batch}/1" for batch in (asked["batch_id"], other["batch_id"])]
    for view in (*VIEWS, *images, f"story/{asked['batch_id']}/1", f"story/{other['batch_id']}"):
        await page.evaluate(f"location.hash = '#/{view}'")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await page.wait_for_load_state("networkidle")
        assert await page.locator("img[src='x']").count() == 0, view
    assert shown == []


async def test_a_drawing_with_scripts_is_shown_and_runs_nothing(house: House, page: Page, neighbour: Neighbour) -> None:
    await house.begin()
    drawing = DRAWING.replace(b"PORT", neighbour.url.rpartition(":")[2].encode())
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        (batch,) = await app.settled(asked["batch_id"])
    shown: list[str] = []
    page.on("dialog", lambda dialog: shown.append(dialog.message) or asyncio.ensure_future(dialog.dismiss()))
    with_drawing = _as_drawing(page, drawing)
    async with with_drawing:
        await pages.sign_in(page, house.daemon.url, house.daemon.token, f"image/{batch['images'][0]['image_id']}")
        picture = page.locator(".frame-picture")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 64
    assert shown == []
    assert neighbour.requests == []


@asynccontextmanager
async def _as_drawing(page: Page, drawing: bytes) -> AsyncIterator[None]:
    """The stand-in makes no drawings. So the image is called one on its way to the page, and its bytes are others."""
    headers = {"Content-Type": "application/octet-stream", "Content-Security-Policy": "sandbox; default-src 'none'"}

    async def change(socket: object) -> None:
        server = socket.connect_to_server()  # type: ignore[attr-defined]
        server.on_message(lambda text: socket.send(_renamed(text)))  # type: ignore[attr-defined]

    await page.route_web_socket("**/ws", change)
    await page.route("**/file?*", lambda route: route.fulfill(body=drawing, headers=headers))
    yield


def _renamed(text: str | bytes) -> str | bytes:
    return text.replace('"extension":"png"', '"extension":"svg"') if isinstance(text, str) else text
