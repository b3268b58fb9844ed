"""The laws of the Python client, against a server of a few lines that drops, restarts and refuses on command."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.asyncio.server import ServerConnection, serve

from comfyledger import wire
from comfyledger.client import Client, batch_states, finding, link
from comfyledger.client.finding import find_daemon, find_state_dir, read_url
from comfyledger.errors import Refused
from support.answering_server import BATCH, AnsweringServer, accepted, batch_info, tell
from support.waiting import DEADLINE_S, pass_time, until


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
    entering = asyncio.create_task(Client(state_dir=tmp_path, wait=True).__aenter__())
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
    with tempfile.TemporaryDirectory(dir="/tmp") as shared, socket.socket(socket.AF_UNIX) as planted:
        Path(shared).chmod(0o1777)
        os.seteuid(65_534)
        try:
            planted.bind(f"{shared}/planted.sock")
            planted.listen()
        finally:
            os.seteuid(0)
        planted.setblocking(False)
        (tmp_path / "door.json").write_text(json.dumps({"url": "", "socket": planted.getsockname()}))
        with pytest.raises(Refused, match="not the daemon"):
            await Client(state_dir=tmp_path).__aenter__()
        connection, _ = planted.accept()
        assert connection.recv(1_000) == b""
        connection.close()


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


async def test_another_server_that_speaks_first_is_not_taken_for_a_daemon(tmp_path: Path) -> None:
    """ComfyUI has a websocket under the same path."""

    async def greet(connection: ServerConnection) -> None:
        await connection.send('{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}')
        await connection.wait_closed()

    async with serve(greet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        with pytest.raises(Refused, match="may be ComfyUI") as caught:
            await Client(url, "secret").open()
    assert (caught.value.code, "9831" in caught.value.hint) == ("protocol_version", True)


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
    async with Client(state_dir=state, timeout_s=60.0) as client:
        asking = asyncio.create_task(submit(client))
        await until(lambda: door.requests("submit_batch"), "it is asked")
        pass_time(61.0)
        with pytest.raises(Refused) as caught:
            await asking
    assert caught.value.code == "timeout"


async def test_a_waiting_request_may_take_longer_and_says_why(door: AnsweringServer, state: Path) -> None:
    heard: list[str] = []
    door.silent = {"submit_batch"}
    async with Client(state_dir=state, timeout_s=60.0, on_waiting=lambda why: heard.append(why.message)) as client:
        asking = asyncio.create_task(submit(client))
        await until(lambda: bool(door.requests("submit_batch")))
        number = door.asked[-1]["id"]
        (connection,) = door.connections
        await connection.send(wire.frame("waiting", wire.Waiting("x", "Store asleep."), number).decode())
        await until(lambda: heard == ["Store asleep."])
        limit = client._link._pending[number].limit
        assert limit is not None
        assert (limit.when() or 0) > asyncio.get_running_loop().time() + 60.0, "longer than it waits for others"
        await connection.send(wire.frame("result", accepted({}), number).decode())
        assert (await asking).batch_id == BATCH


async def test_text_that_is_not_unicode_is_refused_before_it_is_sent(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as caught:
            await client.get_batch("\udcff")
    assert caught.value.code == "not_utf8"
    assert not door.requests("get_batch")


async def test_an_error_of_the_apps_callback_reaches_who_asked_and_nobody_else(
    door: AnsweringServer, state: Path
) -> None:
    def fail(_: wire.Waiting) -> None:
        raise ZeroDivisionError

    door.silent = {"submit_batch", "open_series"}
    async with Client(state_dir=state, on_waiting=fail) as client:
        asking = asyncio.create_task(submit(client))
        other = asyncio.create_task(client.open_series("Areg", "Opal Fever"))
        await until(lambda: len(door.asked) == 3)
        (connection,) = door.connections
        await connection.send(wire.frame("waiting", wire.Waiting("x", "Why."), door.asked[1]["id"]).decode())
        with pytest.raises(ZeroDivisionError):
            await asking
        await connection.send(wire.frame("result", wire.SeriesInfo("s", 1), door.asked[2]["id"]).decode())
        assert (await other).next == 1


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
    async with Client(state_dir=state, timeout_s=60.0) as client:
        await door.stop()
        await until(lambda: client._link._outbox is None, "it has no connection")
        asking = asyncio.create_task(submit(client))
        await asyncio.sleep(0)
        pass_time(61.0)
        with pytest.raises(Refused) as caught:
            await asking
    assert caught.value.code == "not_running"


async def test_a_token_that_stays_refused_is_said_to_who_waits_for_ever(
    door: AnsweringServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "REFUSED_S", 0.05)
    async with Client(state_dir=state, timeout_s=None) as client:
        door.silent = {"get_batch"}
        asking = asyncio.create_task(client.get_batch(BATCH))
        reading = asyncio.create_task(take(client.subscribe(), 1))
        await until(lambda: door.requests("get_batch") and door.requests("subscribe"))
        door.token = "another"
        await door.drop()
        for waiting in (asking, reading):
            with pytest.raises(Refused) as refused:
                await waiting
            assert (refused.value.code, str(state) in refused.value.hint) == ("unauthorized", True)
        tell(state, door)
        assert (await submit(client)).batch_id == BATCH


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
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as caught:
            await client.get_batch("x" * size)
        assert caught.value.code == "frame_too_large"
        assert (await submit(client)).batch_id == BATCH


async def test_an_answer_that_cannot_be_read_is_said_and_ends_nothing_else(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = lambda _: {"batch_id": 7}
    door.happen("a")
    async with Client(state_dir=state) as client, contextlib.aclosing(client.subscribe()) as events:
        assert await take(events, 1) == [1]
        with pytest.raises(Refused) as caught:
            await client.get_batch(BATCH)
        assert (await submit(client)).batch_id == BATCH
        door.happen("b")
        assert await take(events, 1) == [2]
    assert caught.value.code == "protocol_version"
    assert len(door.requests("hello")) == 1


# ---- following


async def take(events: Any, count: int) -> list[int]:
    async with asyncio.timeout(DEADLINE_S):
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


@pytest.mark.parametrize("batch", [BATCH, accepted({}), batch_info("open")], ids=lambda one: type(one).__name__)
async def test_a_batch_is_named_by_its_id_or_by_an_answer(door: AnsweringServer, state: Path, batch: Any) -> None:
    door.happen("batch_settled")
    async with Client(state_dir=state) as client:
        assert [event.kind async for event in client.follow(batch)] == ["batch_settled"]
        assert (await client.wait(batch)).status == "settled"
    assert {asked["batch_id"] for asked in door.requests("get_batch")} == {BATCH}


async def test_who_waits_sees_the_batch_change_and_its_end(
    door: AnsweringServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_states, "BETWEEN_S", 0.01)
    door.answers["get_batch"] = lambda _: replace(batch_info("open"), stored=0)
    seen: list[tuple[str, int]] = []
    async with Client(state_dir=state) as client:
        waiting = asyncio.create_task(client.wait(BATCH, on_progress=lambda one: seen.append((one.status, one.stored))))
        door.happen("batch_requested")
        await until(lambda: seen == [("open", 0)])
        door.answers["get_batch"] = lambda _: replace(batch_info("open"), stored=1)
        door.happen("image_uploaded")
        await until(lambda: len(seen) == 2)
        door.answers["get_batch"] = lambda _: batch_info("settled")
        door.happen("batch_settled")
        assert await waiting == batch_info("settled")
    assert seen == [("open", 0), ("open", 1), ("settled", 1)]


async def test_a_batch_that_changes_fast_is_not_looked_at_each_time(door: AnsweringServer, state: Path) -> None:
    def changes(_: dict[str, Any]) -> wire.BatchInfo:
        door.happen("image_kept")
        return batch_info("open")

    door.answers["get_batch"] = changes
    seen: list[str] = []
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused, match="not settled"):
            await client.wait(BATCH, timeout_s=0.3, on_progress=lambda one: seen.append(one.status))
    assert seen == ["open"]


@pytest.mark.parametrize("news", ["none", "always"])
async def test_waiting_for_a_batch_has_an_end_and_ends_its_subscription(
    door: AnsweringServer, state: Path, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_states, "BETWEEN_S", 0.01)
    door.answers["get_batch"] = lambda _: batch_info("open")
    more = (lambda _: door.happen("image_kept")) if news == "always" else None
    door.happen("batch_requested")
    async with Client(state_dir=state) as client:
        with pytest.raises(Refused) as refused:
            await client.wait(BATCH, timeout_s=0.2, on_progress=more)
        assert (refused.value.code, "explain" in refused.value.hint) == ("timeout", True)
        await until(lambda: door.requests("unsubscribe") == [{"subscription": "s0"}])


async def test_a_limit_that_is_over_ends_the_waiting_although_there_is_news() -> None:
    news = asyncio.Event()
    news.set()
    with pytest.raises(Refused, match="too late") as refused:
        await batch_states._until_news(news, asyncio.get_running_loop().time() - 1, "too late")
    assert refused.value.code == "timeout"


async def test_an_error_of_the_callback_ends_the_waiting(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = lambda _: batch_info("open")
    door.happen("batch_requested")
    async with Client(state_dir=state) as client:
        with pytest.raises(ZeroDivisionError):
            await client.wait(BATCH, on_progress=lambda _: 1 // 0)  # type: ignore[func-returns-value,arg-type,return-value]
        await until(lambda: bool(door.requests("unsubscribe")))


async def test_an_unknown_batch_is_not_followed_for_ever(door: AnsweringServer, state: Path) -> None:
    door.answers["get_batch"] = refuse("unknown_batch")
    async with Client(state_dir=state) as client:
        for progress in (None, print):
            with pytest.raises(Refused):
                await client.wait("x", on_progress=progress)


# ---- loops


async def test_a_client_that_is_not_open_says_so_at_once(door: AnsweringServer, state: Path) -> None:
    client = Client(state_dir=state, timeout_s=None)
    for _ in range(2):
        with pytest.raises(Refused, match=r"not open|closed") as refused:
            await submit(client)
        assert refused.value.code == "not_running"
        await client.close()
        async with client:
            assert (await submit(client)).batch_id == BATCH
    assert len(door.requests("submit_batch")) == 2


async def test_opening_an_open_client_changes_nothing(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state) as client:
        assert await client.open() is client
        assert len(door.requests("hello")) == 1


async def test_a_client_of_another_loop_says_so_at_once(door: AnsweringServer, state: Path) -> None:
    async with Client(state_dir=state, timeout_s=None) as client:
        for use in (client.open, client.close, client.server_info, lambda: client.wait(BATCH)):
            with pytest.raises(Refused, match="another event loop") as refused:
                await asyncio.to_thread(asyncio.run, use())
            assert "SyncClient" in refused.value.hint
        assert (await submit(client)).batch_id == BATCH


async def test_a_client_whose_loop_has_ended_may_be_opened_in_another(door: AnsweringServer, state: Path) -> None:
    client = Client(state_dir=state)
    await asyncio.to_thread(asyncio.run, client.open())
    await client.close()
    await client.open()
    assert (await submit(client)).batch_id == BATCH
    await client.close()
