"""Several ComfyUIs with different nodes: each prompt goes to one that can run it, and somebody says why to no other."""

from __future__ import annotations

from typing import Any

import pytest

from support.fleet import Fleet
from support.waiting import until
from support.wire_app import Refusal, of_kind

UNCHECKED = "limits.check_workflows = 'off'"
LACKING = {"a": ["EmptyImage"]}
FLUX = {"b": ["flux"]}


def posted(fleet: Fleet) -> dict[str, int]:
    """How many prompts were sent to each."""
    return {name: len(one.posted()) for name, one in fleet.standins.items()}


def attempt_of(event: Any) -> tuple[int, int]:
    return event["data"]["prompt"], event["data"]["attempt"]


async def test_a_backend_without_the_node_is_passed_over_and_the_batch_is_stored(fleet: Fleet) -> None:
    await fleet.begin_all(lacking=LACKING)
    async with fleet.app() as app:
        accepted = await app.submit("r1", quantity=6)
        (batch,) = await app.settled(accepted["batch_id"])
        attempts = [
            (one["data"]["attempt"], one["data"]["backend"]) for one in of_kind(await app.log(), "prompt_submitting")
        ]
    fleet.check_stored(batch)
    assert posted(fleet) == {"a": 0, "b": 6}
    assert attempts == [(1, "b")] * 6


@pytest.mark.parametrize("fleet", [("a", "b", "c", "d")], indirect=True)
async def test_four_images_on_four_backends_run_at_once(fleet: Fleet) -> None:
    await fleet.begin_all()
    for one in fleet.standins.values():
        one.control(hold=["in_node"])
    async with fleet.app() as app:
        accepted = await app.submit("r1", quantity=4)
        await until(lambda: posted(fleet) == dict.fromkeys("abcd", 1), "each has one")
        for one in fleet.standins.values():
            one.control(hold=[])
        (batch,) = await app.settled(accepted["batch_id"])
    fleet.check_stored(batch)


async def test_a_pin_and_a_need_say_where_a_batch_goes(fleet: Fleet) -> None:
    await fleet.begin_all(tags=FLUX)
    async with fleet.app() as app:
        pinned = await app.submit("r1", quantity=3, backend="a")
        needy = await app.submit("r2", quantity=4, needs=["flux"])
        await app.settled(pinned["batch_id"], needy["batch_id"])
        log = await app.log()
        with pytest.raises(Refusal) as refused:
            await app.submit("r3", quantity=1, needs=["flux", "96gb"])
    sent = {(one["stream"], one["data"]["backend"]) for one in of_kind(log, "prompt_submitting")}
    assert sent == {(pinned["batch_id"], "a"), (needy["batch_id"], "b")}
    assert refused.value.code == "no_backend"
    assert "a: 'flux', '96gb'; b: '96gb'" in refused.value.data["message"]


async def test_a_workflow_that_nobody_can_run_is_refused_with_what_is_missing_where(fleet: Fleet) -> None:
    await fleet.begin_all(lacking={"a": ["EmptyImage"], "b": ["SaveImage"]})
    async with fleet.app() as app:
        with pytest.raises(Refusal) as refused:
            await app.submit("r1", quantity=1)
        assert not await app.log(), "a number was used"
    assert refused.value.code == "workflow_failed_validation"
    message = refused.value.data["message"]
    assert message.index("a: ") < message.index("EmptyImage") < message.index("b: ") < message.index("SaveImage")


async def test_what_one_comfyui_refuses_itself_goes_to_the_next(fleet: Fleet) -> None:
    await fleet.begin_all(config=UNCHECKED, lacking=LACKING)
    async with fleet.app() as app:
        accepted = await app.submit("r1", quantity=8)
        (batch,) = await app.settled(accepted["batch_id"])
        story = await app.ask("explain", what=f"{accepted['batch_id']}/1")
        log = await app.log()
    fleet.check_stored(batch)
    refused = of_kind(log, "prompt_refused")
    assert all(one["data"]["again"] for one in refused)
    sent = {
        (one["data"]["prompt"], one["data"]["attempt"]): one["data"]["backend"]
        for one in of_kind(log, "prompt_submitting")
    }
    assert {sent[one["data"]["prompt"], one["data"]["attempt"]] for one in refused} == {"a"}
    assert 1 <= len(refused) <= 2, "it was known after the first answers"
    assert [one["kind"] for one in story["events"]].count("prompt_refused") <= 1


async def test_what_each_comfyui_refuses_fails_after_one_attempt_at_each(fleet: Fleet) -> None:
    await fleet.begin_all(depth=1, config=UNCHECKED, lacking={"a": ["EmptyImage"], "b": ["EmptyImage"]})
    async with fleet.app() as app:
        accepted = await app.submit("r1", quantity=1)
        (batch,) = await app.settled(accepted["batch_id"])
        log = await app.log()
    assert [one["data"]["backend"] for one in of_kind(log, "prompt_submitting")] == ["a", "b"]
    assert [one["data"].get("again", False) for one in of_kind(log, "prompt_refused")] == [True, False]
    assert batch["failed"] == 1
    assert "The custom node may not be installed" in batch["images"][0]["text"]


async def test_while_one_is_away_that_may_take_it_a_prompt_waits_and_says_for_whom(fleet: Fleet) -> None:
    await fleet.begin_all(lacking=LACKING)
    away = fleet.standins["b"]
    async with fleet.app() as app:
        away.end()

        async def seen() -> Any:
            return any(lane["lane"] == "backend/b" for lane in (await app.ask("server_info"))["lanes"])

        await until(seen, "the daemon knows that it is away")
        accepted = await app.submit("r1", quantity=2)

        async def told() -> Any:
            owed = (await app.ask("explain", what=accepted["batch_id"]))["owed"]
            return {one["code"]: one["text"] for one in owed if one["code"] == "unfit"}

        said = await until(told, "it says who refuses it")
        assert "a: " in said["unfit"]
        assert "EmptyImage" in said["unfit"]
        await away.begin()
        (batch,) = await app.settled(accepted["batch_id"])
    fleet.check_stored(batch)
    assert posted(fleet)["a"] == 0


async def test_each_backend_says_what_fits_it_and_what_it_was_sent_last(fleet: Fleet) -> None:
    config = '[workflows.any]\nfile = "sample:empty-image"\n[workflows.portrait]\nfile = "sample:text-to-image"\n'
    needy = '[workflows.needy]\nfile = "sample:empty-image"\nneeds = ["flux"]\n'
    await fleet.begin_all(config="default_workflow = 'any'\n" + config + needy, tags=FLUX, lacking={"a": ["KSampler"]})
    async with fleet.app() as app:
        accepted = await app.submit("r1", workflow="portrait", quantity=1, inputs={"width": 64, "height": 64})
        await app.settled(accepted["batch_id"])
        shown = (await app.ask("server_info", fits=True))["backends"]
        unasked = (await app.ask("server_info"))["backends"]
    a, b = shown
    assert (b["tags"], b["fits"], b["lacks"]) == (["flux"], ["any", "needy", "portrait"], {})
    assert b["warm"] == ["v1-5-pruned-emaonly.safetensors"]
    assert a["fits"] == ["any"]
    assert a["lacks"]["needy"] == "It does not have the tags: flux."
    assert "KSampler" in a["lacks"]["portrait"]
    assert not {"tags", "warm"} & a.keys()
    assert not any({"fits", "lacks"} & one.keys() for one in unasked)
