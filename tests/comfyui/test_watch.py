"""How the watcher finds out how a prompt ends, whatever the socket does. Against the stand-in, in this process."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.comfyui.answers import PromptAnswer
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.direct import AddressOf
from comfyledger.comfyui.messages import Preview, Progress
from comfyledger.comfyui.outstanding import Ending
from comfyledger.comfyui.transfer import NotReached
from comfyledger.comfyui.watch import DEAF_GRACE_S, RECONNECT_FIRST_S, TEXT_BYTES_MAX, Watcher
from comfyledger.sim.comfyui.server import SimComfyUI, SimOptions, serve
from support.waiting import DEADLINE_S, until

SWEEP_S = 1.0
pytestmark = pytest.mark.usefixtures("quick_time")


class Live:
    """Whoever would show progress."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []

    def progress(self, prompt_id: str, news: Progress) -> None:
        self.steps.append(news)

    def preview(self, prompt_id: str, picture: Preview) -> None:
        return None


class Post:
    """A stand-in, a watcher that runs, and what it told."""

    def __init__(
        self, sim: SimComfyUI, http: aiohttp.ClientSession, url: str, address_of: AddressOf | None = None
    ) -> None:
        self.sim = sim
        self.http = http
        self.url = url
        self.live = Live()
        self.troubles: list[NotReached] = []
        self.client_ids: list[str] = []
        self.greeted = asyncio.Event()
        self.greeted.set()
        self.comfyui = ComfyUI(http, url, connect_timeout_s=2, request_timeout_s=5, address_of=address_of)
        self.watcher = Watcher(
            self.comfyui,
            self.live,
            sweep_interval_s=SWEEP_S,
            connect_timeout_s=2,
            render_timeout_s=60,
            client_ids=self._client_id,
            connected=self._connected,
            stuck=self._stuck,
        )

    def _client_id(self) -> str:
        self.client_ids.append(uuid.uuid4().hex)
        return self.client_ids[-1]

    async def _connected(self) -> None:
        await self.greeted.wait()

    async def _stuck(self, trouble: NotReached) -> None:
        self.troubles.append(trouble)

    async def submit(self, color: int = 1) -> str:
        prompt_id = str(uuid.uuid4())
        assert await self.watcher.ready()
        size = {"width": 8, "height": 8, "batch_size": 1, "color": color}
        graph: dict[str, Any] = {
            "1": {"class_type": "EmptyImage", "inputs": size},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"b/{color}"}},
        }
        client_id = self.watcher.sending(prompt_id)
        answer = await self.comfyui.post_prompt(graph, prompt_id=prompt_id, client_id=client_id, outputs=["9"])
        assert isinstance(answer, PromptAnswer)
        return prompt_id

    async def control(self, **asked: Any) -> None:
        async with self.http.post(f"{self.sim.control_url}/control", json=asked) as response:
            assert response.status == 200

    async def end_of(self, prompt_id: str) -> Ending:
        async with asyncio.timeout(DEADLINE_S):
            return await self.watcher.follow(prompt_id)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with await serve(SimOptions(output=tmp_path / "out")) as sim, aiohttp.ClientSession() as http:
        post = Post(sim, http, sim.url)
        task = asyncio.create_task(post.watcher.run())
        yield post
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_end_of_a_prompt_is_found_with_its_files(post: Post) -> None:
    ending = await post.end_of(await post.submit())
    assert ending.entry is not None
    assert ending.entry.ended == "success"
    assert [file.filename for file in ending.entry.outputs["9"]] == ["1_00001_.png"]


async def test_the_socket_goes_to_the_address_that_is_found_or_nowhere(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    async def address_of(host: str, port: int) -> str:
        asked.append((host, port))
        if len(asked) == 1:
            raise OSError("not this one")
        return "127.0.0.1"

    async with await serve(SimOptions(output=tmp_path / "out")) as sim, aiohttp.ClientSession() as http:
        port = int(sim.url.rpartition(":")[2])
        post = Post(sim, http, f"http://no.such.name.invalid:{port}", address_of)
        task = asyncio.create_task(post.watcher.run())
        await until(lambda: post.watcher.is_up)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert asked == [("no.such.name.invalid", port)] * 2
    assert [trouble.text for trouble in post.troubles] == ["It cannot be reached: not this one."]


async def test_an_end_of_which_all_was_heard_needs_no_call(post: Post) -> None:
    prompt_id = await post.submit()
    asked = len(post.sim.ledger.requests)
    ending = await post.end_of(prompt_id)
    assert [request.path for request in list(post.sim.ledger.requests)[asked:]] == []
    assert ending.heard
    assert ending.entry is not None
    assert ending.entry.outputs == (await post.comfyui.history(prompt_id)).outputs


async def test_an_end_before_which_a_frame_was_missed_is_looked_up_with_one_call(post: Post) -> None:
    await post.control(hold=["start"])
    prompt_id = await post.submit()
    following = asyncio.create_task(post.end_of(prompt_id))
    await until(lambda: post.watcher.runs_one)
    post.watcher._take(b"x" * (TEXT_BYTES_MAX + 1))
    asked = len(post.sim.ledger.requests)
    await post.control(hold=[])
    assert not (await following).heard
    paths = [request.path for request in list(post.sim.ledger.requests)[asked:] if "history" in request.path]
    assert paths == [f"/history/{prompt_id}"]


async def test_an_end_that_came_before_anybody_followed_is_found(post: Post) -> None:
    prompt_id = await post.submit()
    await until(lambda: post.sim.is_idle)
    assert (await post.end_of(prompt_id)).entry is not None


async def test_a_removed_prompt_is_found_gone_on_a_busy_socket(post: Post) -> None:
    await post.control(hold=["start"])
    first, second = await post.submit(1), await post.submit(2)
    following = asyncio.create_task(post.end_of(second))
    await asyncio.sleep(0)
    await post.http.post(f"{post.url}/queue", json={"delete": [second]})
    colors = itertools.count(10)
    while not following.done():
        await post.http.post(f"{post.url}/prompt", json={"prompt": {}})
        await post.control(step=1)
        await post.submit(next(colors))
        await asyncio.wait([following], timeout=0.1)
    ending = await following
    assert ending == Ending(None, restarted=False)
    await post.control(hold=[])
    assert (await post.end_of(first)).entry is not None


async def test_a_prompt_lost_in_a_restart_does_not_count_as_removed(tmp_path: Path) -> None:
    options = SimOptions(output=tmp_path / "out")
    async with aiohttp.ClientSession() as http:
        sim = await serve(options)
        port = int(sim.url.rpartition(":")[2])
        post = Post(sim, http, sim.url)
        task = asyncio.create_task(post.watcher.run())
        await post.control(hold=["start"])
        prompt_id = await post.submit()
        following = asyncio.create_task(post.end_of(prompt_id))
        await asyncio.sleep(0)
        await sim.stop()
        await until(lambda: not post.watcher.is_up)
        async with await serve(SimOptions(output=tmp_path / "out", port=port)):
            ending = await following
            assert (ending.entry, ending.restarted) == (None, True)
            assert len(set(post.client_ids)) == len(post.client_ids) >= 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_deaf_socket_is_recognised_replaced_and_counted(post: Post) -> None:
    await post.control(deaf=True)
    ending = await post.end_of(await post.submit())
    assert ending.entry is not None
    await until(lambda: post.watcher.deaf == 1)
    await post.control(deaf=False)
    await until(lambda: post.watcher.connects == 2)


async def test_a_quiet_socket_of_a_long_prompt_is_not_taken_for_deaf(post: Post) -> None:
    await post.control(hold=["start"])
    following = asyncio.create_task(post.end_of(await post.submit()))
    await until(lambda: post.watcher.sweeps >= 3)
    await post.control(hold=[])
    assert (await following).entry is not None
    assert (post.watcher.deaf, post.watcher.connects) == (0, 1)


async def test_an_end_that_a_quiet_socket_may_have_told_does_not_make_it_deaf(post: Post) -> None:
    """`status` came when the prompt was removed; what was removed it does not say, and the sweep finds out late."""
    await post.control(hold=["start"])
    first, second = await post.submit(1), await post.submit(2)
    swept = asyncio.create_task(post.watcher.follow(first))
    following = asyncio.create_task(post.end_of(second))
    await until(lambda: post.watcher.sweeps >= 1)
    await post.http.post(f"{post.url}/queue", json={"delete": [second]})
    assert await following == Ending(None, restarted=False)
    sweeps = post.watcher.sweeps
    await until(lambda: post.watcher.sweeps >= sweeps + 3, "two whole times between sweeps are over")
    assert DEAF_GRACE_S < 2 * SWEEP_S
    assert (post.watcher.deaf, post.watcher.connects) == (0, 1)
    swept.cancel()


async def test_a_prompt_missing_while_the_socket_is_down_may_be_lost(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        sim = await serve(SimOptions(output=tmp_path / "out"))
        post = Post(sim, http, sim.url)
        task = asyncio.create_task(post.watcher.run())
        await post.control(hold=["start"])
        prompt_id = await post.submit()
        following = asyncio.create_task(post.end_of(prompt_id))
        await asyncio.sleep(0)
        await sim.stop()
        await until(lambda: not post.watcher.is_up)
        async with await serve(SimOptions(output=tmp_path / "out", port=int(sim.url.rpartition(":")[2]))):
            post.watcher.look_up(prompt_id)
            ending = await following
            assert (ending.entry, ending.restarted) == (None, True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_socket_is_drained_while_the_server_is_asked_who_it_is(post: Post) -> None:
    await until(lambda: post.watcher.is_up)
    post.greeted.clear()
    await post.control(drop_sockets=True)
    await until(lambda: post.watcher.connects == 2 and post.watcher.is_up)
    assert (await post.end_of(await post.submit())).entry is not None
    assert post.watcher.sweeps == 0


async def test_a_server_that_shuts_every_socket_is_not_stormed(post: Post) -> None:
    began = asyncio.get_running_loop().time()
    for count in (1, 2, 3):
        await until(lambda count=count: post.watcher.connects == count and post.watcher.is_up)  # type: ignore[misc]
        await post.control(drop_sockets=True)
        await until(lambda: not post.watcher.is_up)
    await until(lambda: post.watcher.is_up)
    assert asyncio.get_running_loop().time() - began >= RECONNECT_FIRST_S * (1 + 2 + 4)


async def test_a_prompt_of_an_earlier_connection_is_found_when_the_queue_changes(post: Post) -> None:
    await post.control(hold=["start"])
    prompt_id = await post.submit()
    following = asyncio.create_task(post.end_of(prompt_id))
    await asyncio.sleep(0)
    await post.control(drop_sockets=True)
    await until(lambda: post.watcher.connects == 2 and post.watcher.is_up)
    sweeps = post.watcher.sweeps
    await post.control(hold=[])
    assert (await following).entry is not None
    assert post.watcher.sweeps - sweeps <= 1


async def test_a_server_that_is_not_there_is_told_and_tried_again(tmp_path: Path, post: Post) -> None:
    port = int(post.url.rpartition(":")[2])
    await until(lambda: post.watcher.is_up)
    await post.sim.stop()
    await until(lambda: bool(post.troubles))
    assert post.troubles[0].code == "not_reached"
    async with await serve(SimOptions(output=tmp_path / "out", port=port)):
        await until(lambda: post.watcher.is_up)
