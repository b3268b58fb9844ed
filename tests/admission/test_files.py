"""Files in a request: which level counts, which inputs of a graph take one, and what is recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.admission.workflows.ready import read_source
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.commands import AddInput, ForgetInput, SubmitBatch
from comfyledger.core.values import LoadedFile
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import WorkflowSource
from support.admission_builders import command_of, given
from support.graphs import node
from support.wire_app import Refusal

CAT, DOG, CLIP = ("ab" * 32, "cd" * 32, "ef" * 32)
GRAPH = {
    "1": node("LoadImage", image="a.png"),
    "2": node("LoadVideo", file="a.mp4"),
    "3": node("CLIPTextEncode", text="a fox"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
NAMED = graphs.Named(inputs={"picture": "1.image"})


def asked(sha256: str) -> wire.FileAsked:
    return wire.FileAsked(input=f"sha256:{sha256}")


def said(name: str, spec: list[Any]) -> dict[str, Any]:
    return {"input": {"required": {name: spec}}, "output": ["IMAGE"], "python_module": "nodes"}


INFO = ObjectInfo(
    {
        "LoadImage": said("image", [["a.png"], {"image_upload": True}]),
        "LoadVideo": said("file", ["COMBO", {"video_upload": True, "options": []}]),
        "CLIPTextEncode": said("text", ["STRING", {}]),
        "SaveImage": said("images", ["IMAGE", {}]),
    },
    "digest",
)
FILES = {
    asked(CAT): graphs.GivenFile(CAT, "png", 7, "image"),
    asked(DOG): graphs.GivenFile(DOG, "jpg", 8, "image"),
    asked(CLIP): graphs.GivenFile(CLIP, "mp4", 9, "video"),
}


def admitted(source: WorkflowSource | None = None, **more: Any) -> SubmitBatch:
    return command_of({"w": source or given(GRAPH, NAMED)}, files=FILES, **{"info": INFO, **more})


def loaded(sha256: str, at: str = "1.image") -> LoadedFile:
    file = FILES[asked(sha256)]
    return LoadedFile(at, None, sha256, file.extension, file.size_bytes)


def refusal(**more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        admitted(quantity=1, **more)
    return caught.value


def own(graph: dict[str, Any]) -> WorkflowSource:
    """A graph that stands for a configured one."""
    return msgspec.structs.replace(read_source(graph, 524_288), name="w", named=NAMED)


def in_graph(value: Any) -> dict[str, Any]:
    return {**GRAPH, "1": node("LoadImage", image=value)}


def test_a_file_is_recorded_beside_the_inputs_and_never_among_them() -> None:
    command = admitted(quantity=1, inputs={"picture": asked(CAT), "3.text": "a cat"})
    assert command.prompts[0].loads == (loaded(CAT),)
    assert [msgspec.json.decode(text.content) for text in command.texts] == [{"3.text": "a cat"}]


def test_a_prompt_that_loads_files_alone_has_no_inputs() -> None:
    command = admitted(quantity=1, inputs={"2.file": asked(CLIP), "1.image": asked(DOG)})
    assert command.prompts[0].inputs is None
    assert command.prompts[0].loads == (loaded(DOG), loaded(CLIP, "2.file"))


@pytest.mark.parametrize(
    ("graph", "batch", "image", "expected"),
    [
        (asked(CAT), None, None, CAT),
        (asked(CAT), asked(DOG), None, DOG),
        (asked(CAT), asked(DOG), asked(CAT), CAT),
        (asked(CAT), "b.png", None, "b.png"),
        ("a.png", "b.png", asked(DOG), DOG),
        (asked(CAT), asked(DOG), "b.png", "b.png"),
    ],
)
def test_the_later_level_counts_whether_value_or_file(graph: Any, batch: Any, image: Any, expected: str) -> None:
    inputs = {} if batch is None else {"picture": batch}
    images = [wire.ImageAsked({} if image is None else {"1.image": image})]
    command = admitted(own(in_graph(msgspec.to_builtins(graph))), inputs=inputs, images=images)
    values = {address: value for text in command.texts for address, value in msgspec.json.decode(text.content).items()}
    found = [load.sha256 for load in command.prompts[0].loads] + list(values.values())
    assert found == [expected]


def test_the_template_has_null_where_the_graph_gives_a_file() -> None:
    command = admitted(own(in_graph({"input": f"sha256:{CAT}"})), quantity=1)
    assert msgspec.json.decode(command.template.content)["1"]["inputs"] == {"image": None}
    assert command.template.content == admitted(own(in_graph({"input": f"sha256:{DOG}"})), quantity=1).template.content


def test_neighbours_share_a_run_only_if_they_load_the_same() -> None:
    graph = {**GRAPH, "4": node("RepeatImageBatch", image=["1", 0], amount=1)}
    graph["9"] = node("SaveImage", images=["4", 0], filename_prefix="x")
    images = [wire.ImageAsked({"picture": asked(one)}) for one in (CAT, CAT, DOG, CAT)]
    command = admitted(given(graph, NAMED), images=images, images_per_prompt=2)
    assert [prompt.images for prompt in command.prompts] == [(1, 2), (3,), (4,)]
    assert [prompt.loads[0].sha256 for prompt in command.prompts] == [CAT, DOG, CAT]


def test_a_sweep_over_files_makes_an_image_of_each() -> None:
    command = admitted(inputs_each={"picture": [asked(CAT), asked(DOG)], "3.text": ["x", "y"]})
    assert [prompt.loads[0].sha256 for prompt in command.prompts] == [CAT, CAT, DOG, DOG]


@pytest.mark.parametrize(
    ("inputs", "path"),
    [({"3.text": asked(CAT)}, "3.text"), ({"picture": asked(CLIP)}, "picture"), ({"2.file": asked(CAT)}, "2.file")],
)
def test_an_input_that_takes_no_such_file_is_refused_by_its_name(inputs: Any, path: str) -> None:
    refused = refusal(inputs=inputs)
    assert (refused.code, refused.path) == ("input_not_taken", f"$.data.inputs.{path}")
    assert refused.hint


def test_the_refusal_of_a_file_says_which_inputs_take_one() -> None:
    assert refusal(inputs={"3.text": asked(CAT)}).hint == "These inputs take one: 1.image, 2.file."


def test_of_a_class_that_is_not_known_every_text_may_be_the_name_of_a_file() -> None:
    command = admitted(quantity=1, inputs={"3.text": asked(CAT)}, info=None)
    assert command.prompts[0].loads == (loaded(CAT, "3.text"),)
    wide = {**GRAPH, "4": node("SomeLoader", width=3)}
    with pytest.raises(Refused) as caught:
        admitted(given(wide, NAMED), quantity=1, inputs={"4.width": asked(CAT)}, info=None)
    assert caught.value.code == "input_not_taken"


def test_a_file_where_the_run_fills_in_is_refused() -> None:
    refused = refusal(inputs={"9.filename_prefix": asked(CAT)})
    assert (refused.code, refused.path) == ("invalid_field", "$.data.inputs.9.filename_prefix")


@pytest.mark.parametrize(
    "wrong", [{"input": "a.png"}, {"image": 7}, {"input": 7}, {"image": {"number": 3}}, {"image": {"nmber": 3}}]
)
def test_a_wrong_object_in_a_graph_is_refused_by_its_address(wrong: Any) -> None:
    with pytest.raises(Refused) as caught:
        own(in_graph(wrong))
    assert caught.value.code == "invalid_field"
    assert caught.value.path.startswith("1.image")


@pytest.mark.parametrize("value", [{"images": []}, {"image": "a", "mask": "b"}, {"lora": "a", "on": True}, {}])
def test_other_objects_in_a_graph_stay(value: Any) -> None:
    assert own(in_graph(value)).graph == in_graph(value)


# ---- against a ledger


async def add(door: Any, sha256: str = CAT, label: str = "app", extension: str = "png") -> None:
    await door.context.engine.command(AddInput(label, sha256, 7, extension, 4, 4, "whole"))


async def refused(app: Any, **more: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as caught:
        await app.submit("wrong", **more)
    return dict(caught.value.data)


TAKEN = {"quantity": 1, "inputs": {"1.image": {"input": f"sha256:{CAT}"}}, "workflow": GRAPH}


async def test_an_input_of_the_ledger_is_loaded(door: Any) -> None:
    await add(door)
    async with door.app("app") as app:
        batch = await app.submit("r1", **TAKEN)
        prompt = await door.context.reader.prompt(batch["batch_id"], 1)
    assert prompt.loads == (LoadedFile("1.image", None, CAT, "png", 7),)


async def test_an_input_that_is_not_there_is_refused(door: Any) -> None:
    async with door.app("app") as app:
        found = await refused(app, **TAKEN)
    assert (found["code"], found["path"]) == ("input_missing", "$.data.inputs.1.image")


async def test_the_same_request_gets_the_same_answer_after_its_input_was_forgotten(door: Any) -> None:
    await add(door)
    async with door.app("app") as app:
        first = await app.submit("r1", **TAKEN)
        await door.context.engine.command(ForgetInput("app", CAT))
        assert (await refused(app, **TAKEN))["code"] == "input_missing"
        again = await app.submit("r1", **TAKEN)
    assert (again["batch_id"], again["repeated"]) == (first["batch_id"], True)


# ---- said without submitting


def asking(value: Any) -> dict[str, Any]:
    return {**GRAPH, "1": node("LoadImage", image=value)}


async def test_check_workflow_says_what_a_submission_says_of_a_file(door: Any) -> None:
    async with door.app("app") as app:
        for strict, value, code in (
            (False, {"input": f"sha256:{CAT}"}, ""),
            (True, {"input": f"sha256:{CAT}"}, "input_missing"),
            (True, {"image": "no-such"}, "unknown_image"),
            (False, {"input": "cat.png"}, "invalid_field"),
        ):
            report = await app.ask("check_workflow", workflow=asking(value), strict=strict)
            assert (report.get("code", ""), report.get("path", "")) == (code, "1.image" if code else "")
        await add(door)
        report = await app.ask("check_workflow", workflow=asking({"input": f"sha256:{CAT}"}), strict=True)
        assert (report["verdict"], report["checked"]) == ("accepted", "full")
        assert "files: 1.image" in report["found"]
        wrong = {**GRAPH, "3": node("CLIPTextEncode", text={"input": f"sha256:{CAT}"}, clip=["1", 0])}
        wrong["9"] = node("SaveImage", images=["3", 0], filename_prefix="x")
        assert (await app.ask("check_workflow", workflow=wrong, strict=True))["code"] == "input_not_taken"


async def test_the_refusal_of_a_missing_file_says_how_to_add_it(door: Any) -> None:
    async with door.app("app") as app:
        found = await refused(app, quantity=1, workflow=asking("gone.png"), inputs={})
        report = await app.ask("check_workflow", workflow=asking("gone.png"), strict=True)
    hint = 'Add the file with `comfyledger input add FILE`, and give {"input": "sha256:…"} as 1.image.'
    assert (found["code"], found["hint"], report["hint"]) == ("workflow_failed_validation", hint, hint)


async def test_a_dry_run_says_the_same(door: Any) -> None:
    async with door.app("app") as app:
        assert (await refused(app, **TAKEN, dry_run=True))["code"] == "input_missing"
        await add(door)
        assert (await app.submit("r1", **TAKEN, dry_run=True))["dry_run"] is True
