"""What the tests of the web page need: a house with a real daemon and a stand-in, and a browser.

`make test-page` runs them; `make test` does not, because a browser takes long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from support import page as pages
from support.processes import House


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser the tests are skipped, with a word."""
    if pages.CHROMIUM is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="there is no chromium"))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Not begun yet. Its daemon must have logged no error when the test is over."""
    made = House(tmp_path)
    try:
        yield made
        errors = [one for one in made.daemon.errors() if one["event"] not in made.expected_errors]
    finally:
        made.end()
    assert errors == []


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with pages.browsing() as made:
        yield made


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of 1280 pixels. Nobody is signed in."""
    async with pages.tab(browser) as made:
        yield made
