"""Images in tests of the web page: made by the daemon, and their tiles in the gallery."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, Page

from support.waiting import until
from support.wire_app import App, Frame


async def made(app: App, request_id: str, quantity: int = 3, **more: Any) -> list[Frame]:
    """Images that are in their stores."""
    asked = await app.submit(request_id, quantity=quantity, **more)
    (batch,) = await app.settled(asked["batch_id"])
    return list(batch["images"])


async def becomes(app: App, image: Frame, **fields: Any) -> None:
    """Wait until an image has these values."""

    async def has_them() -> bool:
        now = await app.ask("get_image", image=image["image_id"])
        return all((now.get(name) or type(value)()) == value for name, value in fields.items())

    await until(has_them, f"the image has {fields}")


def tiles(page: Page) -> Locator:
    return page.get_by_role("gridcell")


def tile(page: Page, at: int) -> Locator:
    """The tile at a place of the list, from 0, if it is drawn."""
    return page.locator(f"#tile-{at}")


def said(tile: Locator) -> Locator:
    """What says its state, to screen readers."""
    return tile.locator(".tile-open")
