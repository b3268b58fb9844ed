"""Sessions of the web page: a key does what its token may, as long as it may, and a one-time code works once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from yarl import URL

from comfyledger.errors import Refused
from comfyledger.server import tokens
from comfyledger.server.salted_key import SaltedKey, make_salt
from comfyledger.server.sessions import CODE_MS, CODES_EACH, PURPOSE, SESSION_MS, Sessions, _bytes, _text
from comfyledger.server.tokens import ANYBODY, Caller, Keyring, Right

pytestmark = pytest.mark.usefixtures("quick_time")

SESSIONS, LINKS = "/v1/sessions", "/v1/sessions/links"


class Clock:
    now_ms = 1_795_899_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., str]:
    """Adds a named token."""
    return lambda label, right="read": tokens.add(tmp_path / "tokens.json", label, right, 0.0)


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    (tmp_path / "token").write_text("own")
    return Keyring("own", tmp_path / "token", tmp_path / "tokens.json")


def made(folder: Path, keyring: Keyring | None, clock: Clock, secret: bytes = b"s" * 32) -> Sessions:
    if not (folder / "salt").exists():
        make_salt(folder / "salt")
    return Sessions(SaltedKey(secret, folder / "salt", PURPOSE), keyring, clock)


def with_token(keyring: Keyring, token: str) -> Caller:
    keyring.refresh()
    found = keyring.who(token)
    assert found is not None
    return found


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except Refused as refusal:
        return refusal.code
    return ""


# ---- keys


def test_a_key_is_known_to_every_life_of_the_daemon_as_its_caller(
    tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]
) -> None:
    for token in ("own", named("app", "operate")):
        caller = with_token(keyring, token)
        key, expires_at_ms = made(tmp_path, keyring, clock).begin(caller, "/ledger")
        found = made(tmp_path, keyring, clock).who(key)
        assert found is not None
        assert found.session is not None
        assert (found.label, found.right, found.digest) == (caller.label, caller.right, caller.digest)
        assert (found.session.expires_at_ms, found.session.base_path) == (expires_at_ms, "/ledger")
        assert expires_at_ms == clock.now_ms + SESSION_MS


def test_no_changed_key_is_one(tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]) -> None:
    sessions = made(tmp_path, keyring, clock)
    key, _ = sessions.begin(with_token(keyring, named("app")), "")
    head, said, signature = key.split(".")
    later = json.loads(_bytes(said))
    later[1] += 1
    own = ["", *json.loads(_bytes(said))[1:]]
    wrong = [
        "",
        "session.",
        "session..",
        f"{head}.{said}",
        f"{key}.",
        f"{key}=",
        f"{head}.{said}.",
        f"{head}.{_text(json.dumps(later, separators=(',', ':')).encode())}.{signature}",
        f"{head}.{_text(json.dumps(own, separators=(',', ':')).encode())}.{signature}",
        f"{head}.{said}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{head}.{said}.{_text(b'')}",
        f"{head}.{said}.{_text(bytes(32))}",
        f"{head}.{_text(b'[' * 500)}.{signature}",
        f"{head}.{'A' * 5_000}.{signature}",
        f"{head}.\u0661.{signature}",
    ]
    assert sessions.who(key) is not None
    assert [one for one in wrong if sessions.who(one) is not None] == []


def test_a_key_ends_with_its_time_and_says_so(tmp_path: Path, keyring: Keyring, clock: Clock) -> None:
    sessions = made(tmp_path, keyring, clock)
    key, _ = sessions.begin(with_token(keyring, "own"), "")
    caller = sessions.who(key)
    assert caller is not None
    clock.now_ms += SESSION_MS - 1
    assert sessions.who(key) is not None
    assert sessions.holds(caller)
    clock.now_ms += 1
    assert code_of(lambda: sessions.who(key)) == "session_expired"
    assert not sessions.holds(caller)


def test_a_key_ends_with_its_token(tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]) -> None:
    sessions, file = made(tmp_path, keyring, clock), tmp_path / "tokens.json"
    revoked, rotated = (sessions.begin(with_token(keyring, named(label)), "")[0] for label in ("one", "other"))
    own, _ = sessions.begin(with_token(keyring, "own"), "")
    tokens.revoke(file, "one")
    tokens.rotate(file, "other", 0.0)
    (tmp_path / "token").write_text("another")
    keyring.refresh()
    assert [sessions.who(key) for key in (revoked, rotated, own)] == [None] * 3


def test_a_key_may_what_its_token_may_now(tmp_path: Path, keyring: Keyring, clock: Clock) -> None:
    file = tmp_path / "tokens.json"
    token = tokens.add(file, "app", "admin", 0.0, read_all=True)
    sessions = made(tmp_path, keyring, clock)
    key, _ = sessions.begin(with_token(keyring, token), "")
    before = sessions.who(key)
    assert before is not None
    entry = json.loads(file.read_text())[0]
    file.write_text(json.dumps([{**entry, "right": "read", "read_all": False}]))
    keyring.refresh()
    found = sessions.who(key)
    assert found is not None
    assert (found.right, found.read_all) == ("read", False)
    assert not keyring.holds(before)


def test_a_new_salt_another_ledger_or_no_salt_ends_every_key(tmp_path: Path, keyring: Keyring, clock: Clock) -> None:
    sessions = made(tmp_path, keyring, clock)
    own = with_token(keyring, "own")
    key, _ = sessions.begin(own, "")
    caller = sessions.who(key)
    assert caller is not None
    assert made(tmp_path, keyring, clock, b"t" * 32).who(key) is None
    make_salt(tmp_path / "salt")
    sessions.refresh()
    assert sessions.who(key) is None
    assert not sessions.holds(caller)
    (tmp_path / "salt").write_bytes(b"\xff")
    sessions.refresh()
    assert sessions.who(key) is None
    assert code_of(lambda: sessions.begin(own, "")) == "internal"
    assert code_of(lambda: sessions.make_code(own)) == "internal"


def test_a_signed_address_is_no_key_and_a_key_signs_no_address(tmp_path: Path) -> None:
    make_salt(tmp_path / "salt")
    keys = {SaltedKey(b"s" * 32, tmp_path / "salt", purpose).value for purpose in (PURPOSE, b"comfyledger file urls 1")}
    assert len(keys) == 2


def test_without_tokens_everybody_has_sessions_and_they_open_no_door_later(
    tmp_path: Path, keyring: Keyring, clock: Clock
) -> None:
    key, _ = made(tmp_path, None, clock).begin(ANYBODY, "")
    found = made(tmp_path, None, clock).who(key)
    assert found is not None
    assert found.session is not None
    assert made(tmp_path, keyring, clock).who(key) is None, "the configuration requires tokens again"


# ---- one-time codes


def test_a_code_is_for_the_caller_who_asked_and_works_once(
    tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]
) -> None:
    sessions, caller = made(tmp_path, keyring, clock), with_token(keyring, named("app"))
    code, _ = sessions.make_code(caller)
    sessions.make_code(with_token(keyring, "own"))
    assert sessions.redeem(code) == caller
    for wrong in (code, "", "x", code[:-1], code.upper(), "\ud800"):
        assert code_of(lambda wrong=wrong: sessions.redeem(wrong)) == "code_invalid"  # type: ignore[misc]


def test_a_code_ends_after_its_time_and_with_its_token(
    tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]
) -> None:
    sessions, caller = made(tmp_path, keyring, clock), with_token(keyring, named("app"))
    old, expires_at_ms = sessions.make_code(caller)
    assert expires_at_ms == clock.now_ms + CODE_MS
    clock.now_ms = expires_at_ms
    assert code_of(lambda: sessions.redeem(old)) == "code_invalid"
    code, _ = sessions.make_code(caller)
    tokens.revoke(tmp_path / "tokens.json", "app")
    keyring.refresh()
    assert code_of(lambda: sessions.redeem(code)) == "code_invalid"


def test_a_token_has_so_many_codes_and_takes_none_of_others(
    tmp_path: Path, keyring: Keyring, clock: Clock, named: Callable[..., str]
) -> None:
    sessions, caller = made(tmp_path, keyring, clock), with_token(keyring, named("app"))
    other, _ = sessions.make_code(with_token(keyring, "own"))
    codes = [sessions.make_code(caller)[0] for _ in range(CODES_EACH + 1)]
    assert code_of(lambda: sessions.redeem(codes[0])) == "code_invalid"
    assert [sessions.redeem(code).label for code in (*codes[1:], other)] == ["app"] * CODES_EACH + [""]


def test_a_session_begins_no_other_one(tmp_path: Path, keyring: Keyring, clock: Clock) -> None:
    sessions = made(tmp_path, keyring, clock)
    caller = sessions.who(sessions.begin(with_token(keyring, "own"), "")[0])
    assert caller is not None
    assert code_of(lambda: sessions.begin(caller, "")) == "forbidden"
    assert code_of(lambda: sessions.make_code(caller)) == "forbidden"


# ---- through the door


@pytest.fixture
async def http(door: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(door.url) as session:
        yield session


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def given(door: Any, label: str, right: Right) -> str:
    """A new token, which the door knows at once."""
    token = tokens.add(door.folder / "state" / "tokens.json", label, right, 0.0)
    door.context.access.keyring.refresh()
    return token


async def post(http: aiohttp.ClientSession, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with http.post(path, **more) as answer:
        return answer.status, await answer.json(content_type=None)


async def begun(http: aiohttp.ClientSession, token: str, **body: Any) -> dict[str, Any]:
    status, session = await post(http, SESSIONS, headers=bearer(token), json=body)
    assert status == 201
    return session


async def test_a_key_works_wherever_a_token_does_with_the_right_of_its_token(
    door: Any, http: aiohttp.ClientSession
) -> None:
    session = await begun(http, given(door, "app", "read"))
    assert (session["label"], session["right"], session["read_all"]) == ("app", "read", False)
    async with http.get("/v1/server", headers=bearer(session["key"])) as answer:
        assert answer.status == 200
    status, _ = await post(http, "/v1/pause", headers=bearer(session["key"]), json={"scope": "everything"})
    assert status == 403
    offered = ["comfyledger", f"token.{session['key']}"]
    async with door.raw(additional_headers={}, subprotocols=offered) as raw:
        welcome = await raw.ask("hello", client="somebody-else")
        assert (welcome["data"]["label"], welcome["data"]["right"]) == ("app", "read")


async def test_a_link_begins_one_session_of_who_asked_for_it(door: Any, http: aiohttp.ClientSession) -> None:
    status, link = await post(http, LINKS, headers=bearer(given(door, "app", "operate")))
    url = URL(link["url"])
    assert (status, str(url.origin()), url.path, url.query_string) == (201, door.url, "/", "")
    code = url.fragment.removeprefix("code=")
    status, session = await post(http, SESSIONS, json={"code": code})
    assert (status, session["label"], session["right"]) == (201, "app", "operate")
    status, problem = await post(http, SESSIONS, json={"code": code})
    assert (status, problem["code"], problem["path"]) == (401, "code_invalid", "$.code")
    assert code not in str(problem)


async def test_a_link_for_a_client_of_the_socket_leads_to_the_port(door: Any, http: aiohttp.ClientSession) -> None:
    connector = aiohttp.UnixConnector(str(door.folder / "state" / "door.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as local:
        status, link = await post(local, LINKS, headers=bearer(door.token))
    assert (status, link["url"].partition("#")[0]) == (201, f"{door.url}/")


async def test_without_a_port_there_is_no_link(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, 'unix_path = "apps.sock"') as door:
        connector = aiohttp.UnixConnector(str(tmp_path / "state" / "door.sock"))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as local:
            status, problem = await post(local, LINKS, headers=bearer(door.token))
    assert (status, problem["code"]) == (409, "page_unreachable")
    assert problem["hint"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 401, "unauthorized"),
    ({"headers": bearer("wrong")}, 401, "unauthorized"),
    ({"headers": bearer("session.x.y")}, 401, "unauthorized"),
    ({"json": {"code": "x"}}, 401, "code_invalid"),
    ({"json": {"code": "x" * 129}}, 422, "invalid_field"),
    ({"json": {"code": 5}}, 422, "invalid_field"),
    ({"json": {"kode": "x"}}, 422, "unknown_field"),
    ({"json": []}, 422, "invalid_field"),
    ({"json": {"base_path": "//evil.example"}}, 422, "invalid_field"),
    ({"json": {"base_path": "/a\n"}}, 422, "invalid_field"),
    ({"json": {"base_path": "/a?b"}}, 422, "invalid_field"),
    ({"data": b'{"code": "a", "code": "b"}', "headers": {"Content-Type": "application/json"}}, 422, "invalid_field"),
    ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "not_json"),
    ({"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "content_type"),
    ({"data": b" " * 5_000, "headers": {"Content-Type": "application/json"}}, 413, "frame_too_large"),
    ({"params": {"code": "x"}}, 422, "unknown_field"),
    ({"params": {"key": "x"}}, 401, "unauthorized"),
    ({"headers": {"Origin": "https://evil.example"}}, 403, "forbidden_origin"),
    ({"headers": {"Host": "evil.example"}}, 421, "forbidden_host"),
]


@pytest.mark.parametrize(("asked", "status", "code"), REFUSED)
async def test_what_is_wrong_begins_no_session(
    door: Any, http: aiohttp.ClientSession, asked: dict[str, Any], status: int, code: str
) -> None:
    found, problem = await post(http, SESSIONS, **asked)
    assert (found, problem["code"]) == (status, code)
    assert problem.get("hint") or code.startswith("not_")


async def test_a_foreign_page_uses_up_no_code(door: Any, http: aiohttp.ClientSession) -> None:
    _, link = await post(http, LINKS, headers=bearer(door.token))
    body = {"code": link["url"].partition("#code=")[2]}
    status, problem = await post(http, SESSIONS, json=body, headers={"Origin": "https://evil.example"})
    assert (status, problem["code"]) == (403, "forbidden_origin")
    status, problem = await post(http, SESSIONS, json=body, headers=bearer(door.token))
    assert (status, problem["code"]) == (422, "invalid_field"), "a token and a code"
    assert (await post(http, SESSIONS, json=body))[0] == 201


async def test_a_key_in_a_query_is_refused(door: Any, http: aiohttp.ClientSession) -> None:
    session = await begun(http, door.token)
    for name in ("key", "token", "access_token"):
        async with http.get("/v1/server", params={name: session["key"]}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")


async def test_open_websockets_end_with_their_session(door: Any, http: aiohttp.ClientSession) -> None:
    session = await begun(http, door.token)
    async with door.raw(additional_headers=bearer(session["key"])) as raw, door.raw() as other:
        assert (await raw.ask("server_info"))["type"] == "result"
        make_salt(door.folder / "state" / "file_urls.salt")
        with pytest.raises(ConnectionClosed) as closed:
            await raw.receive()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the session has ended")
        assert (await other.ask("server_info"))["type"] == "result", "a token is no session"
    with pytest.raises(InvalidStatus):
        await door.connect(additional_headers=bearer(session["key"]))


async def test_open_websockets_end_with_the_token_of_their_session(door: Any, http: aiohttp.ClientSession) -> None:
    session = await begun(http, given(door, "app", "read"))
    async with door.raw(additional_headers=bearer(session["key"])) as raw:
        tokens.revoke(door.folder / "state" / "tokens.json", "app")
        with pytest.raises(ConnectionClosed) as closed:
            await raw.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    async with http.get("/v1/server", headers=bearer(session["key"])) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")


async def test_a_session_shares_the_rate_of_its_token(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path, "frames_per_second_max = 1") as door, aiohttp.ClientSession(door.url) as http:
        session = await begun(http, door.token)
        statuses = []
        for turn in range(12):
            token = session["key"] if turn % 2 else door.token
            async with http.get("/v1/workflows", headers=bearer(token)) as answer:
                statuses.append(answer.status)
    assert statuses.count(200) <= 6


async def test_nothing_of_a_session_is_set_as_a_cookie_or_kept_by_a_cache(
    door: Any, http: aiohttp.ClientSession
) -> None:
    async with http.post(SESSIONS, headers=bearer(door.token)) as answer:
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"


# ---- addresses of files


async def test_a_session_gets_addresses_of_the_daemon_below_the_host_and_path_of_its_page(
    open_door: Any, tmp_path: Path
) -> None:
    keys = 'behind_proxy = true\nallowed_hosts = ["box.example"]'
    async with open_door(tmp_path, keys) as door, door.app() as app, aiohttp.ClientSession(door.url) as http:
        batch_id = (await app.submit("r1", quantity=1))["batch_id"]
        await app.settled(batch_id)
        session = await begun(http, door.token, base_path="/ledger")
        expected = {
            "localhost:9831": "http://localhost:9831/ledger/v1/images/",
            "box.example": "https://box.example/ledger/v1/images/",
        }
        for host, base in expected.items():
            headers = {**bearer(session["key"]), "Host": host}
            async with http.get(f"/v1/batches/{batch_id}", headers=headers) as answer:
                (image,) = (await answer.json())["images"]
            addresses = [image[name] for name in ("file_url", "thumbnail_url", "thumbnail_large_url")]
            assert [one for one in addresses if not one.startswith(base)] == []
            for one in addresses:
                path = URL(one, encoded=True).raw_path_qs.removeprefix("/ledger")
                async with http.get(URL(path, encoded=True), allow_redirects=False) as answer:
                    assert answer.status == 200
