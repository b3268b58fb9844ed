"""What the doctor finds of a ComfyUI: the stand-in with and without faults, and one that is too old."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.graph.find import plan_workflow
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.maintenance.doctor import comfyui
from comfyledger.maintenance.doctor.comfyui import Examination
from comfyledger.maintenance.doctor.comfyui_judge import Planned
from comfyledger.sim.comfyui import server
from support.doctor_report import ids, verdicts

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def planned(graph: dict[str, Any]) -> Planned:
    return Planned(*plan_workflow(graph))


class Box:
    """The stand-in, and an examination of it."""

    def __init__(self, sim: server.SimComfyUI, session: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.session = session
        self.workflows = {"mine": planned(GRAPH)}
        server = ComfyUI(session, sim.url, connect_timeout_s=5.0, request_timeout_s=5.0)
        self.examination = Examination("main", server, self.workflows, ids)

    async def control(self, **asked: Any) -> None:
        async with self.session.post(f"{self.sim.control_url}/control", json=asked) as answer:
            assert answer.status == 200, await answer.text()

    async def queued(self) -> list[Any]:
        """What stands in queue and history."""
        async with self.session.get(f"{self.sim.url}/queue") as answer:
            queue = await answer.json()
        async with self.session.get(f"{self.sim.url}/history") as answer:
            return [*queue["queue_running"], *queue["queue_pending"], *(await answer.json())]


@pytest.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(comfyui, "LATE_S", 0.1)
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(await server.serve(server.SimOptions(output=tmp_path / "out")))
        yield Box(sim, await stack.enter_async_context(aiohttp.ClientSession()))


async def test_without_the_probe_comfyui_is_asked_and_nothing_is_queued(box: Box) -> None:
    examination = box.examination
    found = [await examination.reach(), *await examination.ids(), *await examination.socket()]
    found += await examination.nodes()
    assert verdicts(found) == ["ok"] * 4
    assert "0.33.0" in found[0].sentence
    assert (await box.queued(), list(box.sim.ledger.prompts)) == ([], [])


async def test_the_probe_runs_under_our_id_is_heard_and_leaves_nothing(box: Box, tmp_path: Path) -> None:
    assert verdicts(await box.examination.probe()) == ["ok", "ok"]
    (ran,) = box.sim.ledger.prompts
    assert ran.outcome == "execution_success"
    assert await box.queued() == []
    assert list((tmp_path / "out").iterdir()) == []


async def test_the_probe_finds_out_a_deaf_socket_which_the_greeting_cannot(box: Box) -> None:
    await box.control(deaf=True)
    assert verdicts(await box.examination.socket()) == ["ok"]
    done, deaf = await box.examination.probe()
    assert (done.verdict, deaf.verdict) == ("ok", "failure")
    assert "sent nothing about the probe" in deaf.sentence
    assert await box.queued() == []


async def test_a_probe_that_waits_too_long_is_taken_out_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "PROBE_S", 0.2)
    await box.control(hold=["queue"])
    (one,) = await box.examination.probe()
    assert (one.verdict, "waited" in one.sentence) == ("warning", True)
    assert await box.queued() == []


async def test_a_probe_that_fails_is_told(box: Box) -> None:
    await box.control(fail_next=1)
    assert verdicts(await box.examination.probe()) == ["failure", "ok"]
    assert await box.queued() == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/system_stats", "reach"), ("/prompt", "ids"), ("/prompt", "probe"), ("/ws", "socket"), ("/ws", "probe")],
)
async def test_a_comfyui_that_answers_503_is_a_failure(box: Box, path: str, asked: str) -> None:
    await box.control(refuse={path: {"status": 503, "next": 9}})
    found = await getattr(box.examination, asked)()
    assert verdicts(found if isinstance(found, list) else [found]) == ["failure"]


async def test_a_node_list_that_does_not_come_is_a_failure(box: Box) -> None:
    await box.control(refuse={"/object_info": {"status": 500, "next": 9}})
    assert verdicts(await box.examination.nodes()) == ["failure"]


async def test_every_workflow_is_checked_against_the_nodes_of_comfyui(box: Box) -> None:
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    box.workflows["other"] = planned({"1": {"class_type": "FancyNode", "inputs": {}}, "9": save})
    wrong = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": -1}}
    box.workflows["third"] = planned({"1": wrong, "9": save})
    found = await box.examination.nodes()
    assert verdicts(found) == ["ok", "failure", "warning"]
    assert "Workflow other: Node 1 (FancyNode)" in found[1].sentence
    assert "Workflow third: Node 1 (EmptyImage): color is -1" in found[2].sentence


async def test_a_workflow_in_the_ui_format_is_made_of_the_nodes_that_comfyui_has(box: Box) -> None:
    async def drawn(body: bytes, info: ObjectInfo) -> Planned:
        assert "KSampler" in info
        assert info.digest == hashlib.sha256(body).hexdigest()
        return planned(GRAPH)

    async def unusable(*_: Any) -> Planned:
        raise Refused("workflow_invalid", "It has no nodes.", hint="Draw some.")

    box.examination = Examination("main", box.examination._comfyui, {}, ids, {"drawn": drawn, "empty": unusable})
    fits, lost = await box.examination.nodes()
    assert (fits.verdict, lost.verdict) == ("ok", "failure")
    assert (lost.sentence, lost.mend) == ("Workflow empty: It has no nodes.", "Draw some.")
    assert list(box.examination.fits) == ["drawn", "empty"]


async def test_an_old_comfyui_that_gives_ids_of_its_own_is_found_out(aiohttp_server: Any) -> None:
    deleted: list[str] = []
    taken: list[str] = []

    async def ws(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.send_str('{"type": "status", "data": {"sid": "x", "status": {}}}')
        await response.receive()
        return response

    async def prompt(request: web.Request) -> web.Response:
        if not (await request.json())["prompt"]:
            return web.json_response({"error": {"type": "prompt_no_outputs", "message": "no"}}, status=400)
        taken.append("its-own")
        return web.json_response({"prompt_id": "its-own", "number": 1, "node_errors": {}})

    async def delete(request: web.Request) -> web.Response:
        deleted.extend((await request.json())["delete"])
        return web.Response()

    async def history(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/ws", ws)
    app.router.add_post("/prompt", prompt)
    app.router.add_post("/queue", delete)
    app.router.add_get("/history/{id}", history)
    server = await aiohttp_server(app)
    async with aiohttp.ClientSession() as session:
        old = ComfyUI(session, str(server.make_url("")), connect_timeout_s=5.0, request_timeout_s=5.0)
        examination = Examination("main", old, {}, ids)
        (unsure,) = await examination.ids()
        assert (unsure.verdict, unsure.mend) == ("warning", "comfyledger doctor --probe-comfyui")
        assert taken == []
        (found,) = await examination.probe()
    assert (found.verdict, "replaces the ids" in found.sentence) == ("failure", True)
    assert deleted == ["its-own"]
