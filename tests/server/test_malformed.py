"""A frame that cannot be read is answered with the id of its request, wherever that can be told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.errors import Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEEP = 20_000
INFO = b'{"type": "server_info", "id": 7, "data": '

MALFORMED: dict[str, bytes] = {
    "NaN": INFO + b'{"a": NaN}}',
    "Infinity": INFO + b'{"a": [-Infinity]}}',
    "half a surrogate pair": INFO + rb'{"a": "\ud800"}}',
    "half a surrogate pair as a key": INFO + rb'{"\udc00": 1}}',
    "an infinity below half a surrogate pair": rb'{"type": "server_info", "id": 7, "\ud800": 1e999}',
    "NaN in a workflow, below half a surrogate pair": INFO
    + rb'{"workflow": {"1": {"class_type": "A", "inputs": {"\udc00": NaN}}}}}',
    "half a surrogate pair as the type": rb'{"id": 7, "type": "\ud800"}',
    "a key that stands twice": INFO + b'{"a": 1, "a": 2}}',
    "a type that stands twice": b'{"type": "server_info", "type": "hello", "id": 7}',
    "something behind it": INFO + b"{}} and more",
    "another frame behind it": INFO + b'{}}{"type": "hello", "id": 8}',
    "half of it": INFO + b'{"a": ',
    "half of a text": INFO + b'{"a": "abc',
    "nested too deeply": INFO + b"[" * DEEP + b"]" * DEEP + b"}",
    "objects nested too deeply": INFO + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "nested too deeply before the id": b'{"data": ' + b"[" * DEEP + b"]" * DEEP + b', "id": 7, "type": "x"}',
    "a number that is too large": INFO + b'{"a": ' + b"9" * 5_000 + b"}}",
    "a float that is too large": INFO + b'{"a": 1e999}}',
    "bytes that are not UTF-8": INFO + b'{"a": "\xff"}}',
    "two byte order marks": b"\xef\xbb\xbf" * 2 + INFO + b"{}}",
    "single quotes": INFO + b"{'a': 1}}",
    "a comma too many": INFO + b'{"a": 1,}}',
    "a comment": INFO + b"{} /* x */}",
    "no quotes": b'{"id": 7, type: server_info}',
    "a field beside data": b'{"type": "server_info", "id": 7, "date": {}}',
    "no type": b'{"id": 7}',
    "a type that is a number": b'{"type": 1, "id": 7}',
    "an id that stands twice": b'{"type": "server_info", "id": 6, "id": 7}',
    "ids of others within": b'{"data": {"id": 5, "x": [{"id": 6}], "y": "\\"id\\": 4"}, "id": 7, "type": 1}',
    "too large": INFO + b'{"a": "' + b"x" * 1_500_000 + b'"}}',
    "too large, the id at its end": b'{"type": "hello", "data": {"a": "' + b"x" * 1_500_000 + b'"}, "id": 7}',
}

WITHOUT: dict[str, bytes] = {
    "a list": b'[{"id": 7}]',
    "a text": b'"id"',
    "nothing": b"",
    "words": b"id: 7",
    "no id": b'{"type": 1, "data": {"id": 7}}',
    "an id that is a list": b'{"type": "server_info", "id": [7]}',
    "an id that is half a surrogate pair": rb'{"type": "server_info", "id": "\ud800"}',
    "an id that is too long": b'{"type": "server_info", "id": "' + b"x" * 129 + b'"}',
    "an id that may have been cut": b'{"type": "server_info", "id": 7',
    "an id that is true": b'{"type": 1, "id": true}',
    "an id that is a fraction": b'{"type": 1, "id": 7.5}',
    "too large, with ids of others at its end": b'{"data": "' + b"x" * 1_500_000 + b'", "x": {"id": 7}}',
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_frame_is_answered_with_its_id(lasting_door: Any, what: str) -> None:
    async with lasting_door.raw() as raw:
        with lasting_door.unchanged():
            answer = await raw.exchange(MALFORMED[what])
        assert (answer["type"], answer["id"]) == ("error", 7), answer
        assert answer["data"]["code"] != "internal"
        assert (await raw.ask("server_info"))["type"] == "result"


@pytest.mark.parametrize("what", WITHOUT)
async def test_an_id_that_cannot_be_told_is_not_made_up(lasting_door: Any, what: str) -> None:
    async with lasting_door.raw() as raw:
        answer = await raw.exchange(WITHOUT[what])
        assert (answer["type"], answer["id"]) == ("error", None)


async def test_a_binary_frame_is_answered_with_the_id_that_is_in_it(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        for frame, told in [(INFO + b"{}}", 7), (b"\0\0\0\1JPEG", None)]:
            await raw.socket.send(frame)
            answer = await raw.receive()
            assert (answer["data"]["code"], answer["id"]) == ("binary_frame", told)


async def test_a_byte_order_mark_is_passed_over(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        assert (await raw.exchange(b"\xef\xbb\xbf" + INFO + b"{}}"))["type"] == "result"


async def test_an_id_that_is_a_text_comes_back(lasting_door: Any) -> None:
    async with lasting_door.raw() as raw:
        answer = await raw.exchange('{"type": "server_info", "id": "größe \\" 1", "data": NaN}')
        assert answer["id"] == 'größe " 1'


async def test_numbers_that_are_none_are_left_out_where_comfyui_does_not_look(lasting_door: Any) -> None:
    """Its own exports have `is_changed` beside class_type and inputs."""
    size = {"width": 64, "height": 64, "batch_size": 1, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": size, "is_changed": [float("nan")]},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    data = {"request_id": "r", "username": "A", "character": "B", "quantity": 1, "workflow": graph, "dry_run": True}
    frame = json.dumps({"type": "submit_batch", "id": 7, "data": data})
    assert "NaN" in frame
    async with lasting_door.raw() as raw:
        answer = await raw.exchange(frame)
    assert (answer["type"], answer["id"]) == ("result", 7), answer


async def test_a_client_refuses_a_graph_with_nan_before_sending_it() -> None:
    with pytest.raises(Refused) as refused:
        wire.finite({"1": {"class_type": "A", "inputs": {"x": float("inf")}}}, "$.data.workflow")
    assert (refused.value.code, refused.value.path) == ("workflow_invalid", "$.data.workflow.1.inputs.x")
