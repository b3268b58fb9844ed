"""The gallery in a real browser: all images, however many, by eye and by keyboard."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image
from playwright.async_api import Browser, Page, expect

from support import large_ledger
from support import page as pages
from support.page_images import made, said, tiles
from support.processes import House

NODES_MAX = 2_000


async def shown(page: Page, house: House, view: str = "gallery") -> None:
    """Sign in and look at the gallery."""
    await pages.sign_in(page, house.daemon.url, house.daemon.token, view)


async def numbers(page: Page) -> list[int]:
    """The numbers of the tiles, as screen readers hear them."""
    labels = await page.locator(".tile-open").evaluate_all("(all) => all.map((link) => link.ariaLabel)")
    return [int(label.split(",")[0].removeprefix("Number ")) for label in labels]


# ---- many images


async def test_two_hundred_thousand_images_scroll_without_a_long_task(
    house: House, browser: Browser, page: Page
) -> None:
    house.state.mkdir(mode=0o700)
    ledger = house.state / "ledger.db"
    large_ledger.fill(ledger, 200_000, now_ms=int(time.time() * 1_000) - 60_000)
    picture = io.BytesIO()
    Image.new("RGB", (175, 256), (90, 120, 160)).save(picture, "WEBP")
    large_ledger.draw(ledger, house.state, 2_000, picture.getvalue())
    await house.begin()
    await shown(page, house)
    await expect(page.locator(".tile-open img").first).to_be_visible()
    await expect(page.get_by_text("200,070 images")).to_be_visible()
    traced = await pages.quick(browser, page, lambda attempt: scroll(page))
    assert len(traced.tasks_ms) > 100
    await page.get_by_role("grid").focus()
    await page.keyboard.press("End")
    last = page.locator('[data-at="200069"] .tile-open')
    await expect(last).to_be_visible()
    assert await nodes(page) <= NODES_MAX


async def scroll(page: Page) -> None:
    """As people do: by the wheel, the bar and keys."""
    await page.mouse.move(600, 500)
    for _ in range(40):
        await page.mouse.wheel(0, 500)
    for part in (0.1, 0.35, 0.5, 0.77, 0.99, 0.2, 0):
        await page.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {part})")
        await expect(said(tiles(page).first)).to_be_visible()  # the last is that of the keyboard, out of sight
        assert await nodes(page) <= NODES_MAX
    await page.get_by_role("grid").focus()
    for _ in range(20):
        await page.keyboard.press("PageDown")
    await page.keyboard.press("Home")


async def nodes(page: Page) -> int:
    count: int = await page.evaluate("document.getElementsByTagName('*').length")
    return count


async def test_what_is_scrolled_past_is_not_asked_for(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        for number in range(4):
            await app.submit(f"many {number}", quantity=500, character=f"Opal {number}")
        asked: list[str] = []
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(str(frame))))
        await shown(page, house)
        await expect(page.get_by_text("2,000 images")).to_be_visible()
        await app.ask("pause")
        asked.clear()
        await page.evaluate(FLING)
        await expect(said(tiles(page).last)).to_be_visible()
        pages_asked = [frame for frame in asked if "list_images" in frame and "before" in frame]
        assert len(pages_asked) <= 2, "20 pages were scrolled past"


FLING = """
  new Promise((done) => {
    const step = () => {
      scrollBy(0, 700);
      if (scrollY + innerHeight < document.documentElement.scrollHeight - 700) requestAnimationFrame(step);
      else done();
    };
    step();
  })
"""


BATCHES, IMAGES_EACH = 50, 20
ROUNDS_MAX = 15
"""A busy machine would take minutes until all images are made."""


async def test_keys_stay_quick_in_the_gallery_and_the_large_view_while_a_thousand_images_are_made(
    house: House, browser: Browser, page: Page
) -> None:
    await house.begin(seconds_per_image=0.005)
    await shown(page, house)
    async with house.app("app") as app:

        async def make_a_thousand(attempt: int) -> None:
            await app.ask("pause", scope="everything")
            for number in range(BATCHES):
                await app.submit(f"r{attempt}-{number}", quantity=IMAGES_EACH, character=f"Opal {number}")
            if attempt:  # the last has scrolled away from the newest
                await page.get_by_role("button", name="1,000 new images").click()
            await expect(page.get_by_text(f"{1_000 * (attempt + 1):,} images")).to_be_visible()
            await app.ask("resume", scope="everything")
            for _ in range(ROUNDS_MAX):
                if not (await app.ask("list_batches", open_only=True, limit=1))["batches"]:
                    break
                await look_through(page)

        traced = await pages.quick(browser, page, make_a_thousand)
    assert len(traced.interactions_ms) > 20


async def look_through(page: Page) -> None:
    """Through the gallery, into an image, to its neighbours, and back."""
    await page.get_by_role("grid").focus()
    for key in ("PageDown", "ArrowRight", "Space", "Shift+ArrowDown", "Escape", "ArrowUp", "Enter"):
        await page.keyboard.press(key)
    await expect(page.get_by_role("heading", level=2, name="Recipe")).to_be_visible()
    for key in ("ArrowRight", "+", "0", "ArrowLeft", "Escape"):
        await page.keyboard.press(key)
    await expect(page.get_by_role("grid")).to_be_visible()


# ---- as images come


async def test_new_images_come_by_themselves_at_the_top(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await shown(page, house)
        await expect(page.get_by_text("No image yet")).to_be_visible()
        await made(app, "first", 2)
        await expect(tiles(page)).to_have_count(2)
        await expect(page.locator(".tile-open img")).to_have_count(2)
        await made(app, "second", 1)
        await expect(tiles(page)).to_have_count(3)
        assert await numbers(page) == [3, 1, 2]


async def test_further_down_new_images_wait_and_nothing_moves(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await made(app, "first", 60)
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        await shown(page, house)
        await expect(page.get_by_text("60 images")).to_be_visible()
        await page.evaluate("scrollTo(0, 900)")
        tile = page.locator('[data-at="27"]')
        await expect(said(tile)).to_have_attribute("aria-label", "Number 28, stored")
        before = await tile.bounding_box()
        await made(app, "second", 4)
        newer = page.get_by_role("button", name="4 new images")
        await expect(newer).to_be_visible()
        assert await tile.bounding_box() == before
        await newer.click()
        await expect(said(page.locator('[data-at="0"]'))).to_have_attribute("aria-label", "Number 61, stored")
        await expect(page.get_by_text("64 images")).to_be_visible()


async def test_the_place_is_kept_while_another_view_is_shown(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await made(app, "first", 90)
        await page.set_viewport_size({"width": pages.NARROW, "height": 900})
        await shown(page, house)
        await expect(page.get_by_text("90 images")).to_be_visible()
        await page.evaluate("scrollTo(0, 1500)")
        tile = page.locator('[data-at="42"]')
        await expect(tile).to_be_in_viewport()
        await expect(said(tile)).to_be_visible()
        await page.get_by_role("link", name="Make").click()
        await expect(page.get_by_role("grid")).to_have_count(0)
        await page.evaluate("scrollTo(0, 0)")
        await page.get_by_role("link", name="Gallery").click()
        await expect(tile).to_be_in_viewport()


async def test_what_leaves_the_filter_leaves_the_list_and_what_enters_it_comes(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await made(app, "first", 3)
        await shown(page, house, "gallery?verdict=none")
        await expect(tiles(page)).to_have_count(3)
        await app.ask("review", images=[images[1]["image_id"]], verdict="approved")
        await expect(tiles(page)).to_have_count(2)
        assert await numbers(page) == [1, 3]
        await page.get_by_label("Verdict", exact=True).select_option("approved")
        await expect(tiles(page)).to_have_count(1)
        await app.ask("review", images=[images[2]["image_id"]], verdict="approved")
        await expect(tiles(page)).to_have_count(2)
        assert await numbers(page) == [2, 3]


# ---- filters


async def test_filters_stand_in_the_address_and_the_back_button_takes_them_back(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await made(app, "one", 2)
        await made(app, "two", 1, username="Ann", character="<img src=x onerror=alert(1)>")
        await shown(page, house)
        await expect(tiles(page)).to_have_count(3)
        await page.get_by_label("User").select_option(label="Ann (1)")
        await expect(tiles(page)).to_have_count(1)
        assert page.url.endswith("#/gallery?user=Ann")
        await page.get_by_label("Character").select_option(label="<img src=x onerror=alert(1)> (1)")
        await expect(page.get_by_text("Character: <img src=x onerror=alert(1)>")).to_be_visible()
        await page.reload()
        await expect(tiles(page)).to_have_count(1)
        await page.go_back()
        await page.go_back()
        await expect(tiles(page)).to_have_count(3)
        await page.get_by_label("State").select_option("failed")
        await expect(page.get_by_text("No image fits")).to_be_visible()
        await page.get_by_role("button", name="Without the filter State").click()
        await expect(tiles(page)).to_have_count(3)


async def test_a_day_includes_its_last_moment(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await made(app, "one", 1)
        await shown(page, house)
        today = await page.evaluate("new Date().toLocaleDateString('sv')")
        await page.get_by_label("From").fill(today)
        await page.get_by_label("To", exact=True).fill(today)
        await page.get_by_label("To", exact=True).press("Tab")
        await expect(page.get_by_text(f"To: {today}")).to_be_visible()
        await expect(tiles(page)).to_have_count(1)
        await page.goto(f"{house.daemon.url}/#/gallery?until=2001-01-01")
        await expect(page.get_by_text("No image fits")).to_be_visible()


# ---- without a mouse


async def test_keys_move_select_open_and_come_back_to_the_same_place(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await made(app, "first", 20)
        await shown(page, house)
        grid = page.get_by_role("grid")
        await expect(tiles(page)).to_have_count(20)
        assert await grid.get_attribute("aria-rowcount") == "4"
        await grid.focus()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowDown")
        await expect(grid).to_have_attribute("aria-activedescendant", "tile-7")
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("Shift+ArrowRight")
        await expect(page.get_by_text("3 selected")).to_be_visible()
        await page.keyboard.press("Space")
        await expect(page.get_by_text("2 selected")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("region", name="Selection")).to_have_count(0)
        await page.keyboard.press("End")
        await page.keyboard.press("Enter")
        assert page.url.endswith(f"#/image/{images[19]['image_id']}")
        await page.go_back()
        await expect(page.get_by_role("grid")).to_have_attribute("aria-activedescendant", "tile-19")
        await expect(page.locator("#tile-19")).to_be_in_viewport()
        await page.get_by_role("grid").focus()
        await page.keyboard.press("Home")
        await expect(page.locator("#tile-0")).to_be_in_viewport()


async def test_the_gallery_comes_back_at_the_image_that_was_looked_at_last(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        images = await made(app, "first", 40)
        await shown(page, house, "gallery?user=Areg")
        await tiles(page).nth(1).click()
        await expect(page.get_by_text("2 of 40", exact=True)).to_be_visible()
        await expect(page.locator(".stage img").first).to_be_visible()
        for image in images[2:30]:
            await page.keyboard.press("ArrowRight")
            await expect(page).to_have_url(f"{house.daemon.url}/#/image/{image['image_id']}?user=Areg")
            await expect(page.get_by_text(f"{image['index']} of 40", exact=True)).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("grid")).to_be_focused()
        await expect(page.get_by_role("grid")).to_have_attribute("aria-activedescendant", "tile-29")
        await expect(page.locator("#tile-29")).to_be_in_viewport()


# ---- numbers without an image


async def test_missing_numbers_are_explained_where_they_are_missing(house: House, page: Page) -> None:
    held = house.images / "Areg/characters/opal-fever/images"
    held.mkdir(parents=True)
    (held / "Areg_opal-fever_image_5.png").write_bytes(b"from before the ledger")
    await house.begin()
    async with house.app("app") as app:
        await made(app, "first", 2, premade=False)
        await shown(page, house, "gallery?user=Areg&character=Opal%20Fever")
        gap = page.get_by_role("link", name="1 to 5 are missing: why?")
        await expect(gap).to_have_count(1)
        assert await gap.get_attribute("href") == "#/story/5?user=Areg&character=Opal+Fever"
        await made(app, "second", 1, premade=False)
        await expect(tiles(page)).to_have_count(3)
        await expect(page.locator(".tile-gap")).to_have_count(1)
        await gap.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Number 5")
    await expect(page.get_by_text("a store held higher numbers when the series was opened")).to_be_visible()


async def test_a_tile_says_why_it_has_no_picture(house: House, page: Page) -> None:
    await house.begin(seconds_per_image=30)
    async with house.app("app") as app:
        asked = await app.submit("first", quantity=6)
        await shown(page, house)
        await expect(tiles(page)).to_have_count(6)
        await app.ask("cancel", batch_id=asked["batch_id"], images=[6])
        await expect(said(tiles(page).nth(5))).to_have_attribute("aria-label", "Number 6, cancelled")


async def test_a_tile_whose_thumbnail_does_not_load_says_so(house: House, page: Page) -> None:
    await house.begin()
    async with house.app("app") as app:
        await made(app, "first", 1)
    await page.route("**/*thumb*", lambda route: route.abort())
    await shown(page, house)
    await expect(page.get_by_text("Its thumbnail did not load")).to_be_visible()


# ---- for everybody


@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(house: House, browser: Browser, width: int, scheme: str) -> None:
    await house.begin()
    async with house.app("app") as app, pages.tab(browser, width, color_scheme=scheme) as page:
        images = await made(app, "first", 3)
        await app.ask("review", images=[images[1]["image_id"]], verdict="approved", rating=3)
        await shown(page, house, "gallery?user=Areg")
        await expect(page.locator(".tile-open img")).to_have_count(3)
        assert await pages.violations(page) == []
        await tiles(page).nth(0).click(modifiers=["Control"])
        await expect(page.get_by_role("region", name="Selection")).to_be_visible()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
