"""The large view of one image and the comparison of two, in a real browser."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest
from playwright.async_api import Browser, CDPSession, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.chains import chain
from support.media_graphs import graph_of
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame


async def shown(page: Page, house: House, address: str, token: str = "") -> None:
    """Sign in, with the daemon's own token if none is given, and show an image or a comparison."""
    await pages.sign_in(page, house.daemon.url, token or house.daemon.token, address)


async def made(app: App, quantity: int = 2, **more: Any) -> list[Frame]:
    """Images that are in their stores."""
    asked = await app.submit(f"made {quantity}", quantity=quantity, **more)
    (batch,) = await app.settled(asked["batch_id"])
    return list(batch["images"])


async def image_of(app: App, image: Frame) -> Frame:
    return await app.ask("get_image", image=image["image_id"])


async def becomes(app: App, image: Frame, **fields: Any) -> None:
    """Wait until an image has these values."""

    async def has_them() -> bool:
        now = await image_of(app, image)
        return all((now.get(name) or type(value)()) == value for name, value in fields.items())

    await until(has_them, f"the image has {fields}")


def scale_of(transform: str) -> float:
    found = re.search(r"scale\(([\d.]+)\)", transform)
    assert found, transform
    return float(found[1])


async def test_an_image_is_approved_rejected_and_rated_and_each_can_be_taken_back(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        approve = page.get_by_role("button", name="Approve")
        await approve.click()
        await expect(approve).to_have_attribute("aria-pressed", "true")
        await becomes(app, image, verdict="approved")
        await page.get_by_role("button", name="Reject", exact=True).click()
        await becomes(app, image, verdict="rejected")
        await page.get_by_role("status").get_by_text("The image is rejected.").wait_for()
        await page.get_by_role("button", name="Undo").last.click()
        await becomes(app, image, verdict="approved")
        await expect(approve).to_have_attribute("aria-pressed", "true")
        star = page.get_by_role("button", name="4 stars")
        await star.click()
        await expect(star).to_have_attribute("aria-pressed", "true")
        await becomes(app, image, verdict="approved", rating=4)
        await star.click()
        await becomes(app, image, rating=0)


async def test_keys_review_on_the_stage_and_nowhere_else(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        await expect(page.locator(".stage")).to_be_focused()
        await page.keyboard.press("r")
        await becomes(app, image, verdict="rejected")
        await page.keyboard.press("3")
        await becomes(app, image, rating=3)
        await page.get_by_role("link", name="Download").focus()
        await page.keyboard.press("a")
        await page.keyboard.press("5")
        await page.locator(".stage").focus()
        await page.keyboard.press("2")
        await becomes(app, image, rating=2, verdict="rejected")


async def test_a_person_who_may_only_look_sees_what_others_said_and_no_buttons(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    viewer = tokens.add(house.state / "tokens.json", "viewer", "read", 0.0, read_all=True)
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await app.ask("review", images=[image["image_id"]], verdict="approved", rating=5)
        await shown(page, house, f"image/{image['image_id']}", viewer)
        await page.get_by_text("approved", exact=True).wait_for()
        await page.get_by_role("img", name="5 stars").wait_for()
        await page.get_by_role("heading", name="Recipe").wait_for()
        for name in ("Approve", "Reject", "Forget", "Same seed", "Retry"):
            await expect(page.get_by_role("button", name=name)).to_have_count(0)
        await page.locator(".stage").press("r")
        assert (await image_of(app, image))["verdict"] == "approved"


@pytest.mark.parametrize("with_stores", [False, True])
async def test_forgetting_says_what_stays_and_asks_first(house: House, page: Page, with_stores: bool) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        button = page.get_by_role("button", name="Reject and forget")
        await page.get_by_text("It is made from no other image").wait_for()  # what comes above the button has come
        await button.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("What is in folder stays there.")
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(button).to_be_focused()
        assert (await image_of(app, image))["state"] == "stored"
        await button.click()
        if with_stores:
            await dialog.get_by_label("Also delete the files in the stores").check()
            await expect(dialog).to_contain_text("What is in folder is deleted too.")
        os.kill(house.daemon.pid, signal.SIGSTOP)  # so that the button is still there
        try:
            await dialog.get_by_role("button", name="Reject and forget").click()
            await expect(button).to_be_focused()
        finally:
            os.kill(house.daemon.pid, signal.SIGCONT)
        await page.get_by_text("It was forgotten.").wait_for()
        await becomes(app, image, state="forgotten", verdict="rejected")
        assert (image["public_id"] in house.stored()) is not with_stores
        await expect(page.get_by_role("button", name="Forget")).to_have_count(0)


async def test_an_image_is_made_again_under_a_new_number(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        await page.get_by_role("button", name="Same seed").click()
        link = page.get_by_role("link", name="Show what was requested")
        batch_id = (await link.get_attribute("href") or "").partition("batch=")[2]
        (batch,) = await app.settled(batch_id)
        (again,) = batch["images"]
        assert batch["like"] == image["image_id"]
        assert again["number"] == 3
        seeds = [(await image_of(app, one))["seed"] for one in (image, again)]
        assert seeds[0] == seeds[1]
        await page.get_by_text("Batches made like it").wait_for()
        other = page.get_by_role("link", name="Other inputs")
        await expect(other).to_have_attribute("href", f"#/make?like={image['batch_id']}%2F{image['index']}")


async def test_a_video_plays_and_pauses_with_the_space_bar(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        (video,) = await made(app, 1, workflow=graph_of("webm", 7, prefix="x"), inputs={})
        await shown(page, house, f"image/{video['image_id']}")
        player = page.locator("video")
        await until(lambda: player.evaluate("one => one.readyState > 1"), "the video is loaded")
        await page.keyboard.press(" ")
        await until(lambda: player.evaluate("one => one.currentTime > 0"), "the video plays")


async def test_what_browsers_do_not_show_is_a_download(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        (model,) = await made(app, 1, workflow=graph_of("glb", 7, prefix="x"), inputs={})
        await shown(page, house, f"image/{model['image_id']}")
        await page.get_by_text("Browsers do not show glb files here.").wait_for()
        async with page.expect_download() as downloading:
            await page.locator(".stage").get_by_role("link", name="Download").click()
        download = await downloading.value
        assert download.suggested_filename == f"{model['name']}.glb"
        assert (await download.path()).read_bytes() == house.stored()[model["public_id"]].read_bytes()


async def test_a_picture_is_zoomed_with_keys_wheel_drag_and_buttons(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        picture = page.locator(".frame-picture")

        async def transform() -> str:
            return str(await picture.evaluate("element => element.style.transform"))

        async def is_larger() -> bool:
            return scale_of(await transform()) > 1.6

        async def is_moved() -> bool:
            return "translate(0%, 0%)" not in await transform()

        await page.locator(".stage").press("+")
        await page.get_by_text("1.5 ×").wait_for()
        box = await page.locator(".frame").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await page.mouse.move(x, y)
        await page.mouse.wheel(0, -400)
        await until(is_larger, "the wheel zooms")
        await page.mouse.down()
        await page.mouse.move(x + 60, y, steps=3)
        await page.mouse.up()
        await until(is_moved, "dragging moves the picture")
        await page.locator(".stage").press("0")
        await page.get_by_text("Fits").wait_for()
        assert scale_of(await transform()) == 1


async def touch(finger: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    """Fingers at these places of the window, in pixels."""
    at = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    await finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})


async def test_two_fingers_zoom_a_picture_around_the_middle_between_them(house: House, browser: Browser) -> None:
    await house.begin()
    async with house.app("app") as app, pages.tab(browser, pages.NARROW, has_touch=True, is_mobile=True) as page:
        image, other = await made(app)
        await shown(page, house, f"image/{image['image_id']}?batch={image['batch_id']}")
        await page.get_by_text("1 of 2", exact=True).wait_for()
        picture = page.locator(".frame-picture")
        box = await page.locator(".frame").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
        finger = await page.context.new_cdp_session(page)
        await touch(finger, "touchStart", (x - 20, y))
        await touch(finger, "touchStart", (x - 20, y), (x + 20, y))
        for far in (30, 40, 50, 60):
            await touch(finger, "touchMove", (x - far, y), (x + far, y))
        await expect(page.get_by_text("3.0 ×")).to_be_visible()
        place = str(await picture.evaluate("element => element.style.transform"))
        right, down = (float(found) for found in re.findall(r"(-?[\d.]+)%", place))
        assert right == pytest.approx(50, abs=1), "what was between the fingers is still there"
        assert down == pytest.approx(0, abs=1)
        await app.ask("review", images=[image["image_id"]], rating=3)
        await expect(page.get_by_role("button", name="3 stars")).to_have_attribute("aria-pressed", "true")
        for far in (40, 20, 10):
            await touch(finger, "touchMove", (x - far, y), (x + far, y))
        await expect(page.get_by_text("Fits")).to_be_visible()
        await touch(finger, "touchEnd")
        await expect(page.get_by_text("1 of 2", exact=True)).to_be_visible()
        await touch(finger, "touchStart", (x + 100, y))
        await touch(finger, "touchMove", (x, y))
        await touch(finger, "touchEnd")
        await expect(page.get_by_role("heading", level=1)).to_have_text(other["name"])


async def test_on_a_phone_the_picture_and_the_buttons_that_judge_it_are_in_sight(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, other = await made(app)
        await page.set_viewport_size({"width": pages.NARROW, "height": 640})
        await shown(page, house, f"image/{image['image_id']}")
        await expect(page.locator(".frame-picture")).to_be_visible()
        await expect(page.get_by_text("Escape: back")).to_be_hidden()
        approve = await page.get_by_role("button", name="Approve").bounding_box()
        navigation = await page.get_by_role("navigation").bounding_box()
        assert approve is not None
        assert navigation is not None
        assert approve["y"] + approve["height"] <= navigation["y"]
        await page.goto(f"{house.daemon.url}/#/compare/{image['image_id']}..{other['image_id']}")
        await expect(page.locator(".compared .frame-picture")).to_have_count(2)
        frame = await page.locator(".frame").first.bounding_box()
        assert frame is not None
        assert frame["width"] == pytest.approx(frame["height"], abs=1), "the pictures are square"


async def test_two_images_are_compared_with_the_same_zoom_and_a_slider(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second = await made(app)
        await shown(page, house, f"compare/{first['image_id']}..{second['image_id']}")
        await page.get_by_role("button", name="Larger").click()
        pictures = page.locator(".frame-picture")
        await expect(pictures).to_have_count(2)
        places = await pictures.evaluate_all("all => all.map(one => one.style.transform)")
        assert scale_of(places[0]) == 1.5
        assert places[0] == places[1]
        await page.get_by_role("button", name="Slider").click()
        line = page.get_by_role("slider")
        await line.focus()
        await line.press("End")
        over = page.locator(".slider-over")
        await expect(over).to_have_attribute("style", re.compile(r"inset\(0(px)? 0(%|px)? 0"))
        await page.get_by_role("button", name="Swap").click()
        await expect(page).to_have_url(re.compile(r"compare/.*%2F2\.\..*%2F1$"))


async def test_descent_leads_from_an_image_to_what_it_was_made_from(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        asked = await chain(app)
        batches = await app.settled(*(one["batch_id"] for one in asked))
        images = [batch["images"][0] for batch in batches]
        await shown(page, house, f"image/{images[1]['image_id']}")
        descent = page.get_by_role("heading", name="Descent").locator("..")
        await expect(descent.get_by_role("heading", name="Made from", exact=True)).to_be_visible()
        await expect(descent.get_by_role("heading", name="Batches made from it")).to_be_visible()
        await descent.get_by_role("link", name=images[0]["name"]).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(images[0]["name"])


async def test_a_failed_image_says_why_and_is_tried_again(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        house.comfyui.control(fail_next=3)
        asked = await app.submit("failing", quantity=1)
        (batch,) = await app.settled(asked["batch_id"])
        (image,) = batch["images"]
        assert image["state"] == "failed", image
        await shown(page, house, f"image/{image['image_id']}")
        await page.get_by_text("It failed.").wait_for()
        await page.get_by_role("button", name="Retry").click()
        await expect(page.locator(".frame-picture")).to_be_visible()
        await becomes(app, image, state="stored")


async def test_arrows_go_through_the_list_of_the_gallery_and_escape_leads_back_to_it(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await made(app, 3)
        batch_id = images[0]["batch_id"]
        await shown(page, house, f"image/{batch_id}/1?batch={batch_id}")
        heading = page.get_by_role("heading", level=1)
        await page.get_by_text("1 of 3", exact=True).wait_for()
        await page.keyboard.press("ArrowRight")
        await expect(heading).to_have_text(images[1]["name"])
        await page.get_by_text("2 of 3", exact=True).wait_for()
        await page.keyboard.press("ArrowRight")
        await expect(heading).to_have_text(images[2]["name"])
        await page.get_by_text("3 of 3", exact=True).wait_for()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowLeft")
        await expect(heading).to_have_text(images[1]["name"])
        await page.keyboard.press("Escape")
        await expect(page).to_have_url(f"{house.daemon.url}/#/gallery?batch={batch_id}")


async def test_an_arrow_key_pressed_before_the_neighbours_are_known_is_not_lost(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await made(app, 3)
        batch_id = images[0]["batch_id"]
        await shown(page, house, f"image/{batch_id}/1?batch={batch_id}")
        heading = page.get_by_role("heading", level=1)
        await page.get_by_text("1 of 3", exact=True).wait_for()
        await page.evaluate(
            """async () => {
                const press = () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
                press();
                await new Promise((resolve) => setTimeout(resolve, 0));
                press();
            }"""
        )
        await expect(heading).to_have_text(images[2]["name"])


async def test_a_review_of_one_image_never_shows_at_the_next(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        first, second = await made(app)
        await shown(page, house, f"image/{first['image_id']}?batch={first['batch_id']}")
        await page.get_by_text("1 of 2", exact=True).wait_for()
        await expect(page.locator(".stage")).to_be_focused()
        await page.keyboard.press("a")
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("heading", level=1)).to_have_text(second["name"])
        await page.keyboard.press("r")
        await becomes(app, first, verdict="approved")
        await becomes(app, second, verdict="rejected")
        await expect(page.get_by_role("button", name="Reject", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_what_others_do_to_the_image_shows_by_itself(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        image, _ = await made(app)
        await shown(page, house, f"image/{image['image_id']}")
        await expect(page.locator(".frame-picture")).to_be_visible()
        await app.ask("review", images=[image["image_id"]], verdict="rejected")
        await expect(page.get_by_role("button", name="Reject", exact=True)).to_have_attribute("aria-pressed", "true")
        await app.ask("forget", batch_id=image["batch_id"], images=[image["index"]])
        await page.get_by_text("It was forgotten.").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
async def test_images_and_comparisons_are_readable_for_everybody(
    house: House, browser: Browser, width: int, scheme: str
) -> None:
    await house.begin()
    async with house.app("app") as app, pages.tab(browser, width, color_scheme=scheme) as page:
        first, second = await made(app)
        (video,) = await made(app, 1, workflow=graph_of("webm", 7, prefix="x"), inputs={})
        await app.ask("review", images=[first["image_id"]], verdict="approved", rating=3)
        await app.ask("submit_batch", request_id="again", like=first["image_id"])
        await shown(page, house, f"image/{first['image_id']}")
        await page.get_by_text("Batches made like it").wait_for()
        await check_readable(page)
        await page.get_by_role("button", name="Reject and forget").click()
        await check_readable(page)
        await page.keyboard.press("Escape")
        for address, sign in (
            (f"image/{video['image_id']}", "video"),
            (f"compare/{first['image_id']}..{second['image_id']}", ".compared .frame-picture"),
            ("image/nothing/1", ".problem"),
        ):
            await page.goto(f"{house.daemon.url}/#/{address}")
            await page.locator(sign).first.wait_for()
            await check_readable(page)
        await page.goto(f"{house.daemon.url}/#/compare/{first['image_id']}..{second['image_id']}")
        await page.get_by_role("button", name="Slider").click()
        await check_readable(page)


async def check_readable(page: Page) -> None:
    assert await pages.violations(page) == []
    assert await pages.overflow_px(page) == 0
