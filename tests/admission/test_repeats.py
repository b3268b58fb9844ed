"""A repeated request gets its answer from the ledger, whatever has changed since that would refuse it now."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.admission import admit
from comfyledger.admission.admit import request_digest
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Shortage
from comfyledger.server import tokens
from comfyledger.wire import frames
from support.wire_app import Frame, Refusal

OpenDoor = Callable[..., AbstractAsyncContextManager[Any]]

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        "_meta": {"title": "x" * 3_000},
    },
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
MINE = '[workflows.mine]\nfile = "sample:empty-image"\n'
EMPTY = '[workflows.empty-image]\nfile = "sample:empty-image"\n'


async def answered(door: Any, **asked: Any) -> Frame:
    """The answer to the request `r1`, and all of its batch done."""
    async with door.app("app") as app:
        answer = dict(await app.submit("r1", **asked))
        await app.settled(answer["batch_id"])
    return answer


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a workflow that is not configured any more": (MINE + EMPTY, EMPTY, {"workflow": "mine"}),
    "a workflow that another file is under the name of": (
        '[workflows.mine]\nfile = "first.json"\n' + EMPTY,
        '[workflows.mine]\nfile = "second.json"\n' + EMPTY,
        {"workflow": "mine", "inputs": {"1.width": 64}},
    ),
    "other templates of names": ("", '[naming]\nfile = "{username}-{character}-{number}"', {}),
    "fewer images in a batch": ("", "[limits]\nquantity_max = 1", {}),
    "a smaller graph": ("", "[limits]\ngraph_bytes_max = 2_000", {"workflow": GRAPH, "inputs": {}}),
    "fewer open images": ("", "[limits]\nopen_images_max = 1", {}),
    "a smaller frame": ("", "frame_bytes_max = 2_000", {"workflow": GRAPH, "inputs": {}}),
    "another store that is broken": ("", '[stores.other]\nkind = "nothing-of-the-kind"', {}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_repeat_is_answered_as_before_when_the_configuration_has_changed(
    tmp_path: Path, open_door: OpenDoor, change: str
) -> None:
    before, after, asked = CHANGES[change]
    second = {"2": GRAPH["1"], "8": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "y"}}}
    (tmp_path / "first.json").write_text(json.dumps(GRAPH))
    (tmp_path / "second.json").write_text(json.dumps(second))
    async with open_door(tmp_path, before) as door:
        first = await answered(door, **asked)
    async with open_door(tmp_path, after) as door, door.app("app") as app:
        with door.unchanged():
            again = await app.submit("r1", **asked)
            with pytest.raises(Refusal, match="request_id_conflict"):
                await app.submit("r1", **{**asked, "premade": True})
    assert again == {**first, "repeated": True}


async def test_a_repeat_gets_its_first_reply_under_another_default_workflow(
    tmp_path: Path, open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(tmp_path) as door:
        first = await answered(door)
    monkeypatch.setenv("COMFYLEDGER_DEFAULT_WORKFLOW", "text-to-image")
    async with open_door(tmp_path) as door, door.app("app") as app:
        assert await app.submit("r1") == {**first, "repeated": True}
        with pytest.raises(Refusal, match="unknown_input"):
            await app.submit("r2", inputs={"color": 5})


@pytest.mark.parametrize("right", tokens.RIGHTS)
async def test_a_repeat_is_answered_as_before_with_a_lesser_right(
    tmp_path: Path, door: Any, right: tokens.Right
) -> None:
    file = door.folder / "state" / "tokens.json"

    def entry(right: tokens.Right) -> dict[str, Any]:
        token = tokens.add(file, "shop", right, 0.0)
        door.context.access.keyring.refresh()
        return {"additional_headers": {"Authorization": f"Bearer {token}"}}

    asked = {"username": "a", "character": "b", "quantity": 1, "workflow": GRAPH}
    async with door.raw(**entry("submit")) as socket:
        first = await socket.ask("submit_batch", request_id="r1", **asked)
    tokens.revoke(file, "shop")
    async with door.raw(**entry(right)) as socket:
        again = await socket.ask("submit_batch", request_id="r1", **asked)
    assert again["data"] == {**first["data"], "repeated": True}
    tokens.revoke(file, "shop")
    other = tokens.add(file, "other", "read", 0.0)
    door.context.access.keyring.refresh()
    async with door.raw(additional_headers={"Authorization": f"Bearer {other}"}) as socket:
        refused = await socket.ask("submit_batch", request_id="r1", **asked)
    assert refused["data"]["code"] == "forbidden"


async def test_a_repeat_is_answered_as_before_whatever_stands_still(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await answered(door)
    async with door.app("app") as app:
        await app.ask("pause", scope="everything")
        await app.ask("pause", scope="backend:main")
        door.context.engine.set_brake(Shortage("The disk is full.", "Make room."))
        monkeypatch.setattr("comfyledger.engine.engine.COMMANDS_MAX", 0)
        assert await app.submit("r1") == {**first, "repeated": True}
        with pytest.raises(Refusal, match="busy"):
            await app.submit("r2")


async def test_a_repeat_is_answered_as_before_when_a_store_is_not_known_yet(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: Any) -> None:
        raise Refused("store_unavailable")

    first = await answered(door)
    monkeypatch.setattr(type(door.context), "store_refs", unknown)
    async with door.app("app") as app:
        assert await app.submit("r1") == {**first, "repeated": True}
        with pytest.raises(Refusal, match="store_unavailable"):
            await app.submit("r2")


async def test_a_repeat_is_answered_as_before_by_a_release_that_refuses_it(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that there is no more, and a rule that a value now breaks."""

    class Stricter(msgspec.Struct, forbid_unknown_fields=True):
        request_id: str

    def strict(*_: Any) -> None:
        raise Refused("invalid_field")

    first = await answered(door)
    async with door.app("app") as app:
        with monkeypatch.context() as patch:
            patch.setitem(frames.REQUESTS, "submit_batch", Stricter)
            assert await app.submit("r1") == {**first, "repeated": True}
            with pytest.raises(Refusal, match="unknown_field"):
                await app.submit("r2")
        with monkeypatch.context() as patch:
            patch.setattr(admit, "_check_depth", strict)
            assert await app.submit("r1") == {**first, "repeated": True}
            with pytest.raises(Refusal, match="invalid_field"):
                await app.submit("r2")


async def test_a_frame_with_what_is_no_part_of_it_any_more_is_answered_as_before(door: Any) -> None:
    async with door.raw() as socket:
        data = {"request_id": "r1", "username": "a", "character": "b", "quantity": 1}
        first = await socket.ask("submit_batch", **data)
        again = await socket.exchange(json.dumps({"type": "submit_batch", "id": 7, "data": data, "client": "old"}))
        assert (again["id"], again["data"]) == (7, {**first["data"], "repeated": True})
        unknown = {"type": "submit_batch", "id": 7, "data": {**data, "request_id": "r2"}, "client": "old"}
        refused = await socket.exchange(json.dumps(unknown))
        assert refused["data"]["code"] == "bad_envelope"


async def test_a_repeat_of_a_forgotten_batch_gets_its_reply_without_its_texts(door: Any) -> None:
    first = await answered(door, workflow=GRAPH, inputs={}, tags=["shop"])
    async with door.app("app") as app:
        await app.ask("forget", batch_id=first["batch_id"])
        door.context.engine.set_brake(Shortage("The disk is full.", "Make room."))
        again = await app.submit("r1", workflow=GRAPH, inputs={}, tags=["shop"])
    expected = {key: value for key, value in first.items() if key != "found"}
    assert again == {**expected, "repeated": True}


async def test_a_request_that_an_older_release_took_is_answered_as_before(door: Any, monkeypatch: Any) -> None:
    """Its digest was that of the whole data, the request_id included."""

    def older(raw: bytes, secret: bytes) -> str:
        canonical = msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")
        return hmac.new(secret, canonical, hashlib.sha256).hexdigest()

    with monkeypatch.context() as patch:
        patch.setattr(admit, "request_digest", older)
        first = await answered(door, tags=["a"])
    async with door.app("app") as app:
        with door.unchanged():
            assert await app.submit("r1", tags=["a"]) == {**first, "repeated": True}
            with pytest.raises(Refusal, match="request_id_conflict"):
                await app.submit("r1", tags=["b"])


def test_the_digest_leaves_out_the_request_id_and_nothing_else() -> None:
    def digest(text: str, secret: bytes = b"s") -> str:
        return request_digest(text.encode(), secret)

    one = digest('{"request_id":"r1","username":"a","quantity":1}')
    assert one == digest('{"quantity":1, "username":"a", "request_id":"r2"}') == digest('{"username":"a","quantity":1}')
    assert one != digest('{"request_id":"r1","username":"a","quantity":2}')
    assert one != digest('{"request_id":"r1","username":"a","quantity":1,"premade":false}')
    assert one != digest('{"request_id":"r1","username":"a","quantity":1}', b"t")


async def test_a_used_request_id_with_another_body_is_always_a_conflict(door: Any) -> None:
    await answered(door)
    async with door.app("app") as app, door.app("other") as other:
        with door.unchanged():
            for wrong in ({"quantity": 0}, {"workflow": "nothing"}, {"colour": 5}, {"seed": -1}, {"quantity": "three"}):
                with pytest.raises(Refusal, match="request_id_conflict"):
                    await app.submit("r1", **wrong)
            with pytest.raises(Refusal, match="quantity_out_of_range"):
                await other.submit("r1", quantity=0)


@pytest.mark.parametrize("username", ['"\\ud800"', "[" * 20_000 + "]" * 20_000])
async def test_what_cannot_be_read_is_refused_also_under_a_used_request_id(door: Any, username: str) -> None:
    await answered(door)
    async with door.raw() as socket:
        await socket.ask("hello", client="app")
        refused = await socket.exchange(
            f'{{"type": "submit_batch", "id": 1, "data": {{"request_id": "r1", "username": {username}}}}}'
        )
    assert refused["data"]["code"] in {"not_utf8", "not_json", "invalid_field"}


async def test_a_dry_run_is_no_repeat(door: Any) -> None:
    await answered(door)
    async with door.app("app") as app:
        with pytest.raises(Refusal, match="unknown_workflow"):
            await app.submit("r1", dry_run=True, workflow="nothing")
        assert (await app.submit("r1", dry_run=True))["dry_run"]


@pytest.mark.parametrize("data", ["[]", "5", "null", '{"request_id": 5}', '{"request_id": "r1", "dry_run": "x"}'])
async def test_what_is_no_request_at_all_is_refused_as_ever(door: Any, data: str) -> None:
    async with door.raw() as socket:
        refused = await socket.exchange(f'{{"type": "submit_batch", "id": 1, "data": {data}}}')
    assert refused["data"]["code"] in {"invalid_field", "not_json"}
    assert wire.TYPE_OF[wire.SubmitBatch] == "submit_batch"
