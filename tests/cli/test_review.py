"""`review`: what is typed, what is asked of the daemon, and nothing is forgotten before a person agreed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.cli import base

BATCH = "01JD0000000000000000ABCDEF"
OTHER = "01JD0000000000000000ZZZZZZ"


def image(batch_id: str, index: int) -> wire.ImageInfo:
    return wire.ImageInfo(f"{batch_id}/{index}", batch_id, index, index, f"n_{index}", f"f/n_{index}", "stored", 1)


@pytest.fixture(autouse=True)
def reviewing(door: Any) -> None:
    """Two images are changed by each review, whatever it names."""

    def answer(asked: dict[str, Any]) -> wire.Reviewed:
        named = [image(BATCH, 1), image(BATCH, 2), image(OTHER, 1)][: len(asked["images"])]
        forgotten = wire.Forgotten(1, 2, 3, 2) if asked.get("forget") else None
        return wire.Reviewed(min(2, len(named)), named, forgotten)

    def planned(asked: dict[str, Any]) -> wire.Forgotten:
        assert asked["dry_run"]
        return wire.Forgotten(1, len(asked["images"]), deletions=len(asked["images"]), dry_run=True)

    door.answers["review"] = answer
    door.answers["forget"] = planned
    door.answers["get_image"] = lambda asked: image(*_place(asked["image"]))
    batches = [_batch(BATCH), _batch(OTHER)]
    door.answers["list_batches"] = lambda asked: wire.Batches(batches[: asked.get("limit", 50)], more=False)


def _place(name: str) -> tuple[str, int]:
    batch_id, _, index = name.rpartition("/")
    return batch_id, int(index)


def _batch(batch_id: str) -> wire.BatchInfo:
    return wire.BatchInfo(batch_id, "settled", "", "u", "c", False, "w", "normal", "l", "r", 0, 1, 3, 0, 0, 3, 0, 0, 0)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--approve"], {"verdict": "approved"}),
        (["--reject", "--rating", "1"], {"verdict": "rejected", "rating": 1}),
        (["--rating", "0"], {"rating": 0}),
        (["--clear"], {"verdict": "none", "rating": 0}),
    ],
)
def test_an_option_is_what_the_daemon_is_asked_for(door: Any, run: Any, words: list[str], asked: Any) -> None:
    result = run("review", f"{BATCH}/1", "Some/Name_1", *words)
    assert (result.exit_code, door.requests("review")) == (
        base.DONE,
        [{"images": [f"{BATCH}/1", "Some/Name_1"], **asked}],
    )
    assert result.stdout == "2 images reviewed.\n"


def test_a_part_of_a_batch_id_is_enough(door: Any, run: Any) -> None:
    run("review", "last/1", "zzzzzz/2", "Areg/3", "Josephine/4", "--approve")
    (asked,) = door.requests("review")
    assert asked["images"] == [f"{BATCH}/1", f"{OTHER}/2", "Areg/3", "Josephine/4"]


def test_nothing_is_forgotten_before_a_person_agrees(door: Any, run: Any) -> None:
    words = ["review", f"{BATCH}/1", f"{BATCH}/2", f"{OTHER}/1", "--reject", "--forget", "--stores"]
    result = run(*words)
    assert result.exit_code != base.DONE, "nobody was there to agree"
    assert "3 images of 2 batches; stores are asked to delete 3 files." in " ".join(result.stderr.split())
    assert door.requests("review") == []
    assert [(one["batch_id"], one["images"]) for one in door.requests("forget")] == [(BATCH, [1, 2]), (OTHER, [1])]
    result = run(*words, "--yes")
    (asked,) = door.requests("review")
    assert (asked["verdict"], asked["forget"], asked["stores"]) == ("rejected", True, True)
    assert "Reviewed so already: 1." in result.stdout
    assert "Forgotten: 2 images of 1 batch;" in result.stdout


def test_a_program_gets_the_images(run: Any) -> None:
    said = json.loads(run("review", f"{BATCH}/1", "--reject", "--forget", "--json").stdout)
    assert (said["changed"], said["images"][0]["image_id"], said["forgotten"]["images"]) == (1, f"{BATCH}/1", 2)


@pytest.mark.parametrize(
    "words",
    [
        ["--approve"],
        ["x/1"],
        ["x/1", "--clear", "--rating", "2"],
        ["x/1", "--clear", "--approve"],
        ["x/1", "--rating", "6"],
        ["x/1", "--approve", "--forget"],
        ["x/1", "--rating", "1", "--forget"],
        ["x/1", "--reject", "--stores"],
    ],
)
def test_what_cannot_be_meant_is_refused(door: Any, run: Any, words: list[str]) -> None:
    assert run("review", *words).exit_code == base.USAGE
    assert door.requests("review") == []
