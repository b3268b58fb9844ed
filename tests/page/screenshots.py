"""Pictures of every view of the web page, at 360 and 1280 pixels, light and dark: `make screenshots`.

    python tests/page/screenshots.py FOLDER

A daemon with two stand-ins makes what is shown: images of several users, a video, a batch in work, one that failed, a
paused store. The one picture that README shows is written to docs/page.webp with `--readme`.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.async_api import Browser, Page, expect

from support import page as pages
from support.chains import link
from support.media_graphs import graph_of
from support.processes import House
from support.waiting import until
from support.wire_app import App

README_PICTURE: Final = Path(__file__).parents[2] / "docs" / "page.webp"
README_SIDES: Final = (1280, 800)
WORKFLOWS: Final = """
    [workflows.text-to-image]
    file = "sample:text-to-image"
    [workflows.empty-image]
    file = "sample:empty-image"
    [characters.opal-fever]
    display_name = "Opal Fever"
    workflow = "text-to-image"
    prompt = "portrait of opal fever, {prompt}"
"""
ASKED: Final = (
    ("Areg", "Opal Fever", 8),
    ("Areg", "Jade Moon", 5),
    ("Mina", "Gray Wolf", 12),
    ("Mina", "Opal Fever", 6),
)
COLOURS: Final = (0x1C5C58, 0xB3423A, 0xC9952F, 0x2D5788, 0x6D4A7C, 0x7C9A5E, 0xD9A5B3, 0x33415C)


async def fill(house: House, app: App) -> dict[str, str]:
    """What the views show. Gives their addresses by name."""
    batches = []
    for at, (username, character, quantity) in enumerate(ASKED):
        images = [{"inputs": {"color": COLOURS[(at * 3 + one) % len(COLOURS)]}} for one in range(quantity)]
        asked = await app.submit(
            f"r{at}", username=username, character=character, images=images, workflow="empty-image"
        )
        batches.append((await app.settled(asked["batch_id"]))[0])
    first = batches[0]["images"]
    await app.ask("review", images=[one["image_id"] for one in first[:3]], verdict="approved", rating=5)
    await app.ask("review", images=[first[4]["image_id"]], verdict="rejected")
    film_of = {"workflow": graph_of("webm", COLOURS[3], prefix="film"), "inputs": {}, "quantity": 1}
    film = await app.submit("film", username="Areg", character="Opal Fever", **film_of)
    await app.settled(film["batch_id"])
    links = [await link(app, place, username="Areg", character="Jade Moon") for place in (1, 2, 3)]
    for one in links:
        await app.settled(one["batch_id"])
    house.comfyui.control(fail_next=3, fail_text="CUDA out of memory")
    broken = await app.submit("broken", username="Mina", character="Night Owl", quantity=1)
    await app.settled(broken["batch_id"])
    await app.ask("pause", scope="store:folder")
    house.comfyui.control(seconds_per_image=2.0)
    await app.submit("waits", username="Areg", character="Jade Moon", quantity=20, priority="high")
    await app.submit("too", username="Mina", character="Gray Wolf", quantity=6)
    return {
        "now": "now",
        "gallery": "gallery",
        "gallery-of-one-character": "gallery?user=Areg&character=Opal%20Fever",
        "gallery-with-a-gap": "gallery?user=Mina&character=Opal%20Fever",
        "image": f"image/{first[0]['image_id']}",
        "descent": f"image/{links[1]['batch_id']}/1",
        "video": f"image/{film['batch_id']}/1",
        "compare": f"compare/{first[0]['image_id']}..{first[1]['image_id']}",
        "story": f"story/{broken['batch_id']}/1",
        "story-of-a-batch": f"story/{batches[0]['batch_id']}",
        "make": "make",
        "care": "care",
    }


async def settle(page: Page) -> None:
    """Until all that is shown has come."""
    await page.get_by_role("heading", level=1).wait_for()
    await expect(page.get_by_role("status", name="Loading …")).to_have_count(0)
    await page.wait_for_load_state("networkidle")
    loaded = "[...document.images].every((image) => image.complete)"
    await until(lambda: page.evaluate(loaded), "the pictures are there")


async def look(browser: Browser, house: House, views: dict[str, str], width: int, scheme: Any, folder: Path) -> None:
    async with pages.tab(browser, width, color_scheme=scheme) as page:

        async def shoot(name: str) -> None:
            await settle(page)
            await page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")

        await page.goto(house.daemon.url)
        await shoot("sign-in")
        await pages.sign_in(page, house.daemon.url, house.daemon.token)
        for name, address in views.items():
            await page.evaluate(f"location.hash = {f'#/{address}'!r}")
            await page.reload()
            await shoot(name)
            if name == "gallery-of-one-character":
                await page.get_by_role("gridcell").nth(1).click(modifiers=["Control"])
                await page.get_by_role("gridcell").nth(2).click()
                await shoot("selection")
                await page.get_by_role("button", name="Clear the selection").click()
            if name == "compare":
                await page.get_by_role("button", name="Slider").click()
                await shoot("slider")


async def readme_picture(browser: Browser, house: House) -> None:
    """The gallery, small enough to live in the repository."""
    async with pages.tab(browser, README_SIDES[0]) as page:
        await page.set_viewport_size({"width": README_SIDES[0], "height": README_SIDES[1]})
        await pages.sign_in(page, house.daemon.url, house.daemon.token, "now")
        await settle(page)
        png = await page.screenshot()
    await asyncio.to_thread(Image.open(io.BytesIO(png)).convert("RGB").save, README_PICTURE, "WEBP", quality=82)


async def take(folder: Path, *, readme: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="comfyledger-screenshots-") as made:
        house = House(Path(made))
        try:
            held = house.images / "Mina/characters/opal-fever/images"
            held.mkdir(parents=True)
            (held / "Mina_opal-fever_image_4.png").write_bytes(b"from before the ledger")
            await house.begin(f'default_workflow = "text-to-image"\n{WORKFLOWS}')
            async with house.app("studio") as app, pages.browsing() as browser:
                views = await fill(house, app)
                for width in (pages.NARROW, pages.WIDE):
                    for scheme in ("light", "dark"):
                        await look(browser, house, views, width, scheme, folder)
                if readme:
                    await readme_picture(browser, house)
        finally:
            house.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", action="store_true", help="also write the picture of README anew")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(asked.folder, readme=asked.readme))
    print(f"screenshots: {len(list(asked.folder.glob('*.png')))} pictures in {asked.folder}")


if __name__ == "__main__":
    main()
