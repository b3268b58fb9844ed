"""Reading the files of images with the Python client: whole or not at all, and continued after a broken connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from comfyledger import wire
from comfyledger.client import Client, downloading
from comfyledger.client.downloading import Downloader
from comfyledger.client.finding import find_daemon
from comfyledger.errors import Refused
from support.door import door, open_door
from support.waiting import DEADLINE_S, until

__all__ = ["door", "open_door"]

CONTENT = os.urandom(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
IMAGE = wire.ImageInfo(
    *("b/1", "b", 1, 1, "Areg_opal-fever_image_1", "Areg/öpal fever/Areg_opal-fever_image_1", "stored", 1),
    sha256=SHA256,
    size_bytes=len(CONTENT),
    extension="png",
)
Answering = Callable[["Server", asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each GET with the next of its `answers`."""

    def __init__(self, *answers: Answering) -> None:
        self._answers = list(answers)
        self.heads: list[str] = []
        self.reading = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            self.reading += 1
            await self._answers.pop(0)(self, writer)
            await writer.drain()
        except OSError:
            pass
        finally:
            self.reading -= 1
            writer.close()

    @property
    def after(self) -> int:
        """Which byte was asked for first."""
        found = re.search(r"Range: bytes=(\d+)-\r\n", self.heads[-1])
        return int(found[1]) if found else 0


def reply(writer: asyncio.StreamWriter, body: bytes, status: int = 200, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} X", *(headers or [f"Content-Length: {len(body)}"]), "", ""]
    writer.write("\r\n".join(lines).encode() + body)


async def whole(server: Server, writer: asyncio.StreamWriter) -> None:
    reply(writer, CONTENT[server.after :], 206 if server.after else 200)


def part(size: int) -> Answering:
    """Breaks off after so many bytes."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        rest = CONTENT[server.after :]
        reply(writer, rest[:size], 206 if server.after else 200, f"Content-Length: {len(rest)}")
        await writer.drain()

    return answer


def says(body: bytes, status: int = 200) -> Answering:
    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        reply(writer, body, status)

    return answer


def refuses(code: str, **more: Any) -> Answering:
    return says(wire.frame("error", wire.error_of(Refused(code, **more))), 503)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[asyncio.Server] = []

    async def serve(*answers: Answering, timeout_s: float = 5.0) -> tuple[Server, Downloader]:
        server = Server(*answers)
        started.append(await asyncio.start_unix_server(server.take, tmp_path / "s"))
        found = find_daemon(f"unix:{tmp_path / 's'}", "secret", tmp_path, {})
        return server, Downloader(lambda: found, "my app", timeout_s)

    yield serve
    for one in started:
        one.close()


# ---- from a daemon


@pytest.mark.parametrize("at", ["socket", "port"])
async def test_a_file_is_read_and_saved_under_its_name(door: Any, tmp_path: Path, at: str) -> None:
    (tmp_path / "out").mkdir()
    given = {"state_dir": door.folder / "state"} if at == "socket" else {"url": door.url, "token": door.token}
    async with Client(**given) as client:
        batch = await client.submit(request_id="r", username="Areg", character="Opal Fever", quantity=1)
        await client.wait(batch.batch_id)
        (image,) = (await client.get_batch(batch.batch_id)).images
        content = await client.file(image.public_id)
        saved = await client.save_file(image.image_id, tmp_path / "out")
        named = await client.save_file(image.image_id, str(tmp_path / "out" / "mine"))
    assert hashlib.sha256(content).hexdigest() == image.sha256
    assert saved == tmp_path / "out" / f"{image.name}.png"
    assert saved.read_bytes() == named.read_bytes() == content
    assert sorted(os.listdir(tmp_path / "out")) == sorted([saved.name, "mine"])


async def test_an_image_without_a_file_is_refused(door: Any) -> None:
    async with Client(door.url, door.token) as client:
        await client.pause()
        batch = await client.submit(request_id="r", username="Areg", character="Opal Fever", quantity=1)
        for asked in (f"{batch.batch_id}/1", "nothing"):
            with pytest.raises(Refused) as refused:
                await client.file(asked)
            assert (refused.value.code, bool(refused.value.hint)) == ("unknown_image", True)


async def test_many_files_at_once_are_read_in_turns(served: Any) -> None:
    most = 0

    async def slow(server: Server, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, server.reading)
        await asyncio.sleep(0)
        await whole(server, writer)

    _, downloader = await served(*[slow] * 40)
    contents = await asyncio.gather(*(downloader.read(IMAGE) for _ in range(40)))
    assert set(contents) == {CONTENT}
    assert 1 < most <= downloading.FILES_MAX


# ---- broken connections


async def test_what_is_asked_is_a_plain_get(served: Any) -> None:
    server, downloader = await served(whole)
    assert await downloader.read(IMAGE) == CONTENT
    lines = server.heads[0].splitlines()
    assert lines[0] == "GET /images/Areg/%C3%B6pal%20fever/Areg_opal-fever_image_1 HTTP/1.1"
    assert {"Host: localhost", "Authorization: Bearer secret", "Comfyledger-Client: my app"} <= set(lines)


async def test_a_broken_file_continues_where_it_was(served: Any) -> None:
    server, downloader = await served(part(0), part(300_000), part(1), whole)
    assert await downloader.read(IMAGE) == CONTENT
    assert server.after > 300_000
    assert f'If-Range: "{SHA256}"' in server.heads[-1].splitlines()


async def test_a_file_that_breaks_often_but_goes_on_is_not_given_up(served: Any) -> None:
    """Eight breaks take longer than the limit, and none of them alone does."""
    _, downloader = await served(*[part(50_000)] * 8, whole, timeout_s=0.15)
    assert await downloader.read(IMAGE) == CONTENT


async def test_a_server_without_ranges_begins_anew(served: Any) -> None:
    _, downloader = await served(part(300_000), says(CONTENT))
    assert await downloader.read(IMAGE) == CONTENT


async def test_a_busy_daemon_is_asked_again(served: Any) -> None:
    server, downloader = await served(refuses("busy", retry_after_s=0.01), whole)
    assert await downloader.read(IMAGE) == CONTENT
    assert len(server.heads) == 2


async def test_a_chunked_answer_of_a_proxy_is_read(served: Any) -> None:
    async def chunked(server: Server, writer: asyncio.StreamWriter) -> None:
        body = b"".join(
            b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in (CONTENT[:1], CONTENT[1:600_000], CONTENT[600_000:])
        )
        reply(writer, body + b"0\r\n\r\n", 200, "Transfer-Encoding: chunked")

    _, downloader = await served(chunked)
    assert await downloader.read(IMAGE) == CONTENT


async def test_a_daemon_that_stays_away_is_given_up(tmp_path: Path) -> None:
    found = find_daemon(f"unix:{tmp_path / 'none'}", "secret", tmp_path, {})
    with pytest.raises(Refused) as refused:
        await Downloader(lambda: found, "x", 0.2).read(IMAGE)
    assert refused.value.code == "not_running"


async def test_a_daemon_that_stops_sending_is_given_up(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stall(server: Server, writer: asyncio.StreamWriter) -> None:
        reply(writer, b"x", 200, f"Content-Length: {len(CONTENT)}")
        await asyncio.Event().wait()

    monkeypatch.setattr(downloading, "STALL_S", 0.05)
    _, downloader = await served(stall)
    with pytest.raises(Refused) as refused:
        await downloader.read(IMAGE)
    assert refused.value.code == "timeout"


# ---- whole or not at all


CHANGED = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (says(CHANGED), "file_broken"),
        (says(CONTENT + b"x"), "file_broken"),
        (says(CONTENT[:-1]), "file_broken"),
        (refuses("store_unavailable"), "store_unavailable"),
        (refuses("unknown_image"), "unknown_image"),
        (says(b"<html>Bad gateway</html>", 502), "not_running"),
        (says(b"<html>Found</html>", 302), "protocol_version"),
        (
            says(
                json.dumps({"type": "", "title": "", "status": 403, "detail": "No.", "code": "forbidden"}).encode(), 403
            ),
            "forbidden",
        ),
    ],
)
async def test_what_is_not_the_file_is_refused_and_leaves_the_old_file(
    served: Any, tmp_path: Path, answer: Answering, code: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.png").write_bytes(b"old")
    _, downloader = await served(answer, answer, timeout_s=0.01)
    with pytest.raises(Refused) as refused:
        await downloader.save(IMAGE, folder / "mine.png")
    assert refused.value.code == code
    assert os.listdir(folder) == ["mine.png"]
    assert (folder / "mine.png").read_bytes() == b"old"


async def test_who_stops_waiting_leaves_nothing(served: Any, tmp_path: Path) -> None:
    async def stall(server: Server, writer: asyncio.StreamWriter) -> None:
        reply(writer, CONTENT[:1000], 200, f"Content-Length: {len(CONTENT)}")
        await asyncio.Event().wait()

    folder = tmp_path / "out"
    folder.mkdir()
    _, downloader = await served(stall)
    saving = asyncio.create_task(downloader.save(IMAGE, folder))
    await until(lambda: any(path.stat().st_size == 0 for path in folder.iterdir()), "it has begun")
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert os.listdir(folder) == []


async def test_who_stops_while_the_file_is_made_leaves_nothing(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        begun.set()
        go_on.wait(DEADLINE_S)
        return open(*given)

    monkeypatch.setattr(downloading, "open", slowly, raising=False)
    _, downloader = await served(whole)
    saving = asyncio.create_task(downloader.save(IMAGE, folder))
    await until(begun.is_set, "it has begun")
    saving.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert os.listdir(folder) == []


async def test_a_disk_that_cannot_be_written_is_the_callers(served: Any, tmp_path: Path) -> None:
    _, downloader = await served(whole)
    with pytest.raises(FileNotFoundError):
        await downloader.save(IMAGE, tmp_path / "none" / "x.png")
    with pytest.raises(FileNotFoundError):
        await downloader.save(IMAGE, f"{tmp_path}/none/")
    with pytest.raises(OSError, match="No space"), open("/dev/full", "wb", buffering=0) as full:
        await downloader._copy(IMAGE, full)


async def test_a_file_too_large_for_memory_is_refused_before_it_is_sent(served: Any) -> None:
    server, downloader = await served(whole)
    large = wire.ImageInfo(*("b/1", "b", 1, 1, "n", "p", "stored", 1), sha256=SHA256, size_bytes=2**33)
    with pytest.raises(Refused) as refused:
        await downloader.read(large)
    assert (refused.value.code, server.heads) == ("file_too_large", [])


def test_a_name_of_the_daemon_leads_out_of_no_folder(tmp_path: Path) -> None:
    assert downloading._place(str(tmp_path), "../../etc/x.png") == tmp_path / "x.png"
