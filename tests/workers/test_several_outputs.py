"""Laws of the workers where a run has several outputs: what is sent, taken and looked for, and what a choice costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.comfyui.answers import HistoryEntry, NodeErrors
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.outstanding import Ending
from comfyledger.core.scheduling.effects import FollowPrompt, SubmitPrompt
from comfyledger.core.values import prompt_uuid, waiting_index, waiting_indexes
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.spool.spool import Spool
from support.core_builders import cancel, retry, submit, taking
from support.output_house import FAILED, IMAGES, NODES, VIDEOS, House, Made, plan_of


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


async def test_a_prompt_asks_for_all_outputs_each_under_a_prefix_of_its_own(made: Made) -> None:
    house = made(shots=2)
    await house.submit()
    ((graph, outputs),) = house.posted
    assert outputs == ["9", "10"]
    prefix = "comfyledger/b1/1-a1"
    assert [graph[node]["inputs"]["filename_prefix"] for node in NODES] == [prefix, f"{prefix}-o2"]
    assert graph["1"]["inputs"]["batch_size"] == 2, "it counts shots"
    assert house.ledger.prompt().state == "accepted"


async def test_the_next_attempt_asks_for_the_outputs_that_still_wait(made: Made) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), (), error=FAILED)
    await house.fetch()
    assert house.ledger.states() == ["kept", "pending"]
    await house.submit()
    assert [outputs for _, outputs in house.posted] == [["9", "10"], ["10"]]
    await house.writes((), ("1.mp4",))
    await house.fetch()
    assert house.kept() == [(1, "png"), (2, "mp4")]
    assert [house.ledger.image(index).attempt for index in (1, 2)] == [1, 2]


async def test_an_output_that_comfyui_will_not_run_is_reported_with_its_words(made: Made) -> None:
    house = made()
    house.node_errors = (NodeErrors("7", "LoraLoader", ("10",), ("no such lora",)),)
    await house.submit()
    assert house.ledger.states() == ["pending", "failed"]
    assert "no such lora" in house.text(2)
    assert house.cancelled == []
    house = made(shots=2)
    house.node_errors = (NodeErrors("7", "LoraLoader", ("9", "10"), ("no such lora",)),)
    await house.submit()
    assert house.ledger.states() == ["failed"] * 4
    assert house.cancelled == [prompt_uuid("b1", 1, 1)]


@pytest.mark.parametrize("heard", [True, False])
async def test_files_that_were_not_heard_of_are_in_the_history(made: Made, heard: bool) -> None:
    """What was looked up already is not looked up again."""
    house = made()
    await house.submit()
    picture, video = (ViewFile(name, "x", "output") for name in ("1.png", "1.mp4"))
    house.entry = HistoryEntry("p", "success", True, "success", {"9": (picture,), "10": (video,)})
    some = HistoryEntry("p", "success", True, "success", {"9": (picture,)})
    await house.ends(Ending(some, heard=heard))
    assert [file.filename for file in house.ledger.prompt().files] == ["1.png", "1.mp4"][: 1 + heard]


async def test_files_of_outputs_that_were_not_asked_for_are_left(made: Made) -> None:
    house = made()
    house.ledger.given(cancel(1))
    await house.submit()
    await house.writes(("1.png",), ("1.mp4",))
    assert [file.filename for file in house.ledger.prompt().files] == ["1.mp4"]
    await house.fetch()
    assert house.kept() == [(2, "mp4")]


async def test_a_missing_file_is_reported_with_the_numbers_of_its_output(made: Made) -> None:
    house = made(shots=2)
    await house.submit()
    await house.writes(("1.png", "2.png"), ("1.mp4",))
    assert house.ledger.states() == ["pending", "pending", "pending", "failed"]
    assert "made 1 file of output 2 (node 10) where 2 were expected" in house.text(4)
    assert "images_per_prompt" not in house.text(4), "that would change the other output too"
    await house.fetch()
    assert house.ledger.states() == ["kept", "kept", "kept", "failed"]


# ---- too many files


@pytest.mark.parametrize(("take", "name"), [("first", "1.mp4"), ("last", "3.mp4")])
async def test_only_the_files_of_the_output_that_gave_too_many_wait(made: Made, take: Any, name: str) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), ("1.mp4", "2.mp4", "3.mp4"))
    await house.fetch()
    assert house.ledger.states() == ["kept", "parked"]
    assert house.kept() == [(1, "png"), *((waiting_index(1, place), "mp4") for place in (2, 3, 4))]
    assert "made 3 files of output 2 (node 10) where 1 was expected" in house.text(2)
    house.ledger.given(taking(take))
    house.asked.clear()
    assert [file.filename for file in house.ledger.prompt().files] == [name]
    await house.fetch()
    assert house.asked == [], "it lies in the spool"
    assert house.kept() == [(1, "png"), (2, "mp4")]


async def test_all_files_of_an_output_are_taken_from_the_spool(made: Made) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), ("1.mp4", "2.mp4"))
    await house.fetch()
    house.on_disk.clear()
    house.ledger.given(taking("all", outputs=2))
    await house.fetch()
    assert house.kept() == [(1, "png"), (2, "mp4"), (3, "mp4")]
    assert house.ledger.states() == ["kept"] * 3


async def test_a_chosen_file_that_the_spool_lost_is_not_taken_from_another_server(made: Made) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), ("1.mp4", "2.mp4"))
    await house.fetch()
    house.ledger.given(taking("first"))
    house.spool.remove_among("b1", set(waiting_indexes(1)))
    house.server = "127.0.0.1:9999"
    house.asked.clear()
    await house.fetch()
    assert house.asked == [], "it may have another file of that name"
    assert (house.ledger.prompt().code, house.ledger.prompt().state) == ("file_missing", "queued")


async def test_files_wait_although_a_file_of_another_output_is_gone(made: Made) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), ("1.mp4", "2.mp4"))
    house.on_disk.discard("1.png")
    await house.fetch()
    assert [house.ledger.image(index).code for index in (1, 2)] == ["file_missing", "wrong_count"]
    assert [index for index, _ in house.kept()] == [waiting_index(1, 2), waiting_index(1, 3)]
    house.ledger.given(taking("first"))
    await house.fetch()
    house.ledger.given(retry(1))
    await house.submit()
    assert house.posted[-1][1] == ["9"]


async def test_an_output_waits_with_all_of_its_files_or_with_none(made: Made) -> None:
    house = made()
    await house.submit()
    await house.writes(("1.png",), ("1.mp4", "2.mp4"))
    house.on_disk.discard("2.mp4")
    await house.fetch()
    assert house.ledger.states() == ["kept", "pending"]
    assert house.kept() == [(1, "png")]
    assert house.ledger.prompt().state == "queued"


async def test_no_run_has_more_files_than_the_spool_has_indexes_for(made: Made) -> None:
    house = made()
    await house.submit()
    many = [tuple(f"{place}.{kind}" for place in range(7_000)) for kind in ("png", "mp4")]
    await house.writes(*many)
    assert len(house.ledger.prompt().files) == len(waiting_indexes(1))


# ---- after a restart


GONE = Ending(None, restarted=True)


def names(number: int, *places: int) -> set[str]:
    """The final names of files of the first attempt."""
    return {f"1-a1_{place:05}_.png" if number == 1 else f"1-a1-o2_{place:05}-audio.mp4" for place in places}


@pytest.mark.parametrize(
    ("on_disk", "is_taken"),
    [
        (names(1, 1, 2) | names(2, 1, 2), True),
        (names(1, 1, 2) | names(2, 1, 2, 3), True),
        (names(1, 1, 2) | names(2, 1), False),
        (names(1, 1, 2), False),
        (names(1, 1, 2) | {"1-a1-o2_00001.mp4", "1-a1-o2_00002.mp4"}, False),
    ],
    ids=["complete", "more", "one is missing", "one output", "silent files"],
)
async def test_a_set_is_taken_if_every_output_is_complete(made: Made, on_disk: set[str], is_taken: bool) -> None:
    house = made(shots=2)
    await house.submit()
    house.on_disk = on_disk
    await house.ends(GONE)
    prompt = house.ledger.prompt()
    assert prompt.state == ("finished" if is_taken else "queued")
    assert {file.filename: file.output for file in prompt.files} == (
        {name: 2 if "-o2" in name else 1 for name in on_disk} if is_taken else {}
    )


async def test_an_output_that_nobody_waits_for_need_not_be_complete(made: Made) -> None:
    house = made()
    await house.submit()
    house.ledger.given(cancel(2))
    house.on_disk = names(1, 1) | names(2, 1)
    await house.ends(GONE)
    assert [file.filename for file in house.ledger.prompt().files] == sorted(names(1, 1))


TEXTS = "{prefix}_{place:05}_.txt"


@pytest.mark.parametrize("second", ["", TEXTS], ids=["name unknown", "bytes unknown"])
async def test_what_cannot_be_foretold_or_proved_is_rendered_again(made: Made, second: str) -> None:
    house = made(files=(IMAGES, second))
    await house.submit()
    house.on_disk = names(1, 1) | {"1-a1-o2_00001_.txt"}
    await house.ends(GONE)
    assert house.ledger.prompt().state == "queued"


@pytest.mark.parametrize(
    ("files", "on_disk", "is_sent"),
    [
        ((IMAGES, VIDEOS), set[str](), True),
        ((IMAGES, VIDEOS), names(1, 1), False),
        ((IMAGES, VIDEOS), names(2, 1), False),
        ((IMAGES, ""), set[str](), False),
        ((IMAGES, TEXTS), set[str](), True),
        ((IMAGES, TEXTS), {"1-a1-o2_00001_.txt"}, False),
    ],
)
async def test_a_run_that_may_have_begun_is_not_sent_again(
    made: Made, files: tuple[str, ...], on_disk: set[str], is_sent: bool
) -> None:
    """A second run would go on with the counter of the first."""
    house = made(files=files)
    await house.submit()
    house.ledger.rows["prompt", "b1", 1] = replace(house.ledger.prompt(), state="submitting")
    house.on_disk = on_disk
    await house.submit(resumed=True)
    assert len(house.posted) == (2 if is_sent else 1)
    assert house.ledger.prompt().state == ("accepted" if is_sent else "queued")


# ---- secrets


@pytest.mark.parametrize(
    ("name", "strip", "secrets", "is_kept"),
    [
        ("1.txt", True, ("1.api_key",), True),
        ("1.md", True, ("1.api_key",), False),
        ("1.dat", True, ("1.api_key",), False),
        ("1.dat", True, (), True),
        ("1.md", False, ("1.api_key",), True),
    ],
    ids=["a text without it", "a text with it", "no text", "no secrets", "nothing is stripped"],
)
async def test_a_file_that_may_hold_a_secret_is_not_kept(
    made: Made, name: str, strip: bool, secrets: tuple[str, ...], is_kept: bool
) -> None:
    house = made(strip=strip)
    await house.submit()
    await house.writes(("1.png",), (name,))
    house.ledger.rows["batch", "b1", ""] = replace(
        house.ledger.batch(), plan=house.ledger.batch().plan | {"secrets": list(secrets)}
    )
    await house.fetch()
    assert house.kept() == [(1, "png"), *([(2, name[2:])] if is_kept else [])]
    if is_kept:
        return
    assert house.ledger.image(2).code == "broken"
    assert house.text(2).startswith("unstrippable: A secret of the workflow text-to-image may be in the .")
    assert house.ledger.prompt().state == "done", "another run would give it again"


async def test_a_file_that_two_runs_wrote_fails_the_second_and_is_named(tmp_path: Path) -> None:
    """A node that does not begin its names with our prefix replaces one run's file by the next one's."""
    command = replace(submit(quantity=3), plan=plan_of((IMAGES,)))
    house = House(Spool(tmp_path / "spool"), command, Bounds(10**6, 10**6, True))
    for prompt, name in ((1, "same.png"), (2, "same.png"), (3, "other.png")):
        await house.renderer.submit(SubmitPrompt("b1", prompt, 1, "main", resumed=False))
        outputs = {"9": (ViewFile(name, "", "output"),)}
        house.ending = Ending(HistoryEntry("p", "success", True, "success", outputs, None))
        row = house.ledger.prompt(prompt)
        for _ in range(2):
            await house.renderer.follow(FollowPrompt("b1", prompt, 1, "main", row.prompt_id, row.images))
    assert house.ledger.states() == ["pending", "failed", "pending"]
    assert house.ledger.image(2).code == "file_missing"
    assert "same.png" in house.text(2)
