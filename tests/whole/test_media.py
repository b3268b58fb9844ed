"""Every medium on the whole road: rendered, checked, numbered in its own series, named and stored."""

from __future__ import annotations

import hashlib
import io
import signal
from collections.abc import Iterable
from typing import Any

import pytest

from comfyledger.workers.media.media_file import pin
from support.media_graphs import SAVERS, graph_of, savers_of, several
from support.processes import House
from support.waiting import until
from support.wire_app import App, Frame, of_kind

WORDS = {"mp4": "video", "webm": "video", "vhs": "video", "glb": "model", "text": "file"} | dict.fromkeys(
    ("flac", "mp3", "opus"), "audio"
)
"""The medium in a name, where it is not `image`."""
BROKEN_PLACES = ["cut_1", "cut_4", "cut_20", "cut_half", "cut_head", "trailing", "empty"]


def word_of(medium: str) -> str:
    return WORDS.get(medium, "image")


async def submit(app: App, request_id: str, graph: Frame, **more: Any) -> Frame:
    """One shot of a graph, unless more is asked for."""
    return await app.submit(request_id, **{"workflow": graph, "inputs": {}, "quantity": 1, **more})


def names(*media: str, first: int = 1) -> list[str]:
    """The names of images of these media, numbered in their series."""
    given: dict[str, int] = {}
    found = []
    for medium in media:
        word = word_of(medium)
        given[word] = given.get(word, first - 1) + 1
        found.append(f"Areg_opal-fever_{word}_{given[word]}")
    return found


def written(house: House, batch_id: str) -> dict[str, bytes]:
    """What the stand-in wrote for a batch, by file name."""
    folder = house.comfyui.output / "comfyledger" / batch_id.lower()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stripped(raw: bytes, name: str) -> bytes:
    """What is kept of a whole file."""
    out = io.BytesIO()
    pin(io.BytesIO(raw), out, strip=True, pixels_max=10**8, named=name)
    return out.getvalue()


def check_files(house: House, batch: Frame, files: Iterable[str]) -> None:
    """Image i of the batch is what the stand-in wrote into the file of that place."""
    stored, rendered = house.stored(), written(house, batch["batch_id"])
    for image, file in zip(batch["images"], files, strict=True):
        assert image["state"] == "stored", image
        assert stored[image["public_id"]].read_bytes() == stripped(rendered[file], file), image["public_id"]


def check_kept(house: House, log: list[Frame]) -> None:
    """What was recorded as kept is what lies in the store, byte for byte, and nothing else lies there."""
    kept = {event["data"]["name"]: event["data"]["sha256"] for event in of_kind(log, "image_kept")}
    stored = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in house.stored().items()}
    assert kept == stored


async def test_every_medium_is_checked_numbered_in_its_own_series_and_stored(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        asked = [await submit(app, medium, graph_of(medium, 7, prefix="x")) for medium in SAVERS]
        batches = await app.settled(*(one["batch_id"] for one in asked))
        log = await app.log()
    images = [batch["images"][0] for batch in batches]
    assert [image["name"] for image in images] == names(*SAVERS)
    assert [image.get("medium", "image") for image in images] == [word_of(medium) for medium in SAVERS]
    endings = [saver[2].rpartition(".")[2] for saver in SAVERS.values()]
    assert [image["extension"] for image in images] == [{"opus": "ogg"}.get(one, one) for one in endings]
    for batch, (_, _, ending, _) in zip(batches, SAVERS.values(), strict=True):
        number = batch["images"][0]["number"]
        check_files(house, batch, [f"{number}-a1" + (ending if "0" in ending else f"_00001{ending}")])
    assert {event["data"].get("checked", "whole") for event in of_kind(log, "image_kept")} <= {
        "whole",
        "structure",
        "length",
    }
    check_kept(house, log)
    assert len(house.comfyui.posted()) == len(SAVERS)


async def test_a_video_is_numbered_beside_the_images_of_its_character(house: House) -> None:
    await house.begin()
    async with house.app() as app:
        one = await submit(app, "r1", graph_of("png", 1, prefix="x"), quantity=2)
        two = await submit(app, "r2", graph_of("mp4", 2, prefix="x"))
        both = savers_of("png", "mp4")
        three = await submit(app, "r3", several("png", "mp4", color=3), outputs=both, quantity=2)
        batches = await app.settled(*(asked["batch_id"] for asked in (one, two, three)))
        check_kept(house, await app.log())
    given = [[image["name"].partition("fever_")[2] for image in batch["images"]] for batch in batches]
    assert given == [["image_1", "image_2"], ["video_1"], ["image_3", "video_2", "image_4", "video_3"]]
    videos = [house.stored()[image["public_id"]] for image in batches[2]["images"][1::2]]
    assert all(b"#000003" in video.read_bytes() for video in videos)
    assert len(house.comfyui.posted()) == 2 + 1 + 2


async def test_a_file_broken_at_any_place_is_never_kept(house: House) -> None:
    """The first attempt of each batch comes broken."""
    await house.begin(depth=8)
    media = ["mp4", "webm", "flac", "glb", "webp", "exr"]
    broken: Frame = {}
    batches = []
    async with house.app() as app:
        await app.ask("pause")
        for color, fault in enumerate(BROKEN_PLACES, 1):
            for medium in media:
                asked = await submit(app, f"{medium} {fault}", graph_of(medium, color, prefix="x"))
                broken[f"{asked['batch_id'].lower()}/{asked['numbers'][0]}-a1"] = fault
                batches.append(asked["batch_id"])
        house.comfyui.control(view_of=broken)
        await app.ask("resume")
        settled = await app.settled(*batches)
        for medium in media:
            house.comfyui.control(view_next=["short_transfer"])
            cut_off = await submit(app, f"{medium} cut off", graph_of(medium, 99, prefix="x"))
            settled += await app.settled(cut_off["batch_id"])
        log = await app.log()
    for batch in settled:
        (image,) = batch["images"]
        assert image["state"] == "stored", image
    assert {event["data"]["code"] for event in of_kind(log, "prompt_failed")} == {"broken"}
    kept = {event["stream"]: event["data"]["attempt"] for event in of_kind(log, "image_kept")}
    assert {kept.pop(batch_id) for batch_id in batches} == {2}
    assert list(kept.values()) == [1] * len(media), "a transfer that breaks off is repeated, not rendered again"
    check_kept(house, log)


async def test_what_one_output_delivered_is_kept_when_another_fails(house: House) -> None:
    """The video is saved before the image fails; where nothing was saved before, all of the prompt is tried again."""
    await house.begin()
    both = savers_of("mp4", "png")
    batches = []
    async with house.app() as app:
        for color, failing in enumerate([{"png:9": 1}, {"png:9": 100}, {"png:9": 0, "mp4:9": 1}], 1):
            house.comfyui.control(fail_nodes=failing)
            asked = await submit(app, f"r{color}", several("mp4", "png", color=color), outputs=both)
            batches += await app.settled(asked["batch_id"])
        log = await app.log()
    states = [[image["state"] for image in batch["images"]] for batch in batches]
    assert states == [["stored", "stored"], ["stored", "failed"], ["stored", "stored"]]
    failed = batches[1]["images"][1]
    assert (failed["name"], failed["code"]) == ("Areg_opal-fever_image_2", "execution_error")
    for batch in batches:
        videos = [name for name in written(house, batch["batch_id"]) if name.endswith(".mp4")]
        assert len(videos) == 1, "what had been delivered was rendered again"
    kept = [(event["data"]["image"], event["data"]["attempt"]) for event in of_kind(log, "image_kept")]
    assert kept == [(1, 1), (2, 2), (1, 1), (1, 2), (2, 2)]
    check_kept(house, log)


@pytest.mark.parametrize("medium", ["preview", "was", "websocket"])
async def test_where_nothing_is_saved_under_our_prefix_a_saver_of_ours_is_linked(house: House, medium: str) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await submit(app, "r", graph_of(medium, 5, prefix="x"), quantity=2)
        (batch,) = await app.settled(asked["batch_id"])
        check_kept(house, await app.log())
    assert [image["name"] for image in batch["images"]] == names("png", "png")
    assert [image["state"] for image in batch["images"]] == ["stored"] * 2
    files = [file for file in house.comfyui.ledger()["files"] if file["type"] == "output"]
    assert {file["path"].partition("/")[0] for file in files} == {"comfyledger"}
    assert len(files) == 2


@pytest.mark.parametrize(("take", "numbers"), [("first", [1]), ("last", [1]), ("all", [1, 2, 3])])
async def test_of_more_files_than_expected_a_person_chooses(house: House, take: str, numbers: list[int]) -> None:
    await house.begin()
    async with house.app() as app:
        asked = await submit(app, "r", graph_of("frames", 5, prefix="x"))
        (batch,) = await app.settled(asked["batch_id"])
        assert [(image["state"], image["code"]) for image in batch["images"]] == [("parked", "wrong_count")]
        assert "3 files" in batch["images"][0]["text"]
        house.daemon.signal(signal.SIGKILL)
        await house.daemon.begin()
    async with house.app() as app:
        await app.ask("retry", batch_id=batch["batch_id"], take=take)
        batch = await app.counted("stored", len(numbers), batch["batch_id"])
        check_kept(house, await app.log())
    assert [image["number"] for image in batch["images"]] == numbers
    places = {"first": [1], "last": [3], "all": [1, 2, 3]}[take]
    check_files(house, batch, [f"1-a1_{place:05}_.png" for place in places])
    assert len(house.comfyui.posted()) == 1


@pytest.mark.parametrize("has_ended", [False, True], ids=["cut off between the files", "ended"])
async def test_the_silent_file_of_videohelpersuite_is_never_taken(house: House, has_ended: bool) -> None:
    """Both machines die when the silent file is whole, or when the one with sound is as well."""
    await house.begin()
    house.comfyui.control(hold=["history" if has_ended else "between_files"])
    async with house.app() as app:
        asked = await submit(app, "r", graph_of("vhs", 5, prefix="x", sound_too=True))
        await until(lambda: house.comfyui.control()["held_at"], "the video is written")
    house.daemon.signal(signal.SIGKILL)
    await house.comfyui.restart()
    await house.daemon.begin()
    async with house.app() as app:
        (batch,) = await app.settled(asked["batch_id"])
        check_kept(house, await app.log())
    attempt = 1 if has_ended else 2
    check_files(house, batch, [f"1-a{attempt}_00001-audio.mp4"])
    assert len(house.comfyui.posted()) == attempt
