"""Today's daemon goes on with the webhooks of an old release that was killed: nothing is skipped, and ids stay."""

from __future__ import annotations

from pathlib import Path

from support.cloudinary_process import Account
from support.ledger_builders import check_tables
from support.old_ledger import unpack
from support.processes import House
from support.receiver import Receiver, receiving
from support.waiting import until
from support.wire_app import App, Frame


async def reopened(house: House, cloud: Account, receiver: Receiver) -> Frame:
    """Start today's daemon on what c6c8638 left. Returns what is expected of it."""
    left = unpack(house.folder, "c6c8638")
    await house.comfyui.begin()
    await cloud.begin()
    path = house.folder / "config.toml"
    text = path.read_text()
    for name, url in {"SHOP": receiver.url, "COMFYUI": house.comfyui.url, "CLOUD": cloud.url}.items():
        text = text.replace(f"URL_OF_{name}", url)
    path.write_text(text)
    await house.daemon.begin()
    return left


async def shown(app: App) -> dict[str, Frame]:
    return {one["name"]: one for one in (await app.ask("list_webhooks"))["webhooks"]}


async def test_what_an_old_release_had_not_delivered_arrives_under_the_same_ids(tmp_path: Path) -> None:
    house, cloud = House(tmp_path), Account(tmp_path)
    try:
        async with receiving() as receiver:
            left = await reopened(house, cloud, receiver)
            before = set(left["taken"])
            assert before < set(left["wanted"]), "it had more to deliver"
            async with house.app() as app:
                found = await shown(app)
                assert {name: one["state"] for name, one in found.items() if name != "shop"} == {
                    one["name"]: one["state"] for one in left["shown"] if one["name"] != "shop"
                }
                await app.ask("pause", scope="webhook:shop")
                await app.ask("resume", scope="webhook:shop")  # what failed is tried at once
                wanted = set(left["wanted"])
                await until(lambda: before | {one.position for one in receiver.taken} == wanted, "all have come")
            assert all(one.is_signed for one in receiver.received)
            ids = {str(one.position): one.id for one in receiver.received}
            again = ids.keys() & left["ids"].keys()
            assert again
            assert {place: ids[place] for place in again} == {place: left["ids"][place] for place in again}
        check_tables(house.state / "ledger.db")
    finally:
        house.end()
        cloud.end()
