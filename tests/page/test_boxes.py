"""The boxes of a fleet on the page: who takes part, and giving up one that has left."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page, expect

from comfyledger.client import Client
from comfyledger.core.commands import JoinBox, LeaveBox
from support import page as pages
from support.boxes import two_boxes
from support.ledger_kinds import NEEDS_POSTGRES
from support.waiting import until

pytestmark = NEEDS_POSTGRES
NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


async def test_a_box_that_left_is_given_up_after_a_question(tmp_path: Path, page: Page) -> None:
    async with two_boxes(tmp_path) as (north, _):
        command = north.context.engine.command
        await command(LeaveBox("test", "west", (await command(JoinBox("test", "west"))).term, "lease"))
        await pages.sign_in(page, north.url, north.token)
        boxes = page.get_by_role("region", name="Boxes")
        await expect(boxes.get_by_text("takes part", exact=True)).to_have_count(2)
        await expect(page.get_by_role("article", name="south.main", exact=True)).to_be_visible()
        await boxes.get_by_role("button", name="Give up: west").click()
        await page.get_by_role("dialog").get_by_role("button", name="Give up").click()
        await expect(boxes.get_by_text("given up", exact=True)).to_be_visible()
        await expect(boxes.get_by_role("button")).to_have_count(0)
        assert await pages.violations(page) == []


async def test_a_comfyui_in_trouble_is_tried_from_the_page_of_its_own_box(tmp_path: Path, page: Page) -> None:
    async with two_boxes(tmp_path) as (north, south):
        await south.sim.stop()
        async with Client(south.url, south.token) as client:
            await client.submit(**NAMES, quantity=1, backend="south.main", request_id="r")
            await until(lambda: north.context.view.in_trouble("backend/south.main"), "north knows of the trouble")
        for door, buttons in ((south, 1), (north, 0)):
            await page.context.clear_cookies()
            await page.goto("about:blank")
            await pages.sign_in(page, door.url, door.token)
            card = page.get_by_role("article", name="south.main", exact=True)
            await expect(card.get_by_text("away", exact=True)).to_be_visible()
            await expect(card.get_by_role("button", name="Try now")).to_have_count(buttons)
