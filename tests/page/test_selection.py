"""What one can do with images that are selected in the gallery, in a real browser."""

from __future__ import annotations

import zipfile

from playwright.async_api import Browser, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.page_images import becomes, made, said, tiles
from support.processes import House
from support.wire_app import App, Frame


async def shown(page: Page, house: House, view: str = "gallery") -> None:
    """Sign in and look at the gallery."""
    await pages.sign_in(page, house.daemon.url, house.daemon.token, view)


async def test_a_selection_is_approved_rated_and_taken_back(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second, third = await made(app, "first", 3)
        await shown(page, house)
        await tiles(page).nth(0).hover()
        await tiles(page).nth(0).locator(".tile-check").click()
        await tiles(page).nth(2).click(modifiers=["Shift"])
        await expect(page.get_by_text("3 selected")).to_be_visible()
        await tiles(page).nth(1).click()
        await expect(page.get_by_text("2 selected")).to_be_visible()
        assert await page.get_by_role("link", name="Compare").get_attribute("href") == (
            f"#/compare/{first['image_id']}..{third['image_id']}".replace("/", "%2F").replace(
                "#%2Fcompare%2F", "#/compare/"
            )
        )
        await page.get_by_role("button", name="Approve").click()
        await becomes(app, first, verdict="approved")
        await becomes(app, third, verdict="approved")
        await expect(said(tiles(page).nth(0))).to_have_attribute("aria-label", "Number 1, stored, approved")
        await page.get_by_role("button", name="4 stars").click()
        await expect(said(tiles(page).nth(2))).to_have_attribute("aria-label", "Number 3, stored, approved, 4 stars")
        await page.get_by_role("button", name="Undo").last.click()
        await expect(said(tiles(page).nth(2))).to_have_attribute("aria-label", "Number 3, stored, approved")
        assert (await app.ask("get_image", image=second["image_id"])).get("verdict", "") == ""


async def test_a_selection_is_downloaded_as_one_zip(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, _, third = await made(app, "first", 3)
        await shown(page, house)
        await tiles(page).nth(0).click(modifiers=["Control"])
        await tiles(page).nth(2).click()
        async with page.expect_download() as begun:
            await page.get_by_role("button", name="Download as zip").click()
        with zipfile.ZipFile(await (await begun.value).path()) as came:
            assert came.namelist() == [f"{image['public_id']}.png" for image in (first, third)]
            assert came.testzip() is None
        await expect(page.get_by_role("grid")).to_be_visible()


async def test_a_finger_that_rests_selects_and_one_that_taps_opens(house: House, browser: Browser) -> None:
    await house.begin()
    async with house.app("app") as app, pages.tab(browser, pages.NARROW, has_touch=True, is_mobile=True) as page:
        first, *_ = await made(app, "first", 3)
        await shown(page, house)
        box = await tiles(page).nth(0).bounding_box()
        assert box is not None
        at = [{"x": box["x"] + 40, "y": box["y"] + 40}]
        finger = await page.context.new_cdp_session(page)
        await finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at})
        await expect(page.get_by_text("1 selected")).to_be_visible()
        await finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        await tiles(page).nth(1).tap()
        await expect(page.get_by_text("2 selected")).to_be_visible()
        await page.get_by_role("button", name="Clear the selection").click()
        await tiles(page).nth(0).tap()
        await expect(page).to_have_url(f"{house.daemon.url}/#/image/{first['image_id']}")


async def test_forgetting_a_selection_is_confirmed(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second = await made(app, "first", 2)
        await shown(page, house)
        await tiles(page).nth(0).click(modifiers=["Control"])
        await page.get_by_role("button", name="Forget", exact=True).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(first["name"])
        await page.keyboard.press("Escape")
        await becomes(app, first, state="stored")
        await page.get_by_role("button", name="Forget", exact=True).click()
        await dialog.get_by_role("button", name="Forget").click()
        await becomes(app, first, state="forgotten")
        await expect(said(tiles(page).nth(0))).to_have_attribute("aria-label", "Number 1, forgotten")
        await becomes(app, second, state="stored")


async def test_a_read_token_sees_no_buttons_that_change(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "viewer", "read", 0.0, read_all=True)
    await house.begin()
    async with house.app("app") as app:
        await made(app, "first", 2)
        await pages.sign_in(page, house.daemon.url, token, "gallery")
        await tiles(page).nth(0).click(modifiers=["Control"])
        bar = page.get_by_role("region", name="Selection")
        await expect(bar).to_be_visible()
        await expect(bar.get_by_role("button")).to_have_count(2)
        await expect(bar.get_by_role("button", name="Clear the selection")).to_be_visible()
        await expect(bar.get_by_role("button", name="Download as zip")).to_be_visible()


async def failed(house: House, app: App) -> Frame:
    """An image whose prompt failed as often as it may."""
    house.comfyui.control(fail_next=3)
    asked = await app.submit("failing", quantity=1)
    (batch,) = await app.settled(asked["batch_id"])
    (image,) = batch["images"]
    assert image["state"] == "failed"
    return dict(image)


async def test_what_failed_is_retried_from_a_selection_and_the_rest_stays(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        (stored,) = await made(app, "first", 1)
        image = await failed(house, app)
        await shown(page, house)
        await tiles(page).nth(0).click(modifiers=["Control"])
        await tiles(page).nth(1).click()
        await expect(page.get_by_text("2 selected")).to_be_visible()
        await page.get_by_role("button", name="Retry 1", exact=True).click()
        await expect(page.get_by_text("1 image is tried again.")).to_be_visible()
        await becomes(app, image, state="stored", number=image["number"])
        await expect(said(tiles(page).nth(0))).to_have_attribute("aria-label", f"Number {image['number']}, stored")
        await becomes(app, stored, state="stored", sha256=stored["sha256"])


async def test_a_selection_is_rejected_and_each_image_gets_back_what_it_had(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second, third = await made(app, "first", 3)
        await app.ask("review", images=[first["image_id"]], verdict="approved")
        await shown(page, house)
        await tiles(page).nth(0).click(modifiers=["Control"])
        await tiles(page).nth(1).click()
        await page.get_by_role("button", name="Reject", exact=True).click()
        await expect(page.get_by_text("2 images are rejected.")).to_be_visible()
        await becomes(app, first, verdict="rejected")
        await becomes(app, second, verdict="rejected")
        await becomes(app, third, verdict="")
        await expect(said(tiles(page).nth(1))).to_have_attribute("aria-label", "Number 2, stored, rejected")
        await page.get_by_role("button", name="Undo").click()
        await becomes(app, first, verdict="approved")
        await becomes(app, second, verdict="")


async def test_a_selection_is_rejected_and_forgotten_after_a_question(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second, third = await made(app, "first", 3)
        await shown(page, house)
        await tiles(page).nth(0).click(modifiers=["Control"])
        await tiles(page).nth(1).click()
        await page.get_by_role("button", name="Reject and forget").click()
        dialog = page.get_by_role("dialog", name="Forget 2 images?")
        await expect(dialog).to_contain_text("2 images are rejected.")
        await expect(dialog).to_contain_text("What is in folder stays there.")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(dialog).to_have_count(0)
        await becomes(app, first, state="stored", verdict="")
        await page.get_by_role("button", name="Reject and forget").click()
        await dialog.get_by_role("button", name="Reject and forget").click()
        for image in (first, second):
            await becomes(app, image, state="forgotten", verdict="rejected")
        await becomes(app, third, state="stored", verdict="")
    assert first["public_id"] in house.stored()
