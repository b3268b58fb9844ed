"""HTTP below `/v1`: the same requests, answers and refusals as on the websocket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from comfyledger import wire
from comfyledger.errors import CODES
from comfyledger.server import tokens
from comfyledger.server.access import NEEDED
from comfyledger.wire.problems import STATUSES
from comfyledger.wire.routes import ROUTES, WITHOUT_ROUTE
from support.event_stream import follow
from support.waiting import DEADLINE_S, pause

BODY: dict[str, Any] = {"username": "Areg", "character": "Opal Fever", "quantity": 2}
in_module = pytest.mark.asyncio(loop_scope="module")


class Http:
    """A client with the daemon's token, or another."""

    def __init__(self, door: Any, session: aiohttp.ClientSession) -> None:
        self.door, self._session = door, session

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, JSON and headers of an answer. A body of bytes is sent as it is."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        more |= {"Authorization": f"Bearer {self.door.token if token is None else token}"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            more.setdefault("Content-Type", "application/json")
        async with self._session.request(method, self.door.url + path, data=data, headers=more) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None, answer.headers

    async def quiet(self) -> None:
        """All that was asked for before has come to its end."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self("GET", "/v1/batches?open_only=true"))[1]["batches"]:
                await pause(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(lasting_door: Any) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(lasting_door, session)


def test_every_request_has_a_route_a_right_and_an_answer() -> None:
    routed = {route.kind for route in ROUTES}
    assert routed == set(wire.REQUESTS) - WITHOUT_ROUTE
    assert {route.request for route in ROUTES} <= set(NEEDED)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_every_status_belongs_to_a_code() -> None:
    assert set(STATUSES) <= set(CODES)


# ---- submitting


@in_module
async def test_a_batch_is_accepted_and_its_repeat_gets_the_same_answer(http: Http) -> None:
    status, first, headers = await http("POST", "/v1/batches", BODY, Idempotency_Key="k1")
    assert (status, first["quantity"], first.get("repeated", False)) == (201, 2, False)
    assert headers["Location"] == f"/v1/batches/{first['batch_id']}"
    status, again, _ = await http("POST", "/v1/batches", {**BODY, "request_id": "k1"})
    assert (status, again) == (201, {**first, "repeated": True})


@in_module
async def test_a_repeat_over_the_websocket_is_the_same_request(http: Http) -> None:
    _, first, _ = await http("POST", "/v1/batches", BODY, Idempotency_Key="k2", Comfyledger_Client="shop")
    async with http.door.raw() as raw:
        await raw.ask("hello", client="shop")
        answer = await raw.ask("submit_batch", request_id="k2", **BODY)
    assert answer["data"] == {**first, "repeated": True}


@in_module
async def test_one_call_submits_and_waits(http: Http) -> None:
    status, batch, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="k3")
    assert (status, batch["status"], batch["stored"]) == (200, "settled", 2)
    assert [image["state"] for image in batch["images"]] == ["stored", "stored"]
    status, again, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="k3")
    assert (status, again["batch_id"]) == (200, batch["batch_id"])


@in_module
async def test_a_batch_that_is_not_settled_in_time_is_shown_as_it_is(http: Http) -> None:
    await http("POST", "/v1/pause", {"scope": "everything"})
    try:
        status, batch, _ = await http("POST", "/v1/batches?wait=1", BODY, Idempotency_Key="k4")
        assert (status, batch["status"]) == (202, "open")
        waiting = asyncio.ensure_future(http("GET", f"/v1/batches/{batch['batch_id']}?wait=20"))
    finally:
        await http("POST", "/v1/resume")
    status, batch, _ = await waiting
    assert (status, batch["status"]) == (200, "settled")


@in_module
async def test_a_key_that_meant_something_else_is_refused(http: Http) -> None:
    await http("POST", "/v1/batches", BODY, Idempotency_Key="k5")
    status, problem, _ = await http("POST", "/v1/batches", {**BODY, "quantity": 3}, Idempotency_Key="k5")
    assert (status, problem["code"], problem["path"]) == (409, "request_id_conflict", "$.request_id")


@in_module
async def test_a_key_twice_in_a_repeat_is_refused_as_the_first_time(http: Http) -> None:
    text = json.dumps({**BODY, "request_id": "k7"})
    await http("POST", "/v1/batches", text.encode())
    doubled = text.replace('"quantity": 2', '"quantity": 9, "quantity": 2')
    status, problem, _ = await http("POST", "/v1/batches", doubled.encode())
    assert (status, problem["code"], problem["path"]) == (422, "invalid_field", "$.quantity")
    async with http.door.raw() as raw:
        refused = await raw.exchange(f'{{"type": "submit_batch", "id": 1, "data": {doubled}}}')
    assert (refused["type"], refused["data"]["path"]) == ("error", "$.data.quantity")


@in_module
async def test_a_dry_run_gives_no_number(http: Http) -> None:
    await http.quiet()
    with http.door.unchanged():
        status, found, _ = await http("POST", "/v1/batches", {**BODY, "dry_run": True}, Idempotency_Key="k6")
    assert (status, found["dry_run"]) == (200, True)


# ---- reading


@in_module
async def test_lists_are_read_page_by_page(http: Http) -> None:
    for key in ("p1", "p2", "p3"):
        await http("POST", "/v1/batches?wait=20", {**BODY, "username": "Bree"}, Idempotency_Key=key)
    seen, path = [], "/v1/images?username=Bree&limit=2"
    while path:
        status, page, headers = await http("GET", path)
        assert status == 200
        seen += [image["number"] for image in page["images"]]
        path = headers["Link"].partition("<")[2].partition(">")[0] if "Link" in headers else ""
        assert bool(path) == page["more"] == bool(page.get("next_cursor"))
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]


@in_module
async def test_an_image_is_found_by_either_name_and_has_a_story(http: Http) -> None:
    _, batch, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="i1")
    (image, _) = batch["images"]
    _, by_name, _ = await http("GET", f"/v1/images/{image['public_id']}")
    _, by_id, _ = await http("GET", f"/v1/images/{image['image_id']}")
    assert by_name == by_id == {**image, "workflow": "empty-image", "seed": by_id["seed"], "run": [1]}
    _, story, _ = await http("GET", f"/v1/images/{image['public_id']}/story")
    _, same, _ = await http("GET", f"/v1/explain?what={image['public_id']}")
    assert story == same
    assert (story["subject"], story["image"]) == ("image", by_id)


@in_module
async def test_parts_of_the_server_are_shown_alone(http: Http) -> None:
    _, info, _ = await http("GET", "/v1/server")
    for part in ("workflows", "backends", "stores"):
        status, shown, _ = await http("GET", f"/v1/{part}")
        assert (status, list(shown)) == (200, [part])
        assert [without_rate(one) for one in shown[part]] == [without_rate(one) for one in info[part]]


def without_rate(shown: Any) -> Any:
    """A part of the server without what changes with each second."""
    if not isinstance(shown, dict) or "work" not in shown:
        return shown
    return {**shown, "work": {**shown["work"], "images_per_hour": 0}}


@in_module
async def test_a_page_of_the_log_takes_kinds_and_numbers(http: Http) -> None:
    await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="l1")
    _, page, _ = await http("GET", "/v1/events?kinds=batch_requested,batch_settled&limit=2&reverse=true")
    assert [event["kind"] for event in page["events"]] == ["batch_settled", "batch_requested"]


# ---- refusals

KEY = {"Idempotency_Key": "b"}
STREAM = {"Accept": "text/event-stream"}
BAD: list[tuple[str, str, Any, dict[str, str], int, str, str]] = [
    ("GET", "/v1/nothing", None, {}, 404, "unknown_path", ""),
    ("GET", "/v1/batches/", None, {}, 404, "unknown_path", ""),
    ("DELETE", "/v1/batches", None, {}, 405, "method_not_allowed", ""),
    ("GET", "/v1/pause", None, {}, 405, "method_not_allowed", ""),
    ("OPTIONS", "/v1/batches", None, {}, 405, "method_not_allowed", ""),
    ("GET", "/v1/batches/nope", None, {}, 404, "unknown_batch", "path.batch_id"),
    ("GET", "/v1/images/no/such/name", None, {}, 404, "unknown_image", "path.image"),
    ("GET", "/v1/images/..%2f..%2fetc%2fpasswd", None, {}, 404, "unknown_image", "path.image"),
    ("GET", "/v1/batches?colour=red", None, {}, 422, "unknown_field", "query.colour"),
    ("GET", "/v1/batches?before=x", None, {}, 422, "unknown_field", "query.before"),
    ("GET", "/v1/batches?limit=0", None, {}, 422, "invalid_field", "query.limit"),
    ("GET", "/v1/batches?limit=two", None, {}, 422, "invalid_field", "query.limit"),
    ("GET", "/v1/batches?limit=1&limit=2", None, {}, 422, "invalid_field", "query.limit"),
    ("GET", "/v1/batches?open_only=perhaps", None, {}, 422, "invalid_field", "query.open_only"),
    ("GET", "/v1/batches?wait=1", None, {}, 422, "unknown_field", "query.wait"),
    ("GET", "/v1/batches?cursor=-1", None, {}, 422, "invalid_field", "query.cursor"),
    ("GET", "/v1/explain", None, {}, 422, "invalid_field", "query"),
    ("GET", "/v1/batches?token=abc", None, {}, 401, "unauthorized", "query.token"),
    ("GET", "/v1/images?before=b", None, {}, 422, "unknown_field", "query.before"),
    ("GET", "/v1/images?cursor=b", None, {}, 422, "invalid_field", "query.cursor"),
    ("GET", "/v1/images?cursor=b%ff", None, {}, 422, "invalid_field", "query"),
    ("GET", "/v1/events?after=3", None, {}, 422, "invalid_field", "query.epoch"),
    ("GET", "/v1/events?after=3&epoch=old", None, {}, 410, "epoch_changed", "query.epoch"),
    ("GET", "/v1/events?kinds=batch_settled,batch_sold", None, {}, 422, "invalid_field", "query.kinds"),
    ("GET", "/v1/events?previews=1", None, {}, 422, "unknown_field", "query.previews"),
    ("GET", "/v1/events?limit=5", None, STREAM, 422, "unknown_field", "query.limit"),
    ("GET", "/v1/events?epoch=old", None, STREAM, 410, "epoch_changed", "query.epoch"),
    ("GET", "/v1/events", None, {**STREAM, "Last_Event_ID": "5"}, 422, "invalid_field", "header.Last-Event-ID"),
    ("GET", "/v1/events", None, {**STREAM, "Last_Event_ID": "old:5"}, 410, "epoch_changed", "query.epoch"),
    ("GET", "/v1/batches/x?wait=1&wait=1", None, {}, 422, "invalid_field", "query.wait"),
    ("GET", "/v1", None, {}, 404, "unknown_path", ""),
    ("POST", "/v1/batches", BODY, {"Idempotency_Key": "a\tb"}, 422, "invalid_field", "header.Idempotency-Key"),
    ("POST", "/v1/batches", BODY, {"Comfyledger_Client": "a" * 65}, 422, "invalid_field", "header.Comfyledger-Client"),
    ("POST", "/v1/batches", BODY, {"Expect": "tea"}, 422, "invalid_field", "header.Expect"),
    ("POST", "/v1/batches", BODY, {"Content_Encoding": "gzip"}, 415, "content_type", "header.Content-Encoding"),
    ("POST", "/v1/batches", BODY, {"Content_Type": "application/json; charset=utf-16"}, 415, "content_type",
     "header.Content-Type"),
    ("POST", "/v1/batches?wait=0", BODY, KEY, 422, "invalid_field", "query.wait"),
    ("POST", "/v1/batches?quantity=1", BODY, {}, 422, "unknown_field", "query.quantity"),
    ("POST", "/v1/batches", BODY, {}, 422, "invalid_field", "$"),
    ("POST", "/v1/batches", {**BODY, "request_id": "a", "colour": 1}, {}, 422, "unknown_field", "$"),
    ("POST", "/v1/batches", {**BODY, "request_id": "a"}, KEY, 422, "invalid_field", "header.Idempotency-Key"),
    ("POST", "/v1/batches", {**BODY, "request_id": "a", "seed": "x"}, {}, 422, "invalid_field", "$.seed"),
    ("POST", "/v1/batches", b'{"request_id": "a", "request_id": "b"}', {}, 422, "invalid_field", "$.request_id"),
    ("POST", "/v1/batches", b'{"request_id": NaN}', {}, 400, "not_json", ""),
    ("POST", "/v1/batches", b"[1, 2]", KEY, 422, "invalid_field", "$"),
    ("POST", "/v1/batches", b"{", KEY, 400, "not_json", ""),
    ("POST", "/v1/batches", b'{}, "id": 5', KEY, 400, "not_json", ""),
    ("POST", "/v1/pause", b'{}, "id": 5', {}, 400, "not_json", ""),
    ("POST", "/v1/pause", b'{"scope": "everything"} {}', {}, 400, "not_json", ""),
    ("POST", "/v1/batches", b"\xff{}", KEY, 400, "not_utf8", ""),
    ("POST", "/v1/batches", BODY, {"Content_Type": "text/plain"}, 415, "content_type", "header.Content-Type"),
    ("POST", "/v1/batches", b" " * 2_000_000, {}, 413, "frame_too_large", ""),
    ("POST", "/v1/batches/x/cancel", {"batch_id": "y"}, {}, 422, "invalid_field", "path.batch_id"),
    ("POST", "/v1/batches/x/cancel", {}, {}, 404, "unknown_batch", "path.batch_id"),
    ("POST", "/v1/pause", {"scope": "planet:mars"}, {}, 422, "unknown_scope", "$.scope"),
]  # fmt: skip


@in_module
@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "code", "where"), BAD)
async def test_bad_input_has_a_code_and_changes_nothing(
    http: Http, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str, where: str
) -> None:
    await http.quiet()
    with http.door.unchanged():
        found, problem, sent = await http(method, path, body, **headers)
    assert (found, problem["code"], problem["status"]) == (status, code, status)
    assert (problem.get("path", ""), problem["title"]) == (where, CODES[code])
    assert problem["type"] == f"urn:comfyledger:error:{code}"
    assert sent["Content-Type"] == "application/problem+json"
    assert problem["detail"].endswith((".", "?"))
    assert sent["Cache-Control"] == "no-store"


@in_module
@pytest.mark.parametrize("token", ["", "wrong"])
async def test_without_a_token_nothing_is_shown(http: Http, token: str) -> None:
    for route in ROUTES:
        path = route.path.format(batch_id="x", image="x", store="x", input="x", name="x", workflow="x")
        status, problem, headers = await http(route.method, path, token=token)
        assert (status, problem["code"]) == (401, "unauthorized")
        assert headers["WWW-Authenticate"].startswith("Bearer")


@in_module
async def test_a_body_without_a_length_is_bounded_as_well(http: Http) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {http.door.token}", "Content-Type": "application/json"}
    url = f"{http.door.url}/v1/batches"
    async with aiohttp.ClientSession() as session, session.post(url, data=pieces(), headers=headers) as answer:
        assert (answer.status, json.loads(await answer.read())["code"]) == (413, "frame_too_large")


@in_module
@pytest.mark.parametrize(
    "target", [b"GET /v1/batches/\xff", b"GET /v1/batches?username=\xff", b"POST /v1/batches/\xff/cancel"]
)
async def test_a_url_that_is_not_utf8_is_refused(http: Http, target: bytes) -> None:
    host, port = http.door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f" HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {http.door.token}\r\nConnection: close\r\n\r\n"
    writer.write(target + head.encode())
    answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


# ---- browsers, rates, sockets


async def test_a_page_of_an_allowed_origin_may_ask_and_no_other(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, 'allowed_origins = ["https://app.example"]') as door, aiohttp.ClientSession() as s:
        http = Http(door, s)
        wanted = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
        status, _, headers = await http("OPTIONS", "/v1/batches", Origin="https://app.example", token="", **wanted)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://app.example")
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in headers
        for origin in (door.url, "https://app.example"):
            status, _, headers = await http("GET", "/v1/server", Origin=origin)
            assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, origin, "Origin")
        for origin in ("https://app.example.evil.com", "http://127.0.0.1:1", "null"):
            status, problem, headers = await http("GET", "/v1/server", Origin=origin)
            assert (status, problem["code"]) == (403, "forbidden_origin")
            assert "Access-Control-Allow-Origin" not in headers


async def test_a_token_that_asks_too_often_is_told_when_to_come_back(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "frames_per_second_max = 1") as door, aiohttp.ClientSession() as session:
        http = Http(door, session)
        left = []
        while (found := await http("GET", "/v1/server"))[0] == 200:
            assert found[2]["RateLimit-Policy"] == '"requests";q=5;w=5'
            left.append(int(found[2]["RateLimit"].split(";")[1].removeprefix("r=")))
        assert left == sorted(left, reverse=True)
        status, problem, headers = found
        assert (status, problem["code"]) == (429, "rate_limited")
        assert 0 < problem["retry_after_s"] <= 1
        assert headers["Retry-After"] == "1"


async def test_the_socket_of_the_state_folder_serves_it_as_well(door: Any) -> None:
    path = json.loads((door.folder / "state" / "door.json").read_text())["socket"]
    connector = aiohttp.UnixConnector(path.removeprefix("unix:"))
    async with aiohttp.ClientSession(connector=connector) as session:
        headers = {"Authorization": f"Bearer {door.token}"}
        async with session.get("http://localhost/v1/server", headers=headers) as answer:
            assert (answer.status, (await answer.json())["protocol"]) == (200, 1)


async def test_a_client_that_leaves_while_it_waits_harms_nobody(door: Any) -> None:
    async with aiohttp.ClientSession() as session:
        http = Http(door, session)
        await http("POST", "/v1/pause")
        host, port = door.url.removeprefix("http://").split(":")
        leaving = socket.create_connection((host, int(port)))
        body = json.dumps({**BODY, "request_id": "left"}).encode()
        head = f"POST /v1/batches?wait=60 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {door.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await asyncio.to_thread(leaving.sendall, head.encode() + body)
        async with asyncio.timeout(DEADLINE_S):
            while not (await http("GET", "/v1/batches"))[1]["batches"]:
                pass
        leaving.close()
        await http("POST", "/v1/resume")
        status, batch, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="left")
        assert (status, batch["status"]) == (200, "settled")


async def test_an_accepted_batch_is_shown_if_the_token_is_revoked(door: Any) -> None:
    """The client would never learn its id: the token that could ask for it is gone."""
    path = door.folder / "state" / "tokens.json"
    own = tokens.add(path, "shop", "submit", 0.0)
    async with aiohttp.ClientSession() as session:
        http = Http(door, session)
        await http("POST", "/v1/pause")
        async with asyncio.timeout(DEADLINE_S):
            while (await http("GET", "/v1/server", token=own))[0] == 401:
                await pause(0.05)
            waiting = asyncio.ensure_future(
                http("POST", "/v1/batches?wait=60", BODY, Idempotency_Key="gone", token=own)
            )
            while not (listed := (await http("GET", "/v1/batches"))[1]["batches"]):
                await pause(0.02)
            tokens.revoke(path, "shop")
            status, batch, headers = await waiting
        assert (status, batch["batch_id"], batch["status"]) == (202, listed[0]["batch_id"], "open")
        assert headers["Location"].endswith(batch["batch_id"])
        assert (await http("GET", headers["Location"] + "?wait=1", token=own))[0] == 401


async def test_an_accepted_batch_is_shown_if_nobody_more_may_wait(open_door: Any, tmp_path: Path) -> None:
    """A refusal would say that nothing was accepted."""
    async with open_door(tmp_path, "connections_max = 2") as door, aiohttp.ClientSession() as session:
        http = Http(door, session)
        url = f"{door.url}/v1/events"
        async with follow(session, url, door.token), follow(session, url, door.token):
            await http("POST", "/v1/pause")
            status, batch, headers = await http("POST", "/v1/batches?wait=60", BODY, Idempotency_Key="full")
            assert (status, batch["status"], batch["request_id"]) == (202, "open", "full")
            status, problem, _ = await http("GET", f"{headers['Location']}?wait=60")
            assert (status, problem["code"]) == (503, "busy")


@in_module
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/batches", "Idempotency-Key"),
        ("GET", "/v1/server", "Comfyledger-Client"),
        ("GET", "/v1/events", "Last-Event-ID"),
    ],
)
async def test_a_header_of_ours_stands_once(http: Http, method: str, path: str, name: str) -> None:
    """A proxy or a log might show the other one."""
    headers = [
        ("Authorization", f"Bearer {http.door.token}"),
        ("Accept", "text/event-stream"),
        (name, "a"),
        (name, "b"),
    ]
    body = BODY if method == "POST" else None
    async with aiohttp.request(method, http.door.url + path, json=body, headers=headers) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"], problem["path"]) == (422, "invalid_field", f"header.{name}")


async def test_a_token_of_one_label_sees_nothing_of_another(door: Any) -> None:
    own = tokens.add(door.folder / "state" / "tokens.json", "shop", "submit", 0.0)
    async with aiohttp.ClientSession() as session:
        http = Http(door, session)
        _, foreign, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="a")
        async with asyncio.timeout(DEADLINE_S):
            while (await http("GET", "/v1/server", token=own))[0] == 401:
                await pause(0.05)
        _, mine, _ = await http("POST", "/v1/batches?wait=20", BODY, Idempotency_Key="a", token=own)
        for path in ("/v1/batches", "/v1/images"):
            _, listed, _ = await http("GET", path, token=own)
            assert {one["batch_id"] for one in next(iter(listed.values()))} == {mine["batch_id"]}
        unknown, image = "0" * 26, foreign["images"][0]["public_id"]
        for query in ("", "?wait=1"):
            _, told, _ = await http("GET", f"/v1/batches/{foreign['batch_id']}{query}", token=own)
            _, never, _ = await http("GET", f"/v1/batches/{unknown}{query}", token=own)
            assert told == json.loads(json.dumps(never).replace(unknown, foreign["batch_id"]))
        assert (await http("GET", f"/v1/images/{image}", token=own))[0] == 404
        _, story, _ = await http("GET", f"/v1/images/{image}/story", token=own)
        assert ("image" in story, story.get("events", [])) == (False, [])
        _, page, _ = await http("GET", f"/v1/events?batch_id={foreign['batch_id']}", token=own)
        assert page["events"] == []
        status, problem, _ = await http("POST", f"/v1/batches/{foreign['batch_id']}/cancel", {}, token=own)
        assert (status, problem["code"]) == (404, "unknown_batch")
