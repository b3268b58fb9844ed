"""Thumbnails as the server asks for them: made once, bounded, remembered when they fail, and gone when forgotten."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from comfyledger.core.rows import ImageRow
from comfyledger.errors import Refused
from comfyledger.limited_process.exchange import READY, packed
from comfyledger.limited_process.parent import LimitedProcess
from comfyledger.workers.thumbnails import exchange
from comfyledger.workers.thumbnails import thumbnails as module
from comfyledger.workers.thumbnails.cache import Cache
from comfyledger.workers.thumbnails.thumbnails import Thumbnails
from support.hostile_pictures import HOSTILE, gif
from support.waiting import let_time_end, pass_time, until

BATCH = "01M82DA9EJBQZAAZJR4D2RM95D"


def png(colour: str = "red", size: tuple[int, int] = (600, 300)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


class Daemon:
    """Thumbnails with a ledger and a file source of dictionaries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[int, ImageRow] = {}
        self.bodies: dict[str, bytes] = {}
        self.opened: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_room = True
        self.cache = Cache(folder / "thumbnails", 1 << 20)
        self.thumbnails = Thumbnails(self, self, self.cache, lambda: self.has_room)  # type: ignore[arg-type]

    def add(self, index: int, body: bytes, extension: str = "png", **more: Any) -> ImageRow:
        sha256 = hashlib.sha256(body).hexdigest()
        facts = {"state": "stored", "sha256": sha256, "size_bytes": len(body), "extension": extension}
        self.rows[index] = ImageRow(BATCH, index, index, "f", f"n{index}", 1, "areg", **{**facts, **more})
        self.bodies[sha256] = body
        return self.rows[index]

    def forget(self, index: int) -> None:
        self.rows[index] = replace(self.rows[index], state="forgotten")

    async def image(self, batch_id: str, index: int) -> ImageRow | None:
        return self.rows.get(index)

    async def images(self, wanted: Any) -> list[ImageRow]:
        return [row for row in self.rows.values() if row.batch_id == wanted.batch_id]

    @asynccontextmanager
    async def open(self, image: ImageRow) -> AsyncIterator[io.BufferedReader]:
        self.opened.append(image.index)
        await self.gate.wait()
        path = self.folder / str(image.index)
        path.write_bytes(self.bodies[image.sha256])
        with path.open("rb") as file:
            yield file

    async def refusal(self, image: ImageRow) -> Refused:
        with pytest.raises(Refused) as refused:
            await self.thumbnails.thumbnail(image, "small")
        return refused.value

    def kept(self) -> set[str]:
        return {path.name for path in self.cache.folder.rglob("*.webp")}

    @property
    def pids(self) -> list[int]:
        return [one._process.pid for one in self.thumbnails._processes if one._process is not None]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    await daemon.thumbnails.close()


def shown(webp: bytes) -> Image.Image:
    return Image.open(io.BytesIO(webp))


async def test_a_thumbnail_is_made_once_and_then_comes_from_the_cache(daemon: Daemon) -> None:
    image = daemon.add(1, png())
    small = await daemon.thumbnails.thumbnail(image, "small")
    large = await daemon.thumbnails.thumbnail(image, "large")
    assert (shown(small).size, shown(large).size) == ((256, 128), (600, 300))
    assert await daemon.thumbnails.thumbnail(image, "small") == small
    assert daemon.thumbnails.counts == {"made": 2, "cached": 1, "failed": 0}
    assert daemon.opened == [1, 1]
    assert daemon.thumbnails.cached_bytes == 2 * 4096


async def test_who_asks_at_the_same_time_waits_for_the_same_one(daemon: Daemon) -> None:
    image = daemon.add(1, png())
    daemon.gate.clear()
    asking = [asyncio.create_task(daemon.thumbnails.thumbnail(image, "small")) for _ in range(20)]
    await until(lambda: daemon.opened)
    asking[0].cancel()
    daemon.gate.set()
    made = await asyncio.gather(*asking[1:])
    assert len(set(made)) == 1
    assert daemon.opened == [1], "also if the first who asked has left"


async def test_beyond_the_bound_more_are_told_to_come_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    daemon.gate.clear()
    images = [daemon.add(index, png()) for index in range(1, 5)]
    asking = [asyncio.create_task(daemon.thumbnails.thumbnail(image, "small")) for image in images[:3]]
    await until(lambda: len(daemon.thumbnails._making) == 3)
    busy = await daemon.refusal(images[3])
    assert (busy.code, busy.retry_after_s) == ("busy", 1.0)
    daemon.gate.set()
    await asyncio.gather(*asking)
    await daemon.thumbnails.thumbnail(images[3], "small")


async def test_only_some_files_are_open_at_one_time(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait must not take the places of readers of files."""
    daemon.gate.clear()
    images = [daemon.add(index, png()) for index in range(1, 20)]
    asking = [asyncio.create_task(daemon.thumbnails.thumbnail(image, "small")) for image in images]
    await until(lambda: len(daemon.opened) == module.OPEN_MAX)
    daemon.gate.set()
    await asyncio.gather(*asking)
    assert sorted(daemon.opened) == list(range(1, 20))


@pytest.mark.parametrize("extension", ["wav", "glb", "svg", "txt", "x1234567", "exr"])
async def test_of_other_kinds_there_is_none_and_no_file_is_opened(daemon: Daemon, extension: str) -> None:
    refused = await daemon.refusal(daemon.add(1, b"x", extension))
    assert refused.code == "thumbnail_unsupported"
    assert daemon.opened == []


@pytest.mark.parametrize(
    ("body", "more", "sentence"),
    [
        (b"no picture", {}, "The file cannot be decoded."),
        (png()[:-30], {}, "The file cannot be decoded."),
        (b"x", {"width": 16_384, "height": 16_384}, "The picture has more than 67,108,864 pixels."),
    ],
)
async def test_a_failure_is_told_and_not_tried_again_for_a_while(
    daemon: Daemon, body: bytes, more: dict[str, int], sentence: str
) -> None:
    image = daemon.add(1, body, **more)
    for _ in range(3):
        refused = await daemon.refusal(image)
        assert (refused.code, refused.message, refused.retry_after_s) == ("thumbnail_failed", sentence, 0.0)
    assert daemon.opened == [1]
    assert daemon.thumbnails.counts["failed"] == 1
    pass_time(module.FAILED_S)
    assert (await daemon.refusal(image)).message == sentence
    assert daemon.opened == [1, 1]
    assert daemon.kept() == set()


async def test_what_this_installation_cannot_read_is_told_as_unsupported(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_codec(*_: Any) -> tuple[bytes, bytes]:
        return exchange.REASON, b"codec"

    monkeypatch.setattr(LimitedProcess, "ask", without_codec)
    image = daemon.add(1, b"any bytes", "avif")
    for _ in range(2):
        refused = await daemon.refusal(image)
        assert refused.code == "thumbnail_unsupported"
        assert refused.message == "The Pillow of this installation cannot read avif files."
    assert daemon.opened == [1]


async def test_a_process_that_cannot_be_started_blames_no_file(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    image = daemon.add(1, png())
    with monkeypatch.context() as patched:
        for process in daemon.thumbnails._processes:
            patched.setattr(process, "_words", ("/nowhere/python",))
        assert ((refused := await daemon.refusal(image)).code, refused.retry_after_s) == ("busy", 1.0)
    assert (await daemon.thumbnails.thumbnail(image, "small"))[:4] == b"RIFF"


async def test_files_that_are_made_to_break_a_decoder_fail_alone(daemon: Daemon) -> None:
    good = daemon.add(1, png())
    await daemon.thumbnails.thumbnail(good, "small")
    before = daemon.pids
    for index, (what, (extension, body, sentence)) in enumerate(HOSTILE.items(), 2):
        refused = await daemon.refusal(daemon.add(index, body, extension))
        assert (refused.code, refused.message) == ("thumbnail_failed", sentence), what
    assert daemon.pids == before, "none of them has ended the process"
    assert (await daemon.thumbnails.thumbnail(good, "large"))[:4] == b"RIFF"


async def test_of_a_million_frames_the_first_one_is_decoded(daemon: Daemon) -> None:
    image = daemon.add(1, gif(1_000_000), "gif")
    assert shown(await daemon.thumbnails.thumbnail(image, "small")).size == (4, 4)


async def test_what_takes_more_memory_than_it_may_is_told(daemon: Daemon, tmp_path: Path) -> None:
    """The process itself, with less memory."""
    code = "import sys, comfyledger.workers.thumbnails.__main__ as m; m.MEMORY_BYTES = 120 << 20; m.main()"
    path = tmp_path / "a.png"
    path.write_bytes(png(size=(6_000, 6_000)))
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-c", code, str(theirs.fileno())]
    with ours, theirs, path.open("rb") as file:
        socket.send_fds(ours, [b"F"], [file.fileno()])
        asked = exchange.Task("png", 256).frame()
        done = subprocess.run(words, input=asked, capture_output=True, check=True, pass_fds=(theirs.fileno(),))
    assert done.stdout == packed(READY) + packed(exchange.REASON, b"memory")


async def test_no_more_failures_are_remembered_than_may_be(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILED_MAX", 2)
    images = [daemon.add(index, str(index).encode(), width=1 << 20, height=1 << 20) for index in (1, 2, 3)]
    for image in (*images, images[2], images[0]):
        await daemon.refusal(image)
    assert daemon.opened == [1, 2, 3, 1]


async def test_a_file_that_takes_too_long_ends_its_process_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAW_S", 60.0)
    daemon = Daemon(tmp_path)
    first, second = daemon.add(1, png("blue")), daemon.add(2, png("red"))
    await daemon.thumbnails.thumbnail(first, "small")
    (pid,) = daemon.pids
    os.kill(pid, signal.SIGSTOP)
    late = asyncio.create_task(daemon.refusal(daemon.add(3, png("lime"))))
    await until(lambda: 3 in daemon.opened)
    assert shown(await daemon.thumbnails.thumbnail(second, "small")).size == (256, 128)
    await let_time_end(late, 60.0)
    assert (await late).message == "The picture could not be drawn within 60 s."
    assert pid not in daemon.pids
    await daemon.thumbnails.close()


async def test_a_process_that_was_killed_between_two_files_is_replaced(daemon: Daemon) -> None:
    await daemon.thumbnails.thumbnail(daemon.add(1, png()), "small")
    os.kill(daemon.pids[0], signal.SIGKILL)
    await daemon.thumbnails.thumbnail(daemon.add(2, png("blue")), "small")
    assert daemon.thumbnails.counts["failed"] == 0


async def test_the_process_has_no_file_and_no_secret(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its pipes and a socket, and nothing of what it was given."""
    monkeypatch.setenv("COMFYLEDGER_TOKEN", "hidden")
    await daemon.thumbnails.thumbnail(daemon.add(1, png()), "small")
    proc = Path(f"/proc/{daemon.pids[0]}")
    assert b"hidden" not in (proc / "environ").read_bytes()
    links = {os.readlink(one) for one in (proc / "fd").iterdir()}
    assert {link.partition(":")[0] for link in links} <= {"pipe", "socket", "/dev/null"}
    limits = (proc / "limits").read_text()
    assert "Max address space         1610612736" in limits
    assert "Max file size             0 " in limits


async def test_a_forgotten_image_leaves_no_thumbnail_when_forget_returns(daemon: Daemon) -> None:
    images = [daemon.add(index, png()) for index in (1, 2, 3)]
    for image in images:
        await daemon.thumbnails.thumbnail(image, "small")
    daemon.forget(1)
    await daemon.thumbnails.forget(BATCH, (1,))
    assert daemon.kept() == {"2-small.webp", "3-small.webp"}
    daemon.forget(2), daemon.forget(3)
    await daemon.thumbnails.forget(BATCH)
    assert daemon.kept() == set()


async def test_one_that_is_made_while_its_image_is_forgotten_is_neither_kept_nor_sent(daemon: Daemon) -> None:
    image = daemon.add(1, png())
    daemon.gate.clear()
    asking = asyncio.create_task(daemon.refusal(image))
    await until(lambda: daemon.opened)
    daemon.forget(1)
    await daemon.thumbnails.forget(BATCH, (1,))
    daemon.gate.set()
    assert (await asking).code == "unknown_image"
    assert daemon.kept() == set()


async def test_the_start_removes_what_a_crash_left(daemon: Daemon) -> None:
    for index in (1, 2, 3):
        await daemon.thumbnails.thumbnail(daemon.add(index, png()), "small")
    daemon.cache.keep("01M82DA9EJBQZAAZJR4D2RM95E", 1, "small", "a" * 64, b"of a batch that no ledger knows")
    daemon.forget(1)
    del daemon.rows[3]
    await daemon.thumbnails.sweep()
    assert daemon.kept() == {"2-small.webp"}
    assert daemon.thumbnails.cached_bytes == 4_096


async def test_a_ledger_that_another_program_locks_ends_no_sweep_with_an_error(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.thumbnails.thumbnail(daemon.add(1, png()), "small")

    async def locked(wanted: Any) -> list[ImageRow]:
        raise Refused("busy")

    monkeypatch.setattr(daemon, "images", locked)
    await daemon.thumbnails.sweep()
    assert daemon.kept() == {"1-small.webp"}


async def test_without_room_thumbnails_are_sent_and_not_kept(daemon: Daemon) -> None:
    image = daemon.add(1, png())
    daemon.has_room = False
    assert shown(await daemon.thumbnails.thumbnail(image, "small")).size == (256, 128)
    assert daemon.kept() == set()
    daemon.has_room = True
    daemon.cache.folder.write_bytes(b"a file where the folder should be")
    assert shown(await daemon.thumbnails.thumbnail(image, "small")).size == (256, 128)


async def test_closing_ends_what_is_being_made(daemon: Daemon) -> None:
    await daemon.thumbnails.thumbnail(daemon.add(1, png()), "small")
    os.kill(daemon.pids[0], signal.SIGSTOP)
    asking = asyncio.create_task(daemon.thumbnails.thumbnail(daemon.add(2, png()), "small"))
    await until(lambda: 2 in daemon.opened)
    await daemon.thumbnails.close()
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.CancelledError)
    assert daemon.pids == []
    assert (await daemon.refusal(daemon.add(3, png()))).code == "not_running"
