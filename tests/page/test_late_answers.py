"""What the page does with late answers: they never show at another image, and do not stay when they are old."""

from __future__ import annotations

from playwright.async_api import Page, expect

from support import page as pages
from support.late_answers import LateAnswers
from support.page_images import becomes, made, said, tile
from support.processes import House
from support.waiting import until


async def shown(page: Page, house: House, address: str) -> None:
    await pages.sign_in(page, house.daemon.url, house.daemon.token, address)


async def test_a_late_answer_about_one_image_does_not_touch_the_next(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second = await made(app, "first", 2)
        late = await LateAnswers.between(page)
        await shown(page, house, f"image/{first['image_id']}?batch={first['batch_id']}")
        await page.get_by_text("1 of 2", exact=True).wait_for()
        recipe = page.get_by_role("heading", name="Recipe").locator("..")
        await expect(recipe).to_contain_text("Seed")
        late.keep("get_image", "explain", "get_recipe")
        await app.ask("review", images=[first["image_id"]], rating=5)
        await late.kept(3)
        late.keep()
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
        await page.get_by_text("2 of 2", exact=True).wait_for()
        late.release()
        await expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
        await expect(page.get_by_role("button", name="5 stars")).to_have_attribute("aria-pressed", "false")
        await expect(recipe).to_contain_text("Seed")
        await page.locator(".stage").press("a")
        await becomes(app, second, verdict="approved")
        await becomes(app, first, verdict="", rating=5)


async def test_a_review_that_is_answered_late_does_not_show_at_the_next_image(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second = await made(app, "first", 2)
        late = await LateAnswers.between(page)
        await shown(page, house, f"image/{first['image_id']}?batch={first['batch_id']}")
        await page.get_by_text("1 of 2", exact=True).wait_for()
        late.keep("review")
        await page.locator(".stage").press("a")
        await late.kept()
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
        late.release()
        await expect(page.get_by_text("The image is approved.")).to_be_visible()
        await expect(page.get_by_role("button", name="Approve")).to_have_attribute("aria-pressed", "false")
        await becomes(app, first, verdict="approved")
        await becomes(app, second, verdict="")
        await page.locator(".stage").press("r")
        await becomes(app, second, verdict="rejected")
        await becomes(app, first, verdict="approved")


async def test_what_changed_while_its_page_of_the_list_was_on_its_way_is_shown(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause")
        asked = await app.submit("many", quantity=150)
        late = await LateAnswers.between(page)
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        await shown(page, house, "gallery")
        await expect(page.get_by_text("150 images")).to_be_visible()
        await expect(said(tile(page, 0))).to_be_visible()
        await until(lambda: late.requests.count("count_images") > 1, "the list was made again as its events began")
        late.keep("list_images")
        await page.get_by_role("grid").focus()
        await page.keyboard.press("End")
        await late.kept()
        await app.ask("cancel", batch_id=asked["batch_id"], images=[150])
        await late.heard("image_cancelled")
        await page.evaluate("new Promise((done) => setTimeout(() => setTimeout(done)))")  # it has looked what is old
        late.release()
        await expect(said(tile(page, 149))).to_have_attribute("aria-label", "Number 150, cancelled")


async def test_a_key_for_an_image_that_is_on_its_way_is_not_lost(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await app.ask("pause")
        asked = await app.submit("many", quantity=150)
        late = await LateAnswers.between(page)
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        await shown(page, house, "gallery")
        await expect(said(tile(page, 0))).to_be_visible()
        late.keep("list_images")
        await page.get_by_role("grid").focus()
        await page.keyboard.press("End")
        await page.keyboard.press("Enter")
        await late.kept()
        late.release()
        await expect(page).to_have_url(f"{house.daemon.url}/#/image/{asked['batch_id']}/150")
