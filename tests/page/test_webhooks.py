"""Look after, in a real browser: webhooks, how their deliveries are, and the buttons that steer them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from support import page as pages
from support.processes import House
from support.receiver import SECRET, Receiver, receiving
from support.waiting import until


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def begin(house: House, receiver: Receiver) -> None:
    (house.folder / "shop.secret").write_text(SECRET)
    await house.begin(f"""
        [webhooks.shop]
        url = "{receiver.url}"
        http = true
        secret = "file:shop.secret"
        kinds = ["image_kept", "batch_settled"]
    """)


async def settle(house: House, request_id: str = "r1") -> None:
    async with house.app() as app:
        await app.settled((await app.submit(request_id, quantity=1))["batch_id"])


async def shown(page: Page, house: House) -> Locator:
    """The card of the webhook."""
    await pages.sign_in(page, house.daemon.url, house.daemon.token, "care")
    card = page.get_by_role("article", name="shop", exact=True)
    await expect(card).to_be_visible()
    return card


async def test_a_webhook_that_delivers_says_so_and_where_to(house: House, page: Page, receiver: Receiver) -> None:
    await begin(house, receiver)
    await settle(house)
    await until(lambda: sorted(set(receiver.kinds)) == ["batch_settled", "image_kept"], "both are delivered")
    card = await shown(page, house)
    await expect(card.get_by_text("delivers", exact=True)).to_be_visible()
    await expect(card).to_contain_text(receiver.url)
    await expect(card).to_contain_text("Everything is delivered.")
    await expect(card.get_by_role("time")).to_have_count(1)


async def test_a_test_request_is_sent_and_what_became_of_it_is_said(
    house: House, page: Page, receiver: Receiver
) -> None:
    await begin(house, receiver)
    card = await shown(page, house)
    await card.get_by_role("button", name="Test: shop").click()
    await expect(page.get_by_text("shop took the test request in")).to_be_visible()
    receiver.fails(418)
    await card.get_by_role("button", name="Test: shop").click()
    await expect(page.get_by_text("shop did not take the test request.")).to_be_visible()
    assert len(receiver.received) == 2


async def test_a_webhook_that_fails_says_why_and_goes_on_by_itself(
    house: House, page: Page, receiver: Receiver
) -> None:
    await begin(house, receiver)
    receiver.fails(503)
    card = await shown(page, house)
    await settle(house)
    await expect(card.get_by_text("fails", exact=True)).to_be_visible()
    await expect(card).to_contain_text("503")
    await expect(card).to_contain_text("Next try")
    receiver.works()
    await expect(card.get_by_text("delivers", exact=True)).to_be_visible(timeout=60_000)
    await until(lambda: "batch_settled" in receiver.kinds, "what waited is delivered")


async def test_deliveries_are_paused_and_the_pause_can_be_undone(house: House, page: Page, receiver: Receiver) -> None:
    await begin(house, receiver)
    card = await shown(page, house)
    await card.get_by_role("button", name="Pause: shop").click()
    await expect(card.get_by_text("paused", exact=True)).to_be_visible()
    await settle(house)
    await expect(card).to_contain_text("events wait")
    assert receiver.received == []
    await page.get_by_role("button", name="Undo").click()
    await until(lambda: "batch_settled" in receiver.kinds, "what waited is delivered")
    await expect(card.get_by_text("delivers", exact=True)).to_be_visible()


async def test_what_was_delivered_is_delivered_again_only_after_a_question(
    house: House, page: Page, receiver: Receiver
) -> None:
    await begin(house, receiver)
    await settle(house)
    await until(lambda: "batch_settled" in receiver.kinds, "it is delivered")
    before = [one.id for one in receiver.taken]
    card = await shown(page, house)
    await card.get_by_role("button", name="Deliver again: shop").click()
    dialog = page.get_by_role("dialog", name="Deliver the last day to shop again?")
    await expect(dialog).to_contain_text("The endpoint sees the same ids")
    await dialog.get_by_role("button", name="Cancel").click()
    assert [one.id for one in receiver.taken] == before
    await card.get_by_role("button", name="Deliver again: shop").click()
    await dialog.get_by_role("button", name="Deliver again").click()
    await expect(page.get_by_text("2 events are delivered again.")).to_be_visible()
    await until(lambda: sorted(one.id for one in receiver.taken) == sorted(before * 2), "under the same ids")


@pytest.mark.parametrize("width", [pages.WIDE, pages.NARROW])
async def test_webhooks_are_readable_for_everybody(
    house: House, browser: Browser, receiver: Receiver, width: int
) -> None:
    await begin(house, receiver)
    receiver.fails(503)
    await settle(house)
    async with pages.tab(browser, width) as page:
        card = await shown(page, house)
        await expect(card.get_by_text("fails", exact=True)).to_be_visible()
        assert await pages.violations(page) == []
        assert await pages.overflow_px(page) == 0
