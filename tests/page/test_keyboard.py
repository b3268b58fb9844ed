"""The gallery and the large view without a mouse, in a real browser."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect

from support import page as pages
from support.page_images import becomes, made, said, tile
from support.processes import House


async def test_images_are_looked_at_judged_and_selected_with_the_keyboard_alone(house: House, browser: Browser) -> None:
    await house.begin()
    async with house.app("app") as app, pages.tab(browser) as page:
        first, second, third = await made(app, "first", 3)
        await page.goto(f"{house.daemon.url}/#/now")
        await page.get_by_label("Token").wait_for()
        await pages.tab_to(page, "Token")
        await page.keyboard.type(house.daemon.token)
        await page.keyboard.press("Enter")
        await page.get_by_role("navigation").wait_for()
        await pages.tab_to(page, "Gallery")
        await page.keyboard.press("Enter")
        await expect(said(tile(page, 2))).to_be_visible()
        await pages.tab_to(page, "Images. Arrows move, space selects, enter opens.")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
        await expect(page.locator(".stage")).to_be_focused()
        await page.keyboard.press("a")
        await becomes(app, second, verdict="approved")
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("heading", level=1)).to_have_text(third["name"])
        await page.keyboard.press("+")
        await expect(page.get_by_text("1.5 ×")).to_be_visible()
        await pages.tab_to(page, "Select")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("grid")).to_be_focused()
        await expect(page.get_by_role("grid")).to_have_attribute("aria-activedescendant", "tile-2")
        await page.keyboard.press("Home")
        await page.keyboard.press("Space")
        await expect(page.get_by_text("2 selected")).to_be_visible()
        await pages.tab_to(page, "Reject")
        await page.keyboard.press("Enter")
        for image in (first, third):
            await becomes(app, image, verdict="rejected")
        await becomes(app, second, verdict="approved")
        await pages.tab_to(page, "Forget")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Forget 2 images?")).to_be_visible()
        await pages.tab_to(page, "Forget 2 images")
        await page.keyboard.press("Enter")
        for image in (first, third):
            await becomes(app, image, state="forgotten")
        await becomes(app, second, state="stored")


async def test_the_image_at_the_keyboard_is_there_wherever_the_reader_looks(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause")
        asked = await app.submit("many", quantity=400)
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        await pages.sign_in(page, house.daemon.url, house.daemon.token, "gallery")
        await expect(said(tile(page, 0))).to_be_visible()
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        await expect(said(tile(page, 399))).to_be_visible()
        await app.ask("cancel", batch_id=asked["batch_id"], images=[1])
        await expect(said(tile(page, 0))).to_have_attribute("aria-label", "Number 1, cancelled")
        await page.get_by_role("grid").focus()
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{house.daemon.url}/#/image/{asked['batch_id']}/1")
