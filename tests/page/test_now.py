"""Now, in a real browser: what is in work, what it waits for, and the buttons that steer it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame

BATCHES, IMAGES_EACH = 50, 20
NAME = "Opal Fever for Areg"
SAMPLED = """
    default_workflow = "text-to-image"
    [workflows.text-to-image]
    file = "sample:text-to-image"
"""


async def shown(page: Page, house: House) -> None:
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    await expect(page.get_by_role("heading", name="ComfyUIs")).to_be_visible()


def card(page: Page, name: str = NAME) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


async def lanes(app: App) -> list[str]:
    return [lane["lane"] for lane in (await app.ask("server_info"))["lanes"]]


async def waiting(app: App, quantity: int = 3, **more: Any) -> Frame:
    """A batch that nothing renders, because everything is paused."""
    await app.ask("pause", scope="everything")
    return await app.submit("waits", quantity=quantity, **more)


# ---- what is in work


async def test_a_batch_comes_and_ends_while_the_page_looks(house: House, page: Page) -> None:
    await house.begin()
    await shown(page, house)
    await expect(page.get_by_text("Nothing is in work")).to_be_visible()
    async with house.app() as app:
        await app.ask("pause", scope="store:folder")
        asked = await app.submit("r1", quantity=3)
        await expect(page.get_by_role("heading", name="In work: 1 batch")).to_be_visible()
        await expect(card(page).get_by_role("img", name="Progress: 3 rendered")).to_be_visible()
        await app.ask("resume", scope="store:folder")
        await app.settled(asked["batch_id"])
    recent = page.get_by_role("region", name="Just finished")
    await expect(recent.get_by_role("img", name="Progress: 3 stored")).to_be_visible()
    await expect(page.get_by_text("Nothing is in work")).to_be_visible()


async def test_what_runs_shows_its_step_until_it_ends(house: House, page: Page) -> None:
    await house.begin(SAMPLED, seconds_per_image=1.5)
    await shown(page, house)
    async with house.app() as app:
        await app.ask("pause", scope="store:folder")
        await app.submit("r1", quantity=1)
        await expect(card(page).get_by_role("img", name="Step ")).to_be_visible()
        await expect(card(page).get_by_role("img", name="Progress: 1 rendered")).to_be_visible()
        await expect(page.get_by_role("img", name="Step ")).to_have_count(0)


async def test_what_runs_shows_its_step_also_after_another_sign_in(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "viewer", "read", 0.0, read_all=True)
    await house.begin(SAMPLED, seconds_per_image=20)
    await pages.sign_in(page, house.daemon.url, token)
    async with house.app() as app:
        await app.submit("r1", quantity=1)
        step = card(page).get_by_role("img", name="Step ")
        await expect(step).to_be_visible()
        tokens.revoke(house.state / "tokens.json", "viewer")
        await page.get_by_label("Token").fill(house.daemon.token)
        await page.get_by_label("Token").press("Enter")
        await expect(page.get_by_label("Token")).to_have_count(0)
        before = await step.get_attribute("aria-label")
        await expect(step).not_to_have_attribute("aria-label", before or "")


async def test_a_message_stays_while_somebody_reads_it(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await waiting(app)
        await page.clock.install()
        await shown(page, house)
        await card(page).get_by_role("button", name="Pause").click()
        message = page.get_by_role("status", name="Messages").get_by_text("is paused.")
        await message.hover()
        await page.clock.run_for(30_000)
        await expect(message).to_be_visible()
        await page.mouse.move(1, 1)
        await page.clock.run_for(10_000)
        await expect(message).to_have_count(0)


async def test_a_batch_says_why_it_waits(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await waiting(app)
    await shown(page, house)
    await expect(page.get_by_text("No prompt is sent and no file is uploaded")).to_be_visible()
    why = card(page).get_by_role("button", name="Why does it wait?")
    await why.click()
    await expect(why).to_have_attribute("aria-expanded", "true")
    owed = card(page).get_by_role("region", name="What is still to be done")
    await owed.get_by_role("button", name="Resume everything").click()
    await expect(page.get_by_text("Nothing is in work")).to_be_visible()


# ---- the buttons


async def test_a_store_is_paused_and_resumed_and_both_can_be_undone(house: House, page: Page) -> None:
    await house.begin()
    await shown(page, house)
    store = card(page, "folder")
    async with house.app() as app:
        await store.get_by_role("button", name="Pause: folder").click()
        await expect(store.get_by_text("paused", exact=True)).to_be_visible()
        assert await lanes(app) == ["store/folder"]
        await page.get_by_role("button", name="Undo").click()
        await expect(store.get_by_text("takes uploads")).to_be_visible()
        assert await lanes(app) == []
        await store.get_by_role("button", name="Pause: folder").click()
        await store.get_by_role("button", name="Resume: folder").click()
        await expect(store.get_by_text("takes uploads")).to_be_visible()
        assert await lanes(app) == []


async def test_everything_is_paused_only_after_a_question(house: House, page: Page) -> None:
    await house.begin()
    await shown(page, house)
    button = page.get_by_role("button", name="Pause everything", exact=True)
    dialog = page.get_by_role("dialog", name="Pause everything?")
    async with house.app() as app:
        await button.click()
        await expect(dialog).to_contain_text("also after a restart of the daemon")
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(button).to_be_focused()
        assert await lanes(app) == []
        await button.click()
        await dialog.get_by_role("button", name="Pause everything").click()
        await expect(page.get_by_role("button", name="Resume everything", exact=True)).to_be_visible()
        assert await lanes(app) == ["everything"]


async def test_a_batch_is_cancelled_only_after_a_question_that_names_its_images(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await waiting(app)
        await shown(page, house)
        await card(page).get_by_role("button", name=f"Cancel: {NAME}").click()
        dialog = page.get_by_role("dialog", name=f"Cancel {NAME}?")
        await expect(dialog).to_contain_text("3 images that are not rendered yet will not be made.")
        await dialog.get_by_role("button", name="Cancel", exact=True).click()
        assert (await app.batch(asked["batch_id"]))["pending"] == 3
        await card(page).get_by_role("button", name=f"Cancel: {NAME}").click()
        await dialog.get_by_role("button", name="Cancel 3 images").click()
        await expect(page.get_by_text("3 images are given up.")).to_be_visible()
        assert (await app.batch(asked["batch_id"]))["cancelled"] == 3


async def test_a_failed_batch_is_retried_only_after_a_question_that_says_what_stays(house: House, page: Page) -> None:
    await house.begin()
    await shown(page, house)
    async with house.app() as app:
        house.comfyui.control(fail_next=3)
        asked = await app.submit("r1", quantity=1)
        await app.settled(asked["batch_id"])
        await page.get_by_role("button", name=f"Retry: {NAME}").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("1 image that failed or was parked is tried again.")
        await expect(dialog).to_contain_text("Their numbers and names stay the same.")
        await dialog.get_by_role("button", name="Retry 1 image").click()
        await expect(page.get_by_role("img", name="Progress: 1 stored")).to_be_visible()
        (image,) = (await app.batch(asked["batch_id"]))["images"]
    assert (image["state"], image["number"]) == ("stored", 1)


async def test_a_priority_is_changed_and_taken_back(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await waiting(app)

        async def priority(wanted: str) -> None:
            async def is_so() -> bool:
                return bool((await app.batch(asked["batch_id"]))["priority"] == wanted)

            await until(is_so, f"the priority is {wanted}")

        await shown(page, house)
        choice = card(page).get_by_label(f"Priority: {NAME}")
        await choice.select_option("high")
        await expect(page.get_by_text("The priority is high now.")).to_be_visible()
        await priority("high")
        await page.get_by_role("button", name="Undo").click()
        await priority("normal")
        await expect(choice).to_have_value("normal")


@pytest.mark.parametrize("right", ["read", "submit_configured"])
async def test_who_may_not_steer_has_no_button_that_does(house: House, page: Page, right: tokens.Right) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "viewer", right, 0.0, read_all=True)
    await house.begin()
    async with house.app() as app:
        await waiting(app)
    await pages.sign_in(page, house.daemon.url, token)
    await expect(card(page)).to_be_visible()
    await expect(card(page, "folder")).to_be_visible()
    main = page.get_by_role("main")
    await expect(main.get_by_role("button")).to_have_text(["Why does it wait?"])
    await expect(main.get_by_role("combobox")).to_have_count(0)


# ---- many images

ROUNDS_MAX = 30
"""A busy machine would take minutes until all images are made."""


async def test_interactions_stay_quick_while_a_thousand_images_are_released(
    house: House, browser: Browser, page: Page
) -> None:
    await house.begin(seconds_per_image=0.005)
    await shown(page, house)
    async with house.app() as app:

        async def is_done(but: int) -> bool:
            return len((await app.ask("list_batches", open_only=True, limit=but + 1))["batches"]) <= but

        async def release_a_thousand(attempt: int) -> None:
            await until(partial(is_done, attempt), "only the paused batches of earlier attempts are open")
            await app.ask("pause", scope="everything")
            for number in range(BATCHES):
                asked = await app.submit(f"r{attempt}-{number}", quantity=IMAGES_EACH, character=f"Opal {number}")
            await app.ask("pause", scope=f"batch:{asked['batch_id']}")  # so that its card stays
            await expect(page.get_by_role("heading", name=f"In work: {BATCHES + attempt} batches")).to_be_visible()
            await page.get_by_role("button", name="Resume everything", exact=True).click()
            first = card(page, f"Opal {BATCHES - 1} for Areg").first
            for _ in range(ROUNDS_MAX):
                if await is_done(attempt + 1):
                    break
                await interact(page, first)

        traced = await pages.quick(browser, page, release_a_thousand)
    assert len(traced.interactions_ms) > 20


async def interact(page: Page, batch: Locator) -> None:
    """By mouse and by keyboard, with a card of the view."""
    await batch.get_by_role("button", name="Why does it wait?").click()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
async def test_now_is_readable_for_everybody(house: House, browser: Browser, width: int, scheme: str) -> None:
    await house.begin()
    async with house.app() as app:
        await waiting(app)
        await app.ask("pause", scope="store:folder")
        await app.ask("pause", scope="user:Areg")
        await app.ask("pause", scope="backend:main")
    async with pages.tab(browser, width, color_scheme=scheme) as page:
        await shown(page, house)
        await card(page).get_by_role("button", name="Why does it wait?").click()
        await expect(card(page).get_by_role("button", name="Resume user areg")).to_be_visible()
        await expect(card(page).get_by_role("button", name="Pause Areg")).to_have_count(0)
        await expect(card(page).get_by_role("button", name="Resume ComfyUI main")).to_be_visible()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
