"""What the tests of the web page need: a house with a real daemon and a stand-in, and a browser.

`make test-page` runs them; `make test` does not, because a browser takes long.

All tests of this folder run in one event loop, because they share one browser, and Playwright's objects belong to the
loop in which they were made. So an asynchronous fixture here needs `loop_scope="session"` too. Each test has tabs with
storage of their own, a daemon of its own and a folder of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from support import page as pages
from support.processes import House

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser the tests are skipped, with a word."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if pages.CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="there is no chromium"))


@pytest_asyncio.fixture(loop_scope="session")
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Not begun yet. Its daemon must have logged no error when the test is over."""
    made = House(tmp_path)
    try:
        yield made
        errors = [one for one in made.daemon.errors() if one["event"] not in made.expected_errors]
    finally:
        made.end()
    assert errors == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers() -> AsyncIterator[pages.Browsers]:
    made = pages.Browsers()
    yield made
    await made.end()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(browsers: pages.Browsers) -> AsyncIterator[Browser]:
    """The browser of all tests."""
    yield await browsers.one()
    await browsers.tidy()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of 1280 pixels. Nobody is signed in."""
    async with pages.tab(browser) as made:
        yield made
