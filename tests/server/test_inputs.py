"""Input files at the door: streamed, bounded, refused as early as can be, and one file however often they come."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from comfyledger import wire
from comfyledger.admission import inputs
from comfyledger.core.reports import InputUnused
from comfyledger.engine import engine as engine_module
from comfyledger.errors import Refused
from comfyledger.server import tokens
from comfyledger.server.v1 import held
from comfyledger.server.v1 import inputs as inputs_module
from comfyledger.wire.routes import INPUTS
from comfyledger.workers.inputs import paced
from support.spool_files import image, stream
from support.waiting import DEADLINE_S, until
from support.wire_app import Refusal

PNG = image()
NAME = f"sha256:{hashlib.sha256(PNG).hexdigest()}"
SMALL = "[inputs]\nbytes_max = 5_000\nquota_bytes = 8_000"


def kept(door: Any) -> list[str]:
    """The files in the folder of inputs, those that come just now included."""
    found = (door.folder / "state" / "inputs").rglob("*")
    return sorted(path.name for path in found if path.is_file() and path.name != ".ledger")


async def put(door: Any, content: Any, *, token: str = "", **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or door.token}", **more.pop("headers", {})}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.put(door.url + INPUTS, data=content, **more) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def added_events(door: Any) -> list[Any]:
    async with door.app() as app:
        page = await app.ask("read_log", kinds=["input_added"])
    return [event["data"] for event in page["events"]]


class Socket:
    """A connection that sends a PUT by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    @classmethod
    async def put(cls, door: Any, *headers: str, token: str = "") -> Socket:
        host, port = door.url.removeprefix("http://").split(":")
        made = cls(*await asyncio.open_connection(host, int(port)))
        lines = [f"PUT {INPUTS} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token or door.token}", *headers]
        await made.send("\r\n".join([*lines, "", ""]).encode())
        return made

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def head(self) -> str:
        """The first line of the next answer; the other lines of its head are read too."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
        return head.decode().splitlines()[0]

    async def code(self) -> str:
        """The code of a refusal, whose head was read."""
        async with asyncio.timeout(DEADLINE_S):
            return str(json.loads(await self._reader.readuntil(b"\n"))["code"])


# ---- what is taken


async def test_the_same_bytes_are_one_input_that_is_on_disk_before_its_answer(door: Any) -> None:
    first, again = await put(door, PNG), await put(door, PNG)
    said = {"input": NAME, "size_bytes": len(PNG), "extension": "png", "medium": "image", "width": 16, "height": 16}
    assert first == (201, {**said, "new": True})
    assert again == (200, said)
    assert kept(door) == [f"{NAME.removeprefix('sha256:')}.png"]
    (event,) = await added_events(door)
    assert (event["sha256"], event["size_bytes"], event["by"]) == (NAME.removeprefix("sha256:"), len(PNG), "default")


async def test_a_body_without_a_length_is_taken_as_well(door: Any) -> None:
    assert (await put(door, stream(PNG, 10)))[0] == 201
    assert (door.folder / "state" / "inputs" / NAME[7:9] / f"{NAME[7:]}.png").read_bytes() == PNG


@pytest.mark.parametrize(
    "more",
    [
        {"params": {"name": "notes.ABC"}},
        {"headers": {"Content-Disposition": 'attachment; filename="notes.abc"'}},
        {"headers": {"Content-Disposition": "attachment; filename*=UTF-8''n%C3%B6tes.abc"}},
    ],
)
async def test_a_name_says_what_bytes_do_not(door: Any, more: Any) -> None:
    assert (await put(door, b"anything"))[1]["code"] == "input_broken"
    status, said = await put(door, b"anything", **more)
    assert (status, said["extension"], said["medium"]) == (201, "abc", "file")


async def test_fifty_clients_with_one_file_end_with_one_file(door: Any) -> None:
    path = door.folder / "state" / "tokens.json"
    labels = [f"app-{number}" for number in range(5)]
    made = [tokens.add(path, label, "submit_configured", 0.0) for label in labels]
    door.context.access.keyring.refresh()
    answers = await asyncio.gather(*(put(door, PNG, token=token) for token in made * 10))
    assert sorted(status for status, _ in answers) == [200] * 45 + [201] * 5
    assert kept(door) == [f"{NAME.removeprefix('sha256:')}.png"]
    assert sorted(event["by"] for event in await added_events(door)) == labels


async def test_inputs_are_listed_page_by_page_and_given_up(door: Any) -> None:
    some = [image(colour=colour) for colour in range(3)]
    names = [(await put(door, content))[1]["input"] for content in some]
    async with aiohttp.ClientSession(door.url, headers={"Authorization": f"Bearer {door.token}"}) as http:
        found, path = [], f"{INPUTS}?limit=2"
        while path:
            async with http.get(path) as answer:
                found += [one["input"] for one in (await answer.json())["inputs"]]
                path = str(answer.links["next"]["url"].relative()) if "next" in answer.links else ""
        gone = [(await http.delete(f"{INPUTS}/{names[0]}")).status for _ in range(2)]
        listed = [one["input"] for one in (await (await http.get(INPUTS)).json())["inputs"]]
    assert sorted(found) == sorted(names)
    assert gone == [200, 404]
    assert sorted(listed) == sorted(names[1:])


async def test_what_is_given_up_is_deleted_and_that_is_recorded(door: Any) -> None:
    kinds = ["input_added", "input_forgotten", "input_erased", "input_removed"]

    async def recorded() -> list[str]:
        async with door.app() as app:
            page = await app.ask("read_log", kinds=kinds)
        return [event["kind"] for event in page["events"]]

    await put(door, PNG)
    async with door.app() as app:
        await app.ask("forget_input", input=NAME)

    async def all_recorded() -> bool:
        return await recorded() == kinds

    await until(all_recorded, "it is deleted")
    assert kept(door) == []
    assert (await put(door, PNG))[0] == 201
    assert await recorded() == [*kinds, "input_added"]
    assert len(kept(door)) == 1


async def test_a_client_gives_up_what_has_expired_here_and_is_still_at_comfyui(door: Any) -> None:
    path = door.folder / "state" / "tokens.json"
    token = tokens.add(path, "one", "submit_configured", 0.0)
    door.context.access.keyring.refresh()
    await put(door, PNG, token=token)
    await put(door, PNG)
    await door.context.engine.report(InputUnused(NAME.removeprefix("sha256:"), "expired"))
    async with aiohttp.ClientSession(door.url, headers={"Authorization": f"Bearer {token}"}) as http:
        answers = [await http.delete(f"{INPUTS}/{NAME}") for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 404]
        assert "labels" not in await answers[0].json()


class Late:
    """A reader that has read before a file comes."""

    def __init__(self, door: Any) -> None:
        self._door = door

    async def input(self, sha256: str) -> Any:
        row = await self._door.context.reader.input(sha256)
        await put(self._door, PNG, headers={"Comfyledger-Client": "one"})
        return row


async def test_what_comes_while_it_is_given_up_stays(door: Any) -> None:
    context = msgspec.structs.replace(door.context, reader=Late(door))
    with pytest.raises(Refused) as refused:
        await inputs.forget_input(context, "one", wire.ForgetInput(NAME))
    assert (refused.value.code, refused.value.path) == ("input_missing", "$.data.input")
    assert len(kept(door)) == 1


async def test_an_operator_gives_up_what_others_have(door: Any) -> None:
    for label in ("one", "two"):
        await put(door, PNG, headers={"Comfyledger-Client": label})
    async with door.app("three") as app:
        with pytest.raises(Refusal) as own:
            await app.ask("forget_input", input=NAME)
        everybody = await app.ask("forget_input", input=NAME.upper().replace("SHA", "sha"), all_labels=True)
    assert own.value.code == "input_missing"
    assert everybody.get("labels", []) == []


# ---- what is refused, and when


async def test_a_body_that_would_be_refused_is_not_asked_for(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, SMALL) as door:
        for headers, token, status, code in (
            (("Content-Length: 5001",), "", "413", "input_too_large"),
            (("Content-Length: 5",), "wrong", "401", "unauthorized"),
            (("Content-Length: 5", "Content-Type: multipart/form-data; boundary=x"), "", "415", "content_type"),
            (("Content-Length: 5", "Content-Encoding: gzip"), "", "415", "content_type"),
        ):
            socket = await Socket.put(door, *headers, "Expect: 100-continue", token=token)
            assert (await socket.head()).split()[1] == status
            assert await socket.code() == code
            socket.writer.close()
        socket = await Socket.put(door, f"Content-Length: {len(PNG)}", "Expect: 100-continue")
        assert await socket.head() == "HTTP/1.1 100 Continue"
        await socket.send(PNG)
        assert await socket.head() == "HTTP/1.1 201 Created"
        socket.writer.close()


@pytest.mark.parametrize("pieces", [1, 100], ids=["with a length", "without"])
async def test_a_file_above_its_limit_leaves_nothing(open_door: Any, tmp_path: Path, pieces: int) -> None:
    async with open_door(tmp_path, SMALL) as door:
        content = bytes(5_001) if pieces == 1 else stream(bytes(5_001), 51)
        status, said = await put(door, content, params={"name": "x.abc"})
        assert (status, said["code"]) == (413, "input_too_large")
        assert "bytes_max" in said["hint"]
        assert kept(door) == []


async def test_files_above_the_quota_are_refused_and_known_ones_are_not(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, SMALL) as door:
        named = {"name": "x.abc"}
        assert (await put(door, bytes(4_500), params=named))[0] == 201
        status, said = await put(door, b"x" * 4_500, params=named)
        assert (status, said["code"]) == (507, "inputs_full")
        assert "quota_bytes" in said["hint"]
        assert (await put(door, bytes(4_500), params=named))[0] == 200
        assert len(kept(door)) == 1


async def test_a_nearly_full_disk_takes_no_input(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "[spool]\nfree_min_bytes = 1_000_000_000_000_000_000") as door:
        assert (await put(door, PNG))[1]["code"] == "storage_full"
        assert kept(door) == []


@pytest.mark.parametrize(
    ("content", "reason"), [(PNG[:-1], "truncated"), (PNG + b"x", "trailing"), (b"", "empty"), (b"x", "unknown_kind")]
)
async def test_a_file_that_is_not_whole_is_refused_with_the_reason(door: Any, content: bytes, reason: str) -> None:
    status, said = await put(door, content)
    assert (status, said["code"]) == (422, "input_broken")
    assert said["detail"].startswith(f"{reason}: ")
    assert said["hint"]
    assert kept(door) == []


@pytest.mark.parametrize("query", ["?nmae=x", "?name=a&name=b", "?name=", "?token=secret", "?name=" + "a" * 256])
async def test_a_parameter_that_means_nothing_is_refused(door: Any, query: str) -> None:
    headers = {"Authorization": f"Bearer {door.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.put(door.url + INPUTS + query, data=PNG) as answer:
        assert answer.status in {401, 422}
    assert kept(door) == []


# ---- clients that do not behave


async def test_a_client_that_stops_sending_is_given_up(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "STALL_S", 0.2)
    socket = await Socket.put(door, "Content-Length: 2000000")
    await socket.send(bytes(1_500_000))
    assert (await socket.head()).split()[1] == "408"
    assert await socket.code() == "timeout"
    assert kept(door) == []
    socket.writer.close()


async def test_a_client_that_leaves_halfway_leaves_nothing(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "GONE_S", 0.01)
    socket = await Socket.put(door, "Content-Length: 2000000")
    await socket.send(bytes(1_500_000))
    await until(lambda: kept(door), "the first piece is on disk")
    socket.writer.transport.abort()
    await until(lambda: not kept(door), "nothing is left")
    assert await added_events(door) == []


async def test_a_body_that_is_no_body_is_refused(door: Any) -> None:
    socket = await Socket.put(door, "Transfer-Encoding: chunked")
    await socket.send(b"5\r\nabcde\r\nnot a length\r\n")
    assert (await socket.head()).split()[1] in {"400", "422"}
    assert kept(door) == []
    socket.writer.close()


async def test_a_token_that_is_revoked_ends_its_upload(door: Any) -> None:
    path = door.folder / "state" / "tokens.json"
    token = tokens.add(path, "short", "submit_configured", 0.0)
    door.context.access.keyring.refresh()
    socket = await Socket.put(door, "Content-Length: 2000000", token=token)
    await socket.send(bytes(1_500_000))
    await until(lambda: kept(door), "the first piece is on disk")
    tokens.revoke(path, "short")
    assert (await socket.head()).split()[1] == "401"
    assert kept(door) == []
    socket.writer.close()


async def test_files_wait_for_their_turn_and_not_for_ever(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "UPLOADS_MAX", 1)
    async with open_door(tmp_path) as door:
        first = await Socket.put(door, "Content-Length: 2000000")
        await first.send(bytes(1_500_000))
        await until(lambda: kept(door), "the first piece is on disk")
        second = await Socket.put(door, f"Content-Length: {len(PNG)}")
        await second.send(PNG)
        async with aiohttp.ClientSession() as http, http.get(f"{door.url}/healthz") as answer:
            assert answer.status == 200
        await first.send(bytes(500_000))
        assert (await first.head()).split()[1] == "422"
        assert (await second.head()).split()[1] == "201"
        monkeypatch.setattr(inputs_module, "TURN_S", 0.05)
        first = await Socket.put(door, "Content-Length: 2000000", "Expect: 100-continue")
        assert (await first.head()).split()[1] == "100"
        second = await Socket.put(door, "Content-Length: 2000000", "Expect: 100-continue")
        assert (await second.head()).split()[1] == "503"
        assert await second.code() == "busy"
        first.writer.close()


async def test_a_file_whose_event_is_refused_does_not_stay(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "COMMANDS_MAX", 0)
    assert (await put(door, PNG))[1]["code"] == "busy"
    assert kept(door) == []


# ---- by an address


@pytest.fixture
async def server() -> AsyncIterator[Callable[[], list[str]]]:
    """A server with one picture. Gives the paths that it was asked for, its own address first."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=PNG)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield lambda: [address, *asked]
    await runner.cleanup()


async def test_an_input_is_fetched_from_a_server_that_is_listed(
    open_door: Any, tmp_path: Path, server: Callable[[], list[str]]
) -> None:
    (address,) = server()
    async with open_door(tmp_path, f'[inputs]\nurl_hosts = ["{address}"]\nbytes_max = 1_000') as door:
        async with door.app() as app:
            first = await app.ask("add_input", url=f"{address}/a/x.png")
            with pytest.raises(Refusal) as other:
                await app.ask("add_input", url="http://127.0.0.1:1/x.png")
        headers = {"Authorization": f"Bearer {door.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(door.url + INPUTS, json={"url": f"{address}/b.png"}) as answer,
        ):
            again = (answer.status, await answer.json())
        assert (first["input"], first["new"]) == (NAME, True)
        assert (again[0], again[1]["input"]) == (200, NAME), "the label is the same"
        assert other.value.code == "url_not_allowed"
        assert server()[1:] == ["/a/x.png", "/b.png"]
        assert kept(door) == [f"{NAME.removeprefix('sha256:')}.png"]


async def test_a_request_may_give_the_address_of_a_file_which_is_fetched_once(
    open_door: Any, tmp_path: Path, server: Callable[[], list[str]]
) -> None:
    (address,) = server()
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    asked = {"workflow": graph, "quantity": 1, "inputs": {"1.image": {"input": f"{address}/a.png"}}}
    async with open_door(tmp_path, f'[inputs]\nurl_hosts = ["{address}"]') as door, door.app("app") as app:
        await app.ask("pause", scope="everything")
        assert (await app.submit("r1", **asked, dry_run=True))["dry_run"]
        assert server()[1:] == []
        batch = await app.submit("r1", **asked)
        prompt = await door.context.reader.prompt(batch["batch_id"], 1)
        assert [load.sha256 for load in prompt.loads] == [NAME.removeprefix("sha256:")]
        assert (await app.submit("r1", **asked))["repeated"]
        assert server()[1:] == ["/a.png"]
        with pytest.raises(Refusal) as other:
            await app.submit("r2", **{**asked, "inputs": {"1.image": {"input": "https://elsewhere.example/a.png"}}})
        assert (other.value.code, other.value.data["path"]) == ("url_not_allowed", "$.data.inputs.1.image")
