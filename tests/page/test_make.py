"""Make, in a real browser: forms, mistakes at their fields, pictures, and no request that makes anything twice."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from comfyledger import crash_points
from comfyledger.server import tokens
from support import page as pages
from support.door import Door, opened
from support.graphs import node
from support.media_builders import png
from support.processes import House
from support.waiting import until
from support.wire_app import of_kind

PICTURE = {
    "2": node("LoadImage", image="not-there.png"),
    "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
}
SECTIONS = """
    [workflows.picture]
    file = "picture.json"
    inputs = { picture = "2.image" }
    [workflows.text-to-image]
    file = "sample:text-to-image"
    [workflows.empty-image]
    file = "sample:empty-image"
    [workflows.sampled]
    file = "sample:text-to-image"
    inputs = { sampler = "3.sampler_name", width = "5.width", height = "5.height" }
    [characters.opal-fever]
    display_name = "Opal Fever"
    workflow = "text-to-image"
    prompt = "portrait of opal fever, {prompt}"
    inputs = { steps = 4, width = 64, height = 64 }
"""


@asynccontextmanager
async def door_of(folder: Path) -> AsyncIterator[Door]:
    (folder / "picture.json").write_text(json.dumps(PICTURE))
    async with opened(folder, SECTIONS, top='default_workflow = "text-to-image"') as door:
        yield door


@pytest_asyncio.fixture(loop_scope="session")
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with door_of(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def page(door: Door, browser: Browser) -> AsyncIterator[Page]:
    """A signed-in tab that shows Make."""
    async with pages.tab(browser) as made:
        await pages.sign_in(made, door.url, door.token, "make")
        await made.get_by_label("User", exact=True).wait_for()
        yield made


async def fill_who(page: Page, character: str = "Gray Wolf", workflow: str = "text-to-image") -> None:
    await page.get_by_label("User", exact=True).fill("Areg")
    await page.get_by_role("combobox", name="Character").fill(character)
    await page.get_by_label("Workflow").select_option(workflow)


async def batches(door: Door) -> list[dict[str, Any]]:
    async with door.app() as app:
        listed = (await app.ask("list_batches"))["batches"]
        return [(await app.ask("get_batch", batch_id=one["batch_id"])) for one in listed]


async def recipe(door: Door, batch: dict[str, Any], image: int = 1) -> dict[str, Any]:
    async with door.app() as app:
        return dict(await app.ask("get_recipe", image=f"{batch['batch_id']}/{image}"))


# ---- the form


async def test_a_whole_submit_needs_the_keyboard_alone(door: Door, browser: Browser) -> None:
    async with pages.tab(browser) as page:
        await page.goto(f"{door.url}/#/make")
        await page.get_by_label("Token").wait_for()
        await pages.tab_to(page, "Token")
        await page.keyboard.type(door.token)
        await page.keyboard.press("Enter")
        await page.get_by_label("User", exact=True).wait_for()
        await pages.tab_to(page, "User")
        await page.keyboard.type("Areg")
        await pages.tab_to(page, "Character")
        await page.keyboard.type("opal")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await page.get_by_text("Goes into: portrait of opal fever").wait_for()
        await pages.tab_to(page, "prompt")
        await page.keyboard.press("Control+A")
        await page.keyboard.type("red coat")
        await pages.tab_to(page, "Images")
        await page.keyboard.press("Control+A")
        await page.keyboard.type("2")
        await page.get_by_role("button", name="Make 2 images").wait_for()
        await pages.tab_to(page, "Make 2 images")
        await page.keyboard.press("Enter")
        await page.get_by_text("All done.").wait_for()
        await page.get_by_text("Numbers 3 to 4").wait_for()
    (batch,) = await batches(door)
    assert (batch["username"], batch["character"], batch["quantity"]) == ("Areg", "Opal Fever", 2)
    inputs = (await recipe(door, batch))["inputs"]
    assert (inputs["prompt"], inputs["steps"]) == ("portrait of opal fever, red coat", 4)


async def test_mistakes_stand_at_their_fields_and_nothing_can_be_sent(door: Door, page: Page) -> None:
    await fill_who(page)
    await page.get_by_role("button", name="Make 1 image").wait_for()
    with door.unchanged():
        steps = page.get_by_label("steps", exact=True)
        await steps.fill("0")
        await page.get_by_text("The smallest is 1.").wait_for()
        assert await steps.get_attribute("aria-invalid") == "true"
        assert await page.get_by_role("button", name="Make", exact=True).is_disabled()
        await steps.fill("9")
        await page.get_by_label("User", exact=True).fill("///")
        user = page.locator(".field", has=page.get_by_label("User", exact=True))
        await user.locator(".field-error").wait_for()
        await page.get_by_text("One field needs a look.").wait_for()
        await page.get_by_label("User", exact=True).fill("Areg")
        await page.get_by_role("button", name="Make 1 image").wait_for()


async def test_what_is_as_the_workflow_has_it_is_not_sent(door: Door, page: Page) -> None:
    await fill_who(page, workflow="empty-image")
    width = page.get_by_label("width", exact=True)
    before = await width.input_value()
    await width.fill("128")
    await width.fill(before)
    await page.get_by_label("height", exact=True).fill("")
    await page.get_by_label("color", exact=True).fill("7")
    await page.get_by_role("button", name="Make 1 image").click()
    await page.get_by_text("All done.").wait_for()
    (batch,) = await batches(door)
    assert (await recipe(door, batch))["inputs"] == {"color": 7}


async def test_a_long_list_is_searched_a_seed_is_rolled_and_the_rest_is_as_chosen(door: Door, page: Page) -> None:
    names = ["euler", *(f"dpmpp_{order}m{kind}" for order in range(2, 12) for kind in ("", "_sde"))]
    door.sim._installed.change({"samplers": names}, None)
    classes = door.context.node_classes["main"]
    classes.renew(asyncio.get_running_loop().time())
    await classes.latest()
    await fill_who(page, workflow="sampled")
    sampler = page.get_by_role("combobox", name="sampler")
    await sampler.click()
    options = page.get_by_role("listbox", name="sampler").get_by_role("option")
    assert await options.count() == len(names)
    await sampler.fill("2m _sde")
    assert await options.all_inner_texts() == ["dpmpp_2m_sde"]
    await sampler.press("ArrowDown")
    await sampler.press("Enter")
    chosen = await sampler.input_value()
    await page.get_by_label("width", exact=True).fill("64")
    await page.get_by_label("height", exact=True).fill("64")
    await page.get_by_role("button", name="Roll a seed").click()
    seed = await page.get_by_label("Seed", exact=True).input_value()
    await page.get_by_label("An existing character").check()
    await page.get_by_text("When and where").click()
    await page.get_by_label("Priority").select_option("high")
    await page.get_by_label("ComfyUI").select_option("main")
    await page.get_by_role("button", name="Make 1 image").click()
    await page.get_by_text("All done.").wait_for()
    (batch,) = await batches(door)
    made = await recipe(door, batch)
    assert (made["inputs"]["sampler"], str(made["seed"])) == (chosen, seed)
    assert (batch["premade"], batch["priority"]) == (True, "high")


async def test_a_sweep_makes_each_combination(door: Door, page: Page) -> None:
    await fill_who(page)
    await page.get_by_role("button", name="Several values of steps").click()
    await page.get_by_label("steps", exact=True).fill("2\n3")
    await page.get_by_role("button", name="Several values of cfg").click()
    await page.get_by_label("cfg", exact=True).fill("4\nfour")
    await page.get_by_text("Line 2: This is not a number.").wait_for()
    assert await page.get_by_role("button", name="Several values of width").count() == 0
    await page.get_by_label("cfg", exact=True).fill("4\n7.5")
    await page.get_by_role("button", name="Make 4 images").click()
    await page.get_by_text("All done.").wait_for()
    (batch,) = await batches(door)
    swept = [(await recipe(door, batch, image))["inputs"] for image in (1, 2, 3, 4)]
    assert [(one["steps"], one["cfg"]) for one in swept] == [(2, 4), (2, 7.5), (3, 4), (3, 7.5)]


async def test_a_dry_run_shows_the_names_and_what_is_written_outlives_a_reload(door: Door, page: Page) -> None:
    async with door.app() as app:
        asked = await app.submit("r1", "Areg", 1, character="Gray Wolf")
        await app.settled(asked["batch_id"])
    await fill_who(page)
    await page.get_by_text("Areg_gray-wolf_image_2").wait_for()
    await page.get_by_role("textbox", name="prompt").fill("red coat")
    await page.reload()
    await page.get_by_text("Areg_gray-wolf_image_2").wait_for()
    assert await page.get_by_role("textbox", name="prompt").input_value() == "red coat"


async def test_an_image_is_made_again_with_other_inputs(door: Door, page: Page) -> None:
    async with door.app() as app:
        inputs = {"color": 5, "width": 64, "height": 64}
        asked = await app.submit("r1", "Areg", 1, character="Gray Wolf", workflow="empty-image", inputs=inputs)
        await app.settled(asked["batch_id"])
    await page.goto(f"{door.url}/#/make?like={asked['batch_id']}/1")
    await page.get_by_role("heading", name="Make again").wait_for()
    await page.get_by_role("link", name="Areg_gray-wolf_image_1").wait_for()
    color = page.get_by_label("color", exact=True)
    assert await color.input_value() == "5"
    assert await page.get_by_label("User", exact=True).input_value() == "Areg"
    await color.fill("9")
    await page.get_by_role("button", name="Make 1 image").click()
    await page.get_by_text("All done.").wait_for()
    batch = (await batches(door))[0]
    assert batch["like"] == f"{asked['batch_id']}/1"
    assert (await recipe(door, batch))["inputs"] == {"color": 9, "width": 64, "height": 64}


@pytest.mark.parametrize("right", ["read", "submit_configured"])
async def test_a_right_shows_what_it_may(door: Door, browser: Browser, right: tokens.Right) -> None:
    token = tokens.add(door.folder / "state" / "tokens.json", right, right, 0.0)
    door.context.access.keyring.refresh()  # type: ignore[union-attr]
    async with pages.tab(browser) as page:
        await pages.sign_in(page, door.url, token, "make")
        if right == "read":
            await page.get_by_text("may not ask for images").wait_for()
            assert await page.get_by_role("button", name="Make").count() == 0
        else:
            await fill_who(page)
            await page.get_by_role("button", name="Make 1 image").wait_for()


# ---- pictures

_WITH_FILE = """([kind, data, name]) => {
  const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  const target = kind === "paste" ? document.body : document.querySelector(".make-file");
  const given = kind === "paste" ? { clipboardData: carried } : { dataTransfer: carried };
  const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
  target.dispatchEvent(new Kind(kind, { bubbles: true, cancelable: true, ...given }));
}"""


async def loaded(door: Door) -> dict[str, Any]:
    """The file that the newest batch was made from."""
    (file,) = (await recipe(door, (await batches(door))[0]))["files"]
    return dict(file)


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_a_picture_that_is_dropped_or_pasted_is_what_the_images_are_made_from(
    door: Door, page: Page, kind: str
) -> None:
    await fill_who(page, workflow="picture")
    await page.get_by_text("Give a value.").wait_for()
    content = base64.b64encode(png()).decode()
    await page.evaluate(_WITH_FILE, [kind, content, "mine.png"])
    await page.get_by_text("Chosen: mine.png").wait_for()
    await page.get_by_role("button", name="Make 1 image").click()
    await page.get_by_text("All done.").wait_for()
    assert (await loaded(door))["extension"] == "png"


async def test_what_is_written_while_a_picture_is_on_its_way_stays(door: Door, page: Page) -> None:
    arrived = asyncio.Event()

    async def hold(route: Any) -> None:
        await arrived.wait()
        await route.continue_()

    await page.route("**/v1/inputs*", hold)
    await fill_who(page, workflow="picture")
    await page.get_by_text("Give a value.").wait_for()
    content = base64.b64encode(png()).decode()
    await page.evaluate(_WITH_FILE, ["drop", content, "mine.png"])
    await page.get_by_role("progressbar", name="Sending mine.png").wait_for()
    await page.get_by_label("Images", exact=True).fill("3")
    arrived.set()
    await page.get_by_role("button", name="Make 3 images").wait_for()


async def test_an_image_of_the_gallery_is_what_the_next_one_is_made_from(door: Door, page: Page) -> None:
    async with door.app() as app:
        asked = await app.submit("r1", "Areg", 1, character="Gray Wolf")
        await app.settled(asked["batch_id"])
    await fill_who(page, workflow="picture")
    await page.get_by_role("button", name="From the gallery: picture").click()
    await page.get_by_role("dialog").get_by_role("button", name="Areg_gray-wolf_image_1").click()
    await page.get_by_text("Chosen: Areg_gray-wolf_image_1").wait_for()
    await page.get_by_role("button", name="Make 1 image").click()
    await page.get_by_text("All done.").wait_for()
    assert (await loaded(door))["image"] == f"{asked['batch_id']}/1"


# ---- once


@pytest_asyncio.fixture(loop_scope="session")
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A daemon that is killed once it has numbered a batch, before it answers; it comes back at the same port."""
    made = House(tmp_path)
    os.environ.pop(crash_points.VARIABLE, None)
    made.daemon.environment = {crash_points.VARIABLE: "batch.numbered"}
    await made.begin()
    yield made
    made.end()


async def killed(house: House) -> None:
    await until(lambda: house.daemon.exit_code() is not None, "the daemon was killed")


async def back(house: House, url: str) -> None:
    config = house.folder / "config.toml"
    config.write_text(config.read_text().replace("port = 0", f"port = {url.rpartition(':')[2]}"))
    house.daemon.environment = {}
    await house.daemon.begin()


async def ask_once(page: Page, house: House) -> str:
    """Press the button twice, and let the daemon die of it. Returns its address."""
    url = house.daemon.url
    await pages.sign_in(page, url, house.daemon.token, "make")
    await fill_who(page, workflow="empty-image")
    await page.get_by_role("button", name="Make 1 image").dblclick()
    await killed(house)
    return url


async def requested(house: House) -> list[Any]:
    async with house.app() as app:
        return of_kind(await app.log(), "batch_requested")


async def test_a_request_over_a_killed_daemon_makes_one_batch(house: House, browser: Browser) -> None:
    async with pages.tab(browser) as page:
        url = await ask_once(page, house)
        await back(house, url)
        await page.get_by_text("All done.").wait_for()
    assert len(await requested(house)) == 1


async def test_a_request_that_a_reload_interrupts_is_sent_again_under_its_id(house: House, browser: Browser) -> None:
    async with pages.tab(browser) as page:
        url = await ask_once(page, house)
        await page.goto("about:blank")
        await back(house, url)
        await page.goto(f"{url}/#/make")
        await page.get_by_text("All done.").wait_for()
        assert await page.evaluate("sessionStorage.getItem('comfyledger.make.sending')") is None
    assert len(await requested(house)) == 1


# ---- for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pages.NARROW, pages.WIDE])
async def test_nothing_is_in_the_way_of_anybody(door: Door, browser: Browser, width: int, scheme: str) -> None:
    async with pages.tab(browser, width, color_scheme=scheme) as page:
        await pages.sign_in(page, door.url, door.token, "make")
        await fill_who(page, "opal")
        await page.get_by_label("steps", exact=True).fill("0")
        await page.get_by_role("button", name="Several values of checkpoint").click()
        await page.get_by_role("combobox", name="Character").click()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
        await page.get_by_label("Workflow").select_option("picture")
        await page.get_by_role("button", name="From the gallery: picture").click()
        await page.get_by_role("dialog").wait_for()
        assert await pages.violations(page) == []
