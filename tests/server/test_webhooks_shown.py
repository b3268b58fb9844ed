"""What is seen of webhooks: in `explain`, `server_info` and the metrics, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.server import tokens
from comfyledger.workers.webhooks import deliverer
from support.door import Door
from support.receiver import SECRET, receiving
from support.waiting import until
from support.wire_app import App

NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True, "workflow": "empty-image"}
Opened = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 0.02)
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_FIRST_S", 0.05)
    monkeypatch.setattr("comfyledger.core.webhooks.RETRY_MIN_S", 0.01)


async def asked(door: Door, path: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(f"{door.url}{path}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def explained(app: App, what: str) -> list[dict[str, Any]]:
    return list((await app.ask("explain", what=what))["owed"])


async def test_what_waits_for_a_webhook_is_explained_shown_and_measured_until_it_is_taken(
    tmp_path: Path, open_door: Opened
) -> None:
    (tmp_path / "shop.secret").write_text(SECRET)
    async with receiving() as receiver:
        receiver.fails(503)
        section = f'\n[webhooks.shop]\nurl = "{receiver.url}/T0/B0"\nhttp = true\nsecret = "file:shop.secret"\n'
        async with open_door(tmp_path, section) as door, door.app("app") as app:
            batch_id = (await app.ask("submit_batch", request_id="r", quantity=1, **NAMES))["batch_id"]
            await until(lambda: len(receiver.received) > 1, "it was tried again")
            await until(lambda: not door.context.view.open_work().batches.get("open"), "the batch is settled")
            for what in (batch_id, f"{batch_id}/1"):
                (owed,) = await explained(app, what)
                assert (owed["what"], owed["code"]) == ("deliver", "http_503")
                assert "image_uploaded" in owed["text"]
            (shown,) = (await app.ask("server_info"))["webhooks"]
            assert (shown["state"], shown["code"]) == ("failing", "http_503")
            assert shown["url"] == receiver.url.removesuffix("/hook")
            assert 'outcome="http_5xx",webhook="shop"} 0' not in await asked(door, "/metrics", door.token)

            await app.ask("pause", scope="webhook:shop")
            (owed,) = await explained(app, batch_id)
            assert (owed["code"], owed["command"]) == ("paused", "comfyledger webhook resume shop")
            assert 'comfyledger_webhook_paused{cause="paused",webhook="shop"} 1' in await asked(
                door, "/metrics", door.token
            )

            receiver.works()
            await app.ask("resume", scope="webhook:shop")
            await until(lambda: "batch_settled" in receiver.kinds, "all is taken")
            await until(lambda: door.context.webhooks["shop"].progress.position == door.position, "it is at the end")
            assert await explained(app, batch_id) == []


async def test_a_token_that_sees_its_own_work_learns_of_no_webhook_but_the_one_it_names(
    tmp_path: Path, open_door: Opened
) -> None:
    (tmp_path / "shop.secret").write_text(SECRET)
    async with receiving() as receiver:
        receiver.fails(503)
        sections = "".join(
            f'\n[webhooks.{name}]\nurl = "{receiver.url}"\nhttp = true\nsecret = "file:shop.secret"\n{more}\n'
            for name, more in (("shop", ""), ("apps", "per_batch = true"))
        )
        async with open_door(tmp_path, sections) as door:
            token = tokens.add(tmp_path / "state" / "tokens.json", "mine", "submit", 0.0)
            door.context.access.keyring.refresh()
            async with door.connect(additional_headers={"Authorization": f"Bearer {token}"}) as socket:
                mine = App(socket)
                await mine.ask("hello", client="mine")
                named, other = [
                    (await mine.ask("submit_batch", request_id=str(n), quantity=1, **NAMES, **more))["batch_id"]
                    for n, more in enumerate(({"webhook": "apps"}, {}))
                ]
                await until(lambda: not door.context.view.open_work().batches.get("open"), "both are settled")
                assert [one["text"].split()[2] for one in await explained(mine, named)] == ["apps"]
                assert await explained(mine, other) == []
                assert (await mine.ask("server_info")).get("webhooks") is None
                await mine.close()


async def test_what_a_removed_webhook_owed_comes_after_the_two_commands_that_undo_it(
    tmp_path: Path, open_door: Opened
) -> None:
    async with receiving() as receiver:
        receiver.fails(503)
        allowed = f'webhooks_allowed = ["{receiver.url}"]'
        async with open_door(tmp_path, top=allowed) as door, door.app("app") as app:
            await app.ask("add_webhook", name="late", url=receiver.url)
            batch_id = (await app.ask("submit_batch", request_id="r", quantity=1, **NAMES))["batch_id"]
            await until(lambda: not door.context.view.open_work().batches.get("open"), "the batch is settled")
            (known,) = (await app.ask("list_webhooks"))["webhooks"]
            await app.ask("remove_webhook", name="late")
            assert await explained(app, batch_id) == []
            receiver.works()
            added = await app.ask("add_webhook", name="late", url=receiver.url)
            receiver.secret = added["secret"]
            await app.ask("replay_webhook", name="late", since_position=known["position"] + 1)
            await until(lambda: receiver.kinds == ["image_uploaded", "batch_settled"], "all that was owed has come")
            assert all(one.is_signed for one in receiver.taken)
