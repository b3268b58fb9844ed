"""Webhooks of a daemon in the test's process, with a real receiver: what is delivered, signed and in which order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comfyledger.workers.webhooks import deliverer, post
from support.door import Door
from support.receiver import SECRET, Receiver, receiving
from support.waiting import until
from support.wire_app import App, Refusal

NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}
Opened = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 0.02)
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_FIRST_S", 0.05)
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_MIN_S", 0.01)


def section(receiver: Receiver, name: str = "shop", more: str = "") -> str:
    return f'\n[webhooks.{name}]\nurl = "{receiver.url}"\nhttp = true\nsecret = "file:shop.secret"\n{more}\n'


class House:
    """A daemon with one configured webhook, its receiver and an app."""

    def __init__(self, door: Door, app: App, receiver: Receiver) -> None:
        self.door, self.app, self.receiver = door, app, receiver

    async def batch(self, request_id: str = "r", quantity: int = 1, **more: Any) -> str:
        asked = {"request_id": request_id, **NAMES, "quantity": quantity, "workflow": "empty-image", **more}
        return str((await self.app.ask("submit_batch", **asked))["batch_id"])

    async def info(self, name: str = "shop") -> dict[str, Any]:
        listed = (await self.app.ask("list_webhooks"))["webhooks"]
        return next(one for one in listed if one["name"] == name)


@asynccontextmanager
async def living(open_door: Opened, folder: Path, more: str = "", top: str = "") -> AsyncIterator[House]:
    async with receiving() as receiver:
        (folder / "shop.secret").write_text(SECRET)
        async with open_door(folder, section(receiver, more=more) + top) as door, door.app("app") as app:
            yield House(door, app, receiver)


async def test_what_happens_to_a_batch_is_delivered_signed_with_its_image(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path) as house:
        batch_id = await house.batch(metadata={"order": 7})
        await until(lambda: "batch_settled" in house.receiver.kinds, "the end is delivered")
        assert house.receiver.kinds == ["image_uploaded", "batch_settled"]
        assert all(one.is_signed for one in house.receiver.received)
        uploaded, settled = house.receiver.received
        image, event = uploaded.body["data"]["image"], uploaded.body["data"]["event"]
        assert (event["kind"], event["stream"]) == ("image_uploaded", batch_id)
        assert (image["name"], image["state"]) == ("Areg_opal-fever_image_1", "stored")
        assert image["file_url"].startswith(house.door.url)
        assert uploaded.body["data"]["recipe"] == f"/v1/images/{batch_id}/1/recipe"
        assert settled.body["data"]["batch"]["metadata"] == {"order": 7}
        assert settled.body["timestamp"].endswith("Z")


async def test_an_endpoint_that_fails_gets_each_event_once_it_works_in_the_order_of_each_batch(
    tmp_path: Path, open_door: Opened
) -> None:
    async with living(open_door, tmp_path, 'kinds = ["image_kept", "image_uploaded", "batch_settled"]') as house:
        house.receiver.fails(503)
        batches = [await house.batch(f"r{number}", 2) for number in range(3)]
        await until(lambda: len(house.receiver.received) >= 4, "it is tried again and again")
        info = await house.info()
        assert (info["state"], info["code"], info["text"]) == ("failing", "http_503", "The endpoint answered 503.")
        assert info["behind"] > 0
        house.receiver.works()
        await until(lambda: house.receiver.kinds.count("batch_settled") == 3, "all is delivered")
        for batch_id in batches:
            positions = [one.position for one in house.receiver.taken if one.stream == batch_id]
            assert len(positions) == 5
            assert positions == sorted(positions)
        info = await house.info()
        assert (info["state"], info.get("code", "")) == ("working", "")


async def test_an_endpoint_that_hangs_is_given_up_after_a_while_and_tried_again(
    tmp_path: Path, open_door: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "TOTAL_S", 0.1)
    async with living(open_door, tmp_path) as house:
        house.receiver.free.clear()
        await house.batch()

        async def is_timed_out() -> bool:
            return bool((await house.info()).get("code") == "timeout")

        await until(is_timed_out, "the try ends")
        house.receiver.free.set()
        await until(lambda: house.receiver.kinds == ["image_uploaded", "batch_settled"], "all is delivered")
        tries = [one.id for one in house.receiver.received if one.kind == "image_uploaded"]
        assert len(tries) >= 2
        assert len(set(tries)) == 1


async def test_a_redirect_is_not_followed(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path) as house, receiving() as other:
        house.receiver.fails(307, Location=other.url)
        await house.batch()
        await until(lambda: len(house.receiver.received) >= 2, "it is tried again")
        assert "redirects" in (await house.info())["text"]
        assert other.received == []


async def test_a_refused_event_is_put_aside_and_other_batches_go_on(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path, 'kinds = ["image_kept", "image_uploaded", "batch_settled"]') as house:
        refused = []

        def answer(one: Any) -> web.Response | None:
            refused.append(one.stream)
            return web.Response(status=422) if one.stream == refused[0] else None

        house.receiver.answer = answer
        first = await house.batch("r1")
        await until(lambda: refused, "the first event came")
        await house.batch("r2")
        await until(lambda: "batch_settled" in house.receiver.kinds, "the other batch is delivered")

        async def all_aside() -> bool:
            return bool((await house.info()).get("owed") == 3)

        await until(all_aside, "what follows it waits behind it")
        info = await house.info()
        assert {one["stream"] for one in info["owed_first"]} == {first}
        assert [one["code"] for one in info["owed_first"]] == ["http_422", "", ""]
        house.receiver.works()
        await until(lambda: house.receiver.kinds.count("batch_settled") == 2, "it is delivered at last")
        positions = [one.position for one in house.receiver.taken if one.stream == first]
        assert positions == sorted(positions)
        assert len(positions) == 3


async def test_an_endpoint_that_is_gone_is_asked_no_more_until_somebody_resumes_it(
    tmp_path: Path, open_door: Opened
) -> None:
    async with living(open_door, tmp_path) as house:
        house.receiver.fails(410)
        await house.batch()

        async def is_gone() -> bool:
            return bool((await house.info())["state"] == "gone")

        await until(is_gone, "it is paused")
        asked = len(house.receiver.received)
        house.receiver.works()
        await house.batch("r2")
        assert len(house.receiver.received) == asked
        await house.app.ask("resume", scope="webhook:shop")
        await until(lambda: house.receiver.kinds.count("batch_settled") == 2, "all is delivered")


async def test_a_dead_endpoint_does_not_slow_another_webhook(tmp_path: Path, open_door: Opened) -> None:
    async with receiving() as dead, living(open_door, tmp_path, top=section(dead, "dead")) as house:
        dead.free.clear()
        for number in range(6):
            await house.batch(f"r{number}")
        await until(lambda: house.receiver.kinds.count("batch_settled") == 6, "the other one has all")
        assert dead.taken == []


async def test_a_paused_webhook_delivers_nothing_and_goes_on_where_it_was(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path) as house:
        await house.app.ask("pause", scope="webhook:shop")
        await house.app.ask("pause", scope="webhook:shop")
        await house.batch()
        await until_settled(house)
        assert (await house.info())["state"] == "paused"
        assert house.receiver.received == []
        await house.app.ask("resume", scope="webhook:shop")
        await until(lambda: house.receiver.kinds == ["image_uploaded", "batch_settled"], "all is delivered")
        with pytest.raises(Refusal, match="nothing_to_do"):
            await house.app.ask("resume", scope="webhook:shop")
        with pytest.raises(Refusal, match="unknown_scope"):
            await house.app.ask("pause", scope="webhook:nothing")


async def until_settled(house: House, count: int = 1) -> None:
    async def settled() -> bool:
        batches = (await house.app.ask("list_batches"))["batches"]
        return [one["status"] for one in batches] == ["settled"] * count

    await until(settled, "the batches are settled")


# ---- at run time


@asynccontextmanager
async def opened_with(open_door: Opened, folder: Path, receiver: Receiver, entry: str = "") -> AsyncIterator[House]:
    """A daemon that allows webhooks at the receiver, or at what `entry` describes."""
    allowed = f'webhooks_allowed = ["{entry or receiver.url}"]'
    async with open_door(folder, top=allowed) as door, door.app("app") as app:
        yield House(door, app, receiver)


async def test_a_webhook_is_added_with_a_secret_that_verifies_and_delivers_what_follows(
    tmp_path: Path, open_door: Opened
) -> None:
    async with receiving() as late, opened_with(open_door, tmp_path, late) as house:
        await house.batch("before")
        await until_settled(house)
        asked = {"name": "late", "url": f"{late.url}/one", "kinds": ["batch_settled"]}
        answer = await house.app.ask("add_webhook", **asked)
        late.secret = answer["secret"]
        assert await house.app.ask("add_webhook", **asked) == {**answer, "changed": False}
        await house.batch("after")
        await until(lambda: late.kinds == ["batch_settled"], "what follows is delivered")
        assert [(one.is_signed, one.path) for one in late.received] == [(True, "/hook/one")]
        assert (await house.info("late"))["origin"] == "added"
        assert answer["secret"] not in str(await house.app.ask("read_log"))


async def test_a_webhook_that_is_removed_delivers_nothing_more(tmp_path: Path, open_door: Opened) -> None:
    async with receiving() as late, opened_with(open_door, tmp_path, late) as house:
        await house.app.ask("add_webhook", name="late", url=late.url)
        await house.app.ask("remove_webhook", name="late")
        await house.batch()
        await until_settled(house)
        assert (await house.app.ask("list_webhooks"))["webhooks"] == []
        assert late.received == []
        with pytest.raises(Refusal, match="unknown_webhook"):
            await house.app.ask("remove_webhook", name="late")
        with pytest.raises(Refusal, match="unknown_webhook"):
            await house.app.ask("test_webhook", name="late")


async def test_another_address_of_an_added_webhook_gets_what_the_first_one_did_not_take(
    tmp_path: Path, open_door: Opened
) -> None:
    async with receiving() as late, opened_with(open_door, tmp_path, late) as house:
        late.fails(503)
        first = await house.app.ask("add_webhook", name="late", url=f"{late.url}/old", kinds=["batch_settled"])
        await house.batch()
        await until(lambda: late.received, "it is tried")
        late.works()
        late.answer = lambda one: web.Response(status=503) if one.path.endswith("/old") else None
        second = await house.app.ask("add_webhook", name="late", url=f"{late.url}/new", kinds=["batch_settled"])
        late.secret = second["secret"]
        assert second["secret"] != first["secret"]
        await until(lambda: late.kinds == ["batch_settled"], "the new address has it")
        assert late.taken[0].is_signed


@pytest.mark.parametrize(
    "url", ["https://evil.example/hook", "http://127.0.0.1:1/hook", "http://127.0.0.1.evil.example/hook"]
)
async def test_what_the_operator_does_not_allow_is_not_added(tmp_path: Path, open_door: Opened, url: str) -> None:
    async with receiving() as late, opened_with(open_door, tmp_path, late) as house:
        with house.door.unchanged(), pytest.raises(Refusal, match="webhook_not_allowed"):
            await house.app.ask("add_webhook", name="late", url=url)
        for bad in (late.url.replace("//", "//me:secret@"), f"{late.url}?token=x", f"{late.url}/../x", "ftp://x"):
            with house.door.unchanged(), pytest.raises(Refusal, match="invalid_field"):
                await house.app.ask("add_webhook", name="late", url=bad)
        with house.door.unchanged(), pytest.raises(Refusal, match="invalid_field"):
            await house.app.ask("add_webhook", name="late", url=late.url, kinds=["webhook_paused"])


async def test_a_name_that_means_this_machine_is_refused_for_an_added_webhook_and_not_for_a_configured_one(
    tmp_path: Path, open_door: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(*args: Any, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", args[1]))]

    async with living(open_door, tmp_path, more="") as house:
        port = house.receiver.url.rpartition(":")[2]
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", find)
        for trusts, code in ((True, ""), (False, "address_not_allowed")):
            poster = post.Poster(trusts_names=trusts, wall_ms=lambda: 1_700_000_000_000)
            named = post.Signed(f"http://hook.example:{port}", "msg_1", b"{}", b"k" * 32)
            fault = await poster.post(named)
            assert (fault.code if fault is not None else "") == code
            await poster.close()


@pytest.mark.parametrize("host", ["169.254.1.1", "[::ffff:169.254.1.1]", "[64:ff9b::a9fe:101]", "[fe80::1]", "0.0.0.0"])
async def test_no_webhook_is_called_at_a_link_local_address_however_it_is_written(host: str) -> None:
    for trusts in (True, False):
        poster = post.Poster(trusts_names=trusts, wall_ms=lambda: 1_700_000_000_000)
        fault = await poster.post(post.Signed(f"http://{host}/hook", "msg_1", b"{}", b"k" * 32))
        assert fault is not None
        assert fault.code == "address_not_allowed"


async def test_the_name_of_a_configured_webhook_is_not_added(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path) as house:
        with house.door.unchanged(), pytest.raises(Refusal, match="webhook_exists"):
            await house.app.ask("add_webhook", name="shop", url="https://shop.example/hook")
        with house.door.unchanged(), pytest.raises(Refusal, match="unknown_webhook"):
            await house.app.ask("remove_webhook", name="shop")


async def test_a_test_request_is_signed_and_changes_no_delivery(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path) as house:
        before = await house.info()
        assert (await house.app.ask("test_webhook", name="shop"))["taken"]
        (one,) = house.receiver.received
        assert one.is_signed
        assert (one.kind, one.body["data"]) == ("webhook.test", {"webhook": "shop"})
        house.receiver.fails(401)
        answer = await house.app.ask("test_webhook", name="shop")
        assert (answer["taken"], answer["code"], answer["text"]) == (False, "http_401", "The endpoint answered 401.")
        assert await house.info() == before


async def test_a_replay_delivers_again_under_the_same_ids_and_a_dry_run_only_counts(
    tmp_path: Path, open_door: Opened
) -> None:
    async with living(open_door, tmp_path) as house:
        for request_id in ("r1", "r2"):
            await house.batch(request_id)
        await until(lambda: house.receiver.kinds.count("batch_settled") == 2, "all is delivered")
        ids = [one.id for one in house.receiver.received]
        dry = await house.app.ask("replay_webhook", name="shop", since_position=1, dry_run=True)
        assert (dry["events"], dry["position"], dry["dry_run"]) == (4, 0, True)
        assert len(house.receiver.received) == 4
        assert (await house.app.ask("replay_webhook", name="shop", since_position=1))["events"] == 4
        await until(lambda: len(house.receiver.received) == 8, "all is delivered again")
        assert sorted(one.id for one in house.receiver.received[4:]) == sorted(ids)
        at_ms = house.receiver.received[0].body["data"]["event"]["at_ms"]
        assert (await house.app.ask("replay_webhook", name="shop", since_ms=at_ms, dry_run=True))["events"] == 4


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "invalid_field"),
        ({"since_position": 1, "since_ms": 1}, "invalid_field"),
        ({"since_position": 10**6}, "unknown_position"),
        ({"since_ms": 2**50}, "nothing_to_do"),
    ],
)
async def test_a_replay_needs_a_place_in_what_was_delivered(
    tmp_path: Path, open_door: Opened, asked: dict[str, int], code: str
) -> None:
    async with living(open_door, tmp_path) as house:
        with pytest.raises(Refusal, match=code):
            await house.app.ask("replay_webhook", name="shop", **asked)


# ---- batches that name one


async def test_a_webhook_for_named_batches_delivers_these_alone_also_to_an_address_below_its_own(
    tmp_path: Path, open_door: Opened
) -> None:
    more = 'per_batch = true\nkinds = ["batch_settled"]'
    async with living(open_door, tmp_path, more) as house:
        await house.batch("none")
        by_name = await house.batch("name", webhook="shop")
        by_url = await house.batch("url", webhook=f"{house.receiver.url}/order/7")
        await until(lambda: len(house.receiver.received) == 2, "both are delivered")
        assert {(one.stream, one.path) for one in house.receiver.received} == {
            (by_name, "/hook"),
            (by_url, "/hook/order/7"),
        }
        assert (await house.info())["per_batch"]


async def test_a_batch_names_no_other_webhook(tmp_path: Path, open_door: Opened) -> None:
    async with living(open_door, tmp_path, "per_batch = true") as house:
        url = house.receiver.url
        wrong = [
            f"{url}sy",
            f"{url}/../x",
            f"{url}/%2e%2e/x",
            url.replace("127.0.0.1", "127.0.0.1.evil.example"),
            url.replace("//", "//me@"),
            url.replace("/hook", "1/hook"),
            url.replace("http", "https"),
            f"{url}?a=1",
            "https://",
        ]
        for number, asked in enumerate(wrong):
            with house.door.unchanged(), pytest.raises(Refusal, match="webhook_not_allowed"):
                await house.batch(f"r{number}", webhook=asked)
        with house.door.unchanged(), pytest.raises(Refusal, match="unknown_webhook"):
            await house.batch("r", webhook="nobody")


# ---- what is left out, and when it begins


async def test_of_a_forgotten_batch_its_events_are_delivered_without_its_texts(
    tmp_path: Path, open_door: Opened
) -> None:
    async with living(open_door, tmp_path) as house:
        await house.app.ask("pause", scope="webhook:shop")
        batch_id = await house.batch(metadata={"note": "hidden"}, tags=["hidden"])
        await until_settled(house)
        await house.app.ask("forget", batch_id=batch_id)
        await house.app.ask("resume", scope="webhook:shop")
        await until(lambda: "batch_settled" in house.receiver.kinds, "its events are delivered")
        assert "hidden" not in str(house.receiver.received)
        image = house.receiver.received[0].body["data"]["image"]
        assert (image["state"], image.get("file_url", "")) == ("forgotten", "")


async def test_a_configured_webhook_begins_at_the_end_of_the_log_and_then_goes_on_where_it_was(
    tmp_path: Path, open_door: Opened
) -> None:
    async with open_door(tmp_path) as door, door.app("app") as app:
        await House(door, app, Receiver()).batch("before")
        await until_settled(House(door, app, Receiver()))
    async with receiving() as receiver:
        (tmp_path / "shop.secret").write_text(SECRET)
        async with open_door(tmp_path, section(receiver)) as door, door.app("app") as app:
            await House(door, app, receiver).batch("r1")
            await until(lambda: receiver.kinds == ["image_uploaded", "batch_settled"], "what follows is delivered")
            await until(partial(is_saved, door), "that is saved")
        async with open_door(tmp_path, section(receiver)) as door, door.app("app") as app:
            await House(door, app, receiver).batch("r2")
            await until(lambda: receiver.kinds.count("batch_settled") == 2, "it goes on")
            assert len(receiver.received) == 4


async def is_saved(door: Door) -> bool:
    return (await door.context.reader.webhook_progress())[0].position == door.position
