"""Named tokens: who holds one comes in under its label, does what its right lets them, and goes when it is revoked."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.server import access, pages, tokens
from comfyledger.server.tokens import RIGHTS, Caller, Keyring, Right
from support.waiting import DEADLINE_S
from support.wire_app import narrow_socket

pytestmark = pytest.mark.usefixtures("quick_time")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def given(door: Any, label: str, right: Right) -> dict[str, str]:
    """The header of a new token that sees all labels, which the door knows at once."""
    token = tokens.add(door.folder / "state" / "tokens.json", label, right, 0.0, read_all=True)
    door.context.access.keyring.refresh()
    return {"Authorization": f"Bearer {token}"}


GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
BATCH = {"username": "a", "character": "b", "quantity": 1}
ASKED: list[tuple[str, dict[str, Any], Right]] = [
    ("server_info", {}, "read"),
    ("list_batches", {}, "read"),
    ("submit_batch", {"request_id": "r", **BATCH}, "submit_configured"),
    ("submit_batch", {"request_id": "named", **BATCH, "workflow": "empty-image"}, "submit_configured"),
    ("submit_batch", {"request_id": "graph", **BATCH, "workflow": GRAPH}, "submit"),
    ("submit_batch", {"request_id": "dry", **BATCH, "workflow": GRAPH, "dry_run": True}, "submit"),
    ("check_workflow", {"workflow": GRAPH}, "submit"),
    ("open_series", {"username": "a", "character": "c"}, "submit_configured"),
    ("pause", {"scope": "everything"}, "operate"),
    ("resume", {"scope": "everything"}, "operate"),
    ("recover", {"dry_run": True}, "operate"),
    ("forget", {"username": "nobody"}, "admin"),
    ("survey_store", {"store": "folder"}, "admin"),
]


@pytest.mark.parametrize("right", RIGHTS)
async def test_each_token_does_what_its_right_lets_it_and_nothing_more(door: Any, right: Right) -> None:
    async with door.raw(additional_headers=given(door, "app", right)) as raw:
        for kind, data, needed in ASKED:
            frame = await raw.ask(kind, **data)
            allowed = RIGHTS.index(right) >= RIGHTS.index(needed)
            code = frame["data"].get("code")
            assert (code == "forbidden") == (not allowed), (kind, frame)
            assert code in {None, "forbidden", "comfyui_refused"}, (kind, frame)


def test_a_token_of_an_older_release_may_do_what_it_could(file: Path) -> None:
    could = {"read": {"read"}, "submit": {"read", "submit"}, "admin": {"read", "submit", "admin"}}
    before = [{"label": right, "right": right, "sha256": "0" * 64, "made_at": 1} for right in could]
    file.write_text(json.dumps(before))
    for one in tokens.read_tokens(file):
        caller = Caller(one.label, one.right)
        assert {right for right in ("read", "submit", "admin") if caller.may(right)} == could[one.label]


async def test_a_batch_of_another_label_is_steered_from_operate_on(door: Any) -> None:
    batch = {"username": "a", "character": "b", "quantity": 1}
    async with (
        door.raw(additional_headers=given(door, "one", "submit_configured")) as one,
        door.raw(additional_headers=given(door, "other", "submit")) as other,
        door.raw(additional_headers=given(door, "operator", "operate")) as operator,
    ):
        batch_id = (await one.ask("submit_batch", request_id="r", **batch))["data"]["batch_id"]
        for kind, more in (("cancel", {}), ("retry", {}), ("set_priority", {"priority": "high"})):
            assert (await other.ask(kind, batch_id=batch_id, **more))["data"]["code"] == "forbidden"
            assert (await operator.ask(kind, batch_id=batch_id, **more))["data"].get("code") != "forbidden"
            assert (await one.ask(kind, batch_id=batch_id, **more))["data"].get("code") != "forbidden"


def test_every_request_has_a_right() -> None:
    assert set(access.NEEDED) == set(wire.REQUESTS.values())


async def test_the_label_of_a_token_is_not_to_be_chosen(door: Any) -> None:
    async with door.raw(additional_headers=given(door, "app", "submit")) as raw:
        welcome = await raw.ask("hello", client="somebody-else")
        assert (welcome["data"]["label"], welcome["data"]["right"]) == ("app", "submit")
        accepted = await raw.ask("submit_batch", request_id="r", username="a", character="b", quantity=1)
        batch = await raw.ask("get_batch", batch_id=accepted["data"]["batch_id"])
    assert batch["data"]["label"] == "app"


async def test_who_may_only_submit_steers_nothing_but_their_own_batches(door: Any) -> None:
    asked = {"username": "a", "character": "b", "quantity": 1}
    async with (
        door.raw(additional_headers=given(door, "one", "submit")) as one,
        door.raw(additional_headers=given(door, "other", "submit")) as other,
        door.app() as admin,
    ):
        batch = (await one.ask("submit_batch", request_id="r", **asked))["data"]["batch_id"]
        refused = await other.ask("cancel", batch_id=batch)
        assert (refused["data"]["code"], refused["data"]["path"]) == ("forbidden", "$.data.batch_id")
        assert (await other.ask("cancel", batch_id="nothing"))["data"]["code"] == "unknown_batch"
        assert (await one.ask("cancel", batch_id=batch))["type"] == "result"
        batch = (await one.ask("submit_batch", request_id="s", **asked))["data"]["batch_id"]
        await admin.ask("cancel", batch_id=batch)
        assert (await admin.batch(batch))["cancelled"] == 1


async def test_a_revoked_token_is_shown_out_and_does_not_come_in_again(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = given(door, "app", "read")
    async with door.raw(additional_headers=headers) as raw, door.raw() as other:
        tokens.revoke(door.folder / "state" / "tokens.json", "app")
        with pytest.raises(ConnectionClosed) as closed:
            await raw.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert (await other.ask("server_info"))["type"] == "result"
    with pytest.raises(InvalidStatus):
        await door.connect(additional_headers=headers)


async def test_a_revoked_client_that_reads_nothing_delays_no_other_revocation(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "TOKENS_S", 0.05)
    async with open_door(tmp_path, "frames_per_second_max = 1_000_000") as door:
        file, asked = door.folder / "state" / "tokens.json", json.dumps({"type": "server_info", "id": 1, "data": {}})
        deaf, other = given(door, "deaf", "read"), given(door, "other", "read")
        with narrow_socket(door.url) as narrow:
            slow = await door.connect(sock=narrow, max_queue=1, additional_headers=deaf)
            for _ in range(8_000):
                await slow.send(asked)
            async with door.raw(additional_headers=other) as raw:
                tokens.revoke(file, "deaf")
                tokens.revoke(file, "other")
                async with asyncio.timeout(DEADLINE_S):
                    with pytest.raises(ConnectionClosed):
                        await raw.receive()
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(ConnectionClosed):
                    await _send_for_ever(slow, asked)


async def _send_for_ever(socket: Any, frame: str) -> None:
    while True:
        await socket.send(frame)
        await asyncio.sleep(0)  # nothing ends a connection while the loop only sends


async def test_between_the_revocation_and_the_closing_nothing_is_answered(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "TOKENS_S", 1_000.0)
    async with open_door(tmp_path) as door, door.raw(additional_headers=given(door, "app", "admin")) as raw:
        tokens.revoke(door.folder / "state" / "tokens.json", "app")
        door.context.access.keyring.refresh()
        assert (await raw.ask("server_info"))["data"]["code"] == "unauthorized"


async def test_the_daemons_own_token_can_be_rotated_while_it_runs(door: Any) -> None:
    before = {"Authorization": f"Bearer {door.token}"}
    async with door.raw() as raw:
        tokens.make_token(door.folder / "state" / "token")
        with pytest.raises(ConnectionClosed):
            await raw.receive()
    async with door.raw() as raw:
        assert (await raw.ask("server_info"))["type"] == "result"
    with pytest.raises(InvalidStatus):
        await door.connect(additional_headers=before)


async def test_pages_ask_for_a_token_and_take_any(door: Any, http: aiohttp.ClientSession) -> None:
    headers = given(door, "gallery", "read")
    async with http.get(f"{door.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
    async with http.get(f"{door.url}/metrics") as answer:
        assert answer.status == 401


# ---- the file


def test_the_file_holds_no_token_and_is_its_owners_alone(file: Path) -> None:
    made = [tokens.add(file, f"app-{number}", "read", 5.0) for number in range(3)]
    assert len(set(made)) == 3
    assert all(len(one) >= 32 and one not in file.read_text() for one in made)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.label for one in tokens.read_tokens(file)] == ["app-0", "app-1", "app-2"]


def test_rotating_ends_the_token_before_and_keeps_the_right(file: Path) -> None:
    first = tokens.add(file, "app", "read", 0.0)
    ring = Keyring("own", None, file)
    second = tokens.rotate(file, "app", 1.0)
    assert ring.refresh()
    assert (ring.who(first), getattr(ring.who(second), "right", "")) == (None, "read")
    assert not ring.refresh()


@pytest.mark.parametrize("label", ["", "a b", "../x", "a\n", "cli", "default", "x" * 65, "-x", "é"])
def test_what_can_be_no_label_is_refused_and_changes_nothing(file: Path, label: str) -> None:
    with pytest.raises(Refused) as refused:
        tokens.add(file, label, "read", 0.0)
    assert refused.value.hint
    assert not file.exists()


def test_a_label_has_one_token_and_what_is_not_there_cannot_be_taken_back(file: Path) -> None:
    tokens.add(file, "app", "read", 0.0)
    for change in (
        lambda: tokens.add(file, "app", "admin", 0.0),
        lambda: tokens.revoke(file, "other"),
        lambda: tokens.rotate(file, "other", 0.0),
    ):
        with pytest.raises(Refused):
            change()
    assert [one.right for one in tokens.read_tokens(file)] == ["read"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"label": "a", "right": "root"}]', b"\xff"])
def test_a_file_that_cannot_be_read_opens_for_nobody_but_the_owner(file: Path, content: bytes) -> None:
    token = tokens.add(file, "app", "admin", 0.0)
    ring = Keyring("own", None, file)
    file.write_bytes(content)
    assert ring.refresh()
    assert (ring.who(token), ring.who("own")) == (None, Caller("", "admin", tokens.digest_of("own")))


@pytest.mark.parametrize("token", ["", "x", "own ", "OWN", "\ud800", "own\x00", "o" * 100_000])
def test_what_is_no_token_opens_nothing(file: Path, token: str) -> None:
    assert Keyring("own", None, file).who(token) is None


def test_a_token_of_systemd_is_not_replaced_by_one_of_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from systemd\n")
    state = tmp_path / "state-token"
    state.write_text("from the state folder\n")
    assert tokens.find_token(state, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ("from systemd", True)
    assert tokens.find_token(state, {}) == ("from the state folder", False)


def test_the_file_is_readable_to_people(file: Path) -> None:
    tokens.add(file, "app", "read", 7.9)
    (one,) = json.loads(file.read_text())
    assert (one["label"], one["right"], one["made_at"], len(one["sha256"])) == ("app", "read", 7, 64)


def test_a_new_token_sees_its_own_label_unless_it_is_said_otherwise(file: Path) -> None:
    older = {"label": "older", "right": "read", "sha256": "0" * 64, "made_at": 1}
    file.write_text(json.dumps([older]))
    tokens.add(file, "app", "read", 0.0)
    tokens.add(file, "all", "read", 0.0, read_all=True)
    for label in ("app", "all", "older"):
        tokens.rotate(file, label, 1.0)
    assert {one.label: one.read_all for one in tokens.read_tokens(file)} == {"app": False, "all": True, "older": True}
    assert [set(one) == set(older) for one in json.loads(file.read_text())] == [True, False, True], "an older release"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_writes_belongs_to_whoever_has_the_folder(file: Path) -> None:
    os.chown(file.parent, 12_345, 54_321)
    tokens.add(file, "app", "read", 0.0)
    tokens.make_token(file.parent / "token")
    for path in (file, file.parent / "token"):
        assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (12_345, 54_321, 0o600)
