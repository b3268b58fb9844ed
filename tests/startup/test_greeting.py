"""The first lines of a start are for a person: where the door is, what is seen, what to type next."""

from __future__ import annotations

import pytest

from comfyledger.plugins import OpenedStore
from comfyledger.server.listen import Entrances
from comfyledger.startup.greeting import ComfyUISeen, greeting

STATE = "/home/areg/a-long-name-of-a-folder/that-lies-deep/below/the/home/of/somebody/comfyledger"
DOOR = Entrances("http://127.0.0.1:9831", f"{STATE}/door.sock")
AWAY = ComfyUISeen("main", "http://127.0.0.1:8188", trouble="It cannot be reached: Connection refused.")
BROKEN = OpenedStore("cloud", "cloudinary", problem="cloud_name is missing")


def said(*comfyui: ComfyUISeen, width: int = 80, unfit: dict[str, str] | None = None) -> list[str]:
    return greeting("0.1.0", DOOR, comfyui, {"cloud": BROKEN}, unfit or {}, f"comfyledger --state-dir {STATE}", width)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_word_and_no_path_is_broken_at_any_width(width: int) -> None:
    lines = said(AWAY, width=width)
    words = " ".join(said(AWAY, width=100_000)).split()
    assert " ".join(lines).split() == words
    assert all(len(line) <= width or STATE in line for line in lines)


def test_a_comfyui_that_is_away_is_said_with_what_to_do() -> None:
    text = " ".join(" ".join(said(AWAY)).split())
    assert "main at http://127.0.0.1:8188. It cannot be reached: Connection refused. Start it" in text
    assert "[comfyui.main] url" in text


def test_door_socket_store_and_what_to_type_next_are_said() -> None:
    text = " ".join(" ".join(said(ComfyUISeen("main", "http://127.0.0.1:8188", "0.29.0"))).split())
    for part in (DOOR.url, DOOR.socket, "version 0.29.0", "cloud_name is missing", f"--state-dir {STATE} submit"):
        assert part in text
    assert "Start it" not in text


def test_a_store_that_breaks_a_promise_is_said_with_it() -> None:
    class Hasty:
        caveat = "Promise 8 does not hold."

    store = OpenedStore("bucket", "s3", "s3:b", store=Hasty())  # type: ignore[arg-type]
    lines = greeting("0.1.0", DOOR, (), {"bucket": store}, {}, "comfyledger", 80)
    assert "  store     bucket: s3:b. Promise 8 does not hold." in lines


def test_a_workflow_that_does_not_fit_is_said_with_the_reason() -> None:
    text = " ".join(" ".join(said(AWAY, unfit={"portrait": "1 mistake. Node 4: no such model."})).split())
    assert "workflow portrait does not fit ComfyUI. 1 mistake. Node 4: no such model." in text
    assert "workflow" not in " ".join(said(AWAY))
