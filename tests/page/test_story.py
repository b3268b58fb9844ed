"""Stories: what happened to an image, why something waits, and the button that helps."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.processes import House
from support.waiting import until
from support.wire_app import App, coloured

TEXT = "CUDA out of memory <b onmouseover=alert(1)>"


async def failed(house: House, app: App) -> str:
    """A batch whose only image failed for good; its id."""
    house.comfyui.control(fail_next=3, fail_text=TEXT)
    asked = await app.submit("r1", quantity=1)
    await app.settled(asked["batch_id"])
    return str(asked["batch_id"])


async def shown(page: Page, house: House, what: str) -> None:
    await pages.sign_in(page, house.daemon.url, house.daemon.token, f"story/{what}")
    await expect(page.get_by_role("heading", name="What happened")).to_be_visible()


async def test_a_failed_image_is_explained_and_retried_from_its_story(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        batch = await failed(house, app)
        (image,) = (await app.ask("get_batch", batch_id=batch))["images"]
        assert image["state"] == "failed"
        await shown(page, house, image["image_id"])
        await expect(page.get_by_text("Its number stays used", exact=False).first).to_be_visible()
        await expect(page.get_by_text(TEXT).first).to_be_visible()
        await expect(page.get_by_text("Attempt 3 at main")).to_be_visible()
        await page.get_by_role("button", name="Retry this image").click()
        await expect(page.get_by_text("Stored in folder", exact=True)).to_be_visible()
        await expect(page.get_by_text("Nothing is left to do.")).to_be_visible()
        again = await app.ask("get_image", image=image["image_id"])
    assert again["state"] == "stored"
    assert again["number"] == image["number"]


async def test_a_paused_store_is_named_and_resumed_from_the_story_of_a_batch(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await app.ask("pause", scope="store:folder")
        asked = await app.submit("r1", quantity=2)
        await app.counted("kept", 2, asked["batch_id"])
        await shown(page, house, asked["batch_id"])
        await page.get_by_role("button", name="Resume store folder").first.click()
        await expect(page.get_by_text("The batch is finished: 2 stored")).to_be_visible()


def indexes(words: str) -> list[int]:
    """The images or prompts that a step is about: "Stored in folder · images 1 to 3, 5" is about 1, 2, 3 and 5."""
    ranges = re.findall(r"(\d+)(?: to (\d+))?", words.rpartition(" · ")[2])
    return [index for first, last in ranges for index in range(int(first), int(last or first) + 1)]


async def test_the_story_of_a_batch_names_each_image_once_in_each_step_and_the_day(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(8))
        await app.settled(asked["batch_id"])
    await shown(page, house, asked["batch_id"])
    steps = page.get_by_role("region", name="What happened").get_by_role("listitem")
    told = await steps.locator(".story-words").all_inner_texts()
    for sentence in ("Stored in folder", "The file is safe here", "ComfyUI has rendered it"):
        found = [index for words in told if words.startswith(sentence) for index in indexes(words)]
        assert sorted(found) == list(range(1, 9)), sentence
    assert await steps.first.locator(".story-day").count() == 1
    await expect(page.get_by_role("region", name="Attempts").get_by_text("prompt 8", exact=False)).to_be_visible()


async def test_a_number_without_an_image_says_why(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await app.settled(asked["batch_id"])
    name = asked["public_ids"][0].removesuffix("1")
    await pages.sign_in(page, house.daemon.url, house.daemon.token, f"story/{name}7")
    await expect(page.get_by_text("This number was not given so far. The next one is 2.")).to_be_visible()


@pytest.mark.parametrize(("button", "stored"), [("first files", 1), ("last files", 1), ("all files", 3)])
async def test_who_got_more_files_than_images_chooses_among_all_three_ways(
    house: House, page: Page, button: str, stored: int
) -> None:
    await house.begin()
    async with house.app() as app:
        house.comfyui.control(miscount_next=[2])
        asked = await app.submit("r1", quantity=1)
        await app.settled(asked["batch_id"])
        await shown(page, house, f"{asked['batch_id']}/1")
        owed = page.get_by_role("region", name="What is still to be done")
        await expect(owed.get_by_role("button")).to_have_text(
            ["Use the first files", "Use the last files", "Use all files"]
        )
        await owed.get_by_role("button", name=button).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("More files came than images were asked for.")
        await dialog.get_by_role("button", name=button).click()
        await app.counted("stored", stored, asked["batch_id"])
    await expect(page.get_by_text("Nothing is left to do.")).to_be_visible()


async def test_who_may_only_read_gets_no_button(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "viewer", "read", 0.0, read_all=True)
    await house.begin()
    async with house.app() as app:
        batch = await failed(house, app)
    await pages.sign_in(page, house.daemon.url, token, f"story/{batch}")
    await expect(page.get_by_text(f"comfyledger retry {batch}").first).to_be_visible()
    await expect(page.get_by_role("button", name="Retry")).to_have_count(0)


async def test_what_is_unknown_is_a_sentence_and_another_may_be_asked(house: House, page: Page) -> None:
    await house.begin()
    await pages.sign_in(page, house.daemon.url, house.daemon.token, "story/nobody-knows")
    await expect(page.get_by_role("alert")).to_contain_text("unknown_")
    await page.get_by_label("Image, batch or number").fill("nor/this_2")
    await page.keyboard.press("Enter")
    await until(lambda: page.url.endswith("#/story/nor/this_2"), "the other story is asked for")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
async def test_a_story_is_readable_for_everybody(house: House, browser: Browser, width: int, scheme: str) -> None:
    await house.begin()
    async with house.app() as app:
        batch = await failed(house, app)
    async with pages.tab(browser, width, color_scheme=scheme) as page:
        await shown(page, house, f"{batch}/1")
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
