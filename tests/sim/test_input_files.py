"""The input folder of the stand-in: what comes in, and what `/view` says of it.

Statuses, names and headers are those with which a real ComfyUI 0.29.0 (aiohttp 3.14) answered to the
same calls.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from comfyledger.sim.comfyui.server import SimOptions, serve
from support.waiting import until


def png(colour: int, px: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (px, px), (colour, 0, 0)).save(out, "PNG", compress_level=0)
    return out.getvalue()


# ---- uploads


@pytest.mark.parametrize(
    ("filename", "fields", "answer"),
    [
        ("new.png", {}, ("new.png", "", "input")),
        ("a.png", {}, ("a (1).png", "", "input")),
        ("b.png", {}, ("b.png", "", "input")),
        ("a.png", {"overwrite": "true"}, ("a.png", "", "input")),
        ("a.png", {"overwrite": "1"}, ("a.png", "", "input")),
        ("a.png", {"overwrite": "True"}, ("a (1).png", "", "input")),
        ("a.png", {"subfolder": "x/y"}, ("a.png", "x/y", "input")),
        ("a.png", {"subfolder": "x//z/"}, ("a.png", "x//z/", "input")),
        ("../a.png", {"subfolder": "x"}, ("../a (1).png", "x", "input")),
        ("a.png", {"type": "output"}, ("a.png", "", "output")),
        ("a.png", {"type": "temp"}, ("a.png", "", "temp")),
    ],
)
@pytest.mark.parametrize("path", ["/upload/image", "/api/upload/image"])
async def test_an_upload_lies_where_its_answer_says(
    box: Any, path: str, filename: str, fields: dict[str, str], answer: tuple[str, str, str]
) -> None:
    (box.input / "a.png").write_bytes(png(1))
    (box.input / "b.png").write_bytes(png(2))
    status, told = await box.upload(png(2), filename, path, **fields)
    assert (status, told) == (200, dict(zip(("name", "subfolder", "type"), answer, strict=True)))
    folder = {"input": box.input, "output": box.output}.get(answer[2], box.output.with_name("output-temp"))
    in_folder = Path(os.path.normpath(folder / answer[1] / answer[0]))
    assert in_folder.read_bytes() == png(2)
    if "overwrite" not in fields:
        assert (box.input / "a.png").read_bytes() == png(1)


@pytest.mark.parametrize(
    ("filename", "fields", "status"),
    [
        ("a.png", {"subfolder": ".."}, 400),
        ("a.png", {"subfolder": "/tmp"}, 400),
        ("../a.png", {}, 400),
        ("/etc/a.png", {}, 500),
        ("a.png", {"type": "elsewhere"}, 500),
        ("", {}, 500),
        ("a" * 300, {}, 500),
        ("no/such/a.png", {}, 500),
    ],
)
async def test_an_upload_stays_in_its_folders(box: Any, filename: str, fields: dict[str, str], status: int) -> None:
    before = sorted(box.input.parent.rglob("*.png"))
    assert await box.upload(png(1), filename, **fields) == (status, None)
    assert sorted(box.input.parent.rglob("*.png")) == before
    assert (await box.ledger())["uploads"] == []


async def test_a_form_without_a_file_is_refused(box: Any) -> None:
    form = aiohttp.FormData({"subfolder": "x"}, default_to_multipart=True)
    async with box.http.post(f"{box.sim.url}/upload/image", data=form) as response:
        assert response.status == 400
    assert (await box.post("/upload/image", {"image": "x"}))[0] == 400


async def test_too_large_an_upload_is_refused(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger.sim.comfyui.server.BODY_BYTES_MAX", 1_000_000)
    async with await serve(SimOptions(output=box.output)) as box.sim:
        assert await box.upload(bytes(1_100_000), "big.bin") == (413, None)
        assert (await box.upload(bytes(900_000), "fits.bin"))[0] == 200


async def test_an_upload_that_ends_too_early_leaves_nothing(box: Any) -> None:
    host, port = box.sim.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    writer.write(
        b"POST /upload/image HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 1000000\r\n\r\n" + head + bytes(500_000)
    )
    await writer.drain()
    writer.close()
    assert (await box.upload(png(1), "b.png"))[0] == 200
    assert sorted(path.name for path in box.input.iterdir()) == ["b.png", "example.png"]
    assert [one["filename"] for one in (await box.ledger())["uploads"]] == ["b.png"]


async def test_the_ledger_names_every_upload_in_order(box: Any) -> None:
    await box.upload(png(1), subfolder="s")
    await box.upload(png(1), subfolder="s")
    await box.upload(png(2), subfolder="s")
    await box.upload(png(3), subfolder="s", overwrite="true")
    uploads = (await box.ledger())["uploads"]
    told = [(one["filename"], one["name"], one["sha256"], one["overwrite"], one["written"]) for one in uploads]
    first, second, third = (hashlib.sha256(png(colour)).hexdigest() for colour in (1, 2, 3))
    assert told == [
        ("a.png", "a.png", first, False, True),
        ("a.png", "a.png", first, False, False),
        ("a.png", "a (1).png", second, False, True),
        ("a.png", "a.png", third, True, True),
    ]
    assert {(one["subfolder"], one["type"], one["size_bytes"]) for one in uploads} == {("s", "input", len(png(1)))}
    orders = [one["order"] for one in uploads]
    assert orders == sorted(set(orders))


# ---- what /view says of them


async def test_a_file_is_unchanged_until_it_is_written_again(box: Any) -> None:
    """The ETag is the time of the last change in nanoseconds and the size: `"18ec883aa8a9b7e8-400"`."""
    await box.upload(png(1), subfolder="s")
    params = {"filename": "a.png", "subfolder": "s", "type": "input"}

    async def asked(method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
        async with box.http.request(method, f"{box.sim.url}/view", params=params, headers=headers) as response:
            return response.status, await response.read(), response.headers

    status, body, headers = await asked()
    assert (status, body) == (200, png(1))
    stat = (box.input / "s" / "a.png").stat()
    assert headers["ETag"] == f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    same = {"If-None-Match": headers["ETag"]}
    for method in ("GET", "HEAD"):
        assert (await asked(method, **same))[:2] == (304, b"")
    assert (await asked(**{"If-Modified-Since": headers["Last-Modified"]}))[:2] == (304, b"")
    assert (await asked("HEAD"))[2]["Content-Length"] == str(len(png(1)))
    assert (await asked(Range="bytes=-5"))[:2] == (206, png(1)[-5:])
    await box.upload(png(2), subfolder="s", overwrite="true")
    assert (await asked(**same))[:2] == (200, png(2))
    (box.input / "s" / "a.png").unlink()
    assert (await asked(**same))[:2] == (404, b"")


async def test_what_a_browser_might_run_is_an_attachment(box: Any) -> None:
    (box.input / "a.svg").write_text("<svg/>")
    async with box.http.get(f"{box.sim.url}/view", params={"filename": "a.svg", "type": "input"}) as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="a.svg"'
        assert response.headers["Content-Type"] == "application/octet-stream"


# ---- faults


async def test_a_cut_upload_leaves_half_a_file_and_no_answer(box: Any) -> None:
    await box.control(upload_next=["cut"])
    with pytest.raises(aiohttp.ClientError):
        await box.upload(png(1))
    assert (box.input / "a.png").read_bytes() == png(1)[: len(png(1)) // 2]
    assert [one["fault"] for one in (await box.ledger())["uploads"]] == ["cut"]
    assert (await box.upload(png(1), overwrite="true"))[0] == 200


async def test_a_short_upload_is_answered_as_a_whole_one(box: Any) -> None:
    await box.control(upload_next=["short"])
    assert await box.upload(png(1)) == (200, {"name": "a.png", "subfolder": "", "type": "input"})
    assert (box.input / "a.png").read_bytes() == png(1)[: len(png(1)) // 2]


async def test_a_lost_answer_leaves_the_whole_file(box: Any) -> None:
    await box.control(upload_next=["answer_lost", "unanswered"])
    with pytest.raises(aiohttp.ClientError):
        await box.upload(png(1))
    assert (box.input / "a.png").read_bytes() == png(1)
    unanswered = asyncio.create_task(box.upload(png(2), overwrite="true"))
    await until(lambda: (box.input / "a.png").read_bytes() == png(2), "the file is there")
    assert not unanswered.done()
    unanswered.cancel()


async def test_an_upload_may_be_answered_with_another_name(box: Any) -> None:
    await box.control(upload_next=["other_name"])
    assert (await box.upload(png(1), overwrite="true"))[1]["name"] == "a (1).png"
    assert not (box.input / "a.png").exists()


async def test_an_upload_may_be_refused(box: Any) -> None:
    await box.control(refuse={"/upload/image": {"status": 503, "next": 1}})
    assert await box.upload(bytes(2_000_000)) == (503, None)
    assert (await box.ledger())["uploads"] == []
    assert (await box.upload(png(1)))[0] == 200
