"""What a store has lost comes back: from the spool, another store, or ComfyUI; and nothing foreign is touched."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from support.cloudinary_process import Account, CloudHouse
from support.command_line import command
from support.processes import House
from support.waiting import DEADLINE_S
from support.wire_app import App, Frame, coloured, of_kind

CHARACTER = "Areg/characters/opal-fever/images/Areg_opal-fever_image_"


def second(house: House) -> str:
    return f'[stores.second]\nkind = "folder"\nroot = "{house.folder / "second"}"\n'


def kinds(said: dict[str, Any]) -> dict[str, int]:
    """How many steps of each kind, over all stores."""
    found = Counter[str]()
    for step in said.get("steps", []):
        found[step["kind"]] += step["images"]
    return dict(found)


async def stored_again(app: App, asked: Frame) -> Frame:
    """The batch, once every store has all of it."""
    return await app.counted("stored", len(asked["images"]), asked["batch_id"])


def of_store(root: Path, number: int) -> Path:
    return root / f"{CHARACTER}{number}.png"


async def test_a_deleted_file_is_restored_under_its_own_number(house: House) -> None:
    await house.begin(second(house))
    there = house.folder / "second"
    async with house.app() as app:
        asked = await app.submit("r1", images=coloured(3))
        await stored_again(app, asked)
        before = {number: of_store(there, number).read_bytes() for number in (1, 2, 3)}
        foreign = house.images / "holiday.png"
        foreign.write_bytes(b"somebody else's")

        of_store(house.images, 1).unlink()  # the spool has it
        plan = await command(house, "recover", "--missing", "--dry-run")
        assert (plan["images"], kinds(plan)) == (1, {"missing": 1})
        assert not of_store(house.images, 1).exists(), "a plan changes nothing"
        assert kinds(await command(house, "recover", "--missing")) == {"missing": 1}
        await stored_again(app, asked)
        assert of_store(house.images, 1).read_bytes() == before[1]

        shutil.rmtree(house.state / "spool" / asked["batch_id"])
        of_store(house.images, 2).unlink()  # only the second store has it
        of_store(house.images, 3).write_bytes(b"altered")
        assert kinds(await command(house, "recover", "--missing")) == {"missing": 1, "different": 1}
        await stored_again(app, asked)
        assert of_store(house.images, 2).read_bytes() == before[2]
        assert of_store(house.images, 3).read_bytes() == b"altered", "what is different is never overwritten"
        of_store(house.images, 3).write_bytes(before[3])

        shutil.rmtree(house.state / "spool" / asked["batch_id"])
        for root in (house.images, there):
            of_store(root, 1).unlink()  # nobody has it
        assert kinds(await command(house, "recover", "--missing")) == {"missing": 2}
        batch = await stored_again(app, asked)
        assert [image["number"] for image in batch["images"]] == [1, 2, 3]
        log = await app.log()
        assert kinds(await command(house, "recover", "--missing")) == {}
    (lost,) = of_kind(log, "image_lost")
    assert (lost["data"]["images"], len(of_kind(log, "batch_requested"))) == ([1], 1)
    assert [
        event["data"]["attempt"] for event in of_kind(log, "prompt_submitting") if event["data"]["prompt"] == 1
    ] == [
        1,
        2,
    ]
    house.check_stored(batch)
    assert foreign.read_bytes() == b"somebody else's"


async def test_a_collision_gets_a_new_number_and_a_later_store_is_filled(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        of_store(house.images, 2).write_bytes(b"somebody else's")
        asked = await app.submit("r2", images=coloured(2))
        (batch,) = await app.settled(asked["batch_id"])
        assert (batch["stored"], batch["parked"]) == (1, 1)
        assert kinds(await command(house, "recover", "--code", "collision", "--new-number")) == {"renumber": 1}
        batch = await stored_again(app, asked)
        assert [image["number"] for image in batch["images"]] == [4, 3]
        assert of_store(house.images, 2).read_bytes() == b"somebody else's"
        old = await app.ask("get_image", image=f"{CHARACTER}2")
        assert old["public_id"] == f"{CHARACTER}4", "the old name still finds the image"
        assert [image["number"] for image in (await app.submit("r3", quantity=1))["images"]] == [5]
    await _restarted(house)
    async with house.app() as app:
        said = await command(house, "recover", "--store", "second", "--since", "2h")
        assert (said["images"], kinds(said)) == (4, {"fill": 4})
        for one in (await app.ask("list_batches"))["batches"]:
            await app.counted("stored", one["quantity"], one["batch_id"])
    for number in (1, 3, 4, 5):
        assert of_store(house.folder / "second", number).read_bytes() == of_store(house.images, number).read_bytes()
    assert not of_store(house.folder / "second", 2).exists()


async def _restarted(house: House) -> None:
    house.daemon.signal(signal.SIGTERM)
    house.configure(second(house))
    await house.daemon.begin()


async def test_an_account_and_a_folder_mend_each_other(cloud: CloudHouse) -> None:
    await cloud.begin(second(cloud))
    there = cloud.folder / "second"
    async with cloud.app() as app:
        asked = await app.submit("r1", images=coloured(2))
        await stored_again(app, asked)
        before = {number: of_store(there, number).read_bytes() for number in (1, 2)}
        foreign = cloud.account.put("somebody/else")
        shutil.rmtree(cloud.state / "spool" / asked["batch_id"])
        of_store(there, 1).unlink()
        _delete(cloud.account, f"{CHARACTER}2")
        assert kinds(await command(cloud, "recover", "--missing")) == {"missing": 2}
        batch = await stored_again(app, asked)
    assert {number: of_store(there, number).read_bytes() for number in (1, 2)} == before
    assert uploads_to(batch, "cloud") == ["stored", "stored"]
    etags = {name: asset["etag"] for name, asset in cloud.account.assets().items()}
    ours = {f"{CHARACTER}{number}": hashlib.md5(content).hexdigest() for number, content in before.items()}
    assert etags == ours | foreign


def uploads_to(batch: Frame, store: str) -> list[str]:
    return [upload["state"] for image in batch["images"] for upload in image["uploads"] if upload["store"] == store]


def _delete(account: Account, public_id: str) -> None:
    """Somebody deletes an asset at Cloudinary's own page."""
    url = f"{account.url}/v1_1/{account.cloud_name}/resources/image/upload"
    key = base64.b64encode(f"{account.api_key}:{account.api_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    body = json.dumps({"public_ids": [public_id]}).encode()
    asked = urllib.request.Request(url, body, headers, method="DELETE")
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        assert json.load(answer)["deleted"] == {public_id: "deleted"}
