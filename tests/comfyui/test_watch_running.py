"""What the watcher says of a prompt that was running: whether ComfyUI fell while it ran, and whether it ran too long.

First as plain values, then against the stand-in, in this process.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.messages import (
    Executing,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Message,
    Preview,
    Progress,
)
from comfyledger.comfyui.outstanding import Ending
from comfyledger.comfyui.running import Running
from comfyledger.comfyui.transfer import NotReached
from comfyledger.comfyui.watch import Watcher
from comfyledger.sim.comfyui.server import SimOptions, serve
from support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.usefixtures("quick_time")

ERROR = ExecutionError("p", "1", "SaveImage", "RuntimeError", "no")

# ---- plain values


@pytest.mark.parametrize("sign", [ExecutionStart("p"), Executing("p", "1"), Progress("p", "1", 1, 2)])
def test_a_prompt_that_began_was_running_when_the_socket_fell(sign: Message) -> None:
    running = Running(60)
    running.hears(sign, 1.0)
    running.fell()
    assert running.was("p")


@pytest.mark.parametrize("end", [ExecutionSuccess("p"), ERROR, ExecutionInterrupted("p", "1"), Executing("p", None)])
def test_a_prompt_that_came_to_its_end_was_not(end: Message) -> None:
    running = Running(60)
    running.hears(ExecutionStart("p"), 1.0)
    running.hears(end, 2.0)
    running.fell()
    assert not running.was("p")


def test_the_prompt_that_begins_takes_the_place_of_the_one_before() -> None:
    running = Running(60)
    running.hears(ExecutionStart("p"), 1.0)
    running.hears(ExecutionStart("q"), 2.0)
    running.fell()
    assert (running.was("p"), running.was("q")) == (False, True)


def test_the_end_of_another_prompt_ends_nothing() -> None:
    running = Running(60)
    running.hears(ExecutionStart("p"), 1.0)
    running.hears(ExecutionInterrupted("somebody's", "1"), 2.0)
    assert running.was("p")


def test_what_begins_after_the_fall_does_not_hide_what_fell() -> None:
    running = Running(60)
    running.starts("p", 1.0)
    running.fell()
    running.starts("q", 2.0)
    running.fell()
    assert running.was("p")


def test_time_counts_from_the_first_sight_and_goes_on_over_a_broken_socket() -> None:
    running = Running(10)
    running.starts("p", 1.0)
    running.hears(Progress("p", "1", 1, 2), 5.0)
    running.fell()
    assert running.overdue(11.0) is None
    running.starts("p", 7.0)
    assert running.overdue(10.9) is None
    assert running.overdue(11.0) == "p"


def test_an_overdue_prompt_is_dealt_with_once() -> None:
    running = Running(10)
    running.starts("p", 1.0)
    running.stop("p", asked=True)
    assert running.overdue(100.0) is None
    assert running.was_stopped("p")


def test_a_prompt_that_could_not_be_stopped_was_not_stopped_by_us() -> None:
    running = Running(10)
    running.starts("p", 1.0)
    running.stop("p", asked=False)
    assert running.overdue(100.0) is None
    assert not running.was_stopped("p")


@pytest.mark.parametrize(("ran_s", "by_us"), [(9.9, False), (10.0, True)])
def test_an_earlier_daemon_has_ended_what_ran_too_long_before_this_one(ran_s: float, by_us: bool) -> None:
    entry = HistoryEntry("p", "error", False, "interrupted", {}, ran_s=ran_s)
    assert Running(10).was_stopped("p", entry) == by_us


def test_what_ran_too_long_and_could_not_be_stopped_a_person_has_ended() -> None:
    running = Running(10)
    running.starts("p", 1.0)
    running.stop("p", asked=False)
    assert not running.was_stopped("p", HistoryEntry("p", "error", False, "interrupted", {}, ran_s=99.0))


def test_nothing_that_runs_is_never_overdue() -> None:
    assert Running(0.001).overdue(100.0) is None


# ---- against the stand-in


class Live:
    def progress(self, prompt_id: str, news: Progress) -> None:
        return None

    def preview(self, prompt_id: str, picture: Preview) -> None:
        return None


class Post:
    """A watcher of one stand-in at a time, which can be ended and come again under its address."""

    def __init__(self, http: aiohttp.ClientSession, output: Path, timeout_s: float, *, without_jobs: bool) -> None:
        self.http = http
        self._options: dict[str, Any] = {"output": output, "without_jobs": without_jobs}
        self._timeout_s = timeout_s

    async def begin(self) -> None:
        self.sim = await serve(SimOptions(**self._options))
        self._options["port"] = int(self.sim.url.rpartition(":")[2])
        self.comfyui = ComfyUI(self.http, self.sim.url, connect_timeout_s=2, request_timeout_s=5)
        self.watcher = Watcher(
            self.comfyui,
            Live(),
            sweep_interval_s=0.4,
            connect_timeout_s=2,
            render_timeout_s=self._timeout_s,
            client_ids=lambda: uuid.uuid4().hex,
            connected=self._connected,
            stuck=self._stuck,
        )

    async def _connected(self) -> None:
        return None

    async def _stuck(self, trouble: NotReached) -> None:
        return None

    async def restart(self) -> None:
        await self.sim.stop()
        await until(lambda: not self.watcher.is_up)
        self.sim = await serve(SimOptions(**self._options))

    async def control(self, **asked: Any) -> None:
        async with self.http.post(f"{self.sim.control_url}/control", json=asked) as response:
            assert response.status == 200

    async def ledger(self) -> dict[str, Any]:
        async with self.http.get(f"{self.sim.control_url}/ledger") as response:
            return await response.json()  # type: ignore[no-any-return]

    async def held(self) -> bool:
        async with self.http.get(f"{self.sim.control_url}/control") as response:
            return bool((await response.json())["held_at"])

    async def send(self, color: int = 1, client_id: str | None = None) -> str:
        """Post a prompt; by default under the watcher's own client id."""
        prompt_id = str(uuid.uuid4())
        assert await self.watcher.ready()
        size = {"width": 8, "height": 8, "batch_size": 1, "color": color}
        graph: dict[str, Any] = {
            "1": {"class_type": "EmptyImage", "inputs": size},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"b/{color}"}},
        }
        client_id = client_id or self.watcher.sending(prompt_id)
        await self.comfyui.post_prompt(graph, prompt_id=prompt_id, client_id=client_id, outputs=["9"])
        return prompt_id

    def follow(self, prompt_id: str) -> asyncio.Task[Ending]:
        return asyncio.create_task(self.watcher.follow(prompt_id))

    async def until_held(self) -> None:
        await until(self.held)


@pytest.fixture
async def post(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Post]:
    """`param` are further arguments."""
    more: dict[str, Any] = {"timeout_s": 60.0, "without_jobs": False} | getattr(request, "param", {})
    async with aiohttp.ClientSession() as http:
        post = Post(http, tmp_path / "out", more["timeout_s"], without_jobs=more["without_jobs"])
        await post.begin()
        task = asyncio.create_task(post.watcher.run())
        yield post
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await post.sim.stop()


async def test_of_two_lost_prompts_only_the_running_one_counts_as_running(post: Post) -> None:
    await post.control(hold=["in_node"])
    first, second = await post.send(1), await post.send(2)
    endings = [post.follow(first), post.follow(second)]
    await post.until_held()
    await post.restart()
    async with asyncio.timeout(DEADLINE_S):
        assert await endings[0] == Ending(None, restarted=True, running=True)
        assert await endings[1] == Ending(None, restarted=True, running=False)


async def test_an_interrupted_run_is_known_after_the_next_prompt_began(post: Post) -> None:
    await post.control(hold=["in_node"])
    fell = await post.send(1)
    await post.until_held()
    await post.restart()
    async with asyncio.timeout(DEADLINE_S):
        assert (await post.follow(await post.send(2))).entry is not None
        assert await post.follow(fell) == Ending(None, restarted=True, running=True)


async def test_a_prompt_whose_end_was_heard_is_not_said_to_have_run(post: Post) -> None:
    await post.control(hold=["history"])
    ending = post.follow(await post.send())
    await post.until_held()
    await post.restart()
    async with asyncio.timeout(DEADLINE_S):
        assert await ending == Ending(None, restarted=True, running=False)


async def test_a_prompt_of_an_earlier_connection_is_seen_running_by_a_lookup(post: Post) -> None:
    await post.control(hold=["in_node"])
    ending = post.follow(await post.send(client_id="somebody"))
    await post.until_held()
    await until(lambda: post.watcher.sweeps >= 2)
    await post.restart()
    async with asyncio.timeout(DEADLINE_S):
        assert await ending == Ending(None, restarted=True, running=True)


@pytest.mark.parametrize("post", [{"timeout_s": 0.3}], indirect=True)
async def test_an_overdue_running_prompt_is_cancelled_and_a_waiting_one_is_not(post: Post) -> None:
    await post.control(seconds_per_image=30)
    first, second = await post.send(1), await post.send(2)
    endings = [post.follow(first), post.follow(second)]
    async with asyncio.timeout(DEADLINE_S):
        ended = await endings[0]
    assert ended.entry is not None
    assert (ended.entry.ended, ended.timed_out) == ("interrupted", True)
    asked = [one["prompt_id"] for one in (await post.ledger())["requests"] if one["path"].endswith("/cancel")]
    assert set(asked) == {first}
    assert not endings[1].done()
    endings[1].cancel()


@pytest.mark.parametrize("post", [{"timeout_s": 0.3, "without_jobs": True}], indirect=True)
async def test_without_a_safe_interrupt_an_overdue_prompt_may_finish(post: Post) -> None:
    await post.control(hold=["in_node"])
    ending = post.follow(await post.send())
    await until(lambda: post.watcher.sweeps >= 5)
    await post.control(hold=[])
    async with asyncio.timeout(DEADLINE_S):
        ended = await ending
    assert ended.entry is not None
    assert (ended.entry.ended, ended.timed_out) == ("success", False)
    paths = [one["path"] for one in (await post.ledger())["requests"]]
    assert "/interrupt" not in paths
    assert len([path for path in paths if path.endswith("/cancel")]) <= 1
