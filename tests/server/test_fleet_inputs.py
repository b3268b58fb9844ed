"""Two boxes on one log: an input is at the box that took it, others copy it, and forgetting reaches all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.core.commands import LeaveBox
from comfyledger.startup.ids import wall_ms
from support.boxes import Boxes, know_each_other, quick_beats, two_boxes
from support.ledger_kinds import NEEDS_POSTGRES, slow_machine
from support.loaded_pictures import INPUT, RED, SHA256, loading
from support.waiting import until

pytestmark = NEEDS_POSTGRES
NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    async with two_boxes(tmp_path) as doors:
        yield doors


async def asked(client: Client, request_id: str, image: dict[str, Any], **more: Any) -> wire.BatchAccepted:
    """A batch that loads a file."""
    inputs = {"5.image": image}
    return await client.submit(**NAMES, workflow=loading(), inputs=inputs, quantity=1, request_id=request_id, **more)


def has(door: Any, sha256: str = SHA256) -> bool:
    return bool(door.context.inputs.has(sha256))


async def states(client: Client, batch: wire.BatchAccepted) -> list[str]:
    return [image.state for image in (await client.wait(batch.batch_id)).images]


async def test_a_box_copies_what_its_comfyui_needs_from_the_box_that_took_it(two: Any) -> None:
    north, south = two
    async with Client(north.url, north.token) as client:
        await client.add_input(RED, name="red.png")
        assert (has(north), has(south)) == (True, False)
        assert await states(client, await asked(client, "r1", INPUT, backend="south.main")) == ["stored"]
    file = south.context.inputs.open(SHA256, "png")
    with file:
        assert file.read() == RED
    assert [event.kind for event in north.context.view.lines_after(0, 200)].count("input_added") == 1


async def test_a_box_that_starts_does_not_report_what_others_keep_as_missing(tmp_path: Path) -> None:
    boxes = Boxes(tmp_path)
    with slow_machine(), quick_beats():
        async with boxes.opened("north") as north, Client(north.url, north.token) as client:
            await client.add_input(RED, name="red.png")
            async with boxes.opened("south") as south:
                await until(lambda: know_each_other(north, south), "the boxes know each other")
                assert [one.input for one in (await client.list_inputs()).inputs] == [f"sha256:{SHA256}"]
                assert await states(client, await asked(client, "r1", INPUT, backend="south.main")) == ["stored"]


async def test_an_input_that_another_box_has_just_taken_is_known_to_a_request(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two
    engine = south.context.engine
    look, catch_up = engine.caught_up, engine.catch_up

    async def caught_up() -> bool:
        monkeypatch.setattr(engine, "catch_up", catch_up)
        return bool(await look())

    monkeypatch.setattr(engine, "catch_up", lambda: None)
    monkeypatch.setattr(engine, "caught_up", caught_up)
    async with Client(north.url, north.token) as client:
        await client.add_input(RED, name="red.png")
    assert south.context.view.position < north.context.view.position
    async with Client(south.url, south.token) as client:
        assert await states(client, await asked(client, "r1", INPUT)) == ["stored"]


async def test_what_is_forgotten_goes_from_the_folder_of_each_box(two: Any) -> None:
    north, south = two
    async with Client(north.url, north.token) as client:
        await client.add_input(RED, name="red.png")
        await states(client, await asked(client, "r1", INPUT, backend="south.main"))
        assert (has(north), has(south)) == (True, True)
        await client.forget_input(f"sha256:{SHA256}")
        for door in two:
            path = door.context.inputs.path_of(SHA256, "png")
            await until(lambda path=path, door=door: not path.exists() and not has(door), "it has gone")


async def test_an_image_that_another_box_keeps_is_loaded_by_a_prompt(two: Any) -> None:
    north, south = two
    async with Client(north.url, north.token) as client:
        await client.pause("store:folder")
        first = await client.submit(**NAMES, quantity=1, backend="north.main", request_id="r1")
        name = f"{first.batch_id}/1"
        second = await asked(client, "r2", {"image": name}, backend="south.main")

        def is_kept() -> bool:
            image = south.context.view.image(second.batch_id, 1)
            return image is not None and image.state == "kept" and image.box == "south"

        await until(is_kept, "south has rendered it from the image of north")
        await client.resume("store:folder")
        assert await states(client, second) == ["stored"]


async def alone_with(tmp_path: Path, stack: AsyncExitStack, box: str = "", behind_s: int = 0) -> Any:
    """South, after north, which took the input, was declared dead. `behind_s`: the clock by which that was noted."""
    boxes = Boxes(tmp_path)
    stack.enter_context(slow_machine())
    stack.enter_context(quick_beats())
    async with boxes.opened("north") as north, Client(north.url, north.token) as client:
        await client.add_input(RED, name="red.png")
        south = await stack.enter_async_context(boxes.opened("south", box=box))
        await until(lambda: know_each_other(north, south), "the boxes know each other")
    engine = south.context.engine
    with patch.object(engine, "_wall_ms", lambda: wall_ms() - behind_s * 1000):
        await engine.command(LeaveBox("test", "north", 1, "lease"))
    return south


@pytest.mark.parametrize("behind_s", [0, 7_200], ids=["equal clocks", "clocks two hours apart"])
async def test_a_prompt_waits_for_the_box_that_has_its_input_until_that_is_given_up(
    tmp_path: Path, behind_s: int
) -> None:
    async with AsyncExitStack() as stack:
        south = await alone_with(tmp_path, stack, behind_s=behind_s)
        client = await stack.enter_async_context(Client(south.url, south.token))
        with capture_logs() as said:
            batch = await asked(client, "r1", INPUT, backend="south.main")

            def waits() -> bool:
                return any(fact["event"] == "prompt.waits_for_bytes" and "box north" in fact["error"] for fact in said)

            await until(waits, "the prompt waits for north")
        assert [image.state for image in (await client.get_batch(batch.batch_id)).images] == ["pending"]
        await client.give_up_box("north")
        (image,) = (await client.wait(batch.batch_id)).images
        assert (image.state, image.code) == ("failed", "input_failed")
        assert "No box of the fleet has the bytes" in image.text


async def test_a_prompt_fails_when_the_box_that_has_its_input_is_away_for_too_long(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        south = await alone_with(tmp_path, stack, "orphan_after_s = 0")
        client = await stack.enter_async_context(Client(south.url, south.token))
        (image,) = (await client.wait((await asked(client, "r1", INPUT, backend="south.main")).batch_id)).images
        assert (image.state, image.code) == ("failed", "input_failed")
