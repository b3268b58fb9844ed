"""Look after, in a real browser: what needs a person, and the buttons that help."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from support import page as pages
from support.command_line import said
from support.processes import House
from support.wire_app import coloured


async def fail_one(house: House) -> str:
    """A batch of one image that fails; its id."""
    house.comfyui.control(fail_next=3, fail_text="The lamp broke")
    async with house.app() as app:
        asked = await app.submit("broken", quantity=1)
        await app.settled(asked["batch_id"])
    house.comfyui.control(fail_next=0)
    return str(asked["batch_id"])


async def test_a_paused_store_is_resumed_from_here(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause", scope="store:folder")
        asked = await app.submit("r1", quantity=2)
        await pages.sign_in(page, house.daemon.url, house.daemon.token, "care")
        await page.get_by_role("button", name="Resume: Store folder").click()
        await app.settled(asked["batch_id"])
    await expect(page.get_by_role("heading", name="Paused or in trouble")).to_have_count(0)
    assert len(house.stored()) == 2


async def test_what_failed_is_listed_by_reason_and_tried_again(house: House, page: Page) -> None:
    await house.begin()
    batch = await fail_one(house)
    await pages.sign_in(page, house.daemon.url, house.daemon.token, "care")
    card = page.get_by_role("article", name="failed: execution_error")
    await expect(card).to_contain_text("The lamp broke")
    await card.get_by_role("button", name="Try all again").click()
    async with house.app() as app:
        await app.counted("stored", 1, batch)
    await expect(page.get_by_text("Nothing is parked, and nothing has failed")).to_be_visible()


async def test_checks_are_shown_with_their_age_and_the_last_day_as_chart_and_table(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await app.settled((await app.submit("r1", images=coloured(3)))["batch_id"])
    await said(house, "audit", "--config", str(house.folder / "config.toml"))
    await pages.sign_in(page, house.daemon.url, house.daemon.token, "care")
    audit = page.get_by_role("article", name="Audit", exact=True)
    await expect(audit).to_contain_text("all is well")
    await expect(audit.get_by_role("time")).to_be_visible()
    await expect(page.get_by_role("article", name="Doctor", exact=True)).to_contain_text("never on this machine")
    await page.get_by_text("As a table").click()
    row = page.get_by_role("row").nth(1)
    assert [await row.get_by_role("cell").nth(place).inner_text() for place in range(3)] == ["3", "3", "3"]
    await page.get_by_label("Hour", exact=True).press("Home")
    await expect(page.get_by_text("0 rendered, 0 failed")).to_be_visible()


@pytest.mark.parametrize("width", [pages.WIDE, pages.NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(house: House, browser: Browser, width: int, scheme: str) -> None:
    await house.begin()
    await fail_one(house)
    async with pages.tab(browser, width, color_scheme=scheme) as page:
        await pages.sign_in(page, house.daemon.url, house.daemon.token, "care")
        await page.get_by_role("article", name="failed: execution_error").wait_for()
        await page.get_by_text("As a table").click()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
