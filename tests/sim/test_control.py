"""The faults and the ledger of the stand-in: what `/control` asks for happens, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from comfyledger.comfyui import answers
from comfyledger.comfyui import messages as m
from comfyledger.sim.comfyui.server import SimOptions, serve
from support.waiting import PATIENT, until

PREFIX = "comfyledger/b1/1-a1"


async def test_a_held_prompt_runs_on_when_it_is_let_go(box: Any) -> None:
    await box.control(hold=["in_node"])
    prompt_id = await box.submit(box.graph())
    await box.held_at("in_node")
    assert answers.parse_job(*await box.get(f"/api/jobs/{prompt_id}"), prompt_id) == "running"
    assert answers.parse_queue((await box.get("/queue"))[1]).running == (prompt_id,)
    assert await box.history(prompt_id) is None
    await box.control(hold=[])
    assert (await box.finished(prompt_id)).ended == "success"


async def test_a_prompt_held_before_its_history_has_its_file_and_its_success(box: Any) -> None:
    await box.control(hold=["history"])
    async with box.connect() as socket:
        prompt_id = await box.submit(box.graph())
        assert m.ExecutionSuccess(prompt_id) in await box.read_until(socket, m.ExecutionSuccess)
        assert await box.history(prompt_id) is None
        assert (box.output / f"{PREFIX}_00001_.png").is_file()
        await box.control(step=1)
        await box.finished(prompt_id)


async def test_as_many_prompts_fail_as_were_asked_to(box: Any) -> None:
    await box.control(fail_next=2, fail_text="no memory left")
    ended = [await box.finished(await box.submit(box.graph(color))) for color in range(3)]
    assert [entry.ended for entry in ended] == ["error", "error", "success"]
    assert ended[0].error
    assert ended[0].error.exception_message == "no memory left"
    assert ended[0].error.node_id == "1"


async def test_a_lost_answer_is_a_prompt_that_runs(box: Any) -> None:
    await box.control(answer_lost_next=1)
    prompt_id = str(uuid.uuid4())
    post = asyncio.create_task(box.submit(box.graph(), prompt_id=prompt_id))
    assert (await box.finished(prompt_id)).ended == "success"
    assert not post.done()
    post.cancel()
    await box.submit(box.graph(2))


async def test_a_deaf_server_works_and_says_nothing(box: Any) -> None:
    async with box.connect() as socket:
        assert m.parse_text(await socket.recv()) == m.Status(0, "me")
        await box.control(deaf=True)
        await box.finished(await box.submit(box.graph(1)))
        await box.sim.sockets.settled()
        await (await socket.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await socket.recv()
        await box.control(deaf=False)
        heard = await box.submit(box.graph(2))
        assert m.ExecutionStart(heard) in await box.read_until(socket, m.ExecutionSuccess)


async def test_dropped_sockets_close_without_a_word(box: Any) -> None:
    async with box.connect() as socket:
        await socket.recv()
        await box.control(drop_sockets=True)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1006
    assert (await box.get("/prompt"))[0] == 200


@pytest.mark.parametrize(("how", "code"), [("too_big", 1009), ("mid_frame", 1006)])
async def test_sockets_break_as_asked(box: Any, how: str, code: int) -> None:
    async with box.connect() as socket:
        await socket.recv()
        await box.control(break_sockets=how)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code


async def test_a_half_open_socket_stands_and_neither_speaks_nor_answers_pings(box: Any) -> None:
    async with box.connect() as socket:
        await socket.recv()
        await box.control(break_sockets="half_open")
        pong = await socket.ping()
        await box.finished(await box.submit(box.graph()))
        await box.sim.sockets.settled()
        assert not pong.done()
        assert socket.close_code is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await socket.recv()
        async with box.connect("another") as other:
            assert m.parse_text(await other.recv()) == m.Status(0, "another")
        socket.transport.abort()


async def test_a_zombie_answers_pings_and_is_sent_nothing(box: Any) -> None:
    async with box.connect() as socket:
        await socket.recv()
        await box.control(break_sockets="zombie")
        assert (await box.get("/prompt"))[0] == 200
        await box.finished(await box.submit(box.graph()))
        await box.sim.sockets.settled()
        await (await socket.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await socket.recv()


@pytest.mark.parametrize("forget", [False, True])
async def test_a_mended_half_open_socket_continues_unless_its_server_is_gone(box: Any, forget: bool) -> None:
    async with box.connect() as socket:
        await socket.recv()
        await box.control(break_sockets="half_open", forget=forget)
        pong = await socket.ping()
        await box.control(mend_sockets=True)
        if forget:
            with pytest.raises(ConnectionClosed):
                await pong
        else:
            await pong


async def test_what_a_person_took_out_is_in_the_ledger(box: Any) -> None:
    await box.control(hold=["before_node"])
    running, waiting = await box.submit(box.graph()), await box.submit(box.graph())
    await box.held_at("before_node")
    await box.post("/queue", {"clear": True})
    await box.post("/interrupt", {})
    assert (await box.ledger())["taken_out"] == [waiting, running]
    await box.control(hold=[])
    await box.finished(running)


async def test_a_big_frame_is_a_message_of_that_size(box: Any) -> None:
    async with connect(f"{box.sim.url.replace('http', 'ws', 1)}/ws", max_size=2**22, **PATIENT) as socket:
        await socket.recv()
        await box.control(big_frame_bytes=3_000_000)
        frame = await socket.recv()
    assert len(frame) == 3_000_000
    assert m.parse_text(frame) == m.ProgressState("")


async def test_a_flood_of_steps_goes_to_the_client_of_the_running_prompt(box: Any) -> None:
    await box.control(hold=["in_node"], flood_per_s=10_000)
    async with box.connect() as socket, box.connect("another") as other:
        prompt_id = await box.submit(box.graph())
        await until(lambda: not box.sim.is_idle)
        steps = 0
        while steps < 1_000:
            message = m.parse_text(await socket.recv())
            steps += isinstance(message, m.Progress) and message.prompt_id == prompt_id
        await box.control(hold=[], flood_per_s=0)
        await box.finished(prompt_id)
        assert {type(message) for message in await box.read_until(other, m.Status)} == {m.Status}


async def test_a_path_is_slow_and_others_are_not(box: Any) -> None:
    await box.control(slow={"/queue": 0.05})
    began = time.monotonic()
    assert (await box.get("/queue"))[0] == 200
    assert time.monotonic() - began >= 0.05
    await box.control(slow={"/queue": 60.0})
    slow = asyncio.create_task(box.get("/queue"))
    assert (await box.get("/prompt"))[0] == 200
    assert not slow.done()
    slow.cancel()


async def test_as_many_requests_are_refused_as_were_asked_to(box: Any) -> None:
    state = await box.control(refuse={"/api/jobs": {"status": 503, "next": 2}})
    assert state["refuse"] == {"/api/jobs": {"status": 503, "next": 2}}
    answers = [(await box.get(path))[0] for path in ("/queue", "/api/jobs/a", "/api/jobs/b", "/api/jobs/c")]
    assert answers == [200, 503, 503, 404]


async def test_a_file_is_sent_broken_as_often_as_asked_and_is_whole_on_disk(box: Any) -> None:
    await box.finished(await box.submit(box.graph(px=64)))
    whole = (box.output / f"{PREFIX}_00001_.png").read_bytes()
    faults = ["cut_1", "cut_4", "cut_20", "cut_1000", "trailing", "empty", "html", "missing"]
    await box.control(view_next=faults)
    asked = {"filename": "1-a1_00001_.png", "subfolder": "comfyledger/b1"}
    answers = [await box.get("/view", **asked) for _ in range(len(faults) + 1)]
    assert [status for status, _ in answers] == [200] * 7 + [404, 200]
    bodies = [body for _, body in answers]
    assert bodies[:4] == [whole[:-lacking] for lacking in (1, 4, 20, 1_000)]
    assert (bodies[4][: len(whole)], bodies[5], bodies[8]) == (whole, b"", whole)
    assert len(bodies[4]) > len(whole)
    assert bodies[6].startswith(b"<!DOCTYPE html>")


async def test_a_transfer_ends_before_what_it_announced(box: Any) -> None:
    await box.finished(await box.submit(box.graph(px=64)))
    await box.control(view_next=["short_transfer"])
    with pytest.raises(aiohttp.ClientPayloadError):
        await box.get("/view", filename="1-a1_00001_.png", subfolder="comfyledger/b1")


async def test_a_prompt_names_more_or_fewer_files_than_it_made(box: Any) -> None:
    await box.control(miscount_next=[1, -1])
    ended = [await box.finished(await box.submit(box.graph(n, f"n/{n}", batch_size=2))) for n in (1, 2, 3)]
    named = [[file.filename for file in entry.outputs["9"]] for entry in ended]
    assert named == [
        ["1_00001_.png", "1_00002_.png", "1_00001_.png"],
        ["2_00001_.png"],
        [f"3_{n:05}_.png" for n in (1, 2)],
    ]
    assert len(list((box.output / "n").iterdir())) == 6


async def test_a_prompt_that_is_doubled_runs_twice_under_its_id(box: Any) -> None:
    await box.control(double_next=["at_once", "later"])
    first = await box.submit(box.graph(1, "d/1"))
    await until(lambda: box.sim.is_idle)
    second, third = await box.submit(box.graph(2, "d/2")), await box.submit(box.graph(3, "d/3"))
    await until(lambda: box.sim.is_idle)
    ledger = await box.ledger()
    assert [ran["prompt_id"] for ran in ledger["prompts"]] == [first, first, second, third, second]
    assert [ran["executed"] for ran in ledger["prompts"]][:2] == [["1", "9"], []]
    assert sorted(path.name for path in (box.output / "d").iterdir()) == [
        f"{name}_.png" for name in ("1_00001", "2_00001", "2_00002", "3_00001")
    ]


async def test_the_files_of_a_prompt_are_deleted_and_no_others(box: Any) -> None:
    first, _ = [(await box.finished(await box.submit(box.graph(n, f"d/{n}")))).prompt_id for n in (1, 2)]
    await box.control(delete_files_of=first)
    assert [path.name for path in (box.output / "d").iterdir()] == ["2_00001_.png"]


async def test_an_earlier_version_knows_no_jobs(tmp_path: Path) -> None:
    options = SimOptions(output=tmp_path / "output", without_jobs=True)
    async with await serve(options) as sim, aiohttp.ClientSession() as http:
        for path, method in (("/api/jobs/a", "GET"), ("/api/jobs/a/cancel", "POST")):
            async with http.request(method, sim.url + path) as response:
                assert (response.status, await response.text()) == (404, "404: Not Found")


async def test_a_server_that_forgot_has_its_files_and_nothing_else(box: Any) -> None:
    done = await box.submit(box.graph(1))
    await box.finished(done)
    await box.control(hold=["in_node"])
    running, pending = await box.submit(box.graph(2)), await box.submit(box.graph(3))
    await box.held_at("in_node")
    state = await box.control(forget=True, hold=[])
    assert state["held_at"] is None
    for prompt_id in (done, running, pending):
        assert await box.history(prompt_id) is None
        assert (await box.get(f"/api/jobs/{prompt_id}"))[0] == 404
    assert (await box.get("/view", filename="1-a1_00001_.png", subfolder="comfyledger/b1"))[0] == 200
    # The cache is gone as well: the same graph runs anew and counts on in the folder.
    again = await box.finished(await box.submit(box.graph(1)))
    assert again.outputs["9"][0].filename == "1-a1_00002_.png"


async def test_time_passes_for_each_image_and_ends_with_an_interrupt(box: Any) -> None:
    await box.control(seconds_per_image=0.02)
    began = time.monotonic()
    await box.finished(await box.submit(box.graph(batch_size=3)))
    assert time.monotonic() - began >= 0.06
    await box.control(seconds_per_image=1_000.0)
    for slow in (box.graph(2), box.sampled(seed=1)):
        prompt_id = await box.submit(slow)
        await until(lambda: box.sim.breakpoints.held_at is None and not box.sim.is_idle)

        async def interrupted(prompt_id: str = prompt_id) -> bool:
            answer = json.loads((await box.post(f"/api/jobs/{prompt_id}/cancel"))[1])
            return answer["cancelled"] and await box.history(prompt_id) is not None

        await until(interrupted)
        assert (await box.finished(prompt_id)).ended == "interrupted"


async def test_an_interrupt_that_names_another_prompt_is_ignored(box: Any) -> None:
    await box.control(hold=["in_node"])
    prompt_id = await box.submit(box.graph())
    await box.held_at("in_node")
    await box.post("/interrupt", {"prompt_id": str(uuid.uuid4())})
    await box.control(hold=[])
    assert (await box.finished(prompt_id)).ended == "success"


@pytest.mark.parametrize("body", ['{"fail_nxt": 1}', '{"hold": ["nowhere"]}', "{"])
async def test_a_misspelled_fault_is_refused(box: Any, body: str) -> None:
    async with box.http.post(f"{box.sim.control_url}/control", data=body) as response:
        assert response.status == 400


async def test_faults_are_no_part_of_the_api(box: Any) -> None:
    for path in ("/control", "/ledger", "/api/control"):
        assert (await box.get(path))[0] == 404


async def test_the_ledger_tells_in_order_what_was_asked_and_done(box: Any) -> None:
    prompt_id = await box.submit(box.graph())
    await box.finished(prompt_id)
    await box.post("/history", {"delete": [prompt_id]})
    ledger = await box.ledger()
    posted, *_, deleted = ledger["requests"]
    assert (posted["method"], posted["path"], posted["prompt_id"]) == ("POST", "/prompt", prompt_id)
    assert (deleted["path"], deleted["prompt_id"]) == ("/history", prompt_id)
    assert [(f["prompt_id"], f["type"], f["path"]) for f in ledger["files"]] == [
        (prompt_id, "output", f"{PREFIX}_00001_.png")
    ]
    (ran,) = ledger["prompts"]
    assert (ran["outcome"], ran["executed"], ran["client_id"]) == ("execution_success", ["1", "9"], "me")
    assert posted["order"] < ledger["files"][0]["order"] < ran["order"] < deleted["order"] == ledger["count"]


async def test_an_interrupt_is_told_to_everybody(box: Any) -> None:
    await box.control(hold=["before_node"])
    async with box.connect("somebody-else") as socket:
        prompt_id = await box.submit(box.graph())
        await box.held_at("before_node")
        await box.post("/interrupt")
        await box.control(hold=[])
        assert m.ExecutionInterrupted(prompt_id, "1") in await box.read_until(socket, m.ExecutionInterrupted)
