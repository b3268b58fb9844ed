"""Laws of the store: one asset whatever happens, no question for an upload, and a budget that is kept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from comfyledger.plugin_api import Deposit, Held, ImageFault, LaneFault, Page, Series, Stored, StoreTrouble
from comfyledger_cloudinary.kinds import KINDS
from comfyledger_cloudinary.store import CloudinaryStore, comfyledger_stores
from support.waiting import DEADLINE_S, pause, until

pytestmark = pytest.mark.usefixtures("quick_time")

FOLDER = "Areg/characters/opal-fever/images"
NAME = f"{FOLDER}/Areg_opal-fever_image_1"
SERIES = Series(FOLDER, "Areg_opal-fever_image_")
SECRET = "s3cr3t-Abc"
NOW_S = 1_700_000_000.0
NOW_AS_HTTP = "Tue, 14 Nov 2023 22:13:20 GMT"
LATER = "Tue, 14 Nov 2023 22:43:20 GMT"


class Cloud:
    """A small account: what it answers next can be put in front; otherwise it stores, lists and finds."""

    def __init__(self) -> None:
        self.assets: dict[str, dict[str, Any]] = {}
        self.next: deque[tuple[int, Any, dict[str, str]]] = deque()
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.in_flight = self.most_in_flight = 0
        self.hold, self.admin_hold = asyncio.Event(), asyncio.Event()
        self.hold.set()
        self.admin_hold.set()
        self.folder_mode = "dynamic"
        self.headers = {"Date": NOW_AS_HTTP}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=50_000_000)
        app.router.add_post("/v1_1/demo/image/upload", self.upload)
        app.router.add_get("/v1_1/demo/{tail:.*}", self.admin)
        return app

    async def keep_waiting(self, time_s: float) -> None:
        """Answer no upload for so long after the first has come."""
        self.hold.clear()
        await until(lambda: self.in_flight)
        await pause(time_s)
        self.hold.set()

    @property
    def asked(self) -> list[str]:
        return [path for path, _ in self.calls if path != "upload"]

    async def upload(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        file = form.pop("file")
        assert isinstance(file, web.FileField)
        fields = {key: str(value) for key, value in form.items()}
        self.calls.append(("upload", fields))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self.hold.wait()
        self.in_flight -= 1
        if self.next:
            return self._said()
        name = fields["public_id"]
        existing = name in self.assets
        content = file.file.read()
        context = dict(pair.split("=", 1) for pair in fields["context"].split("|"))
        new = {"public_id": name, "etag": hashlib.md5(content).hexdigest(), "context": {"custom": context}}
        more = {"secure_url": f"https://x/{name}", "bytes": len(content), "format": "png", "asset_id": "as"}
        return web.json_response(
            {**self.assets.setdefault(name, {**new, **more}), **({"existing": True} if existing else {})}
        )

    async def admin(self, request: web.Request) -> web.Response:
        path = request.match_info["tail"]
        self.calls.append((path, dict(request.query)))
        await self.admin_hold.wait()
        expected = base64.b64encode(f"123:{SECRET}".encode()).decode()
        assert request.headers["Authorization"] == f"Basic {expected}"
        if self.next:
            return self._said()
        return web.json_response(*self._found(path, dict(request.query)), headers=self.headers)

    def _found(self, path: str, query: dict[str, str]) -> tuple[Any]:
        if path == "config":
            assert query == {"settings": "true"}
            return ({"settings": {"folder_mode": self.folder_mode}},)
        if path == "usage":
            limits = {"image_max_size_bytes": 1_000, "video_max_size_bytes": 5_000, "raw_max_size_bytes": 2_000}
            return ({"media_limits": limits},)
        if path in {"resources/video/upload", "resources/raw/upload"}:
            return ({"resources": []},)
        if path == "resources/image/upload":
            names = sorted(name for name in self.assets if name.startswith(query.get("prefix", "")))
            start, count = int(query.get("next_cursor", 0)), int(query["max_results"])
            more = {"next_cursor": str(start + count)} if start + count < len(names) else {}
            return ({"resources": [self.assets[name] for name in names[start : start + count]], **more},)
        return (self.assets[path.removeprefix("resources/image/upload/")],)

    def _said(self) -> web.Response:
        status, body, headers = self.next.popleft()
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers={**self.headers, **headers})

    def says(self, status: int, message: str, **headers: str) -> None:
        self.next.append((status, {"error": {"message": message}}, headers))


class Bench:
    def __init__(self, cloud: Cloud, url: str, folder: Path) -> None:
        self.cloud = cloud
        self.state = folder / "state"
        self.now_s = NOW_S
        self.url = url
        self.folder = folder
        self.stores: list[CloudinaryStore] = []

    def opened(self, **options: Any) -> CloudinaryStore:
        known = {"cloud_name": "demo", "api_key": "123", "api_secret": SECRET, "upload_prefix": self.url}
        store = CloudinaryStore.open("pics", {**known, "folder_mode": "fixed", **options}, self.state)
        store._now = store._admin._now = lambda: self.now_s
        self.stores.append(store)
        return store

    def deposit(self, content: bytes = b"ours", public_id: str = NAME, *, first: bool = False) -> Deposit:
        md5 = hashlib.md5(content).hexdigest()
        path = self.folder / md5
        path.write_bytes(content)
        return Deposit("B1/1", public_id, "png", path, f"sha-{md5}", md5, len(content), first)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    cloud = Cloud()
    server = TestServer(cloud.app())
    await server.start_server()
    made = Bench(cloud, str(server.make_url("")).rstrip("/"), tmp_path)
    yield made
    cloud.hold.set()
    cloud.admin_hold.set()
    for store in made.stores:
        await store.close()
    await server.close()


def test_the_plugin_brings_stores_of_kind_cloudinary() -> None:
    assert comfyledger_stores() == {"cloudinary": CloudinaryStore.open}


async def test_an_upload_is_stored_once_and_replayed_without_a_question(bench: Bench) -> None:
    store = bench.opened()
    first, second = await store.put(bench.deposit(first=True)), await store.put(bench.deposit())
    assert isinstance(first, Stored)
    assert isinstance(second, Stored)
    assert (first.replayed, second.replayed) == (False, True)
    assert first.url == f"https://x/{NAME}"
    assert bench.cloud.asked == []
    assert len(bench.cloud.assets) == 1


async def test_other_bytes_under_the_name_are_a_collision_and_stay(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.assets[NAME] = {"public_id": NAME, "etag": "other", "secure_url": "https://x"}
    found = await store.put(bench.deposit())
    assert isinstance(found, ImageFault)
    assert found.code == "collision"
    assert bench.cloud.assets[NAME]["etag"] == "other"


async def test_one_upload_is_in_flight_for_each_public_id(bench: Bench) -> None:
    store = bench.opened()
    puts = asyncio.gather(*(store.put(bench.deposit()) for _ in range(5)))
    await bench.cloud.keep_waiting(0.1)
    found = await puts
    assert [one.replayed for one in found if isinstance(one, Stored)] == [False, True, True, True, True]
    assert bench.cloud.most_in_flight == 1


async def test_no_more_uploads_are_in_flight_than_configured(bench: Bench) -> None:
    store = bench.opened(uploads_concurrent_max=3)
    bench.cloud.hold.clear()
    puts = [asyncio.create_task(store.put(bench.deposit(public_id=f"{FOLDER}/a{n}"))) for n in range(6)]
    while bench.cloud.in_flight < 3:
        await asyncio.sleep(0)
    bench.cloud.hold.set()
    assert all(isinstance(one, Stored) for one in await asyncio.gather(*puts))
    assert bench.cloud.most_in_flight == 3


async def test_waiting_for_a_place_is_not_waiting_for_a_connection(bench: Bench) -> None:
    store = bench.opened(uploads_concurrent_max=1, connect_timeout_s=0.2)
    puts = asyncio.gather(*(store.put(bench.deposit(public_id=f"{FOLDER}/a{n}")) for n in range(2)))
    await bench.cloud.keep_waiting(0.4)
    assert all(isinstance(one, Stored) for one in await puts)


async def test_a_cancelled_upload_leaves_no_turn_taken(bench: Bench) -> None:
    store = bench.opened(uploads_concurrent_max=1)
    bench.cloud.hold.clear()
    put = asyncio.create_task(store.put(bench.deposit()))
    while not bench.cloud.in_flight:
        await asyncio.sleep(0)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    bench.cloud.hold.set()
    assert isinstance(await store.put(bench.deposit()), Stored)
    assert len(store._turns) == 0


async def test_a_stale_request_is_signed_again_once(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.says(400, "Stale request - reported time is old")
    assert isinstance(await store.put(bench.deposit()), Stored)
    for _ in range(2):
        bench.cloud.says(400, "Stale request - reported time is old")
    found = await store.put(bench.deposit())
    assert isinstance(found, LaneFault)
    assert found.code == "clock"
    assert len(bench.cloud.calls) == 4


async def test_a_conflict_is_tried_again_and_then_parked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger_cloudinary.store.CONFLICT_DELAY_S", 0)
    store = bench.opened()
    for _ in range(3):
        bench.cloud.says(409, "Conflict")
    found = await store.put(bench.deposit())
    assert isinstance(found, ImageFault)
    assert len(bench.cloud.calls) == 3


async def test_the_secret_is_masked_should_it_ever_be_told(bench: Bench) -> None:
    store = bench.opened()
    for status in (400, 401):
        bench.cloud.says(status, f"String to sign - 'a=b{SECRET}'")
        assert SECRET not in repr(await store.put(bench.deposit()))
    bench.cloud.says(401, f"unknown {SECRET}")
    with pytest.raises(StoreTrouble) as caught:
        await store.highest_number(SERIES)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


async def test_a_file_above_the_accounts_limit_is_refused_before_any_call(bench: Bench) -> None:
    store = bench.opened()
    await store.prepare()
    found = await store.put(bench.deposit(b"x" * 1_001))
    assert isinstance(found, ImageFault)
    assert "1,001 bytes" in found.text
    assert bench.cloud.asked == ["usage"]
    assert isinstance(await store.put(bench.deposit(b"x" * 1_000)), Stored)
    assert [bench.opened()._known.bytes_max(kind) for kind in KINDS] == [1_000, 5_000, 2_000]
    for extension, limit, told in (("mp4", 5_000, "videos and sounds"), ("glb", 2_000, "other files")):
        deposit = msgspec.structs.replace(bench.deposit(b"x" * (limit + 1)), extension=extension)
        refused = await store.put(deposit)
        assert isinstance(refused, ImageFault)
        assert f"the account takes {told} up to {limit:,}" in refused.text


async def test_without_a_known_limit_cloudinary_decides(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.says(500, "General Error")
    await store.prepare()
    assert isinstance(await store.put(bench.deposit(b"x" * 2_000)), Stored)


async def test_the_folder_mode_is_asked_for_and_decides_fields_and_identity(bench: Bench) -> None:
    store = bench.opened(folder_mode="auto")
    with pytest.raises(RuntimeError):
        _ = store.identity
    await store.prepare()
    assert store.identity == "cloudinary:demo/dynamic"
    await store.put(bench.deposit())
    assert bench.cloud.calls[-1][1]["asset_folder"] == FOLDER
    assert bench.opened(folder_mode="fixed").identity == "cloudinary:demo/fixed"


async def test_a_later_start_needs_no_network(bench: Bench) -> None:
    await bench.opened(folder_mode="auto").prepare()
    for _ in range(2):
        bench.cloud.next.append((503, "<html>", {}))
    later = bench.opened(folder_mode="auto")
    await later.prepare()
    assert later.identity == "cloudinary:demo/dynamic"


async def test_what_is_remembered_does_not_hide_a_wrong_configuration(bench: Bench) -> None:
    await bench.opened(folder_mode="auto").prepare()
    bench.cloud.says(401, "Invalid credentials")
    with pytest.raises(StoreTrouble) as caught:
        await bench.opened(folder_mode="auto").prepare()
    assert caught.value.fault.code == "configuration"


async def test_a_later_start_does_not_wait_for_a_silent_network(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.opened(folder_mode="auto").prepare()
    monkeypatch.setattr("comfyledger_cloudinary.store.DISPENSABLE_S", 0.05)
    bench.cloud.admin_hold.clear()
    later = bench.opened(folder_mode="auto", answer_timeout_s=600.0)
    await asyncio.wait_for(later.prepare(), DEADLINE_S)
    assert later.identity == "cloudinary:demo/dynamic"


async def test_facts_of_another_address_or_a_broken_file_are_not_used(bench: Bench) -> None:
    await bench.opened(folder_mode="auto").prepare()
    (memory,) = bench.state.glob("*.json")
    for text in (memory.read_text().replace("127.0.0.1", "127.0.0.2"), "{", "[]", '{"folder_mode": 7}'):
        memory.write_text(text)
        bench.cloud.says(503, "General Error")
        with pytest.raises(StoreTrouble):
            await bench.opened(folder_mode="auto").prepare()


@pytest.mark.parametrize("mode", [None, "odd"])
async def test_an_account_that_does_not_say_its_mode_is_a_configuration(bench: Bench, mode: Any) -> None:
    bench.cloud.folder_mode = mode
    with pytest.raises(StoreTrouble, match="Set folder_mode in") as caught:
        await bench.opened(folder_mode="auto").prepare()
    assert caught.value.fault.code == "configuration"


def hold(bench: Bench, *names: object) -> None:
    for name in names:
        public_id = f"{FOLDER}/Areg_opal-fever_image_{name}"
        bench.cloud.assets[public_id] = {"public_id": public_id, "bytes": 4, "format": "png"}


async def test_a_series_goes_on_after_57_images_for_one_call_a_type(bench: Bench) -> None:
    hold(bench, *range(1, 58), "58x")
    assert await bench.opened().highest_number(SERIES) == 57
    query = {"prefix": f"{FOLDER}/Areg_opal-fever_image_", "max_results": "500"}
    assert bench.cloud.calls == [(f"resources/{kind}/upload", query) for kind in ("image", "video", "raw")]
    assert await bench.opened().highest_number(Series("x", "y_")) == 0


async def test_beyond_500_images_the_cursor_is_followed(bench: Bench) -> None:
    hold(bench, *range(1, 1_202))
    assert await bench.opened().highest_number(SERIES) == 1_201
    assert len(bench.cloud.calls) == 5


async def test_a_doubtful_maximum_is_not_used_skipped_or_asked_for_repeatedly(bench: Bench) -> None:
    hold(bench, 57, 20251122)
    store = bench.opened()
    for _ in range(3):
        with pytest.raises(StoreTrouble, match=r"image_20251122 .*import pics --prefix Areg\S+ --accept-out") as caught:
            await store.highest_number(SERIES)
        assert caught.value.fault.code == "configuration"
    assert len(bench.cloud.calls) == 3
    del bench.cloud.assets[f"{FOLDER}/Areg_opal-fever_image_20251122"]
    bench.now_s += 601
    assert await store.highest_number(SERIES) == 57


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "ok"},
        {"resources": None},
        {"resources": {}},
        {"resources": [7]},
        {"resources": [{"bytes": 4}]},
        {"resources": [], "next_cursor": 7},
        {"resources": [], "error": {"message": "listing failed"}},
        [],
        "",
        "<html>maintenance</html>",
    ],
)
async def test_an_answer_that_is_no_list_is_not_an_empty_account(bench: Bench, answer: Any) -> None:
    store = bench.opened()
    for call in (store.highest_number(SERIES), store.page("Areg")):
        bench.cloud.next.append((200, answer, {}))
        with pytest.raises(StoreTrouble):
            await call


@pytest.mark.parametrize("answer", [{"status": "ok"}, {"public_id": ""}, {"resources": []}])
async def test_an_answer_about_no_asset_is_not_an_asset_that_is_gone(bench: Bench, answer: Any) -> None:
    store = bench.opened()
    bench.cloud.next.append((200, answer, {}))
    with pytest.raises(StoreTrouble):
        await store.check(NAME, "png")
    bench.cloud.next.append((200, answer, {}))
    assert isinstance(await store.delete(Held(NAME, "png", 4)), LaneFault)


@pytest.mark.parametrize("status", [401, 403, 404, 420, 500])
async def test_an_account_that_cannot_be_asked_is_not_an_empty_one(bench: Bench, status: int) -> None:
    bench.cloud.says(status, "unknown cloud_name")
    with pytest.raises(StoreTrouble):
        await bench.opened().highest_number(SERIES)


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"]])
async def test_a_list_that_comes_to_no_end_is_no_whole_one(bench: Bench, cursors: list[str]) -> None:
    for cursor in cursors:
        bench.cloud.next.append((200, {"resources": [], "next_cursor": cursor}, {}))
    with pytest.raises(StoreTrouble, match="does not end"):
        await bench.opened().highest_number(SERIES)
    bench.cloud.next.append((200, {"resources": [], "next_cursor": "a"}, {}))
    with pytest.raises(StoreTrouble, match="does not end"):
        await bench.opened().page("", "a")


async def test_a_placeholder_holds_its_number_and_gives_no_doubt(bench: Bench) -> None:
    hold(bench, 57, 58, 20251122)
    for number in (58, 20251122):
        bench.cloud.assets[f"{FOLDER}/Areg_opal-fever_image_{number}"]["placeholder"] = True
    assert await bench.opened().highest_number(SERIES) == 58


async def test_a_refusal_that_names_a_moment_is_kept_to_without_a_call(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.says(420, "Limit of 500 api operations reached. Try again on 2023-11-14 22:43:20 UTC")
    for _ in range(3):
        with pytest.raises(StoreTrouble) as caught:
            await store.highest_number(SERIES)
        assert caught.value.fault.code == "throttled"
        assert caught.value.fault.retry_after_s == pytest.approx(1_800, abs=1)
    assert len(bench.cloud.calls) == 1
    bench.now_s += 1_801
    bench.cloud.next.clear()
    assert await store.highest_number(SERIES) == 0


async def test_a_used_up_budget_is_known_before_it_is_refused(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.headers |= {"X-FeatureRateLimit-Remaining": "0", "X-FeatureRateLimit-Reset": LATER}
    await store.page("")
    with pytest.raises(StoreTrouble, match="used up"):
        await store.highest_number(SERIES)
    assert len(bench.cloud.calls) == 1
    assert isinstance(await store.put(bench.deposit()), Stored)


async def test_a_refusal_without_a_moment_closes_for_a_minute(bench: Bench) -> None:
    store = bench.opened()
    bench.cloud.says(429, "Too many requests")
    for _ in range(2):
        with pytest.raises(StoreTrouble):
            await store.page("")
    assert len(bench.cloud.calls) == 1
    bench.now_s += 61
    assert await store.page("") == Page((), "video:")
    assert await store.page("", "video:") == Page((), "raw:")
    assert await store.page("", "raw:") == Page(())


async def test_an_account_that_breaks_off_is_asked_once_only(tmp_path: Path) -> None:
    connections: list[asyncio.StreamWriter] = []

    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    server = await asyncio.start_server(break_off, "127.0.0.1", 0)
    prefix = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    given = {"cloud_name": "demo", "api_key": "1", "api_secret": SECRET, "upload_prefix": prefix}
    store = CloudinaryStore.open("pics", {**given, "folder_mode": "fixed"}, tmp_path)
    with pytest.raises(StoreTrouble) as caught:
        await store.highest_number(SERIES)
    assert caught.value.fault.code == "not_reached"
    assert len(connections) == 1
    server.close()
    await store.prepare()
    await store.close()


async def test_what_is_held_under_a_name_is_told(bench: Bench) -> None:
    store = bench.opened()
    assert isinstance(await store.put(bench.deposit()), Stored)
    md5 = bench.deposit().md5
    assert await store.check(NAME, "png") == Held(NAME, "png", 4, md5, f"sha-{md5}", "B1/1")
    bench.cloud.says(404, "Resource not found - x")
    assert await store.check("x", "png") is None
    bench.cloud.says(404, "Unknown cloud")
    with pytest.raises(StoreTrouble):
        await store.check("x", "png")


async def test_pages_hold_each_file_once_for_one_call_each(bench: Bench) -> None:
    hold(bench, *range(1, 702))
    store = bench.opened()
    first = await store.page(FOLDER)
    last = await store.page(FOLDER, first.cursor)
    assert last.cursor == "video:"
    assert len({held.public_id for held in (*first.held, *last.held)}) == len(first.held) + len(last.held) == 701
    query = {"prefix": f"{FOLDER}/", "max_results": "500", "context": "1"}
    assert [query for _, query in bench.cloud.calls] == [query, {**query, "next_cursor": "500"}]


async def test_two_accounts_and_the_environment_do_not_mix(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudinary

    other = cloudinary.Config()
    other.update(cloud_name="other", api_key="9", api_secret="x", oauth_token="t", upload_prefix="http://127.0.0.1:1")
    monkeypatch.setattr(cloudinary, "_config", other)
    store = bench.opened()
    assert isinstance(await store.put(bench.deposit()), Stored)
    assert await store.highest_number(SERIES) == 1


async def test_the_sdk_never_holds_up_the_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    store = bench.opened()
    call = store._admin._call
    monkeypatch.setattr(store._admin, "_call", lambda *a: (seen.append(threading.get_ident()), call(*a))[1])
    await store.page("")
    assert seen
    assert threading.get_ident() not in seen


async def test_nothing_that_a_run_writes_or_shows_holds_the_secret(bench: Bench) -> None:
    store = bench.opened(folder_mode="auto")
    await store.prepare()
    await store.put(bench.deposit())
    written = b"".join(path.read_bytes() for path in bench.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert SECRET not in repr((store._options, vars(store), bench.cloud.calls))
