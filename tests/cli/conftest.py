"""A server of a few lines in a thread, and the command line as its client."""

from __future__ import annotations

import http
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, unix_serve

from comfyledger import wire
from comfyledger.cli.main import cli
from comfyledger.errors import Refused

BATCH = "01JD0000000000000000ABCDEF"


class ToldServer:
    """Answers by message type, and a log that subscriptions read."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}

    def requests(self, kind: str) -> list[dict[str, Any]]:
        return [data for asked, data in self.asked if asked == kind]

    def happen(self, kind: str, data: dict[str, Any], stream: str = BATCH, texts: dict[str, str] | None = None) -> None:
        position = len(self.events) + 1
        event = {"position": position, "kind": kind, "at_ms": position * 1000, "stream": stream, "data": data}
        self.events.append({**event, "epoch": "e1", "texts": texts or {}})

    def let_in(self, connection: ServerConnection, request: Any) -> Any:
        known = request.headers.get("Authorization") == "Bearer secret"
        return None if known else connection.respond(http.HTTPStatus.UNAUTHORIZED, "")

    def speak(self, connection: ServerConnection) -> None:
        """A client may leave before it has its last answer."""
        with suppress(ConnectionClosed):
            for frame in connection:
                message = json.loads(frame)
                self.asked.append((message["type"], message["data"]))
                self._reply(connection, message)

    def _reply(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        kind, data, number = message["type"], message["data"], message["id"]
        try:
            answer = self._answer(kind, data)
        except Refused as refusal:
            connection.send(wire.frame("error", wire.error_of(refusal), number).decode())
            return
        connection.send(wire.frame("result", answer, number).decode())
        if kind == "subscribe":
            for event in self.events[data.get("after", 0) :]:
                if data.get("batch_id") in {None, event["stream"]}:
                    connection.send(wire.frame("event", {"subscription": "s1", **event}).decode())

    def _answer(self, kind: str, data: dict[str, Any]) -> Any:
        match kind:
            case "hello":
                return wire.Welcome("comfyledger", "0", 1, data["client"], "l1", "e1", len(self.events))
            case "subscribe":
                return wire.Subscribed("s1", "e1", data.get("after", 0))
            case "unsubscribe":
                return wire.Unsubscribed("s1")
            case "read_log":
                return self._page(data)
        answer = self.answers[kind]
        return answer(data) if callable(answer) else answer

    def _page(self, data: dict[str, Any]) -> wire.LogPage:
        """A page as the daemon makes it, but that filters other than these let everything pass."""
        after, upto, limit = data.get("after", 0), data.get("upto", len(self.events)), data.get("limit", 200)
        chosen = [
            event
            for event in self.events[after:upto]
            if data.get("batch_id") in {None, event["stream"]}
            and event["kind"] in data.get("kinds", [event["kind"]])
            and (data.get("username") is None or event["stream"] == BATCH)
        ]
        page = (chosen[::-1] if data.get("reverse") else chosen)[:limit]
        facts = [{"raw" if key == "data" else key: event[key] for key in event if key != "epoch"} for event in page]
        more = len(chosen) > limit
        position = page[-1]["position"] if more else (after + 1 if data.get("reverse") else upto)
        return wire.LogPage("e1", [wire.PastEvent(**one) for one in facts], position, more)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[ToldServer]:
    door = ToldServer()
    with unix_serve(door.speak, str(tmp_path / "door.sock"), process_request=door.let_in) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (tmp_path / "token").write_text("secret\n")
        yield door
        server.shutdown()
    thread.join()


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line as in a pipe, with the state folder of the test."""
    for name in ("COMFYLEDGER_URL", "COMFYLEDGER_TOKEN", "COMFYLEDGER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Result:
        result = CliRunner().invoke(cli, ["--state-dir", str(tmp_path), *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def batch() -> Callable[..., wire.BatchInfo]:
    def batch(batch_id: str = BATCH, **changed: Any) -> wire.BatchInfo:
        facts: dict[str, Any] = dict.fromkeys(("pending", "kept", "stored", "parked", "failed", "cancelled"), 0)
        facts |= {"batch_id": batch_id, "status": "settled", "held": "", "username": "Areg", "character": "Opal Fever"}
        facts |= {"premade": False, "workflow": "empty-image", "priority": "normal"}
        facts |= {"label": "cli", "request_id": "r", "requested_at_ms": 0, "position": 1, "quantity": 2, "stored": 2}
        return wire.BatchInfo(**(facts | changed))

    return batch


@pytest.fixture
def story(door: ToldServer) -> Callable[[], None]:
    """A batch of two stored images in the log of the server."""

    def story() -> None:
        images = [{"index": index, "file": f"Areg_opal-fever_image_{index}"} for index in (1, 2)]
        requested = {"batch_id": BATCH, "username": "Areg", "character": "Opal Fever", "workflow": "empty-image"}
        door.happen("batch_requested", {**requested, "images": images, "stores": [{"name": "folder"}]})
        for index in (1, 2):
            where = {"store": "folder", "url": f"file:///i/{index}.png", "name": "n"}
            door.happen("image_uploaded", {"batch_id": BATCH, "image": index, **where})
        door.happen("batch_settled", {"batch_id": BATCH, "stored": 2})

    return story


def refuse(code: str, message: str = "No.") -> Callable[..., Any]:
    def answer(*_: Any) -> Any:
        raise Refused(code, message, hint="Do that.", path="$.data.x")

    return answer


@pytest.fixture(name="refuse")
def refuse_() -> Callable[..., Callable[..., Any]]:
    return refuse
