"""Now, in a real browser: ComfyUIs that are paused or left, a store that is tried again, and the disks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from comfyledger.server import tokens
from support import page as pages
from support.fleet import Fleet
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    try:
        yield made
        errors = made.daemon.errors()
    finally:
        made.end()
    assert errors == []


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


async def shown(page: Page, house: House) -> None:
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    await expect(page.get_by_role("heading", name="ComfyUIs")).to_be_visible()


async def lanes(app: App) -> list[str]:
    return [lane["lane"] for lane in (await app.ask("server_info"))["lanes"]]


async def backend(app: App, name: str) -> Frame:
    return next(one for one in (await app.ask("server_info"))["backends"] if one["name"] == name)


# ---- ComfyUIs


async def test_a_paused_comfyui_finishes_what_it_has_and_undo_gives_it_work_again(house: House, page: Page) -> None:
    await house.begin()
    house.comfyui.control(hold=["in_node"])
    await shown(page, house)
    main = card(page, "main")
    async with house.app() as app:
        asked = await app.submit("r1", quantity=1)
        await until(lambda: house.comfyui.control()["held_at"], "it runs")
        await main.get_by_role("button", name="Pause: main").click()
        await expect(page.get_by_text("main gets nothing new, and finishes what it has.")).to_be_visible()
        await expect(main).to_contain_text("It finishes what it has and gets nothing new.")
        assert await lanes(app) == ["backend/main"]
        await page.get_by_role("button", name="Undo").click()
        await expect(main.get_by_text("connected", exact=True)).to_be_visible()
        assert await lanes(app) == []
        await main.get_by_role("button", name="Pause: main").click()
        await expect(main.get_by_text("finishing", exact=True)).to_be_visible()
        house.comfyui.control(hold=[])
        await app.settled(asked["batch_id"])
        await expect(main.get_by_text("paused", exact=True)).to_be_visible()
        await main.get_by_role("button", name="Resume: main").click()
        await expect(main.get_by_text("connected", exact=True)).to_be_visible()
        assert await lanes(app) == []


async def test_prompts_move_to_another_comfyui_only_after_a_question_that_says_what_may_happen(
    fleet: Fleet, page: Page
) -> None:
    await fleet.begin_all()
    for one in fleet.every_standin:
        one.control(hold=["in_node"])
    await shown(page, fleet)
    async with fleet.app() as app:
        asked = await app.submit("r1", quantity=1)
        holding = await until(
            lambda: [name for name, one in fleet.standins.items() if one.control()["held_at"]], "one of them has it"
        )
        left, other = holding[0], next(name for name in fleet.standins if name not in holding)
        there = card(page, left)
        await expect(there.get_by_role("button", name=f"Move prompts: {left}")).to_have_count(0)
        await there.get_by_role("button", name=f"Pause: {left}").click()
        await there.get_by_role("button", name=f"Move prompts: {left}").click()
        dialog = page.get_by_role("dialog", name=f"Move the prompts of {left}?")
        await expect(dialog).to_contain_text("1 prompt that is at this ComfyUI")
        await expect(dialog).to_contain_text("One set of files is kept, whichever comes first.")
        await page.keyboard.press("Escape")
        assert (await backend(app, left))["work"]["running"] == 1, "nothing moves before somebody agrees"
        await there.get_by_role("button", name=f"Move prompts: {left}").click()
        await dialog.get_by_role("button", name="Move them").click()
        await expect(page.get_by_text(f"The prompts of {left} go to other ComfyUIs.")).to_be_visible()
        fleet.standins[other].control(hold=[])
        (batch,) = await app.settled(asked["batch_id"])
        assert batch["stored"] == 1
        assert len(fleet.standins[other].posted()) == 1
        fleet.standins[left].control(hold=[])


# ---- stores


async def test_a_store_that_does_not_work_can_be_tried_now_from_both_views(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        mark = house.images / ".comfyledger"
        mark.rename(house.folder / "mark")
        asked = await app.submit("r2", quantity=1)
        await shown(page, house)
        folder = card(page, "folder")
        await expect(folder.get_by_text("in trouble", exact=True)).to_be_visible()
        await expect(folder.get_by_role("button", name="Pause: folder")).to_be_visible()
        await folder.get_by_role("button", name="Try now: folder").click()
        await expect(page.get_by_text("folder is tried now. It goes on if it works.", exact=True)).to_be_visible()
        await page.evaluate("location.hash = '#/care'")
        stopped = card(page, "Store folder")
        await expect(stopped).to_contain_text("not_reached")
        await stopped.get_by_role("button", name="Try now: Store folder").click()
        await expect(page.get_by_text("Store folder is tried now. It goes on if it works.")).to_be_visible()
        (house.folder / "mark").rename(mark)
        await app.settled(asked["batch_id"])
        await expect(stopped).to_have_count(0)
        assert await lanes(app) == []


async def test_a_store_says_which_promise_it_breaks(house: House, page: Page) -> None:
    await house.begin("""
        [stores.bucket]
        kind = "s3"
        bucket = "images"
        endpoint = "http://127.0.0.1:9"
        unsafe_overwrite_check = "head"
    """)
    await shown(page, house)
    await expect(card(page, "bucket")).to_contain_text("Promise 8 does not hold for this store: ")
    await expect(card(page, "folder")).not_to_contain_text("Promise")
    assert await pages.violations(page) == []
    await page.set_viewport_size({"width": pages.NARROW, "height": 900})
    assert await pages.overflow_px(page) == 0


async def test_a_store_in_trouble_that_somebody_paused_offers_to_resume_it(house: House, page: Page) -> None:
    await house.begin()
    async with house.app() as app:
        await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        (house.images / ".comfyledger").rename(house.folder / "mark")
        await app.submit("r2", quantity=1)

        async def stuck() -> bool:
            return await lanes(app) == ["store/folder"]

        await until(stuck, "it is in trouble")
        await app.ask("pause", scope="store:folder")
    await shown(page, house)
    folder = card(page, "folder")
    await expect(folder.get_by_role("button", name="Resume: folder")).to_be_visible()
    await expect(folder.get_by_role("button", name="Try now")).to_have_count(0)
    await folder.get_by_role("button", name="Resume: folder").click()
    await expect(folder.get_by_role("button", name="Try now: folder")).to_be_visible()


# ---- disks


async def test_disks_say_what_is_free_what_is_on_them_and_below_what_nothing_new_is_taken(
    house: House, page: Page
) -> None:
    await house.begin("[spool]\nfree_min_bytes = 322_122_547_200")
    await shown(page, house)
    disks = page.get_by_role("region", name="Disks")
    await expect(disks.get_by_text(re.compile(r"[\d.,]+ ([KMGT]iB|bytes) free of [\d.,]+ [KMGT]iB\."))).to_be_visible()
    await expect(disks.get_by_text("Nothing new is taken below 300 GiB.")).to_be_visible()
    await expect(disks.get_by_role("img", name=re.compile(r"^Disk: .* used$"))).to_be_visible()
    disk = card(page, "Log, rendered files, input files, store folder")
    await disk.get_by_text("Its 4 folders").click()
    await expect(disk.get_by_text(str(house.state / "spool"))).to_be_visible()
    await expect(disk.get_by_text(str(house.images))).to_be_visible()


async def test_a_disk_that_is_too_full_for_new_work_is_marked_and_a_banner_says_what_that_means(
    house: House, page: Page
) -> None:
    await house.begin("[spool]\nfree_min_bytes = 1_125_899_906_842_624")
    await shown(page, house)
    await expect(page.get_by_text("New work is refused until there is room.")).to_be_visible()
    short = page.get_by_role("region", name="Disks").locator(".note")
    await expect(short).to_contain_text("Nothing new is taken below 1,024 TiB.")


async def test_who_sees_one_label_alone_sees_no_folder(house: House, page: Page) -> None:
    house.state.mkdir(mode=0o700)
    token = tokens.add(house.state / "tokens.json", "app", "submit_configured", 0.0, read_all=False)
    await house.begin()
    await pages.sign_in(page, house.daemon.url, token)
    disks = page.get_by_role("region", name="Disks")
    await expect(disks).to_contain_text("The disks have room.")
    await expect(disks.get_by_role("article")).to_have_count(0)


# ---- previews


async def test_what_runs_shows_its_picture_as_it_comes(house: House, page: Page) -> None:
    await house.begin(
        'default_workflow = "text-to-image"\n[workflows.text-to-image]\nfile = "sample:text-to-image"',
        seconds_per_image=1.0,
    )
    await shown(page, house)
    async with house.app() as app:
        await app.submit("r1", quantity=60)
        preview = page.get_by_role("img", name=re.compile(r"^Preview of image \d+$")).first
        await expect(preview).to_be_visible()
        drawn = "(image) => image.decode().then(() => image.naturalWidth, () => 0)"
        await until(lambda: preview.evaluate(drawn), "the browser can draw it")
        await app.ask("pause", scope="everything")
        await expect(page.get_by_role("img", name=re.compile("^Preview of image"))).to_have_count(0)
