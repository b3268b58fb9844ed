"""The pages beside the websocket: readiness, metrics, and the images as files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from msgspec.structs import replace
from yarl import URL

from comfyledger.plugin_api import LaneFault, StoreTrouble
from comfyledger.server import files
from comfyledger.server.health import readiness
from comfyledger.wire import BackendInfo
from support.waiting import until


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Answered:
    """A whole answer."""

    def __init__(self, answer: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = body


async def got(http: aiohttp.ClientSession, door: Any, path: str, *, token: bool = True, **headers: str) -> Answered:
    """A GET of a path exactly as it is written."""
    own = {"Authorization": f"Bearer {door.token}"} if token else {}
    url = URL(door.url + path, encoded=True)
    async with http.get(
        url, headers=own | {name.replace("_", "-"): value for name, value in headers.items()}
    ) as answer:
        return Answered(answer, await answer.read())


class Stored:
    """A door behind which one batch of two is stored; `path` is the page of its first image."""

    def __init__(self, door: Any, batch: dict[str, Any], body: bytes) -> None:
        self.door, self.batch, self.body = door, batch, body
        self.path = "/images/" + batch["images"][0]["public_id"]
        self.etag = f'"{hashlib.sha256(body).hexdigest()}"'
        self.spooled = door.folder / "state" / "spool" / batch["batch_id"] / "1.png"
        self.in_store = door.folder / "images" / f"{batch['images'][0]['public_id']}.png"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(lasting_door: Any) -> Stored:
    async with lasting_door.app("shop") as app:
        asked = await app.submit("r1", quantity=2)
        (batch,) = await app.settled(asked["batch_id"])
    (path,) = (lasting_door.folder / "images").rglob("*_image_1.png")
    return Stored(lasting_door, batch, path.read_bytes())


in_module = pytest.mark.asyncio(loop_scope="module")


# ---- images


@in_module
async def test_an_image_is_served_whole_under_its_public_id(stored: Stored, http: aiohttp.ClientSession) -> None:
    answer = await got(http, stored.door, stored.path)
    assert (answer.status, answer.body) == (HTTPStatus.OK, stored.body)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"] == stored.etag
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert int(answer.headers["Content-Length"]) == len(stored.body)


@in_module
async def test_without_the_token_no_image_is_served(stored: Stored, http: aiohttp.ClientSession) -> None:
    answer = await got(http, stored.door, stored.path, token=False)
    assert answer.status == HTTPStatus.UNAUTHORIZED
    assert stored.body not in answer.body


@in_module
async def test_who_has_the_bytes_gets_none(stored: Stored, http: aiohttp.ClientSession) -> None:
    answer = await got(http, stored.door, stored.path, If_None_Match=f'"other", {stored.etag}')
    assert (answer.status, answer.body) == (HTTPStatus.NOT_MODIFIED, b"")
    other = await got(http, stored.door, stored.path, If_None_Match='"other"')
    assert other.status == HTTPStatus.OK


@in_module
@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None)]
)
async def test_a_range_is_served_alone(
    stored: Stored, http: aiohttp.ClientSession, asked: str, first: int, last: int | None
) -> None:
    answer = await got(http, stored.door, stored.path, Range=asked)
    begin, end, _ = slice(first, last).indices(len(stored.body))
    assert (answer.status, answer.body) == (HTTPStatus.PARTIAL_CONTENT, stored.body[begin:end])
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(stored.body)}"


@in_module
@pytest.mark.parametrize("odd", ["bytes=0-1,5-6", "bytes=x", "lines=1-2", "bytes=9-3"])
async def test_a_range_that_cannot_be_read_is_passed_over(
    stored: Stored, http: aiohttp.ClientSession, odd: str
) -> None:
    assert (await got(http, stored.door, stored.path, Range=odd)).body == stored.body


@in_module
@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=-0"])
async def test_a_range_without_a_byte_is_refused_with_the_size(
    stored: Stored, http: aiohttp.ClientSession, asked: str
) -> None:
    answer = await got(http, stored.door, stored.path, Range=asked.format(size=len(stored.body)))
    assert answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    assert answer.headers["Content-Range"] == f"bytes */{len(stored.body)}"


@in_module
async def test_a_range_of_another_version_gives_the_whole(stored: Stored, http: aiohttp.ClientSession) -> None:
    assert (await got(http, stored.door, stored.path, Range="bytes=0-1", If_Range='"other"')).body == stored.body
    assert len((await got(http, stored.door, stored.path, Range="bytes=0-1", If_Range=stored.etag)).body) == 2


@in_module
async def test_head_says_the_size_and_sends_nothing(stored: Stored, http: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {stored.door.token}"}
    async with http.head(stored.door.url + stored.path, headers=headers) as answer:
        assert (answer.status, int(answer.headers["Content-Length"])) == (HTTPStatus.OK, len(stored.body))
        assert await answer.read() == b""


@in_module
@pytest.mark.parametrize(
    "path",
    [
        "/images/../state/token",
        "/images/..%2fstate%2ftoken",
        "/images/%2e%2e/%2e%2e/etc/passwd",
        "/images//etc/passwd",
        "/images/%2fetc%2fpasswd",
        "/images/a%00b",
        "/images/%ff%fe",
        "/images/%ed%a0%80",
        "/images/.comfyledger",
        "/images/" + "a" * 4_000,
        "/images/",
    ],
)
async def test_a_name_that_was_never_given_is_no_file(stored: Stored, http: aiohttp.ClientSession, path: str) -> None:
    answer = await got(http, stored.door, path)
    assert answer.status == HTTPStatus.NOT_FOUND
    assert stored.door.token.encode() not in answer.body


@in_module
async def test_an_image_that_left_the_spool_comes_from_an_unaltered_store(
    stored: Stored, http: aiohttp.ClientSession
) -> None:
    stored.spooled.unlink()
    assert (await got(http, stored.door, stored.path)).body == stored.body
    assert not stored.spooled.exists()
    stored.in_store.write_bytes(stored.body[:-1] + b"!")
    try:
        assert (await got(http, stored.door, stored.path)).status == HTTPStatus.NOT_FOUND
    finally:
        stored.in_store.write_bytes(stored.body)


@in_module
async def test_an_altered_file_of_the_spool_is_not_served(stored: Stored, http: aiohttp.ClientSession) -> None:
    stored.spooled.parent.mkdir(exist_ok=True)
    stored.spooled.write_bytes(stored.body[:-1] + b"!")
    assert (await got(http, stored.door, stored.path)).body == stored.body
    stored.spooled.unlink()


@in_module
async def test_a_store_that_cannot_answer_is_no_missing_image(
    stored: Stored, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StoreTrouble(LaneFault("not_reached", "It is away."))

    stored.spooled.unlink(missing_ok=True)
    monkeypatch.setattr(stored.door.context.stores["folder"].store, "check", away)
    answer = await got(http, stored.door, stored.path)
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b'"store_unavailable"' in answer.body


class Client:
    """One that takes what is sent, or takes nothing at all."""

    def __init__(self, *, takes: bool) -> None:
        self.taken = b""
        self._takes = takes

    async def write(self, piece: bytes) -> None:
        if not self._takes:
            await asyncio.Event().wait()
        self.taken += piece

    async def write_eof(self) -> None:
        pass


async def test_a_client_that_takes_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STALL_S", 0.01)
    with pytest.raises(TimeoutError):
        await files._copy(io.BytesIO(b"0123456789"), range(10), Client(takes=False))  # type: ignore[arg-type]


async def test_not_a_byte_beyond_the_range_is_sent() -> None:
    client = Client(takes=True)
    await files._copy(io.BytesIO(b"0123456789"), range(2, 5), client)  # type: ignore[arg-type]
    assert client.taken == b"234"


async def test_a_forgotten_image_is_not_served(door: Any) -> None:
    async with aiohttp.ClientSession() as http, door.app() as app:
        asked = await app.submit("r1", quantity=1)
        (batch,) = await app.settled(asked["batch_id"])
        path = "/images/" + batch["images"][0]["public_id"]
        assert (await got(http, door, path)).status == HTTPStatus.OK
        await app.ask("forget", batch_id=asked["batch_id"])
        assert (await got(http, door, path)).status == HTTPStatus.NOT_FOUND


async def test_more_readers_than_may_be_are_told_to_come_again(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as http, door.app() as app:
        asked = await app.submit("r1", quantity=1)
        (batch,) = await app.settled(asked["batch_id"])
        monkeypatch.setattr("comfyledger.workers.file_source.READERS_MAX", 0)
        answer = await got(http, door, "/images/" + batch["images"][0]["public_id"])
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert b'"busy"' in answer.body


# ---- readiness


async def test_a_door_that_can_do_everything_is_ready(door: Any) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{door.url}/readyz") as answer:
        said = await answer.json()
    assert answer.status == HTTPStatus.OK
    lanes = dict.fromkeys(("everything", "spool", "inputs", "backend/main", "store/folder"), "ok")
    comfyui = {"main": {"connected": True, "reconnects": 0, "deaf_sockets": 0}}
    assert said == {"ready": True, "reasons": [], "lanes": lanes, "comfyui": comfyui}


async def ready(door: Any) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{door.url}/readyz") as answer:
        return answer.status, await answer.json()


async def test_a_paused_lane_shows_and_no_users_name(door: Any) -> None:
    async with door.app() as app:
        await app.ask("pause", scope="store:folder")
        await app.ask("pause", scope="user:Areg")
    status, said = await ready(door)
    assert (status, said["lanes"]["store/folder"]) == (HTTPStatus.OK, "person")
    assert "areg" not in str(said).lower()


async def test_without_any_comfyui_the_door_is_not_ready_and_deaf_sockets_show(door: Any) -> None:
    backends = [BackendInfo("main", "http://there", connected=False, reconnects=3, deaf=2)]
    reasons, parts = readiness(replace(door.context, backends=lambda _: backends), is_known=True)
    assert [reason["code"] for reason in reasons] == ["comfyui_not_connected"]
    assert parts["comfyui"] == {"main": {"connected": False, "reconnects": 3, "deaf_sockets": 2}}
    backends.append(BackendInfo("other", "http://here", connected=True))
    assert readiness(replace(door.context, backends=lambda _: backends), is_known=True)[0] == []


async def test_without_room_the_door_is_not_ready(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "[ledger]\nfree_min_bytes = 1_000_000_000_000_000") as door:
        status, said = await ready(door)
    assert (status, [reason["code"] for reason in said["reasons"]]) == (503, ["storage_full"])


async def test_with_a_store_that_cannot_be_used_the_door_is_not_ready(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, '[stores.odd]\nkind = "nowhere"') as door:
        status, said = await ready(door)
    assert (status, [reason["code"] for reason in said["reasons"]]) == (503, ["plugin_broken"])


# ---- metrics


async def test_metrics_ask_for_the_token(door: Any) -> None:
    async with aiohttp.ClientSession() as http:
        assert (await got(http, door, "/metrics", token=False)).status == HTTPStatus.UNAUTHORIZED
        answer = await got(http, door, "/metrics")
    assert answer.status == HTTPStatus.OK
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'comfyledger_comfyui_connected{backend="main"} 1.0' in answer.body


async def test_the_disks_are_in_the_metrics_with_what_must_be_free_there(door: Any) -> None:
    async def samples() -> dict[str, float]:
        async with aiohttp.ClientSession() as http:
            page = (await got(http, door, "/metrics")).body.decode()
        found = re.findall(r"^comfyledger_disk_(\S+) (\S+)$", page, re.MULTILINE)
        return {name: float(amount) for name, amount in found}

    disks = ("ledger", "spool", "inputs", "store/folder")
    wanted = {f'{kind}{{disk="{disk}"}}' for kind in ("free_bytes", "size_bytes", "free_min_bytes") for disk in disks}

    async def all_there() -> dict[str, float]:
        return found if set(found := await samples()) == wanted else {}

    found = await until(all_there)
    assert all(0 < found[f'free_bytes{{disk="{disk}"}}'] <= found[f'size_bytes{{disk="{disk}"}}'] for disk in disks)
    assert [found[f'free_min_bytes{{disk="{disk}"}}'] for disk in disks] == [2**28, 2**30, 2**30, 0]


async def test_metrics_may_be_open_to_local_programs_and_never_to_pages(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, 'metrics_auth = "none"') as door, aiohttp.ClientSession() as http:
        assert (await got(http, door, "/metrics", token=False)).status == HTTPStatus.OK
        assert (await got(http, door, "/metrics", Origin="https://evil.example")).status == HTTPStatus.FORBIDDEN
        assert (await got(http, door, "/metrics", Host="evil.example")).status == 421


async def test_no_name_of_a_user_is_in_the_metrics(door: Any) -> None:
    async with door.app() as app, aiohttp.ClientSession() as http:
        asked = await app.submit("r1", "SecretUser", quantity=1)
        await app.settled(asked["batch_id"])
        await app.ask("pause", scope="user:SecretUser")
        page = (await got(http, door, "/metrics")).body.decode()
    assert "secretuser" not in page.lower()
    assert 'comfyledger_lane_pauses_total{cause="person",lane="user"} 1.0' in page
    assert "comfyledger_users_paused 1.0" in page


async def test_open_work_is_counted_until_it_is_done(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, door.app() as app:
        engine = door.context.engine
        await app.ask("pause")
        asked = await app.submit("r1", quantity=3)
        standing = engine.view.open_work()
        assert (standing.batches, standing.images) == ({"open": 1}, {"pending": 3, "kept": 0})
        assert standing.prompts == {"queued": 3}
        assert standing.oldest_ms == (await door.context.reader.batch(asked["batch_id"])).at_ms
        await app.ask("resume")
        await app.settled(asked["batch_id"])
        await until(lambda: not engine.view.open_counts()["running"], "all calls have ended")
        assert engine.view.open_work().oldest_ms is None


async def test_a_reason_contains_paths_and_texts_of_others_only_with_a_token(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        broken = replace(door.context.stores["folder"], store=None, problem="/home/areg/images is gone")
        context = replace(door.context, stores={"folder": broken})
        (told,), _ = readiness(context, is_known=True)
        assert "/home/areg" in told["message"]
        (told,), _ = readiness(context, is_known=False)
        assert (told["code"], "areg" in str(told)) == ("plugin_broken", False)
