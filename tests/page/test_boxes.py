"""The boxes of a fleet on the page: who takes part, and giving up one that has left."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page, expect

from comfyledger.core.commands import JoinBox, LeaveBox
from support import page as pages
from support.boxes import two_boxes
from support.ledger_kinds import NEEDS_POSTGRES

pytestmark = NEEDS_POSTGRES


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
