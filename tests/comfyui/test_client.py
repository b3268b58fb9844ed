"""What the client makes of a ComfyUI behind a gateway, or of another version: only what is understood is believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.kept_connections import KeptConnections
from comfyledger.comfyui.transfer import NotReached

ENTRY = {"p": {"outputs": {"9": {"images": []}}, "status": {"status_str": "success", "completed": True}}}
EMPTY_QUEUE = {"queue_running": [], "queue_pending": []}
RUNS = {"queue_running": [[1, "p", {}, {}, []]], "queue_pending": []}
WAITS = {"queue_running": [], "queue_pending": [[1, "p", {}, {}, []]]}
NO_JOB = (404, {"error": "Job not found"})

ODD_JOBS = {
    "another word": (200, {"id": "p", "status": "queued"}),
    "upper case": (200, {"id": "p", "status": "PENDING"}),
    "a wrapper": (200, {"data": {"id": "p", "status": "in_progress"}}),
    "an empty object": (200, {}),
    "an ended job without an entry": (200, {"id": "p", "status": "completed"}),
    "a gateway's 404": (404, {"message": "no route"}),
    "a gateway's page": (404, "<html>404 Not Found</html>"),
    "a page": (200, "<html>welcome</html>"),
    "nothing": (200, ""),
    "forbidden": (403, ""),
    "elsewhere": (302, ""),
    "a list": (200, []),
}


class Server:
    """Answers by path with what a test put there, and notes what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.sent = b""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        self.sent = await request.read()
        status, body = self.answers.get(request.path, (500, ""))
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


@asynccontextmanager
async def served(kept: KeptConnections | None = None, **more: Any) -> AsyncIterator[tuple[Server, ComfyUI]]:
    server, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http:
            yield server, ComfyUI(http, url, connect_timeout_s=2, request_timeout_s=5, kept=kept, **more)
    finally:
        if kept is not None:
            kept.close()
        await runner.cleanup()


@pytest.fixture(params=[None, KeptConnections], ids=["aiohttp", "kept"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Server, ComfyUI]]:
    """A server, and its client in both ways of making the frequent calls."""
    async with served(request.param and request.param()) as pair:
        yield pair


@pytest.mark.parametrize("job", ODD_JOBS.values(), ids=list(ODD_JOBS))
@pytest.mark.parametrize(
    ("queue", "history", "where"),
    [(RUNS, {}, "running"), (WAITS, {}, "waiting"), (EMPTY_QUEUE, {}, "gone"), (EMPTY_QUEUE, ENTRY, "ended")],
    ids=["running", "waiting", "gone", "ended"],
)
async def test_after_an_unclear_job_answer_queue_and_then_history_are_asked(
    pair: tuple[Server, ComfyUI], job: tuple[int, Any], queue: Any, history: Any, where: str
) -> None:
    server, comfyui = pair
    server.answers = {"/api/jobs/p": job, "/queue": (200, queue), "/history/p": (200, history)}
    for _ in range(2):
        found = await comfyui.where_is("p")
        assert ("ended" if isinstance(found, HistoryEntry) else found) == where
    assert server.asked.count("GET /api/jobs/p") == 2, "a gateway's answer is not taken for the server's for ever"


async def test_comfyuis_own_404_is_believed(pair: tuple[Server, ComfyUI]) -> None:
    server, comfyui = pair
    server.answers = {"/api/jobs/p": NO_JOB}
    assert await comfyui.where_is("p") == "gone"
    assert server.asked == ["GET /api/jobs/p"]


async def test_a_server_without_jobs_is_asked_for_them_once(pair: tuple[Server, ComfyUI]) -> None:
    server, comfyui = pair
    server.answers = {
        "/api/jobs/p": (404, "404: Not Found"),
        "/queue": (200, EMPTY_QUEUE),
        "/history/p": (200, {}),
    }
    assert [await comfyui.where_is("p") for _ in range(2)] == ["gone", "gone"]
    assert server.asked.count("GET /api/jobs/p") == 1


@pytest.mark.parametrize("path", ["/queue", "/history/p"])
@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>"),
        (200, ""),
        (200, "{"),
        (200, []),
        (200, {"data": EMPTY_QUEUE}),
        (404, "404: Not Found"),
        (302, ""),
    ],
)
async def test_a_prompt_is_gone_only_if_both_queue_and_history_say_so(
    pair: tuple[Server, ComfyUI], path: str, answer: tuple[int, Any]
) -> None:
    server, comfyui = pair
    server.answers = {"/api/jobs/p": (200, {}), "/queue": (200, EMPTY_QUEUE), "/history/p": (200, {})}
    assert await comfyui.where_is("p") == "gone"
    server.answers[path] = answer
    with pytest.raises(NotReached):
        await comfyui.where_is("p")


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [
        ((200, {"cancelled": True}), False),
        ((200, {"cancelled": False}), True),
        ((200, {"data": {"cancelled": True}}), True),
        ((200, {}), True),
        ((200, "<html>"), True),
        ((302, ""), True),
        ((404, "404: Not Found"), True),
    ],
)
async def test_a_cancel_that_is_not_confirmed_takes_the_prompt_out_of_the_queue(
    pair: tuple[Server, ComfyUI], answer: tuple[int, Any], deleted: bool
) -> None:
    server, comfyui = pair
    server.answers = {"/api/jobs/p/cancel": answer, "/queue": (200, "")}
    await comfyui.cancel("p")
    assert ("POST /queue" in server.asked) is deleted
    assert "POST /interrupt" not in server.asked


@pytest.mark.parametrize(
    "answer",
    [(200, {}), (200, {"data": {"prompt_id": "p"}}), (400, "<html>"), (400, {"error": "Bad Request"}), (302, "")],
)
async def test_what_a_gateway_says_to_a_prompt_neither_takes_nor_refuses_it(
    pair: tuple[Server, ComfyUI], answer: tuple[int, Any]
) -> None:
    server, comfyui = pair
    server.answers = {"/prompt": answer}
    with pytest.raises(NotReached) as told:
        await comfyui.post_prompt({}, prompt_id="p", client_id="c", outputs=["9"])
    assert told.value.sent


async def test_node_classes_are_read_with_numbers_that_are_not_json(pair: tuple[Server, ComfyUI]) -> None:
    server, comfyui = pair
    text = '\ufeff{"K": {"input": {"required": {"x": ["FLOAT", {"max": Infinity, "min": -Infinity, "default": NaN}]}}}}'
    server.answers = {"/object_info": (200, text), "/system_stats": (200, '{"system": {"ram_free": NaN}}')}
    _, info = await comfyui.object_info()
    assert list(info) == ["K"]
    assert "system" in await comfyui.system_stats()


@pytest.mark.parametrize("answer", [{}, [], {"error": "x"}, {"data": {"K": {"input": {}}}}])
async def test_an_answer_without_node_classes_is_none(pair: tuple[Server, ComfyUI], answer: Any) -> None:
    server, comfyui = pair
    server.answers = {"/object_info": (200, answer)}
    with pytest.raises(NotReached):
        await comfyui.object_info()


@pytest.mark.parametrize(
    ("previews", "keys", "sent"),
    [
        (False, {}, {}),
        (True, {}, {"preview_method": "auto"}),
        (False, {"api_key_comfy_org": "k"}, {"api_key_comfy_org": "k"}),
        (True, {"api_key_comfy_org": "k"}, {"preview_method": "auto", "api_key_comfy_org": "k"}),
    ],
    ids=["neither", "watched", "paid", "both"],
)
async def test_a_prompt_asks_for_previews_if_they_are_watched(
    previews: bool, keys: dict[str, str], sent: dict[str, str]
) -> None:
    async with served(extra_data=keys) as (server, comfyui):
        server.answers = {"/prompt": (200, {"prompt_id": "p", "number": 1, "node_errors": {}})}
        await comfyui.post_prompt({}, prompt_id="p", client_id="c", outputs=["9"], previews=previews)
        assert json.loads(server.sent)["extra_data"] == sent
