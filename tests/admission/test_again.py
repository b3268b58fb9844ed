"""A request with `like` is the request that made the image, but for what it says itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission.workflows.again import Again, Source, completed
from comfyledger.core.naming.names import Templates
from comfyledger.core.values import Origin
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import AdmissionPolicy
from support.admission_builders import given as configured
from support.admission_builders import ready
from support.core_builders import accepted, given, intended, kept, laid_by, miscounted, submit, taking
from support.graphs import node
from support.wire_app import Refusal

GRAPH: dict[str, Any] = {
    "1": node("NoiseImage", width=64, height=64, seed=1, batch_size=1),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
SMALL = {"workflow": GRAPH, "inputs": {"1.width": 80}}


def policy(**more: Any) -> AdmissionPolicy:
    backends = {"main": frozenset[str]()}
    return AdmissionPolicy(Templates(), {"w": configured(GRAPH)}, "w", backends, 1_000, 524_288, trust=False, **more)


def source(quantity: int = 4, per_prompt: int = 2, index: int = 3, name: str = "w") -> Source:
    ledger = given(submit(quantity=quantity, per_prompt=per_prompt))
    workflow = ready(GRAPH)
    batch = replace(ledger.batch(), plan=msgspec.to_builtins(workflow.plan), workflow=name, premade=True)
    image = ledger.image(index)
    return Source(batch, ledger.prompt(image.prompt), image, workflow.template, {"1.width": 80})


def again(made: Source | None = None, rules: AdmissionPolicy | None = None, **asked: Any) -> Again:
    return completed(wire.SubmitBatch("r2", like="b1/3", **asked), made or source(), rules or policy())


def refused(**asked: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as found:
        again(**asked)
    return found.value.code, found.value.path


def test_what_is_omitted_is_as_in_the_recipe() -> None:
    made = source()
    found = again(made)
    asked, batch = found.message, made.batch
    assert (asked.username, asked.character, asked.premade) == (batch.username, batch.character, True)
    assert (asked.quantity, asked.images_per_prompt, asked.seed) == (2, 2, made.prompt.seed)
    assert found.origin == Origin("b1", 3)
    assert found.workflow is not None
    assert (found.workflow.template, found.inputs) == (made.template, {"1.width": 80})


def test_images_that_were_added_from_surplus_files_are_not_asked_for_again() -> None:
    ledger = given(submit(quantity=1), intended(1), accepted(1), miscounted(1, files=3), laid_by(3))
    ledger.given(taking("all"), kept(1, 2, 3, prompt=1))
    made = source()._replace(batch=replace(ledger.batch(), plan=source().batch.plan, workflow="w"))
    made = made._replace(prompt=ledger.prompt(1), image=ledger.image(3))
    assert made.prompt.images == (1, 2, 3)
    asked = again(made).message
    assert (asked.quantity, asked.images_per_prompt) == (1, 1)


def test_a_run_with_several_outputs_is_asked_for_in_shots() -> None:
    ledger = given(submit(quantity=4, per_prompt=2, outputs=2))
    two = {**GRAPH, "2": GRAPH["1"], "10": node("SaveImage", images=["2", 0], filename_prefix="x")}
    batch = replace(ledger.batch(), plan=msgspec.to_builtins(ready(two).plan))
    made = source()._replace(batch=batch, prompt=ledger.prompt(2), image=ledger.image(5), inputs={})
    assert made.prompt.images == (5, 6, 7, 8)
    asked = again(made, workflow="w").message
    assert (asked.quantity, asked.images_per_prompt) == (2, 2)


def test_what_a_request_gives_is_kept() -> None:
    asked = again(username="Nare", character="Sun", premade=False, quantity=5, images_per_prompt=1, seed=9).message
    assert (asked.username, asked.character, asked.premade) == ("Nare", "Sun", False)
    assert (asked.quantity, asked.images_per_prompt, asked.seed) == (5, 1, 9)
    entries = [wire.ImageAsked(seed=3)]
    asked = again(images=entries).message
    assert (asked.quantity, asked.images) == (None, entries)
    assert again(inputs_each={"1.width": [64, 128]}).message.quantity is None, "one image for each combination"


@pytest.mark.parametrize(("seed", "more"), [(None, 0), ("+0", 0), ("+1", 1), ("+250", 250)])
def test_a_seed_with_a_plus_is_added_to_that_of_the_image(seed: str | None, more: int) -> None:
    made = source()
    assert again(made, seed=seed).message.seed == made.prompt.seed + more


def test_a_random_seed_is_left_to_chance() -> None:
    assert again(seed="random").message.seed == "random"


def test_another_workflow_gets_the_named_inputs() -> None:
    made = source()
    made = made._replace(batch=replace(made.batch, plan={**made.batch.plan, "inputs": {"wide": "1.width"}}))
    found = again(made, workflow="w")
    assert (found.workflow, found.inputs) == (None, {"wide": 80})


def test_an_input_without_a_name_is_not_given_to_another_workflow() -> None:
    made = source()
    made = made._replace(batch=replace(made.batch, plan={**made.batch.plan, "inputs": {}}))
    assert refused(made=made, workflow="w") == ("unknown_input", "$.data.like")


def test_a_recorded_graph_keeps_the_rules_of_today() -> None:
    assert refused(output="9") == ("invalid_field", "$.data.output")
    assert refused(outputs=["9"]) == ("invalid_field", "$.data.outputs")
    assert refused(character_defaults=True) == ("invalid_field", "$.data.character_defaults")
    assert refused(made=source(name="gone")) == ("unknown_workflow", "$.data.like")
    denied = policy(node_classes_denied=("Noise*",))
    assert refused(made=source(name=""), rules=denied) == ("workflow_node_denied", "$.data.like")
    assert again(source(name="w"), denied).workflow is not None, "the operator configured it"


# ---- with a daemon


async def refusal(app: Any, **asked: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as found:
        await app.ask("submit_batch", request_id="refused", **asked)
    return found.value.data["code"], found.value.data.get("path", "")


async def test_the_request_is_made_again_under_new_numbers(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1", quantity=2, images_per_prompt=2, premade=True, seed=5, **SMALL)
        like = f"{first['batch_id']}/2"
        second = await app.ask("submit_batch", request_id="r2", like=like)
        third = await app.ask("submit_batch", request_id="r3", like=first["public_ids"][0], seed="+1", quantity=1)
        repeat = await app.ask("submit_batch", request_id="r2", like=like)
        recipes = [(await app.ask("get_recipe", image=f"{one['batch_id']}/1")) for one in (first, second, third)]
        batch = await app.batch(second["batch_id"])
        story = await app.ask("explain", what=f"{second['batch_id']}/1")
        source = [
            await app.ask("explain", what=what)
            for what in (f"{first['batch_id']}/2", f"{first['batch_id']}/1", first["batch_id"])
        ]
    assert (second["numbers"], third["numbers"]) == ([3, 4], [5])
    assert (repeat["batch_id"], repeat["repeated"]) == (second["batch_id"], True)
    assert [one["seed"] for one in recipes] == [5, 5, 6]
    assert [one["inputs"] for one in recipes] == [recipes[0]["inputs"]] * 3
    assert (batch["like"], story["batch"]["like"]) == (like, like)
    event = next(one for one in story["events"] if one["kind"] == "batch_requested")
    made = [one.get("made_like", []) for one in source]
    assert made == [[second["batch_id"]], [third["batch_id"]], [second["batch_id"], third["batch_id"]]]
    assert event["data"]["origin"] == {"batch_id": first["batch_id"], "image": 2}


async def test_inputs_of_the_request_are_put_on_top_under_either_name(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1", quantity=1, **SMALL)
        like = f"{first['batch_id']}/1"
        inputs = {"1.width": 96, "1.height": 72}
        second = await app.ask("submit_batch", request_id="r2", like=like, inputs=inputs)
        found = await app.ask("get_recipe", image=f"{second['batch_id']}/1")
        assert set(found["inputs"].values()) == {96, 72}
        wrong = await refusal(app, like=like, inputs={"1.none": 1})
    assert wrong == ("unknown_input", "$.data.inputs.1.none")


async def test_another_workflow_takes_the_inputs_that_it_has_too(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1", quantity=1, workflow="empty-image", inputs={"width": 80, "1.height": 72})
        coloured = await app.submit("r2", quantity=1, workflow="empty-image", inputs={"color": 7})
        asked = {"like": f"{first['batch_id']}/1", "workflow": "text-to-image", "inputs": {"height": 64}}
        other = await app.ask("submit_batch", request_id="r3", **asked)
        found = await app.ask("get_recipe", image=f"{other['batch_id']}/1")
        await app.settled(first["batch_id"], coloured["batch_id"], other["batch_id"])
        with door.unchanged():
            assert (await refusal(app, **asked, output="none"))[1] == "$.data.output"
            asked["like"] = f"{coloured['batch_id']}/1"
            assert await refusal(app, **asked) == ("unknown_input", "$.data.like")
    assert (found["inputs"], found["workflow"]) == ({"width": 80, "height": 64}, "text-to-image")


async def test_what_cannot_be_used_again_is_refused_and_changes_nothing(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1", quantity=1, **SMALL)
        like = f"{first['batch_id']}/1"
        await app.settled(first["batch_id"])
        with door.unchanged():
            assert await refusal(app, like="none/1") == ("unknown_image", "$.data.like")
            assert await refusal(app, username="Areg", quantity=1) == ("invalid_field", "$.data")
            assert await refusal(app, character="Opal", quantity=1) == ("invalid_field", "$.data")
            wrong = {"username": "Areg", "character": "Opal", "quantity": 1}
            assert await refusal(app, **wrong, seed="+1") == ("invalid_field", "$.data.seed")
            assert await refusal(app, **wrong, seed="often") == ("invalid_field", "$.data.seed")
            assert await refusal(app, like=like, seed="+9007199254740992") == ("seed_out_of_range", "$.data.seed")


async def test_what_was_forgotten_is_not_used_again_although_others_of_its_run_have_the_same_recipe(door: Any) -> None:
    async with door.app() as app:
        first = await app.submit("r1", quantity=2, images_per_prompt=2, **SMALL)
        one, other = f"{first['batch_id']}/1", f"{first['batch_id']}/2"
        await app.settled(first["batch_id"])
        await app.ask("submit_batch", request_id="r2", like=one)
        await app.ask("forget", batch_id=first["batch_id"], images=[1])
        assert await refusal(app, like=one) == ("recipe_forgotten", "$.data.like")
        assert (await app.ask("submit_batch", request_id="r2", like=one))["repeated"]
        assert (await app.ask("submit_batch", request_id="r3", like=other))["quantity"] == 2
        await app.ask("forget", batch_id=first["batch_id"])
        assert await refusal(app, like=other) == ("recipe_forgotten", "$.data.like")
