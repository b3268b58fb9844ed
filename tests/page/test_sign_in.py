"""Signing in: with a token, with a one-time link, and what is left when it is over."""

from __future__ import annotations

import signal

import pytest
from playwright.async_api import Browser, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.processes import House


async def test_a_token_signs_in_and_is_kept_nowhere(house: House, page: Page) -> None:
    await house.begin()
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    stored = await page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
    assert house.daemon.token not in stored
    assert await page.context.cookies() == []
    await page.reload()
    await expect(page.get_by_role("navigation")).to_be_visible()


async def test_a_wrong_token_is_refused_with_a_sentence(house: House, page: Page) -> None:
    await house.begin()
    await page.goto(house.daemon.url)
    await page.get_by_label("Token").fill("not-a-token")
    await page.get_by_label("Token").press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_role("navigation")).to_have_count(0)


async def test_a_session_ends_with_its_token_and_the_view_stays(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "viewer", "read", 0.0)
    await house.begin()
    await pages.sign_in(page, house.daemon.url, token, "gallery")
    tokens.revoke(house.state / "tokens.json", "viewer")
    await expect(page.get_by_label("Token")).to_be_visible()
    assert page.url.endswith("#/gallery")


async def test_the_page_goes_on_by_itself_when_the_daemon_was_killed(house: House, page: Page) -> None:
    await house.begin()
    port = house.daemon.url.rpartition(":")[2]
    config = house.folder / "config.toml"
    config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    await page.evaluate("window.isSamePage = true")
    house.daemon.signal(signal.SIGKILL)
    gone = page.get_by_text("The daemon does not answer")
    await expect(gone).to_be_visible()
    await house.daemon.begin()
    await expect(gone).to_have_count(0)
    assert await page.evaluate("window.isSamePage")
    await expect(page.get_by_label("Token")).to_have_count(0)


async def test_the_page_says_so_when_its_first_connection_never_opens(house: House, page: Page) -> None:
    await house.begin()
    refused = [True]
    await page.route_web_socket("**/ws", lambda asked: asked.close() if refused[0] else asked.connect_to_server())
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    gone = page.get_by_text("The daemon does not answer")
    await expect(gone).to_be_visible()
    await expect(page.get_by_role("heading", name="Disks")).to_have_count(0)
    refused[0] = False
    await expect(gone).to_have_count(0)
    await expect(page.get_by_role("heading", name="Disks")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
async def test_the_form_is_readable_for_everybody(house: House, browser: Browser, width: int, scheme: str) -> None:
    await house.begin()
    async with pages.tab(browser, width, color_scheme=scheme) as page:
        await page.goto(house.daemon.url)
        await page.get_by_label("Token").wait_for()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
