"""Laws of what is said of images that are made from others: which one is waited for, how it ended, and what helps."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.queries.reasons import Situation, owed, together
from comfyledger.queries.source_reasons import SOURCES_SHOWN
from support.core_builders import given, submit
from support.graphs import node

BATCH = given(submit("b2", 4)).batch("b2")
SOURCE = ImageRow("b1", 1, 7, "f", "Areg_opal-fever_image_7", 1, "areg")
PROMPT = PromptRow("b2", 2, (3,), 7, "main", loads=(LoadedFile("5.image", ImageAt("b1", 1)),))
PENDING = ImageRow("b2", 3, 12, "f", "n_12", 2, "areg")
FAILED = replace(PENDING, state="failed", code="input_failed", words="w")


def there(*sources: ImageRow, batch: BatchRow = BATCH, lanes: tuple[LaneRow, ...] = ()) -> Situation:
    seen = {ImageAt(one.batch_id, one.index): one for one in sources}
    return Situation(batch, {row.name: row for row in lanes}, {"w": "it failed."}, sources=seen, fit=Fit({"main": ()}))


@pytest.mark.parametrize(
    ("source", "text", "command"),
    [
        (SOURCE, "It waits for Areg_opal-fever_image_7, which is not rendered yet. `comfyledger explain b1/1`", ""),
        (
            replace(SOURCE, state="parked", code="wrong_count"),
            "It waits for Areg_opal-fever_image_7, which needs a person to choose among the files of its run.",
            "comfyledger retry b1 --take first",
        ),
        (
            replace(SOURCE, state="failed", code="oom"),
            "It waits for Areg_opal-fever_image_7, which failed (oom).",
            "comfyledger retry b1 --image 1",
        ),
        (replace(SOURCE, state="cancelled"), "It waits for Areg_opal-fever_image_7, which was cancelled.", ""),
        (replace(SOURCE, state="forgetting"), "It waits for Areg_opal-fever_image_7, which was forgotten.", ""),
    ],
)
def test_an_image_that_waits_says_for_which_and_what_that_one_lacks(source: ImageRow, text: str, command: str) -> None:
    (found,) = owed(PENDING, PROMPT, there(source))
    assert (found.what, found.code, found.command, found.images) == ("render", "source", command, [3])
    assert found.text.startswith(text)


def test_an_image_that_may_not_be_seen_is_not_named() -> None:
    (found,) = owed(PENDING, PROMPT, there())
    assert found.text == "It waits for an image that it is made from."


def test_all_that_stands_in_the_way_is_named() -> None:
    loads = (*PROMPT.loads, LoadedFile("6.image", ImageAt("b1", 2)), LoadedFile("7.image", ImageAt("b1", 3)))
    sources = (SOURCE, replace(SOURCE, index=2), replace(SOURCE, index=3, state="kept", sha256="1f"))
    situation = there(*sources, batch=replace(BATCH, held="person"), lanes=(LaneRow("everything", person=True),))
    found = owed(PENDING, replace(PROMPT, loads=loads), situation)
    assert [one.code for one in found] == ["held", "paused", "source", "source"]


def test_a_source_that_has_its_bytes_is_waited_for_no_more() -> None:
    fixed = (LoadedFile("5.image", ImageAt("b1", 1), "1f"),)
    (found,) = owed(PENDING, replace(PROMPT, loads=fixed), there(replace(SOURCE, state="failed")))
    assert found.code == "turn"


@pytest.mark.parametrize(
    ("source", "text", "command"),
    [
        (
            replace(SOURCE, state="failed", code="oom"),
            "A retry of Areg_opal-fever_image_7 tries this again, too.",
            "comfyledger retry b1 --image 1",
        ),
        (
            replace(SOURCE, state="cancelled"),
            "Areg_opal-fever_image_7 was cancelled: request it again, made from another image.",
            "",
        ),
        (replace(SOURCE, state="stored", sha256="2f"), "", "comfyledger retry b2 --image 3"),
    ],
)
def test_what_failed_because_of_an_image_says_what_to_do(source: ImageRow, text: str, command: str) -> None:
    (found,) = owed(FAILED, replace(PROMPT, state="done"), there(source))
    assert found.text == f"It could not be rendered (input_failed): it failed. {text}".rstrip()
    assert found.command == command


def entries(code: str, count: int) -> list[wire.OwedInfo]:
    return [wire.OwedInfo("render", code, f"It waits for {index}.", images=[index]) for index in range(1, count + 1)]


@pytest.mark.parametrize("code", ["source", "input_failed"])
def test_images_of_different_sources_have_entries_of_their_own_up_to_a_limit(code: str) -> None:
    found = together([*entries(code, SOURCES_SHOWN + 5), *entries(code, 1)], "b2")
    assert [one.images for one in found[:-1]] == [[index] for index in range(1, SOURCES_SHOWN + 1)]
    assert found[-1].images == list(range(SOURCES_SHOWN + 1, SOURCES_SHOWN + 6))
    assert found[-1].text.endswith("made from.") or found[-1].text.endswith("cannot be had.")


def test_images_of_one_source_have_one_entry() -> None:
    one = wire.OwedInfo("render", "source", "It waits for n_1.", images=[1])
    (found,) = together([one, replace(one, images=[2])], "b2")
    assert found.images == [1, 2]


# ---- through the door

GRAPH = {"1": node("LoadImage", image="a.png"), "9": node("SaveImage", images=["1", 0], filename_prefix="x")}


async def test_a_waiting_image_is_told_in_the_answers_and_counted(door: Any) -> None:
    async with door.app("app") as app:
        await app.ask("pause", scope="backend:main")
        first = await app.submit("r0", quantity=1)
        source = {"1.image": {"image": first["public_ids"][0]}}
        asked = await app.submit("r1", workflow=GRAPH, quantity=2, inputs=source)
        batch = await app.ask("get_batch", batch_id=asked["batch_id"])
        image = await app.ask("get_image", image=asked["public_ids"][0])
        told = await app.ask("explain", what=asked["public_ids"][0])
        info = await app.ask("server_info")
    of = [f"{first['batch_id']}/1"]
    assert (batch["waiting"], [one["waits_for"] for one in batch["images"]]) == (2, [of, of])
    assert image["waits_for"] == told["image"]["waits_for"] == of
    assert [one["code"] for one in told["owed"]] == ["paused", "source"]
    assert told["owed"][1]["text"].startswith(f"It waits for {first['names'][0]}, which is not rendered yet.")
    assert info["open"]["waiting"] == 2
