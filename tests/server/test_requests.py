"""What requests do beyond being refused: repetition, dry runs, graphs that come along, and ComfyUI's own words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comfyledger.admission import dispatch
from comfyledger.core.commands import PauseLane
from comfyledger.errors import Refused
from support.wire_app import Refusal, of_kind

EMPTY_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}


async def test_a_repeat_gets_its_first_reply_and_another_body_is_refused(door: Any) -> None:
    async with door.app("one") as app, door.app("two") as other:
        first = await app.submit("r1", seed=5)
        await app.settled(first["batch_id"])
        with door.unchanged():
            again = await app.submit("r1", seed=5)
            with pytest.raises(Refusal, match="request_id_conflict") as refused:
                await app.submit("r1", seed=6)
        assert again == {**first, "repeated": True}
        assert refused.value.data["path"] == "$.data.request_id"
        elsewhere = await other.submit("r1", seed=6)
        assert elsewhere["numbers"] == [4, 5, 6]
        await other.settled(elsewhere["batch_id"])


async def test_a_refused_request_does_not_use_its_id_up(door: Any) -> None:
    async with door.app() as app:
        with pytest.raises(Refusal, match="unknown_input"):
            await app.submit("r1", inputs={"colour": 5})
        asked = await app.submit("r1")
        assert asked["numbers"] == [1, 2, 3]
        await app.settled(asked["batch_id"])


async def test_a_dry_run_gives_no_number_and_does_not_use_the_id_up(door: Any) -> None:
    async with door.app() as app:
        with door.unchanged():
            tried = await app.submit("r1", dry_run=True)
        assert (tried["dry_run"], tried["quantity"], tried.get("numbers", [])) == (True, 3, [])
        assert "SaveImage" in tried["found"][0]
        asked = await app.submit("r1")
        assert asked["numbers"] == [1, 2, 3]
        await app.settled(asked["batch_id"])


async def test_a_dry_run_has_the_names_that_the_request_then_gets_once_the_series_is_open(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1")
        await app.settled(first["batch_id"])
        with door.unchanged():
            tried = await app.submit("r2", dry_run=True)
        asked = await app.submit("r2")
        await app.settled(asked["batch_id"])
    assert tried["numbers"] == [4, 5, 6]
    same = ("numbers", "names", "public_ids", "images", "quantity")
    assert [tried[key] for key in same] == [asked[key] for key in same]


async def test_a_graph_that_comes_along_is_rendered_and_kept_once(door: Any) -> None:
    graph = {"1": EMPTY_IMAGE, "9": SAVE}
    async with door.app() as app:
        first = await app.submit("r1", workflow=graph, inputs={})
        second = await app.submit("r2", workflow={"prompt": graph}, inputs={"1.color": 7})
        batches = await app.settled(first["batch_id"], second["batch_id"])
        requested = of_kind(await app.log(), "batch_requested")
    assert [batch["stored"] for batch in batches] == [3, 3]
    assert len({event["data"]["template"] for event in requested}) == 1
    kept = await door.context.reader.texts([requested[0]["data"]["template"]])
    assert b"EmptyImage" in kept[requested[0]["data"]["template"]]


async def test_the_words_of_comfyui_come_with_the_event(tmp_path: Path, open_door: Any) -> None:
    graph = {"1": {"class_type": "ColourOfMyOwn", "inputs": {}}, "9": SAVE}
    async with open_door(tmp_path, '[limits]\ncheck_workflows = "off"') as door, door.app() as app:
        asked = await app.submit("r1", workflow=graph, inputs={})
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    assert batch["failed"] == 3
    refused, *_ = of_kind(log, "prompt_refused")
    assert "ColourOfMyOwn" in refused["texts"][refused["data"]["words"]]
    assert "ColourOfMyOwn" not in str(refused["data"])
    assert all("ColourOfMyOwn" in image["text"] for image in batch["images"])


async def test_texts_of_the_user_come_back_with_the_batch_but_are_not_logged(door: Any) -> None:
    async with door.app() as app:
        asked = await app.submit("r1", quantity=1, tags=["a tag of mine"], metadata={"deep": [{"huge": 10**60}]})
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    assert batch["tags"] == ["a tag of mine"]
    assert batch["metadata"]["deep"] == [{"huge": 10**60}]
    assert "a tag of mine" not in str([event["data"] for event in log])
    by_name = asked["public_ids"][0]
    async with door.app() as app:
        image = await app.ask("get_image", image=by_name.upper())
        assert (image["public_id"], image["state"]) == (by_name, "stored")
        assert (await app.ask("get_image", image=image["image_id"]))["sha256"] == image["sha256"]
        listed = await app.ask("list_batches", username="AREG")
        assert [one["batch_id"] for one in listed["batches"]] == [asked["batch_id"]]


async def test_a_pause_that_a_lock_keeps_waiting_says_when_to_ask_again() -> None:
    async def command(_: object) -> None:
        raise Refused("busy", retry_after_s=1.0)

    context: Any = SimpleNamespace(engine=SimpleNamespace(command=command))
    with pytest.raises(Refused) as refused:
        await dispatch._changed(context, PauseLane("app", "everything"), "$.data.scope")
    assert (refused.value.code, refused.value.path, refused.value.retry_after_s) == ("busy", "$.data.scope", 1.0)
