"""Every way to be wrong: a stable code, a sentence, the field at fault, nothing changed, and the connection goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosedError

from comfyledger import wire
from comfyledger.errors import CODES

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD: Mapping[str, Any] = {"request_id": "r", "username": "Areg", "character": "Opal Fever", "quantity": 3}
EMPTY_IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
GRAPH = {"1": EMPTY_IMAGE, "9": SAVE}
MANY_OUTPUTS = {f"1{i:02}": EMPTY_IMAGE for i in range(17)} | {
    f"2{i:02}": {"class_type": "SaveImage", "inputs": {"images": [f"1{i:02}", 0], "filename_prefix": "x"}}
    for i in range(17)
}


def submit(**changed: Any) -> str:
    """A good request with some fields changed; None leaves one out."""
    data = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    return json.dumps({"type": "submit_batch", "id": 7, "data": data})


def written(fields: str) -> str:
    """A good request with fields added as they are written here."""
    return submit()[:-2] + f", {fields}}}}}"


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def sent(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "id": 7, "data": data})


REFUSED: Mapping[str, tuple[str | bytes, str, str]] = {
    # the frame
    "no frame at all": ("", "not_json", ""),
    "text": ("hello", "not_json", ""),
    "half a frame": (submit()[:-5], "not_json", ""),
    "two frames in one": (submit() + submit(), "not_json", ""),
    "NaN": (written('"metadata": {"a": NaN}'), "not_json", ""),
    "half a surrogate pair": (written('"metadata": {"a": "\\ud800"}'), "not_json", ""),
    "half a surrogate pair as a key": (written('"metadata": {"\\ud800": 1}'), "not_json", ""),
    "half a surrogate pair as the id": ('{"type": "server_info", "id": "\\udc00"}', "not_json", ""),
    "10,000 brackets": ("[" * 10_000, "bad_envelope", "$"),
    "10,000 brackets that are closed": (nested(10_000), "bad_envelope", "$"),
    "10,000 brackets within data": (f'{{"type": "get_batch", "data": {nested(10_000)}}}', "not_json", ""),
    "10,000 brackets within a field": (written(f'"metadata": {{"a": {nested(10_000)}}}'), "not_json", ""),
    "10,000 braces within a field": (written('"metadata": ' + '{"a":' * 10_000 + "1" + "}" * 10_000), "not_json", ""),
    "900 brackets within a field": (written(f'"metadata": {{"a": {nested(900)}}}'), "invalid_field", "$.data.metadata"),
    "100 brackets within a field": (written(f'"metadata": {{"a": {nested(100)}}}'), "invalid_field", "$.data.metadata"),
    "no UTF-8": (b"\xff\xfe\x00", "not_utf8", ""),
    "no UTF-8 within a string": (b'{"type": "get_batch", "data": {"batch_id": "\xff"}}', "not_utf8", ""),
    "no UTF-8 where nobody looks": (b'{"type": "server_info", "id": 7, "data": {"x": "\xc3"}}', "not_utf8", ""),
    "UTF-8 of a surrogate": (b'{"type": "get_batch", "data": {"batch_id": "\xed\xa0\x80"}}', "not_utf8", ""),
    "2 MB": (submit(metadata={"a": "x" * 2_000_000}), "frame_too_large", ""),
    # the envelope
    "a list": ("[]", "bad_envelope", "$"),
    "null": ("null", "bad_envelope", "$"),
    "no type": ('{"data": {}}', "bad_envelope", "$"),
    "a type that is a number": ('{"type": 1}', "bad_envelope", "$.type"),
    "an id that is a list": ('{"type": "server_info", "id": []}', "bad_envelope", "$.id"),
    "an id that is a fraction": ('{"type": "server_info", "id": 1.5}', "bad_envelope", "$.id"),
    "an id of 129 signs": (f'{{"type": "server_info", "id": "{"x" * 129}"}}', "bad_envelope", "$.id"),
    "a field beside data": ('{"type": "server_info", "id": 7, "date": {}}', "bad_envelope", "$"),
    "unknown type": ('{"type": "make_coffee", "id": 7}', "unknown_type", "$.type"),
    "unknown type of 5,000 signs": (f'{{"type": "{"x" * 5_000}", "id": 7}}', "unknown_type", "$.type"),
    "data that is null": ('{"type": "server_info", "id": 7, "data": null}', "invalid_field", "$.data"),
    # fields
    "unknown field": (submit(qantity=3), "unknown_field", "$.data"),
    "unknown field of an image": (submit(quantity=None, images=[{"sed": 1}]), "unknown_field", "$.data.images[0]"),
    "a name that is a number": (submit(username=5), "invalid_field", "$.data.username"),
    "a quantity that is text": (submit(quantity="3"), "invalid_field", "$.data.quantity"),
    "a quantity that is true": (submit(quantity=True), "invalid_field", "$.data.quantity"),
    "an input that is a list": (submit(inputs={"color": [1]}), "invalid_field", "$.data.inputs.color"),
    "an input of 1e400": (written('"inputs": {"color": 1e400}'), "invalid_field", "$.data.inputs.color"),
    "a file without a name": (submit(inputs={"a": 1, "b": {"input": None}}), "invalid_field", "$.data.inputs.b.input"),
    "a file of two names": (
        submit(images=[{}, {"inputs": {"b": {"input": "x", "image": "y"}}}]),
        "invalid_field",
        "$.data.images[1].inputs.b",
    ),
    "a file of another kind": (submit(inputs={"b": {"video": "x"}}), "unknown_field", "$.data.inputs.b"),
    "half an image": (
        submit(inputs={"b": {"image": {"username": "Areg", "index": 1}}}),
        "invalid_field",
        "$.data.inputs.b.image",
    ),
    "a name of an input that is too long": (submit(inputs={"b" * 256: 1}), "invalid_field", "$.data.inputs"),
    "metadata of 1e400": (written('"metadata": {"a": 1e400}'), "invalid_field", "$.data.metadata[...]"),
    "no request_id": (submit(request_id=None), "invalid_field", "$.data"),
    "an empty request_id": (submit(request_id=""), "invalid_field", "$.data.request_id"),
    "a request_id of 129 bytes": (submit(request_id="x" * 129), "invalid_field", "$.data.request_id"),
    "a request_id of 129 bytes in 65 signs": (submit(request_id="é" * 64 + "x"), "invalid_field", "$.data.request_id"),
    "no username": (submit(username=None), "invalid_field", "$.data"),
    # how many
    "quantity 0": (submit(quantity=0), "quantity_out_of_range", "$.data.quantity"),
    "quantity -1": (submit(quantity=-1), "quantity_out_of_range", "$.data.quantity"),
    "quantity 1.5": (submit(quantity=1.5), "invalid_field", "$.data.quantity"),
    "quantity above the limit": (submit(quantity=101), "quantity_out_of_range", "$.data.quantity"),
    "quantity of 60 digits": (submit(quantity=10**60), "quantity_out_of_range", "$.data.quantity"),
    "images above the limit": (submit(quantity=None, images=[{}] * 101), "quantity_out_of_range", "$.data.images"),
    "no images": (submit(quantity=None, images=[]), "quantity_out_of_range", "$.data.images"),
    "quantity and images": (submit(images=[{}]), "quantity_and_images", "$.data.quantity"),
    "neither quantity nor images": (submit(quantity=None), "quantity_and_images", "$.data.quantity"),
    "images_per_prompt 0": (submit(images_per_prompt=0), "invalid_field", "$.data.images_per_prompt"),
    "a quantity written twice": (written('"quantity": 3'), "invalid_field", "$.data.quantity"),
    "an input written twice": (
        written('"inputs": {"color": 1, "color": 2}'),
        "invalid_field",
        "$.data.inputs.color",
    ),
    "data written twice": ('{"type": "server_info", "data": {}, "data": {}}', "invalid_field", "$.data"),
    "a node written twice": (
        written('"workflow": {"1": {"class_type": "A", "inputs": {}}, "1": {"class_type": "B", "inputs": {}}}'),
        "invalid_field",
        "$.data.workflow.1",
    ),
    "NaN in a node's inputs": (
        written('"workflow": {"1": {"class_type": "A", "inputs": {"x": NaN}}}'),
        "workflow_invalid",
        "$.data.workflow.1.inputs.x",
    ),
    "-Infinity in a list of a node's inputs": (
        written('"workflow": {"prompt": {"1": {"class_type": "A", "inputs": {"x": [1, -Infinity]}}}}'),
        "workflow_invalid",
        "$.data.workflow.prompt.1.inputs.x[1]",
    ),
    # names
    "empty username": (submit(username=""), "name_unusable", "$.data.username"),
    "username of dots": (submit(username="../.."), "name_unusable", "$.data.username"),
    "username of a zero byte": (submit(username="\0"), "name_unusable", "$.data.username"),
    "empty character": (submit(character=""), "name_unusable", "$.data.character"),
    "character of spaces": (submit(character=" \t\u3000"), "name_unusable", "$.data.character"),
    "open_series of nothing": (sent("open_series", username="", character="x"), "name_unusable", "$.data.username"),
    # the workflow
    "unknown workflow": (submit(workflow="emty-image"), "unknown_workflow", "$.data.workflow"),
    "an empty document in the UI format": (
        submit(workflow={"nodes": [], "links": []}),
        "workflow_no_output",
        "$.data.workflow",
    ),
    "no graph": (submit(workflow={"1": 5}), "workflow_invalid", "$.data.workflow.1"),
    "an empty graph": (submit(workflow={}), "workflow_no_output", "$.data.workflow"),
    "no output": (submit(workflow={"1": EMPTY_IMAGE}), "workflow_no_output", "$.data.workflow"),
    "too many outputs": (submit(workflow=MANY_OUTPUTS), "workflow_output_ambiguous", "$.data.workflow.200"),
    "an output that gives no file": (
        submit(workflow={"1": EMPTY_IMAGE, "9": {**SAVE, "class_type": "CheckpointSave"}}),
        "workflow_output_unsupported",
        "$.data.workflow.9",
    ),
    "an output that is not there": (submit(workflow=GRAPH, output="77"), "workflow_no_output", "$.data.output"),
    "an output of a configured workflow": (submit(outputs=["77"]), "workflow_no_output", "$.data.outputs"),
    "a node that is no output": (
        submit(workflow=GRAPH, outputs=["9", "1"]),
        "workflow_output_unsupported",
        "$.data.outputs",
    ),
    "output and outputs": (submit(workflow=GRAPH, output="9", outputs=["9"]), "invalid_field", "$.data.output"),
    "an output twice": (submit(workflow=GRAPH, outputs=["9", "9"]), "invalid_field", "$.data.outputs"),
    "no output at all": (submit(workflow=GRAPH, outputs=[]), "invalid_field", "$.data.outputs"),
    "seventeen outputs": (submit(workflow=GRAPH, outputs=["9"] * 17), "invalid_field", "$.data.outputs"),
    "an output that is a number": (submit(workflow=GRAPH, output=9), "invalid_field", "$.data.output"),
    "a large graph": (submit(workflow={**GRAPH, "_": "x" * 20_000}), "graph_too_large", "$.data.workflow"),
    "a deep graph": (written(f'"workflow": {{"1": {nested(500)}}}'), "workflow_invalid", "$.data.workflow"),
    "one image where each run makes two": (
        submit(
            workflow={"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}, "9": SAVE}, images_per_prompt=2
        ),
        "workflow_batch_size",
        "$.data.quantity",
    ),
    "unknown input": (submit(inputs={"colour": 1}), "unknown_input", "$.data.inputs.colour"),
    "unknown input of an image": (
        submit(quantity=None, images=[{}, {"inputs": {"77.text": 1}}]),
        "unknown_input",
        "$.data.images[1].inputs.77.text",
    ),
    "a sweep over no values": (submit(inputs_each={"color": []}), "invalid_field", "$.data.inputs_each.color"),
    "a sweep over an object": (submit(inputs_each={"color": [{}]}), "invalid_field", "$.data.inputs_each.color[0]"),
    "a sweep over one text": (submit(inputs_each={"color": "12"}), "invalid_field", "$.data.inputs_each.color"),
    "a sweep over 17 inputs": (
        submit(inputs_each={f"1.{place}": [1] for place in range(17)}),
        "invalid_field",
        "$.data.inputs_each",
    ),
    "seed 2^53": (submit(seed=2**53), "seed_out_of_range", "$.data.seed"),
    "seed -1": (submit(seed=-1), "seed_out_of_range", "$.data.seed"),
    "seed of 40 digits": (submit(seed=10**40), "seed_out_of_range", "$.data.seed"),
    "seed of 5,000 digits": (written(f'"seed": {"9" * 5_000}'), "invalid_field", "$.data.seed"),
    "seed 2^53 of an image": (
        submit(quantity=None, images=[{}, {"seed": 2**53}]),
        "seed_out_of_range",
        "$.data.images[1].seed",
    ),
    # looking and steering
    "unknown batch": (sent("get_batch", batch_id="x" * 900_000), "unknown_batch", "$.data.batch_id"),
    "cancel of an unknown batch": (sent("cancel", batch_id="x" * 900_000), "unknown_batch", "$.data.batch_id"),
    "retry of an unknown batch": (sent("retry", batch_id="\0"), "unknown_batch", "$.data.batch_id"),
    "cancel of image 0": (sent("cancel", batch_id="x", images=[0]), "invalid_field", "$.data.images[0]"),
    "unknown image": (sent("get_image", image="x" * 900_000), "unknown_image", "$.data.image"),
    "images before nothing": (sent("list_images", before="x"), "invalid_field", "$.data.before"),
    "images before none": (sent("list_images", before="x/1"), "invalid_field", "$.data.before"),
    "batches before nothing": (sent("list_batches", before="-1"), "invalid_field", "$.data.before"),
    "forgetting before nothing": (sent("forget", username="A", before="-1"), "invalid_field", "$.data.before"),
    "a limit of 501": (sent("list_batches", limit=501), "invalid_field", "$.data.limit"),
    "unknown scope": (sent("pause", scope="the world"), "unknown_scope", "$.data.scope"),
    "unknown backend": (sent("pause", scope="backend:x"), "unknown_scope", "$.data.scope"),
    "batch that nobody knows": (sent("pause", scope="batch:x"), "unknown_batch", "$.data.scope"),
    "resume of what runs": (sent("resume"), "nothing_to_do", "$.data.scope"),
    "protocol 2": (sent("hello", client="x", protocol=2), "protocol_version", "$.data.protocol"),
    "a client without a name": (sent("hello", client=""), "invalid_field", "$.data.client"),
    # subscriptions
    "a position without an epoch": (sent("subscribe", after=1), "invalid_field", "$.data.epoch"),
    "another epoch": (sent("subscribe", after=0, epoch="01ANOTHER"), "epoch_changed", "$.data.epoch"),
    "after -2": (sent("subscribe", after=-2), "invalid_field", "$.data.after"),
    "unknown kind": (sent("subscribe", kinds=["image_painted"]), "invalid_field", "$.data.kinds"),
    "unknown subscription": (sent("unsubscribe", subscription="s9"), "unknown_subscription", "$.data.subscription"),
}
WITHOUT_HINT = {"not_json", "not_utf8", "seed_out_of_range"}
"""Codes whose sentence says all there is to do."""


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_wrong_is_refused_with_its_code_and_changes_nothing(lasting_door: Any, what: str) -> None:
    frame, code, path = REFUSED[what]
    async with lasting_door.raw() as raw:
        with lasting_door.unchanged():
            answer = await raw.exchange(frame)
            check_error(answer, code)
            assert answer["data"].get("path", "") == path
            assert bool(answer["data"].get("hint")) or code in WITHOUT_HINT
            well = await raw.ask("server_info")
        assert (well["type"], well["id"]) == ("result", "asked")


def check_error(answer: dict[str, Any], code: str) -> None:
    assert answer["type"] == "error", answer
    data = answer["data"]
    assert data["code"] == code, data
    assert code in CODES
    assert re.search(r"\w.*[^.][.?]$", data["message"], re.DOTALL), data["message"]
    assert len(data["message"]) < 1_000
    assert len(data.get("hint", "")) < 1_000


async def test_the_id_of_a_refused_request_comes_back(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        for number in (7, "seven", 10**30, -1):
            answer = await raw.exchange(json.dumps({"type": "get_batch", "id": number, "data": {"batch_id": "x"}}))
            assert (answer["type"], answer["id"]) == ("error", number)


async def test_a_position_that_the_log_does_not_have_is_refused(lasting_door: Any) -> None:
    epoch = lasting_door.context.engine.view.epoch
    async with lasting_door.raw() as raw:
        for after in (lasting_door.position + 1, 2**63, 10**30):
            with lasting_door.unchanged():
                answer = await raw.ask("subscribe", after=after, epoch=epoch)
            check_error(answer, "unknown_position")
            assert answer["data"]["path"] == "$.data.after"


async def test_a_binary_frame_is_refused(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        with lasting_door.unchanged():
            await raw.socket.send(submit().encode())
            check_error(await raw.receive(), "binary_frame")
            assert (await raw.ask("server_info"))["type"] == "result"


async def test_a_frame_far_above_the_limit_closes_its_own_connection_only(lasting_door: Any) -> None:
    async with lasting_door.raw() as other, lasting_door.raw() as raw:
        with pytest.raises(ConnectionClosedError) as closed:
            await raw.exchange(submit(metadata={"a": "x" * 9_000_000}))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert (await other.ask("server_info"))["type"] == "result"


async def test_numbers_that_json_allows_are_taken_as_they_are(lasting_door: Any) -> None:
    """Only a dry run, so that the log stays as it is."""
    async with lasting_door.raw() as raw:
        with lasting_door.unchanged():
            taken = await raw.exchange(written(f'"metadata": {{"a": {10**60}, "b": 1e300}}, "dry_run": true'))
        assert taken["type"] == "result", taken
        with lasting_door.unchanged():
            answer = await raw.exchange(submit(inputs={"color": 10**60}, dry_run=True))
        assert answer["data"].get("code") != "internal", answer


# ---- every text and list has an end

LONG = "x" * 900_000
FREE = {"inputs", "metadata", "workflow"}
"""Bounded as a whole: by the frame, and the graph by its own limit."""


def too_long() -> list[tuple[str, str, Any]]:
    found = []
    for name, message in wire.REQUESTS.items():
        for field in msgspec.structs.fields(message):
            if field.name in FREE:
                continue
            kinds = str(field.type)
            if "str" in kinds or "Literal" in kinds:
                found.append((name, field.name, [LONG] if "list" in kinds else LONG))
            if "list[" in kinds:
                found.append(
                    (name, field.name, [1] * 200_000 if "Index" in kinds or "int" in kinds else ["x"] * 200_000)
                )
            if "int" in kinds and "list" not in kinds:
                found.append((name, field.name, 10**400))
    return found


@pytest.mark.parametrize(("kind", "field", "value"), too_long(), ids=lambda one: str(one)[:20])
async def test_a_field_that_has_no_end_is_refused(lasting_door: Any, kind: str, field: str, value: Any) -> None:
    needed = {
        "hello": {"client": "a"}, "submit_batch": {"request_id": "r", "username": "u", "character": "c", "quantity": 1},
        "open_series": {"username": "u", "character": "c"}, "explain": {"what": "x"},
        "raise_series": {"store": "folder", "found": [{"folder": "f", "stem": "s_", "highest": 1}]},
        "check_workflow": {"workflow": {}},
        "survey_store": {"store": "folder"}, "set_priority": {"batch_id": "b", "priority": "high"},
    }  # fmt: skip
    batches = {"get_batch", "cancel", "retry"}
    data = {**needed.get(kind, {"batch_id": "b"} if kind in batches else {}), field: value}
    with lasting_door.unchanged():
        async with lasting_door.raw() as raw:
            answer = await raw.ask(kind, **data)
    assert answer["type"] == "error"
    assert answer["data"]["code"] != "internal"
    assert len(json.dumps(answer)) < 4_000
