"""Addresses of smaller pictures, from the stores that have an image and serve them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from comfyledger.core.rows import ImageRow, Upload
from comfyledger.plugins import OpenedStore
from comfyledger.workers.stores.scaled import scaled_url


def store(name: str, scales: Any = None) -> OpenedStore:
    made = SimpleNamespace() if scales is None else SimpleNamespace(thumbnail_url=scales)
    return OpenedStore(name, name, name, store=made)  # type: ignore[arg-type]


def scaling(url: str, extension: str, side_max: int) -> str:
    return f"https://res.example/{url}.{extension}/{side_max}"


STORES = {
    "folder": store("folder"),
    "empty": store("empty", lambda *_: ""),
    "pics": store("pics", scaling),
    "more": store("more", lambda *_: "https://more.example/1"),
    "waiting": OpenedStore("waiting", "w"),
}


def image(*uploads: tuple[str, str]) -> ImageRow:
    held = tuple(Upload(name, state, url="u1") for name, state in uploads)  # type: ignore[arg-type]
    return ImageRow("b", 1, 1, "f", "n", 1, "areg", uploads=held, extension="png")


def test_the_first_store_that_has_the_image_and_scales_is_asked() -> None:
    stored = [(name, "stored") for name in ("gone", "waiting", "folder", "empty", "pics", "more")]
    assert scaled_url(STORES, image(*stored), 256) == "https://res.example/u1.png/256"
    assert scaled_url(STORES, image(*stored[:4]), 256) == ""


@pytest.mark.parametrize("state", ["owed", "uploading", "parked", "dropped", "deleting", "deleted", "foreign"])
def test_a_store_that_does_not_have_the_image_is_not_asked(state: str) -> None:
    assert scaled_url(STORES, image(("pics", state)), 256) == ""
    assert scaled_url(STORES, image(("pics", state), ("more", "stored")), 256) == "https://more.example/1"
