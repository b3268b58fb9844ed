"""`recover`: a plan first, work only once a person agreed, page after page, and patience with a store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.errors import Refused

PARKED = wire.RecoveryStep("upload", 2, "disk", "collision", ["f/n_1", "f/n_2"])
ALTERED = wire.RecoveryStep("different", 1, "disk", "", ["f/n_3"])


class Pages:
    """Two pages of a recovery. `trouble` comes first, once."""

    def __init__(self, door: Any, *steps: wire.RecoveryStep) -> None:
        self.steps = list(steps)
        self.trouble: Refused | None = None
        door.answers["recover"] = self.answer

    def answer(self, asked: dict[str, Any]) -> wire.Recovered:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        images = sum(step.images for step in self.steps if step.kind != "different")
        cursor = "" if asked.get("cursor") else "B/1"
        return wire.Recovered(1, images, asked.get("dry_run", False), self.steps, 100, cursor)


def asked(door: Any) -> list[tuple[bool, str]]:
    """Whether it was a dry run, and the cursor, of each request."""
    return [(one.get("dry_run", False), one.get("cursor", "")) for one in door.requests("recover")]


def test_nothing_is_done_before_a_person_agrees(door: Any, run: Any) -> None:
    Pages(door, PARKED, ALTERED)
    result = run("recover")
    assert result.exit_code != base.DONE, "nobody was there to agree"
    assert asked(door) == [(True, ""), (True, "B/1")]
    assert "refused by the store: is uploaded again" in result.stdout
    assert "200 images checked, 4 to retry" in result.stdout
    result = run("recover", "--yes")
    assert asked(door)[2:] == [(False, ""), (False, "B/1")]
    assert "4 images retried" in result.stdout
    assert "not changed" in result.stdout


@pytest.mark.parametrize(
    ("words", "pages"), [(["--yes"], [False] * 2), (["--json"], [False] * 2), (["--dry-run"], [True] * 2)]
)
def test_who_is_sure_is_not_asked_and_a_dry_run_is_none(
    door: Any, run: Any, words: list[str], pages: list[bool]
) -> None:
    Pages(door, PARKED)
    assert run("recover", *words).exit_code == base.DONE
    assert [dry for dry, _ in asked(door)] == pages


def test_with_nothing_to_do_nobody_is_asked(door: Any, run: Any) -> None:
    Pages(door, ALTERED)
    assert run("recover").exit_code == base.DONE
    assert [dry for dry, _ in asked(door)] == [True, True]


def test_pages_are_one_answer_for_scripts(door: Any, run: Any) -> None:
    Pages(door, PARKED)
    said = json.loads(run("recover", "--json").stdout)
    assert (said["images"], said["looked_at"], said["batches"]) == (4, 200, 2)
    assert said["steps"] == [
        {"kind": "upload", "images": 4, "store": "disk", "code": "collision", "examples": ["f/n_1", "f/n_2"] * 2}
    ]
    assert "cursor" not in said


def test_each_choice_goes_to_the_daemon(door: Any, run: Any) -> None:
    Pages(door)
    batch = "01JD0000000000000000ABCDEF"
    words = (
        f"--batch {batch} --user Areg --store disk --code collision --since 4711 --missing --new-number --yes".split()
    )
    run("recover", *words)
    first = door.requests("recover")[0]
    assert first == {
        "batch_id": batch,
        "username": "Areg",
        "store": "disk",
        "code": "collision",
        "since_position": 4711,
        "missing": True,
        "new_number": True,
    }
    assert run("recover", "--drop-store", "old", "--store", "disk").exit_code == base.USAGE
    run("recover", "--since", "2h", "--yes")
    assert set(door.requests("recover")[2]) == {"since_ms", "limit"}
    assert run("recover", "--since", "yesterday").exit_code == base.USAGE


def test_after_a_store_asked_to_wait_the_same_page_is_asked_for(door: Any, run: Any) -> None:
    pages = Pages(door, PARKED)
    pages.trouble = Refused("store_unavailable", "disk: throttled", retry_after_s=0.01)
    result = run("recover", "--missing", "--dry-run")
    assert result.exit_code == base.DONE
    assert "disk: throttled" in result.stderr
    assert [cursor for _, cursor in asked(door)] == ["", "", "B/1"]
    pages.trouble = Refused("unknown_store", "There is no store disk.")
    assert run("recover", "--store", "disk").exit_code == base.REFUSED


def test_giving_a_store_up_says_so(door: Any, run: Any) -> None:
    door.answers["recover"] = lambda asked: wire.Recovered(2, 17, asked.get("dry_run", False))
    assert "17 images of 2 batches would be given up" in run("recover", "--drop-store", "old", "--dry-run").stdout
    assert "17 images of 2 batches given up for the store old" in run("recover", "--drop-store", "old", "--yes").stdout


def test_giving_a_comfyui_up_says_so(door: Any, run: Any) -> None:
    door.answers["recover"] = lambda asked: wire.Recovered(0, 0, asked.get("dry_run", False), inputs=3)
    words = ("recover", "--drop-comfyui", "old")
    assert "3 input files at the ComfyUI old would be given up." in run(*words, "--dry-run").stdout
    assert "3 input files at the ComfyUI old given up." in run(*words, "--yes").stdout
    assert door.requests("recover")[-1] == {"drop_comfyui": "old"}
    for more in (("--drop-store", "old"), ("--store", "disk")):
        assert run(*words, *more).exit_code == base.USAGE
