"""The laws of the Python client, against a server of a few lines that drops, restarts and refuses on command."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve

from comfyledger import wire
from comfyledger.client import Client, finding, link
from comfyledger.client.finding import find_daemon, find_state_dir, read_url
from comfyledger.errors import Refused
from support.waiting import until

BATCH = "01JD0000000000000000000001"
Answer = Callable[[dict[str, Any]], Any]


def accepted(data: dict[str, Any]) -> wire.BatchAccepted:
    return wire.BatchAccepted(BATCH, "e1", 1, 1, [1], ["Areg_opal-fever_image_1"])


def batch_info(status: str) -> wire.BatchInfo:
    return wire.BatchInfo(
        *(BATCH, status, "", "Areg", "Opal Fever", False, "empty-image", "normal", "default", "r", 0, 1),
        *(1, 0, 0, 1, 0, 0, 0),
    )


class AnsweringServer:
    """A door of a few lines at a socket: a log in memory, subscriptions over it, and answers that a test replaces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[str] = []
        self.epoch = "e1"
        self.token = "secret"
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.answers: dict[str, Answer] = {"submit_batch": accepted, "get_batch": lambda _: batch_info("settled")}
        self.silent: set[str] = set()
        self.live: list[wire.Answer] = []
        self.connections: set[ServerConnection] = set()
        self.server: Server | None = None
        self._grown = asyncio.Event()

    async def start(self) -> None:
        self.server = await unix_serve(self._speak, str(self.path), process_request=self._let_in, max_size=1_000_000)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def drop(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self.connections):
            connection.transport.abort()
        await until(lambda: not self.connections)

    def happen(self, *kinds: str) -> None:
        self.events += kinds
        self._grown.set()
        self._grown = asyncio.Event()

    def requests(self, kind: str) -> list[dict[str, Any]]:
        return [frame["data"] for frame in self.asked if frame["type"] == kind]

    def _let_in(self, connection: ServerConnection, request: Any) -> Any:
        self.headers.append(request.headers.get("Authorization", ""))
        if self.headers[-1] != f"Bearer {self.token}":
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "")
        return None

    async def _speak(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        cursors: dict[str, asyncio.Task[None]] = {}
        try:
            async for frame in connection:
                if len(frame) > 200_000:
                    refusal = wire.error_of(Refused("frame_too_large"))
                    await connection.send(wire.frame("error", refusal).decode())
                    continue
                await self._reply(connection, json.loads(frame), cursors)
        finally:
            self.connections.discard(connection)
            for cursor in cursors.values():
                cursor.cancel()

    async def _reply(
        self, connection: ServerConnection, frame: dict[str, Any], cursors: dict[str, asyncio.Task[None]]
    ) -> None:
        self.asked.append(frame)
        kind, number, data = frame["type"], frame["id"], frame["data"]
        if kind in self.silent:
            return
        try:
            answer = self._answer(kind, data, len(cursors))
        except Refused as refusal:
            await connection.send(wire.frame("error", wire.error_of(refusal), number).decode())
            return
        await connection.send(wire.frame("result", answer, number).decode())
        if kind == "subscribe":
            name, after = answer.subscription, data.get("after", 0)
            cursors[name] = asyncio.create_task(self._read_log(connection, name, after))
        if kind == "unsubscribe":
            cursors[data["subscription"]].cancel()

    def _answer(self, kind: str, data: dict[str, Any], cursors: int) -> Any:
        if kind == "hello":
            return wire.Welcome("comfyledger", "0", 1, data["client"], "l1", self.epoch, len(self.events))
        if kind == "subscribe":
            if data.get("after", 0) > 0 and data.get("epoch") != self.epoch:
                raise Refused("epoch_changed")
            return wire.Subscribed(f"s{cursors}", self.epoch, len(self.events))
        if kind == "unsubscribe":
            return wire.Unsubscribed(data["subscription"])
        return self.answers[kind](data)

    async def _read_log(self, connection: ServerConnection, name: str, after: int) -> None:
        position = len(self.events) if after < 0 else after
        for push in self.live:
            await connection.send(wire.frame("progress", push).decode())
        while True:
            for kind in self.events[position:]:
                position += 1
                event = {"subscription": name, "epoch": self.epoch, "position": position, "kind": kind}
                rest = {"at_ms": position, "stream": BATCH, "data": {"n": position}}
                await connection.send(wire.frame("event", event | rest).decode())
            await self._grown.wait()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[AnsweringServer]:
    door = AnsweringServer(tmp_path / "its.sock")
    await door.start()
    yield door
    await door.stop()


@pytest.fixture
def state(tmp_path: Path, door: AnsweringServer) -> Path:
    tell(tmp_path, door)
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "DELAY_MIN_S", 0.001)
    monkeypatch.setattr(link, "DELAY_MAX_S", 0.01)
    for name in ("COMFYLEDGER_URL", "COMFYLEDGER_TOKEN", "COMFYLEDGER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


def tell(state: Path, door: AnsweringServer) -> None:
    (state / "door.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "socket": str(door.path)}))
    (state / "token").write_text(door.token + "\n")


async def submit(client: Client) -> wire.BatchAccepted:
    return await client.submit(request_id="r1", username="Areg", character="Opal Fever", quantity=1)


# ---- finding


def test_arguments_override_the_environment_which_overrides_files(tmp_path: Path) -> None:
    environ = {"COMFYLEDGER_URL": "http://env", "COMFYLEDGER_TOKEN": "e", "COMFYLEDGER_STATE_DIR": str(tmp_path)}
    (tmp_path / "door.json").write_text('{"url": "http://file", "socket": "/its.sock"}')
    (tmp_path / "token").write_text("f\n")
    assert find_daemon("http://arg", "a", None, environ)[:2] == ("http://arg", "a")
    assert find_daemon(None, None, None, environ)[:2] == ("http://env", "e")
    assert find_daemon(None, None, tmp_path, environ)[:2] == ("unix:/its.sock", "f")
    assert find_daemon(None, None, None, {"COMFYLEDGER_STATE_DIR": str(tmp_path)})[:2] == ("unix:/its.sock", "f")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"url": 5, "socket": 5}',
        '{"url": "http://127.0.0.1:9"}',
        "\\xff",
        "[" * 100_000,
        '{"socket": "x"}',
    ],
)
def test_a_port_is_never_guessed_whatever_the_door_file_says(tmp_path: Path, content: str) -> None:
    (tmp_path / "door.json").write_text(content)
    assert find_daemon(None, None, tmp_path, {})[:2] == (f"unix:{tmp_path}/door.sock", "")
    assert find_daemon(None, None, None, {"COMFYLEDGER_STATE_DIR": str(tmp_path)}).unix_path


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("http://box:5", "http://box:5"),
        ("http://box:5/", "http://box:5"),
        (" http://box:5/\n", "http://box:5"),
        ("HTTP://Box:5", "http://box:5"),
        ("ws://box:5/ws", "http://box:5"),
        ("ws://box:5/ws/", "http://box:5"),
        ("wss://box.example/ledger/ws", "https://box.example/ledger"),
        ("https://box.example/ledger/", "https://box.example/ledger"),
        ("box:5", "http://box:5"),
        ("box:5/ws", "http://box:5"),
        ("127.0.0.1:5", "http://127.0.0.1:5"),
        ("[::1]:5", "http://[::1]:5"),
        ("http://[::1]:5/", "http://[::1]:5"),
        ("unix:/run/a/door.sock", "unix:/run/a/door.sock"),
        ("unix:///run/a/door.sock", "unix:/run/a/door.sock"),
    ],
)
def test_an_address_is_understood_in_each_of_its_forms(given: str, read: str) -> None:
    assert read_url(given, "--url") == read


@pytest.mark.parametrize(
    "given",
    [
        *(
            "box",
            "localhost",
            "  ",
            "http://",
            "http://:5",
            "box:x",
            "http://box:99999",
            "http://box:0",
            "[::1",
            "::1:5",
        ),
        *("ftp://box:5", "file:///run/door.sock", "http//box:5", "http://box:5?token=x", "http://box:5#x"),
        *("http://box:5/a b", "http://box:5/\nx", "unix:", "unix:door.sock", "unix://run/x", f"unix:/{'x' * 107}"),
        *("http://areg:geheim@box:5", "areg:geheim@box:5", "ws://geheim@box:5/ws"),
    ],
)
def test_a_bad_address_is_refused_by_its_source_and_without_its_password(given: str) -> None:
    with pytest.raises(Refused) as caught:
        find_daemon(None, None, None, {"COMFYLEDGER_URL": given})
    assert (caught.value.code, "COMFYLEDGER_URL" in caught.value.message) == ("config_invalid", True)
    assert caught.value.hint
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("token", ["secret", "secret\n", " secret\r\n", "\ufeffsecret\n"])
def test_what_an_editor_leaves_around_a_token_is_none_of_it(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    assert find_daemon(None, None, tmp_path, {}).token == "secret"
    assert find_daemon(None, token, tmp_path, {}).token == "secret"
    assert find_daemon(None, None, None, {"COMFYLEDGER_TOKEN": token}).token == "secret"


@pytest.mark.parametrize("token", ["sec\nret", "a\r\nX-Evil: b", "sécret", "\x00", "sec\u200bret"])
def test_what_cannot_be_a_token_is_said_and_not_sent(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    for given, environ, where in (
        (None, {"COMFYLEDGER_STATE_DIR": str(tmp_path)}, str(tmp_path / "token")),
        (None, {"COMFYLEDGER_TOKEN": token}, "COMFYLEDGER_TOKEN"),
        (token, {}, "token"),
    ):
        with pytest.raises(Refused) as caught:
            find_daemon(None, given, None, environ)
        assert (caught.value.code, where in caught.value.message) == ("unauthorized", True)
        assert token not in str(caught.value)


def test_the_state_folder_is_found_as_the_desktop_says(tmp_path: Path) -> None:
    assert find_state_dir({"XDG_STATE_HOME": "/x"}) == Path("/x/comfyledger")
    assert find_state_dir({}) == Path.home() / ".local/state/comfyledger"


# ---- connecting


async def test_the_token_of_the_state_folder_opens_the_door(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state, name="painter") as client:
        assert client.welcome.label == "painter"
    assert door.headers == ["Bearer secret"]
    assert door.asked[0] == {"type": "hello", "id": 0, "data": {"client": "painter"}}


async def test_a_workflow_given_by_its_path_is_read_and_sent(door: AnsweringServer, state: Path) -> None:
    path, graph = state / "g.json", {"1": {"class_type": "A", "inputs": {"text": "x"}}}
    path.write_text(json.dumps(graph))
    door.answers["check_workflow"] = lambda _: wire.WorkflowReport("accepted")
    async with Client(state_dir=state, name="app") as client:
        await client.submit(request_id="r", username="Areg", character="Opal Fever", quantity=1, workflow=path)
        await client.check_workflow(path)
        with pytest.raises(Refused, match="cannot be read"):
            await client.check_workflow(state / "none.json")
    assert [asked["data"].get("workflow") for asked in door.asked] == [None, graph, graph]


async def test_without_a_daemon_the_refusal_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await Client("http://127.0.0.1:1", state_dir=tmp_path).__aenter__()
    assert caught.value.code == "not_running"
    assert "comfyledger run" in caught.value.hint


async def test_a_wrong_token_names_the_file_of_the_right_one(door: AnsweringServer, state: Path) -> None:
    (state / "token").write_text("guess")
    with pytest.raises(Refused) as caught:
        await Client(state_dir=state, wait=True).__aenter__()
    assert caught.value.code == "unauthorized"
    assert str(state / "token") in caught.value.hint


async def test_who_waits_is_let_in_when_the_daemon_comes(tmp_path: Path) -> None:
    door = AnsweringServer(tmp_path / "its.sock")
    entering = asyncio.create_task(Client(state_dir=tmp_path, wait=True, timeout_s=5).__aenter__())
    await door.start()
    tell(tmp_path, door)
    client = await entering
    assert (await submit(client)).numbers == [1]
    await client.__aexit__(None, None, None)
    await door.stop()


@contextlib.asynccontextmanager
async def listening_anywhere() -> AsyncIterator[tuple[str, list[str]]]:
    """A server at a port, whoever's it is, and the tokens that it was shown."""
    shown: list[str] = []

    def listen(connection: ServerConnection, request: Any) -> Any:
        shown.append(request.headers.get("Authorization", ""))
        return connection.respond(http.HTTPStatus.NOT_FOUND, "")

    async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=listen) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", shown


async def test_the_token_crosses_a_port_only_where_a_person_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that died has left its address and its token, and its port is another program's now."""
    async with listening_anywhere() as (url, shown):
        (tmp_path / "door.json").write_text(json.dumps({"url": url, "socket": f"{tmp_path}/door.sock", "pid": 1}))
        (tmp_path / "token").write_text("secret")
        monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(tmp_path))
        for asked in ({"state_dir": tmp_path}, {}):
            with pytest.raises(Refused) as caught:
                await Client(**asked).__aenter__()
            assert (caught.value.code, "comfyledger run" in caught.value.hint) == ("not_running", True)
        assert shown == []
        monkeypatch.setenv("COMFYLEDGER_URL", url)
        for named in ({}, {"url": url}):
            with pytest.raises(Refused):
                await Client(**named).__aenter__()
        assert shown == ["Bearer secret"] * 2


async def test_the_token_is_not_shown_to_a_socket_that_somebody_else_put_there(
    door: AnsweringServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_users", lambda _: frozenset({os.geteuid() + 1}))
    with pytest.raises(Refused, match="not the daemon") as caught:
        await Client(state_dir=state).__aenter__()
    assert caught.value.code == "not_running"
    assert door.headers == []


async def test_a_socket_of_this_user_or_of_the_folders_is_trusted_and_no_other(tmp_path: Path) -> None:
    found = find_daemon(None, None, tmp_path, {})
    assert found.users == {0, os.geteuid(), tmp_path.stat().st_uid}
    assert find_daemon(None, None, tmp_path / "none", {}).users == {0, os.geteuid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as another user")
async def test_nothing_is_sent_to_a_socket_of_another_user_in_a_shared_folder(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with socket.socket(socket.AF_UNIX) as planted:
        os.seteuid(65_534)
        try:
            planted.bind(f"/tmp/planted-{os.getpid()}.sock")
            planted.listen()
        finally:
            os.seteuid(0)
        planted.setblocking(False)
        (tmp_path / "door.json").write_text(json.dumps({"url": "", "socket": planted.getsockname()}))
        with pytest.raises(Refused, match="not the daemon"):
            await Client(state_dir=tmp_path, timeout_s=5).__aenter__()
        connection, _ = planted.accept()
        assert connection.recv(1_000) == b""
        connection.close()
        Path(planted.getsockname()).unlink()


@pytest.mark.parametrize("there", ["nothing", "a file", "a link to nothing", "left behind", "a folder"])
async def test_without_anybody_at_the_socket_no_daemon_answers(tmp_path: Path, there: str) -> None:
    path = tmp_path / "door.sock"
    match there:
        case "a file":
            path.write_text("")
        case "a folder":
            path.mkdir()
        case "a link to nothing":
            path.symlink_to(tmp_path / "nowhere")
        case "left behind":
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))
    with pytest.raises(Refused) as caught:
        await Client(state_dir=tmp_path).__aenter__()
    assert (caught.value.code, str(path) in caught.value.message) == ("not_running", True)
    assert "comfyledger run" in caught.value.hint


async def test_waiting_for_a_daemon_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await Client("http://127.0.0.1:1", state_dir=tmp_path, wait=True, timeout_s=0.05).__aenter__()
    assert caught.value.code == "not_running"


async def test_a_refused_hello_is_said_at_once(door: AnsweringServer, state: Path) -> None:
    door._answer = refuse("protocol_version")  # type: ignore[method-assign]
    with pytest.raises(Refused) as caught:
        await Client(state_dir=state).__aenter__()
    assert caught.value.code == "protocol_version"


# ---- asking


def refuse(code: str, message: str = "No.", hint: str = "Do.", path: str = "$.data.x") -> Any:
    def answer(*_: Any) -> Any:
        raise Refused(code, message, hint=hint, path=path)

    return answer


async def test_a_refusal_of_the_daemon_arrives_whole(door: AnsweringServer, state: Path) -> None:
    door.answers["submit_batch"] = refuse("a_code_of_tomorrow")
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as caught:
            await submit(client)
    assert (caught.value.code, caught.value.message) == ("a_code_of_tomorrow", "No.")
    assert (caught.value.hint, caught.value.path) == ("Do.", "$.data.x")


async def test_answers_find_their_requests_in_any_order(door: AnsweringServer, state: Path) -> None:
    door.answers["open_series"] = lambda data: wire.SeriesInfo(data["username"], 1)
    async with Client(state_dir=state) as client:
        answers = await asyncio.gather(*(client.open_series(str(n), "c") for n in range(50)))
    assert [answer.series for answer in answers] == [str(n) for n in range(50)]


async def test_no_answer_in_time_is_a_refusal(door: AnsweringServer, state: Path) -> None:
    door.silent = {"submit_batch"}
    async with Client(state_dir=state, timeout_s=0.05) as client:
        with pytest.raises(Refused) as caught:
            await submit(client)
    assert caught.value.code == "timeout"


async def test_a_waiting_request_may_take_longer_and_says_why(door: AnsweringServer, state: Path) -> None:
    heard: list[str] = []
    door.silent = {"submit_batch"}
    async with Client(state_dir=state, timeout_s=0.2, on_waiting=lambda why: heard.append(why.message)) as client:
        asking = asyncio.create_task(submit(client))
        await until(lambda: bool(door.requests("submit_batch")))
        number = door.asked[-1]["id"]
        (connection,) = door.connections
        await connection.send(wire.frame("waiting", wire.Waiting("x", "Store asleep."), number).decode())
        await until(lambda: heard == ["Store asleep."])
        limit = client._link._pending[number].limit
        assert limit is not None
        assert (limit.when() or 0) > asyncio.get_running_loop().time() + 60
        await connection.send(wire.frame("result", accepted({}), number).decode())
        assert (await asking).batch_id == BATCH


async def test_text_that_is_not_unicode_is_refused_before_it_is_sent(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as caught:
            await client.get_batch("\udcff")
    assert caught.value.code == "not_utf8"
    assert not door.requests("get_batch")


# ---- broken connections


async def test_a_submit_without_an_answer_is_repeated_with_the_same_body(door: AnsweringServer, state: Path) -> None:
    door.silent = {"submit_batch"}
    async with Client(state_dir=state) as client:
        asking = asyncio.create_task(submit(client))
        await until(lambda: len(door.requests("submit_batch")) == 1)
        door.silent = set()
        await door.drop()
        assert (await asking).batch_id == BATCH
    first, second = door.requests("submit_batch")
    assert first == second
    assert first["request_id"] == "r1"


async def test_a_daemon_that_comes_back_elsewhere_with_another_token_is_found(
    door: AnsweringServer, state: Path
) -> None:
    async with Client(state_dir=state) as client:
        await door.stop()
        other = AnsweringServer(state / "other.sock")
        other.token = "new"
        await other.start()
        tell(state, other)
        assert (await submit(client)).batch_id == BATCH
        await other.stop()
    assert not door.requests("submit_batch")


async def test_a_daemon_that_stays_away_is_not_running(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state, timeout_s=0.1) as client:
        await door.stop()
        with pytest.raises(Refused) as caught:
            await submit(client)
    assert caught.value.code == "not_running"


@pytest.mark.parametrize("command", ["retry", "resume"])
async def test_a_repeated_command_that_finds_nothing_to_do_was_done(
    door: AnsweringServer, state: Path, command: str
) -> None:
    door.silent = {command}
    door.answers[command] = refuse("nothing_to_do")
    async with Client(state_dir=state) as client:
        asking = asyncio.create_task(getattr(client, command)("x"))
        await until(lambda: len(door.requests(command)) == 1)
        door.silent = set()
        await door.drop()
        assert (await asking).images == 0
        with pytest.raises(Refused):
            await getattr(client, command)("x")


@pytest.mark.parametrize("size", [300_000, 2_000_000])
async def test_a_frame_that_is_too_large_is_refused_and_not_repeated(
    door: AnsweringServer, state: Path, size: int
) -> None:
    """Whether the daemon answers it without having read its id, or closes the connection."""
    async with Client(state_dir=state, timeout_s=5) as client:
        with pytest.raises(Refused) as caught:
            await client.get_batch("x" * size)
        assert caught.value.code == "frame_too_large"
        assert (await submit(client)).batch_id == BATCH


async def test_an_answer_that_cannot_be_read_is_said(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = lambda _: {"batch_id": 7}
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as caught:
            await client.get_batch(BATCH)
    assert caught.value.code == "protocol_version"


# ---- following


async def take(events: Any, count: int) -> list[int]:
    async with asyncio.timeout(5):
        return [(await anext(events)).position for _ in range(count)]


async def test_a_broken_subscription_goes_on_without_gap_or_double(door: AnsweringServer, state: Path) -> None:
    door.happen("a", "b", "c")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe()) as events:
        assert await take(events, 3) == [1, 2, 3]
        await door.drop()
        door.happen("d")
        assert await take(events, 1) == [4]
        await door.stop()
        door.happen("e")
        await door.start()
        assert await take(events, 1) == [5]
    again = [(asked.get("after", 0), asked.get("epoch")) for asked in door.requests("subscribe")]
    assert again == [(0, None), (3, "e1"), (4, "e1")]


async def test_from_now_on_stays_from_then_on_after_a_break(door: AnsweringServer, state: Path) -> None:
    door.happen("a", "b")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe(after=-1)) as events:
        first = asyncio.create_task(take(events, 1))
        await until(lambda: bool(door.requests("subscribe")))
        await door.drop()
        door.happen("c")
        assert await first == [3]


async def test_another_epoch_ends_the_subscription_with_a_refusal(door: AnsweringServer, state: Path) -> None:
    door.happen("a")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe()) as events:
        assert await take(events, 1) == [1]
        door.epoch = "e2"
        await door.drop()
        with pytest.raises(Refused) as caught:
            await take(events, 1)
    assert caught.value.code == "epoch_changed"


async def test_a_slow_reader_blocks_nobody_and_misses_nothing(
    door: AnsweringServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "EVENTS_WAITING_MAX", 10)
    door.happen(*("x" for _ in range(95)))
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe()) as events:
        assert await take(events, 1) == [1]
        await until(lambda: bool(door.requests("unsubscribe")))
        assert (await submit(client)).batch_id == BATCH
        assert await take(events, 94) == list(range(2, 96))
    assert len(door.requests("subscribe")) > 5


async def test_progress_that_nobody_reads_is_dropped_and_events_are_not(door: AnsweringServer, state: Path) -> None:
    door.live = [wire.Progress("s0", BATCH, 1, [1], "3", n, 100) for n in range(100)]
    door.happen("a")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe(progress=True)) as pushed:
        assert isinstance(await anext(pushed), wire.Progress)
        await client.get_batch(BATCH)
        await until(lambda: client._link._feeds["s0"].after == 1)
        rest = [await anext(pushed)]
        while not isinstance(rest[-1], wire.LoggedEvent):
            rest.append(await anext(pushed))
    assert rest[-1].position == 1
    assert len(rest) <= link.LIVE_WAITING_MAX + 1


async def test_who_stops_reading_ends_the_subscription(door: AnsweringServer, state: Path) -> None:
    door.happen("a")
    async with Client(state_dir=state) as client:
        async with contextlib.aclosing(client.subscribe()) as events:
            await anext(events)
        await until(lambda: door.requests("unsubscribe") == [{"subscription": "s0"}])


async def test_a_batch_is_followed_from_its_beginning_until_it_is_settled(door: AnsweringServer, state: Path) -> None:
    door.happen("batch_requested", "image_kept", "batch_settled")
    async with Client(state_dir=state) as client:
        kinds = [event.kind async for event in client.follow(BATCH)]
        assert kinds == ["batch_requested", "image_kept", "batch_settled"]
        assert (await client.wait(BATCH)).stored == 1
    assert door.requests("subscribe")[0] == {"batch_id": BATCH}


async def test_a_batch_that_was_taken_up_again_is_followed_further(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = lambda _: batch_info("open")
    door.happen("batch_requested", "batch_settled", "batch_reopened")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.follow(BATCH)) as events:
        assert await take(events, 3) == [1, 2, 3]
        door.answers["get_batch"] = lambda _: batch_info("settled")
        door.happen("batch_settled")
        assert [event.position async for event in events] == [4]


async def test_an_unknown_batch_is_not_followed_for_ever(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = refuse("unknown_batch")
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused):
            await client.wait("x")
