"""A video of a hundred megabytes passes the whole road with flat memory, and others do not wait for it."""

from __future__ import annotations

import os
import struct

import aiohttp

from support.media_builders import movie
from support.media_graphs import graph_of
from support.processes import House
from support.waiting import until

SIZE_BYTES = int(os.environ.get("LARGE_FILE_BYTES", "100_000_000"))
PEAK_BYTES_MAX = 130 * 1_048_576


async def test_a_large_video_needs_no_memory_and_delays_nobody(house: House) -> None:
    await house.begin("[spool]\nimage_bytes_max = 1_000_000")
    house.comfyui.control(hold=["history"])
    async with house.app() as app:
        asked = await app.submit("large", quantity=1, inputs={}, workflow=graph_of("mp4", 7, prefix="x"))
        folder = house.comfyui.output / "comfyledger" / asked["batch_id"].lower()
        await until(lambda: list(folder.glob("*.mp4")), "the video is made")
        (path,) = folder.glob("*.mp4")
        with path.open("wb") as file:
            file.write(movie(index_first=True) + struct.pack(">I4sQ", 1, b"mdat", 16 + SIZE_BYTES))
            file.truncate(file.tell() + SIZE_BYTES)
        house.comfyui.control(hold=[])
        await until(lambda: list((house.state / "spool").glob("*/.*")), "the video is being fetched")
        other = await app.submit("other", quantity=3)
        (batch,) = await app.settled(other["batch_id"])
        (large,) = await app.settled(asked["batch_id"], deadline_s=300.0)
    image = large["images"][0]
    assert (image["state"], image["extension"], image["size_bytes"]) == ("stored", "mp4", path.stat().st_size)
    assert house.stored()[image["public_id"]].stat().st_size == path.stat().st_size
    assert {image["state"] for image in batch["images"]} == {"stored"}
    async with aiohttp.ClientSession() as http:
        for start in (0, SIZE_BYTES // 2, SIZE_BYTES):
            asked_for = {"Range": f"bytes={start}-{start + 9}"}
            async with http.get(image["file_url"], headers=asked_for) as answer:
                assert (answer.status, len(await answer.read())) == (206, 10)
                assert answer.headers["Content-Type"] == "video/mp4"
    assert house.daemon.peak_bytes() < PEAK_BYTES_MAX
