"""The question before something that cannot be taken back: where the keyboard is before, within and after it."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from support import page as pages
from support.processes import House

WITHIN = "() => document.querySelector('dialog').contains(document.activeElement)"
AT_ONCE = """() => {
  document.querySelector('dialog button').click();
  document.querySelector('[aria-label="Pause everything"]').click();
}"""
OUTSIDE = "() => document.activeElement !== document.body && !document.activeElement.closest('dialog')"


async def asked(page: Page, house: House) -> tuple[Locator, Locator]:
    """The button that asks, and its question, which is there."""
    await house.begin()
    await pages.sign_in(page, house.daemon.url, house.daemon.token)
    button = page.get_by_role("button", name="Pause everything", exact=True)
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Pause everything?")
    await expect(dialog).to_be_visible()
    return button, dialog


async def test_the_keyboard_goes_into_a_question_and_stays_there(house: House, page: Page) -> None:
    _, dialog = await asked(page, house)
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    reached = set()
    for key in ["Tab"] * 5 + ["Shift+Tab"] * 5:
        await page.keyboard.press(key)
        assert not await page.evaluate(OUTSIDE), f"{key} leaves the question for the page behind it"
        if await page.evaluate(WITHIN):
            reached.add(await page.evaluate("document.activeElement.textContent"))
    assert reached == {"Cancel", "Pause everything"}


async def test_the_page_behind_a_question_cannot_be_clicked(house: House, page: Page) -> None:
    _, dialog = await asked(page, house)
    await page.get_by_text("Gallery", exact=True).click(force=True)
    await expect(dialog).to_be_visible()
    assert page.url.endswith("#/now")


async def test_the_keyboard_returns_to_the_button_however_a_question_ends(house: House, page: Page) -> None:
    button, dialog = await asked(page, house)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Pause everything").press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Resume everything", exact=True)).to_be_focused()


async def test_a_question_that_follows_at_once_is_asked_with_the_same_words_too(house: House, page: Page) -> None:
    """The browser tells the end of the first one later."""
    _, dialog = await asked(page, house)
    await page.evaluate(AT_ONCE)
    await expect(dialog).to_be_visible()
    await dialog.get_by_role("button", name="Pause everything").press("Enter")
    await expect(page.get_by_role("button", name="Resume everything", exact=True)).to_be_focused()
