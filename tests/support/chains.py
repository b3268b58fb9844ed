"""Chains that whole tests ask for: an image, a larger one made from it, a video made from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.graphs import node
from support.wire_app import App, Frame

LARGER: Frame = {
    "5": node("LoadImage", image="example.png"),
    "6": node("ImageScaleBy", image=["5", 0], upscale_method="nearest-exact", scale_by=2.0),
    "9": node("SaveImage", images=["6", 0], filename_prefix="p"),
}
FILM: Frame = {
    "5": node("LoadImage", image="example.png"),
    "6": node("CreateVideo", images=["5", 0], fps=24.0),
    "9": node("SaveVideo", video=["6", 0], filename_prefix="p", format="auto", codec="auto"),
}
LINKS = (None, LARGER, FILM)
"""The workflow of each link; None for the one of the configuration."""


async def link(app: App, place: int, **more: Any) -> Frame:
    """Ask for one link of a chain, from 1. Each is made from the image of the one before it."""
    workflow = LINKS[place - 1]
    if workflow is None:
        return await app.submit("c1", quantity=1, **more)
    source = {"image": {"request_id": f"c{place - 1}", "index": 1}}
    return await app.submit(f"c{place}", quantity=1, workflow=workflow, inputs={"5.image": source}, **more)


async def chain(app: App) -> list[Frame]:
    """Ask for all links at once; the replies."""
    return [await link(app, place) for place in range(1, len(LINKS) + 1)]


def sources_fixed(log: Sequence[Frame]) -> list[str]:
    """The digests of the sources, in the order in which they were fixed."""
    found = (event["data"]["loads"] for event in log if event["kind"] == "sources_fixed")
    return [load["sha256"] for loads in found for load in loads]
