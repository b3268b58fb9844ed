"""One request to the endpoint of a webhook: where it goes, what it carries, and what each answer means."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comfyledger.core.webhooks import signature, signing_key
from comfyledger.workers.webhooks import post
from comfyledger.workers.webhooks.post import Poster, Signed, fault_of
from support.ports import closed_port
from support.receiver import SECRET
from support.waiting import DEADLINE_S, pause

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
BODY = b'{"type": "batch_settled"}'
LINK_LOCAL = ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
PRIVATE = ["127.0.0.1", "10.0.0.7", "192.168.1.1", "100.64.0.1", "fd00::7", "::ffff:127.0.0.1", "64:ff9b::a00:7"]


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Endpoint:
    """A server on loopback that counts its requests, and what the name hook.example means."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[web.BaseRequest] = []
        self.port = 0
        self.means = ["127.0.0.1"]
        self.resolved = 0
        self.posters: dict[bool, Poster] = {}
        self.status = 204
        self.headers: dict[str, str] = {}
        self.answer: Any = None
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve)

    async def _resolve(self, host: str, port: int, **_: Any) -> Any:
        self.resolved += host == "hook.example"
        means = self.means if host == "hook.example" else [host]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in means
        ]

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        await request.read()
        return await self.answer(request) if self.answer else web.Response(status=self.status, headers=self.headers)

    async def post(self, url: str = "", *, trusts_names: bool = True, scheme: str = "http") -> Any:
        poster = self.posters.setdefault(trusts_names, Poster(trusts_names=trusts_names, wall_ms=wall_ms))
        request = Signed(url or f"{scheme}://hook.example:{self.port}/in?key=7", "msg_1", BODY, signing_key(SECRET))
        return await poster.post(request)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    made = Endpoint(monkeypatch)
    runner = web.ServerRunner(web.Server(made.take), shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, socket.create_server(("127.0.0.1", 0)), ssl_context=context).start()
    made.port = runner.addresses[0][1]
    yield made
    for poster in made.posters.values():
        await poster.close()
    await runner.cleanup()


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    async with serving(monkeypatch) as made:
        yield made


# ---- where it goes


async def test_a_name_is_resolved_once_for_each_try_and_called_under_its_own_name(endpoint: Endpoint) -> None:
    assert await endpoint.post() is None
    assert await endpoint.post() is None
    assert endpoint.resolved == 2
    assert [request.host for request in endpoint.asked] == [f"hook.example:{endpoint.port}"] * 2
    assert endpoint.asked[0].path_qs == "/in?key=7"


@pytest.mark.parametrize("trusts_names", [True, False])
@pytest.mark.parametrize("address", LINK_LOCAL)
async def test_a_name_that_means_a_link_local_address_is_never_called(
    endpoint: Endpoint, address: str, trusts_names: bool
) -> None:
    endpoint.means = ["127.0.0.1", address]
    fault = await endpoint.post(trusts_names=trusts_names)
    assert (fault.whose, fault.code) == ("endpoint", "address_not_allowed")
    assert endpoint.asked == []


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_may_mean_this_network_only_if_the_operator_wrote_it(endpoint: Endpoint, address: str) -> None:
    endpoint.means = [address]
    fault = await endpoint.post(trusts_names=False)
    assert (fault.code, endpoint.asked) == ("address_not_allowed", [])


async def test_an_address_that_is_written_may_be_of_this_network(endpoint: Endpoint) -> None:
    assert await endpoint.post(f"http://127.0.0.1:{endpoint.port}/", trusts_names=False) is None


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]", "127.1", "2130706433", "017700000001", "127.0.0.1."]
)
async def test_a_host_that_no_resolver_sees_is_judged_as_it_is_written(endpoint: Endpoint, host: str) -> None:
    fault = await endpoint.post(f"http://{host}:{endpoint.port}/")
    assert (fault.code, endpoint.asked) == ("address_not_allowed", [])


async def test_a_redirect_is_a_failure_and_nobody_else_is_called(endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 307, {"Location": f"http://127.0.0.1:{endpoint.port}/other"}
    fault = await endpoint.post()
    assert (fault.whose, fault.code, len(endpoint.asked)) == ("endpoint", "http_307", 1)


@OPENSSL
async def test_a_certificate_must_be_that_of_the_name_and_somebody_must_vouch_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=hook.example"]
    places = ["-addext", "subjectAltName=DNS:hook.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *places], check=True, capture_output=True)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate, key)
    names: list[str | None] = []
    own.sni_callback = lambda _, name, __: names.append(name)
    async with serving(monkeypatch, own) as endpoint:
        assert (await endpoint.post(scheme="https")).code == "tls"
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
        assert await endpoint.post(scheme="https") is None
        assert (await endpoint.post(f"https://127.0.0.1:{endpoint.port}/")).code == "tls"
        assert (await endpoint.post(f"https://other.example:{endpoint.port}/")).code != ""
    assert len(endpoint.asked) == 1
    assert names[0] == "hook.example"


async def test_nothing_of_this_machine_is_sent(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    endpoint.headers = {"Set-Cookie": "a=b; Path=/"}
    assert await endpoint.post() is None
    assert await endpoint.post() is None
    sent = {name.lower() for request in endpoint.asked for name in request.headers}
    webhook = {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert sent == webhook | {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"} | (
        sent & {"connection"}
    )


async def test_a_request_is_signed_with_the_time_of_its_try(endpoint: Endpoint) -> None:
    assert await endpoint.post() is None
    headers = endpoint.asked[0].headers
    at_s = int(headers["webhook-timestamp"])
    assert abs(at_s - datetime.now(UTC).timestamp()) < 60
    assert headers["webhook-signature"] == signature(signing_key(SECRET), "msg_1", at_s, BODY)


# ---- bounds


async def test_an_endless_answer_counts_by_its_status_and_is_left_soon(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "ANSWER_S", 0.2)

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(status=200)
        await answer.prepare(request)
        while True:
            await answer.write(b"x")
            await pause(0.01)

    endpoint.answer = endless
    async with asyncio.timeout(DEADLINE_S):
        assert await endpoint.post() is None


async def test_an_endpoint_that_never_answers_is_left_in_time(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "TOTAL_S", 0.2)

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await pause(30)
        return web.Response()

    endpoint.answer = never
    fault = await endpoint.post()
    assert (fault.whose, fault.code) == ("endpoint", "timeout")


async def test_headers_without_an_end_are_a_fault_of_the_endpoint() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    poster = Poster(trusts_names=True, wall_ms=wall_ms)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        fault = await poster.post(Signed(url, "msg_1", BODY, signing_key(SECRET)))
    finally:
        await poster.close()
        server.close()
    assert fault is not None
    assert (fault.whose, "y" * 20 in fault.text) == ("endpoint", False)


async def test_a_port_where_nobody_listens_is_named_in_the_words_of_the_system(endpoint: Endpoint) -> None:
    fault = await endpoint.post(f"http://127.0.0.1:{closed_port()}/")
    assert (fault.code, fault.text) == ("not_reached", "The endpoint cannot be reached: Connection refused.")


# ---- what answers mean


NOW = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "whose"),
    [
        *((status, None) for status in (200, 201, 202, 204, 299)),
        *((status, "endpoint") for status in (301, 302, 304, 307, 308, 408, 425, 429, 500, 502, 503, 504, 599)),
        *((status, "event") for status in (400, 401, 403, 404, 409, 413, 422)),
        (410, "gone"),
    ],
)
def test_only_2xx_takes_an_event(status: int, whose: str | None) -> None:
    fault = fault_of(status, "", NOW)
    assert (fault.whose if fault is not None else None) == whose


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 22 Nov 2026 03:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 02:00:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("9" * 400, 999_999_999.0),
        ("Sun, 22 Nov 99999 03:01:00 GMT", 0.0),
        ("Sun, 22 Nov 99999999999999999999 03:01:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 03:01:00 +99999999999999999", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_otherwise_nothing(header: str, seconds: float) -> None:
    fault = fault_of(503, header, NOW)
    assert fault is not None
    assert fault.retry_after_s == seconds
