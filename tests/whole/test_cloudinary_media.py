"""Videos, sounds and raw files into an account: each stored once whatever kills the daemon, and found by every command.

What is compared is the stand-in's own ledger and assets, each under its resource type.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from comfyledger import crash_points
from support.cloudinary_process import FOLDER, Account, CloudHouse
from support.command_line import command
from support.doomed_lives import Seen, die, last_life
from support.media_graphs import graph_of, savers_of, several
from support.processes import in_between
from support.waiting import DEADLINE_S, until
from support.wire_app import App, Frame

MEDIA = ("png", "mp4", "flac", "glb", "text", "exr")
TYPES = {"png": "image", "mp4": "video", "flac": "video", "glb": "raw", "txt": "raw", "exr": "raw"}
"""The resource type of files with each extension."""
OF_AN_UPLOAD = [name for name in crash_points.POINTS if name.startswith("upload.")]
STEM = f"{FOLDER}/Areg_opal-fever_"
FOREIGN = [
    {"public_id": f"{STEM}video_1", "resource_type": "image"},
    {"public_id": f"{STEM}model_1", "resource_type": "raw"},
    {"public_id": f"{STEM}model_1.txt", "resource_type": "video"},
    {"public_id": "somebody/else.glb", "resource_type": "raw"},
]
"""What others have under names of ours, in other types or without our extension."""
Place = tuple[str, str]
LARGE = 30_000_000


def places(account: Account) -> dict[Place, str]:
    """The MD5 of each asset, by resource type and public id."""
    return {(one["resource_type"], one["public_id"]): one["etag"] for one in account.listed()}


def wanted(cloud: CloudHouse, batch: Frame) -> dict[Place, str]:
    """Where each image of a batch must be, with the MD5 of what was kept."""
    found = {}
    for image in batch["images"]:
        extension = image["extension"]
        path = cloud.state / "spool" / batch["batch_id"] / f"{image['index']}.{extension}"
        name = image["public_id"] + (f".{extension}" if TYPES[extension] == "raw" else "")
        found[TYPES[extension], name] = hashlib.md5(path.read_bytes()).hexdigest()
    return found


def check_once(account: Account) -> None:
    """Nothing was replaced, and nothing was stored as new twice."""
    requests = account.requests()
    assert not [one for one in requests if one["is_replaced"]]
    news = Counter((one["resource_type"], one["public_id"]) for one in requests if one["is_stored"])
    assert set(news.values()) <= {1}, news


async def ask(app: App, seen: Seen) -> None:
    await seen.subscribe(app)
    graph = several(*MEDIA, color=7)
    more = {"workflow": graph, "outputs": savers_of(*MEDIA), "inputs": {}}
    seen.replies.append(await app.submit("r1", quantity=1, **more))


async def test_whatever_kills_the_daemon_each_file_is_stored_once(side_by_side: Any) -> None:
    """It dies at the first upload, and in the next lives at the second one."""
    await side_by_side(killed_at_each_upload, OF_AN_UPLOAD, make=CloudHouse)


async def killed_at_each_upload(cloud: CloudHouse, point: str) -> None:
    cloud.options = "answer_timeout_s = 0.4"
    await cloud.account.begin()
    cloud.account.control(seed=FOREIGN)
    cloud.account.control(
        faults=[
            {"fault": fault, "match": {"path": f"/{kind}/upload"}}
            for kind, fault in (
                ("video", "store_then_reset"),
                ("raw", "store_then_truncate"),
                ("raw", "reset_mid_body"),
            )
        ]
    )
    foreign = places(cloud.account)
    await cloud.comfyui.begin()
    cloud.configure("[limits]\nuploads_max = 1")
    seen = Seen()
    go_on = partial(ask, seen=seen)
    for place in (point, f"{point}:2"):
        await die(cloud, place, seen, go_on)
    batch = await last_life(cloud, seen, go_on)
    seen.check_replies()
    assert [image["state"] for image in batch["images"]] == ["stored"] * len(MEDIA)
    assert places(cloud.account) == foreign | wanted(cloud, batch)
    check_once(cloud.account)
    assert len(cloud.comfyui.posted()) == 1


def delete_by_hand(account: Account, kind: str, name: str) -> None:
    """Somebody deletes an asset at Cloudinary's own page."""
    url = f"{account.url}/v1_1/{account.cloud_name}/resources/{kind}/upload"
    key = base64.b64encode(f"{account.api_key}:{account.api_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, json.dumps({"public_ids": [name]}).encode(), headers, method="DELETE")
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        assert json.load(answer)["deleted"] == {name: "deleted"}


async def test_every_command_knows_files_of_all_types(cloud: CloudHouse) -> None:
    """Numbers continue, an audit finds all, what is lost comes back from either store, and forgetting deletes it."""
    there = cloud.folder / "second"
    await cloud.account.begin()
    before = [
        {"public_id": f"{STEM}video_9", "resource_type": "video"},
        {"public_id": f"{STEM}model_4.glb", "resource_type": "raw"},
        {"public_id": f"{STEM}audio_2", "resource_type": "video", "format": "mp3"},
    ]
    cloud.account.control(seed=[*FOREIGN, *before])
    foreign = places(cloud.account)
    await cloud.begin(f'[stores.second]\nkind = "folder"\nroot = "{there}"\n')
    async with cloud.app() as app:
        more = {"workflow": several(*MEDIA, color=7), "outputs": savers_of(*MEDIA), "inputs": {}}
        asked = await app.submit("r1", quantity=1, **more)
        assert [name.partition("fever_")[2] for name in asked["public_ids"]] == [
            *("image_1", "video_10", "audio_3", "model_5", "file_1", "image_2"),
        ]
        (batch,) = await app.settled(asked["batch_id"])
        ours = wanted(cloud, batch)
        assert places(cloud.account) == foreign | ours
        urls = [upload["url"] for image in batch["images"] for upload in image["uploads"] if upload["store"] == "cloud"]
        assert [hashlib.md5(urllib.request.urlopen(url).read()).hexdigest() for url in urls] == list(ours.values())
        assert (await command(cloud, "audit", "--stores", "--deep"))["findings"] == []
        await lost_and_found(cloud, app, batch, there)
        assert places(cloud.account) == foreign | ours
        assert await surveyed(app) == {"image": 2, "video": 10, "audio": 3, "model": 5, "file": 1}
        done = await app.ask("forget", batch_id=batch["batch_id"], stores=True)
        assert done["deletions"] == 2 * len(MEDIA)
        await until(lambda: places(cloud.account) == foreign, "the account holds nothing of ours")
        await until(lambda: not stored_in(there), "the folder holds nothing of ours")


def stored_in(folder: Path) -> list[Path]:
    """The files in a folder store without the mark that it is one."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".comfyledger"]


async def lost_and_found(cloud: CloudHouse, app: App, batch: Frame, there: Path) -> None:
    """The account loses its video and its model, the folder its sound, and the spool everything."""
    kept = {path: path.read_bytes() for path in there.rglob("*.*") if path.is_file()}
    shutil.rmtree(cloud.state / "spool" / batch["batch_id"])
    delete_by_hand(cloud.account, "video", f"{STEM}video_10")
    delete_by_hand(cloud.account, "raw", f"{STEM}model_5.glb")
    (there / f"{STEM}audio_3.flac").unlink()
    found = await command(cloud, "recover", "--missing")
    assert {(step["kind"], step["images"]) for step in found["steps"]} == {("missing", 2), ("missing", 1)}
    await app.counted("stored", len(MEDIA), batch["batch_id"])
    assert {path: path.read_bytes() for path in there.rglob("*.*") if path.is_file()} == kept


async def surveyed(app: App) -> dict[str, int]:
    """The highest number of each series that an import finds in the account, by the last word of its name."""
    found: dict[str, int] = {}
    cursor, pages = "", 0
    while cursor or not pages:
        page = await app.ask("survey_store", store="cloud", cursor=cursor)
        for one in page["found"]:
            word = one["stem"].split("_")[-2]
            found[word] = max(one["highest"], found.get(word, 0))
        cursor, pages = page.get("cursor", ""), pages + 1
    assert pages == len(set(TYPES.values()))
    return found


def enlarged(path: str, body: bytes) -> bytes:
    """A video with 30 MB of frames that no index names."""
    return body + struct.pack(">I4s", 8 + LARGE, b"mdat") + bytes(LARGE) if path == "/view" else body


async def test_a_large_video_goes_up_in_parts_once_whatever_happens(cloud: CloudHouse) -> None:
    """The daemon dies before the first part, and when the answer to the last one is lost."""
    await cloud.account.begin()
    lost = {"path": "/video/upload", "nth": 2}
    cloud.account.control(seed=FOREIGN, faults=[{"fault": "store_then_reset", "match": lost}])
    foreign = places(cloud.account)
    await cloud.comfyui.begin()
    seen = Seen()

    async def go_on(app: App) -> None:
        await seen.subscribe(app)
        more = {"workflow": graph_of("mp4", 7, prefix="x"), "inputs": {}}
        seen.replies.append(await app.submit("r1", quantity=1, **more))

    async with in_between(cloud.comfyui.url, answered=enlarged) as url:
        cloud.configure(url=url)
        for place in ("upload.intended", "upload.answered"):
            await die(cloud, place, seen, go_on)
        batch = await last_life(cloud, seen, go_on)
    seen.check_replies()
    ours = wanted(cloud, batch)
    assert places(cloud.account) == foreign | ours
    check_once(cloud.account)
    sent = [one["received_bytes"] for one in cloud.account.uploads()]
    assert (len(sent), sum(sent)) == (2, batch["images"][0]["size_bytes"]), "the account was asked before a third part"
