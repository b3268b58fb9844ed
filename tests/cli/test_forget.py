"""`forget`: a plan first, nothing before a person agreed, all pages of a user."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.cli import base

BATCH = "01JD0000000000000000ABCDEF"


@pytest.fixture(autouse=True)
def forgetful(door: Any) -> None:
    """Two pages of a user, one of a batch."""

    def answer(asked: dict[str, Any]) -> wire.Forgotten:
        before = "B2" if asked.get("username") and not asked.get("before") else ""
        dry_run = asked.get("dry_run", False)
        return wire.Forgotten(1, 2, 0 if dry_run else 3, 2, {"disk": 1}, before, dry_run, 0 if dry_run else 1)

    door.answers["forget"] = answer


def asked(door: Any) -> list[tuple[bool, str]]:
    """Whether it was a dry run, and where it went on, of each request."""
    return [(one.get("dry_run", False), one.get("before", "")) for one in door.requests("forget")]


def test_nothing_is_forgotten_before_a_person_agrees(door: Any, run: Any) -> None:
    result = run("forget", BATCH)
    assert result.exit_code != base.DONE, "nobody was there to agree"
    assert asked(door) == [(True, "")]
    result = run("forget", BATCH, "--yes")
    assert asked(door)[1:] == [(True, ""), (False, "")]
    assert "Forgotten: 2 images of 1 batch;" in result.stdout
    assert "keep 1 in disk" in result.stdout
    assert "Texts erased: 3. Input files forgotten: 1." in result.stdout


def test_a_dry_run_changes_nothing(door: Any, run: Any) -> None:
    result = run("forget", BATCH, "--dry-run")
    assert (result.exit_code, asked(door)) == (base.DONE, [(True, "")])
    assert "Would be forgotten" in result.stdout
    assert "Input files that nothing else was made from go as well." in " ".join(result.stdout.split())


def test_a_user_is_forgotten_to_the_last_page(door: Any, run: Any) -> None:
    result = run("forget", "--user", "Areg", "--stores", "--json")
    assert asked(door) == [(True, ""), (True, "B2"), (False, ""), (False, "B2")]
    assert all(one["stores"] for one in door.requests("forget"))
    said = json.loads(result.stdout)
    assert said == {"batches": 2, "images": 4, "texts": 6, "deletions": 4, "left": {"disk": 2}, "inputs": 2}


def test_images_are_named_by_index_or_by_name(door: Any, run: Any) -> None:
    door.answers["get_image"] = wire.ImageInfo(f"{BATCH}/3", BATCH, 3, 17, "n_17", "f/n_17", "stored", 3)
    run("forget", BATCH, "--image", "2", "--dry-run")
    run("forget", "f/n_17", "--dry-run")
    assert [(one["batch_id"], one["images"]) for one in door.requests("forget")] == [(BATCH, [2]), (BATCH, [3])]


@pytest.mark.parametrize("words", [[], [BATCH, "--user", "Areg"], ["--user", "Areg", "--image", "1"]])
def test_what_is_meant_must_be_said_once(door: Any, run: Any, words: list[str]) -> None:
    assert run("forget", *words).exit_code == base.USAGE
    assert asked(door) == []
