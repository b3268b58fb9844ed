"""When a ComfyUI is asked which node classes it has, and what is known of them while it does not answer."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any, cast

import pytest

from comfyledger.comfyui import node_classes
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import FRESH_S, NodeClasses
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.transfer import NotReached
from support.waiting import until

SAVER = {"SaveImage": {"input": {"required": {}}, "output": []}}
BLUR = {"ImageBlur": {"input": {"required": {}}, "output": ["IMAGE"]}}


class Server:
    """A ComfyUI that has `classes`, or does not answer if it has none. A call takes until `go` is set."""

    def __init__(self, classes: Any, url: str = "http://127.0.0.1:8188") -> None:
        self.classes = classes
        self.url = url
        self.calls = self.ended = 0
        self.go = asyncio.Event()
        self.go.set()

    async def bytes_of(self, path: str) -> bytes:
        self.calls += 1
        await self.go.wait()
        self.ended += 1
        if not self.classes:
            raise NotReached("not_reached", "It cannot be reached.", sent=False)
        return json.dumps(self.classes).encode()


def names(info: ObjectInfo | None) -> list[str]:
    return [] if info is None else list(info)


def of(server: Server, folder: Path) -> NodeClasses:
    return NodeClasses(cast(ComfyUI, server), folder / "classes" / "main.json.gz")


async def test_callers_that_come_together_share_one_call(tmp_path: Path) -> None:
    server = Server(SAVER)
    known = of(server, tmp_path)
    assert known.current() is None
    found = await asyncio.gather(*(known.fresh(100.0) for _ in range(50)))
    assert all(one is not None and list(one) == ["SaveImage"] for one in found)
    assert server.calls == 1
    assert known.known is not None
    assert json.loads(known.known.body) == SAVER


async def test_two_calls_have_ten_seconds_between_them(tmp_path: Path) -> None:
    server = Server(SAVER)
    known = of(server, tmp_path)
    before = await known.fresh(100.0)
    server.classes = SAVER | BLUR
    assert await known.fresh(100.0 + FRESH_S - 0.01) is before
    after = await known.fresh(100.0 + FRESH_S)
    assert after is not None
    assert "ImageBlur" in after
    assert server.calls == 2


async def test_an_unchanged_answer_is_not_read_again(tmp_path: Path) -> None:
    known = of(Server(SAVER), tmp_path)
    before = await known.fresh(100.0)
    assert await known.fresh(200.0) is before


async def test_a_server_that_does_not_answer_is_asked_once_in_ten_seconds(tmp_path: Path) -> None:
    server = Server(SAVER)
    known = of(server, tmp_path)
    seen = await known.fresh(100.0)
    server.classes = {}
    assert [await known.fresh(at) for at in (120.0, 121.0, 129.0)] == [None, None, None]
    assert server.calls == 2
    assert known.current() is seen
    server.classes = SAVER
    assert await known.fresh(130.0) is seen


async def test_a_server_is_silent_as_long_as_it_need_not_be_asked_again(tmp_path: Path) -> None:
    server = Server(None)
    known = of(server, tmp_path)
    assert not known.is_silent(100.0)
    server.go.clear()
    asking = asyncio.create_task(known.fresh(100.0))
    await until(lambda: server.calls, "it is asked")
    assert not known.is_silent(100.0)
    server.go.set()
    assert await asking is None
    assert known.is_silent(100.0 + FRESH_S - 0.1)
    assert not known.is_silent(100.0 + FRESH_S)
    server.classes = SAVER
    assert list(await known.fresh(100.0 + FRESH_S) or ()) == ["SaveImage"]
    assert not known.is_silent(100.0 + FRESH_S)


async def test_a_server_that_has_connected_is_asked_at_once(tmp_path: Path) -> None:
    server = Server(SAVER)
    known = of(server, tmp_path)
    await known.fresh(100.0)
    server.classes = SAVER | BLUR
    known.renew(101.0)
    after = await known.fresh(101.0)
    assert after is not None
    assert "ImageBlur" in after


async def test_the_next_answer_is_of_a_call_that_began_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_classes, "FRESH_S", 0.01)
    server = Server(SAVER)
    known = of(server, tmp_path)
    await known.fresh(100.0)
    server.classes = SAVER | BLUR
    after = await known.next(100.005)
    assert after is not None
    assert "ImageBlur" in after


async def test_nobody_waits_for_a_slow_server_longer_than_the_bound(tmp_path: Path) -> None:
    server = Server(SAVER)
    server.go.clear()
    known = of(server, tmp_path)
    assert await known.fresh(100.0, 0.01) is None
    assert await known.fresh(100.0 + 2 * FRESH_S, 0.01) is None
    assert server.calls == 1, "the first call still runs"
    server.go.set()
    assert names(await known.fresh(100.1)) == ["SaveImage"]


async def test_who_sends_waits_for_what_a_new_connection_says(tmp_path: Path) -> None:
    server = Server(SAVER)
    known = of(server, tmp_path)
    assert await known.latest() is None
    await known.fresh(100.0)
    server.go.clear()
    server.classes = BLUR
    known.renew(101.0)
    waiting = asyncio.create_task(known.latest())
    await until(lambda: server.calls == 2, "the server is asked")
    assert names(known.current()) == ["SaveImage"]
    server.go.set()
    assert names(await waiting) == ["ImageBlur"]
    assert names(await known.latest()) == ["ImageBlur"]
    assert server.calls == 2


async def test_what_the_server_before_a_restart_says_late_is_not_used(tmp_path: Path) -> None:
    server = Server(SAVER)
    server.go.clear()
    known = of(server, tmp_path)
    late = asyncio.create_task(known.fresh(100.0))
    await until(lambda: server.calls == 1, "the first call is out")
    answers, server.go = server.go, asyncio.Event()
    server.go.set()
    known.renew(101.0)
    server.classes = BLUR
    assert names(await known.fresh(101.0)) == ["ImageBlur"]
    server.classes = SAVER
    answers.set()
    assert names(await late) == ["ImageBlur"]


@pytest.mark.parametrize("answers_first", [True, False], ids=["an answer", "no answer"])
async def test_who_waits_for_a_call_that_a_connection_replaces_gets_the_newer_answer(
    tmp_path: Path, answers_first: bool
) -> None:
    server = Server(SAVER if answers_first else None)
    server.go.clear()
    known = of(server, tmp_path)
    waiting = asyncio.create_task(known.fresh(100.0))
    await until(lambda: server.calls == 1, "the first call is out")
    first, server.go = server.go, asyncio.Event()
    known.renew(101.0)
    await until(lambda: server.calls == 2, "the second call is out")
    first.set()
    await until(lambda: server.ended == 1, "the first call has ended")
    server.classes = BLUR
    server.go.set()
    assert names(await waiting) == ["ImageBlur"]


async def test_who_is_cancelled_ends_nobody_elses_call(tmp_path: Path) -> None:
    server = Server(SAVER)
    server.go.clear()
    known = of(server, tmp_path)
    first, second = (asyncio.create_task(known.fresh(100.0)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    server.go.set()
    assert names(await second) == ["SaveImage"]


async def test_the_last_answer_is_known_after_a_restart(tmp_path: Path) -> None:
    await of(Server(SAVER), tmp_path).fresh(100.0)
    after = of(Server({}), tmp_path)
    known = after.current()
    assert known is not None
    assert "SaveImage" in known
    assert after.known is not None
    assert json.loads(after.known.body) == SAVER
    assert await after.fresh(100.0) is None
    assert after.current() is known


async def test_the_answer_of_another_address_is_not_taken(tmp_path: Path) -> None:
    await of(Server(SAVER), tmp_path).fresh(100.0)
    assert of(Server({}, "http://10.0.0.7:8188"), tmp_path).current() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b'"http://127.0.0.1:8188"\n{"a": ')[:-4],
        gzip.compress(b'"http://127.0.0.1:8188"\n{"a": '),
        gzip.compress(b'"http://127.0.0.1:8188"\n{}'),
    ],
    ids=["empty", "no gzip", "cut", "no JSON", "no class"],
)
async def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "main.json.gz").write_bytes(content)
    known = of(Server(SAVER), tmp_path)
    assert known.current() is None
    assert names(await known.fresh(100.0)) == ["SaveImage"]
    assert of(Server({}), tmp_path).current() is not None, "the next answer has replaced the file"


async def test_an_answer_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "classes").write_text("a file where the folder should be")
    assert names(await of(Server(SAVER), tmp_path).fresh(100.0)) == ["SaveImage"]


@pytest.mark.parametrize("answer", [{"a": 1}, {"detail": {"message": "not found"}}])
async def test_what_names_no_class_is_no_answer(tmp_path: Path, answer: Any) -> None:
    known = of(Server(answer), tmp_path)
    assert await known.fresh(100.0) is None
    assert known.current() is None


async def test_what_a_server_says_after_it_was_left_is_not_used(tmp_path: Path) -> None:
    server, said = Server(SAVER), list[str]()
    known = NodeClasses(cast(ComfyUI, server), tmp_path / "main.json.gz", lambda: said.append("changed"))
    server.go.clear()
    asking = asyncio.create_task(known.fresh(100.0))
    await until(lambda: server.calls)
    known.close()
    server.go.set()
    assert await asking is None, "who asked is not cancelled"
    assert not said
    assert not list(tmp_path.iterdir())


async def test_what_is_on_disk_goes_with_its_server(tmp_path: Path) -> None:
    known = of(Server(SAVER), tmp_path)
    await known.fresh(100.0)
    await known.forget()
    await known.forget()
    assert of(Server(None), tmp_path).known is None
