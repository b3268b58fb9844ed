"""Buckets for tests of the object stores, behind a proxy on loopback that can be told to fail.

moto's S3 runs in a thread; Azurite and the stand-in for Google Cloud Storage are processes.

The proxy is in the event loop of the test. It passes requests on as they are, except for what a test asked it to do.
Needs moto, aiohttp and boto3; a test skips itself without them.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import obstore
import pytest
from aiohttp import web
from obstore.store import AzureStore, GCSStore

from comfyledger.plugin_api import Store
from comfyledger_objects.options import Kind
from comfyledger_objects.store import ObjectStore
from support.google_account import account_file, made_key
from support.object_servers import ACCOUNT, ACCOUNT_KEY, AZURITE, Azurite, shared_azurite
from support.objects_process import BUCKET, Objects

HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
ADDED = frozenset({"Content-Type", "User-Agent", "Accept", "Accept-Encoding"})
"""Headers that a client adds by itself. Signatures cover some of them."""
Fault = Literal["cut_before", "cut_after", "alter"] | Callable[[], web.Response]
Wanted = Callable[[web.Request], bool]
_serial = itertools.count(1)


@contextmanager
def moto_s3() -> Iterator[str]:
    """The address of a server that is this process's own."""
    server_of_moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = server_of_moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class FailingProxy:
    """Passes requests on to a server. `requests`: method and path of each one that it was sent."""

    def __init__(self, server: str) -> None:
        self._server, self.port, self.requests = server, 0, list[tuple[str, str]]()
        self._faults: list[tuple[Wanted, Fault]] = []
        self.dropped = set[str]()
        """Headers, in lower case, that are not passed on: those that a server would ignore."""
        self.odd: Wanted = lambda request: False
        """The answers to which of the requests have metadata in UTF-8, as some programs send them."""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """On the same port as before, if there was one."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def fail(self, fault: Fault, wanted: Wanted = lambda request: request.method == "PUT", times: int = 1) -> None:
        """Let a fault strike the next requests of a kind."""
        self._faults += [(wanted, fault)] * times

    def forgive(self) -> None:
        """Let no fault strike any more."""
        self._faults.clear()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path))
        body = await request.read()
        fault = self._fault_for(request)
        if callable(fault):
            return fault()
        if fault == "cut_before":
            return self._cut(request)
        if fault == "alter":
            body = bytes([body[0] ^ 1]) + body[1:]
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP | self.dropped}
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=ADDED) as session,
            session.request(
                request.method, f"{self._server}{request.raw_path}", data=body or None, headers=headers
            ) as answer,
        ):
            content = await answer.read()
            if fault == "cut_after":
                return self._cut(request)
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
            if request.method == "HEAD":
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            if self.odd(request):
                kept |= {f"x-{server}-meta-who": "Zo\u00eb" for server in ("amz", "goog", "ms")}
            return web.Response(status=answer.status, body=content, headers=kept)

    def _fault_for(self, request: web.Request) -> Fault | None:
        for place, (wanted, fault) in enumerate(self._faults):
            if wanted(request):
                del self._faults[place]
                return fault
        return None

    @staticmethod
    def _cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def refusal(status: int, code: str, message: str = "", **headers: str) -> Callable[[], web.Response]:
    """An error as S3 writes it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return lambda: web.Response(status=status, text=text, content_type="application/xml", headers=headers)


class S3Place:
    """A bucket of its own behind a proxy: a `Place` of the store contract."""

    can_be_unreachable = True
    can_be_cut = True
    can_be_throttled = True
    kind: Kind = "s3"

    def __init__(self, server: str, proxy: FailingProxy, folder: Path) -> None:
        boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
        self.bucket, self.proxy, self.folder = f"bucket-{next(_serial)}", proxy, folder
        who = {"aws_access_key_id": "anna", "aws_secret_access_key": "hidden-secret"}
        self.client: Any = boto3.client("s3", endpoint_url=server, region_name="us-east-1", **who)
        self.client.create_bucket(Bucket=self.bucket)
        self.stores: list[ObjectStore] = []

    def options(self, **more: Any) -> dict[str, Any]:
        who = {"access_key_id": "anna", "secret_access_key": "hidden-secret"}
        return {"bucket": self.bucket, "endpoint": self.proxy.url, "request_timeout_s": 20.0, **who, **more}

    def store(self, **more: Any) -> ObjectStore:
        self.stores.append(ObjectStore.open("s3", "objects", self.options(**more), self.folder / "state"))
        return self.stores[-1]

    def opened(self) -> Store:
        return self.store()

    async def contents(self) -> dict[str, bytes]:
        return {key: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in self.keys()}

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def fill(self, keys: Iterable[str]) -> None:
        """Put a small object under each of many keys, past moto's HTTP, which takes milliseconds for each."""
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        for key in keys:
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(self.bucket, key, b"x")

    def uploads(self) -> list[str]:
        """The keys of uploads in parts that were begun and neither completed nor aborted."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]

    async def put_foreign(self, public_id: str, extension: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{public_id}.{extension}", Body=content)

    async def lose(self, key: str) -> None:
        """Let an object be gone, as if somebody had deleted it."""
        self.client.delete_object(Bucket=self.bucket, Key=key)

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        await self.proxy.stop()
        yield
        await self.proxy.start()

    async def cut_next(self, *, stored: bool) -> None:
        self.proxy.fail("cut_after" if stored else "cut_before")

    async def throttle_next(self, retry_after_s: int) -> None:
        self.proxy.fail(refusal(503, "SlowDown", "Please reduce your request rate.", **{"Retry-After": "7"}))

    async def close(self) -> None:
        for store in self.stores:
            await store.close()
        await self.proxy.stop()


class ProxiedPlace:
    """A bucket of a server behind a failing proxy, read and written with obstore and not with our store."""

    can_be_unreachable = True
    can_be_cut = True
    can_be_throttled = True

    def __init__(self, kind: Kind, proxy: FailingProxy, direct: Any, folder: Path, **options: Any) -> None:
        self.kind, self.proxy, self._direct, self._folder, self._options = kind, proxy, direct, folder, options
        self.stores: list[ObjectStore] = []

    def options(self, **more: Any) -> dict[str, Any]:
        return {"request_timeout_s": 20.0, **self._options, **more}

    def store(self, **more: Any) -> ObjectStore:
        self.stores.append(ObjectStore.open(self.kind, "objects", self.options(**more), self._folder / "state"))
        return self.stores[-1]

    def opened(self) -> Store:
        return self.store()

    async def contents(self) -> dict[str, bytes]:
        found = [meta["path"] for meta in await obstore.list(self._direct).collect_async()]
        return {key: bytes(await (await obstore.get_async(self._direct, key)).bytes_async()) for key in found}

    async def put_foreign(self, public_id: str, extension: str, content: bytes) -> None:
        await obstore.put_async(self._direct, f"{public_id}.{extension}" if extension else public_id, content)

    async def headers(self, key: str) -> dict[str, str]:
        """What is said of an object."""
        return dict((await obstore.get_async(self._direct, key, options={"head": True})).attributes)

    async def lose(self, key: str) -> None:
        """Let an object be gone, as if somebody had deleted it."""
        await obstore.delete_async(self._direct, key)

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[None]:
        await self.proxy.stop()
        yield
        await self.proxy.start()

    async def cut_next(self, *, stored: bool) -> None:
        self.proxy.fail("cut_after" if stored else "cut_before")

    async def throttle_next(self, retry_after_s: int) -> None:
        self.proxy.fail(refusal(503, "ServerBusy", "Please wait.", **{"Retry-After": str(retry_after_s)}))

    async def close(self) -> None:
        for store in self.stores:
            await store.close()
        await self.proxy.stop()


@asynccontextmanager
async def s3_place(server: str, folder: Path) -> AsyncIterator[S3Place]:
    proxy = FailingProxy(server)
    await proxy.start()
    place = S3Place(server, proxy, folder)
    try:
        yield place
    finally:
        await place.close()


@asynccontextmanager
async def azure_place(server: Azurite, folder: Path) -> AsyncIterator[ProxiedPlace]:
    """A new container of a running Azurite."""
    container = f"container-{next(_serial)}"
    server.add_container(container)
    proxy = FailingProxy(server.url)
    await proxy.start()
    who: dict[str, Any] = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY}
    direct = AzureStore(container, endpoint=f"{server.url}/{ACCOUNT}", client_options={"allow_http": True}, **who)
    place = ProxiedPlace("azure", proxy, direct, folder, bucket=container, endpoint=f"{proxy.url}/{ACCOUNT}", **who)
    try:
        yield place
    finally:
        await place.close()


@asynccontextmanager
async def google_place(server: Objects, key: str, folder: Path) -> AsyncIterator[ProxiedPlace]:
    """The bucket of the stand-in for Google. `key`: a private key, which nobody checks."""
    proxy = FailingProxy(server.url)
    await proxy.start()
    file = account_file(folder, key)
    direct = GCSStore(BUCKET, service_account=str(file), base_url=server.url, client_options={"allow_http": True})
    options = {"bucket": BUCKET, "endpoint": proxy.url, "service_account_file": str(file)}
    place = ProxiedPlace("gcs", proxy, direct, folder, **options)
    try:
        yield place
    finally:
        await place.close()


@asynccontextmanager
async def place_of(kind: Kind, folder: Path) -> AsyncIterator[S3Place | ProxiedPlace]:
    """An empty bucket of a server of any kind. Skips the test if the server is not installed."""
    match kind:
        case "s3":
            with moto_s3() as address:
                async with s3_place(address, folder) as of_s3:
                    yield of_s3
        case "gcs":
            running = Objects(folder, "gcs")
            try:
                running.begin()
                async with google_place(running, made_key(), folder) as of_google:
                    yield of_google
            finally:
                running.end()
        case "azure":
            if not AZURITE:
                pytest.skip("Azurite is not installed: make azurite")
            async with azure_place(shared_azurite(), folder) as of_azure:
                yield of_azure
