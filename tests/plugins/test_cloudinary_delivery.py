"""Laws of downloading an asset: a signed address where it needs one, and never more bytes than it should have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cloudinary.utils import cloudinary_url

from comfyledger.plugin_api import StoreTrouble
from comfyledger_cloudinary.account import Options, options_from
from comfyledger_cloudinary.delivery import address_of, download, scaled_address
from support.waiting import DEADLINE_S, pause

pytestmark = pytest.mark.usefixtures("quick_time")

ASSET = {"public_id": "u_2/a b", "format": "png", "version": 12, "secure_url": "https://res.test/v12/u_2/a%20b.png"}


def options(**more: Any) -> Options:
    return options_from("pics", {"cloud_name": "demo", "api_key": "k", "api_secret": "s3cr3t", **more}, {})


def test_a_public_asset_is_where_the_account_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address_of(options(), ASSET) == ASSET["secure_url"]
    for said in ({}, {"secure_url": "http://res.test/x.png"}, {"secure_url": "file:///etc/passwd"}):
        with pytest.raises(StoreTrouble):
            address_of(options(), said)


@pytest.mark.parametrize("kind", ["private", "authenticated"])
def test_what_not_everybody_may_see_has_a_signed_address_of_this_account(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDINARY_URL", "cloudinary://other:other@elsewhere")
    address = address_of(options(delivery_type=kind), ASSET)
    before, signature, after = address.partition("s--")[0], address.split("--")[1], address.rpartition("--/")[2]
    assert before == f"https://res.cloudinary.com/demo/image/{kind}/"
    assert (len(signature), after) == (8, "v12/u_2/a%20b.png")
    assert "s3cr3t" not in address


@pytest.mark.parametrize(
    ("kind", "name", "format_", "ending"),
    [("video", "u_2/b", "mp4", "b.mp4"), ("raw", "u_2/b.glb", "glb", "b.glb"), ("raw", "u_2/b.glb", None, "b.glb")],
)
def test_a_signed_address_is_one_of_the_resource_type(kind: str, name: str, format_: str | None, ending: str) -> None:
    asset = {"public_id": name, "format": format_, "version": 12, "resource_type": kind}
    address = address_of(options(delivery_type="private"), asset)
    assert address.startswith(f"https://res.cloudinary.com/demo/{kind}/private/s--")
    assert address.endswith(f"--/v12/u_2/{ending}")


HOSTILE_NAMES = ["u_2/a b", "Zoë/夜/x_1", "a.b/c.png/d_1", "v1/a/b", "a,b/c:d(1)"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_scaled_picture_has_the_address_that_the_sdk_would_give_it(name: str, algorithm: str) -> None:
    account = options(signature_algorithm=algorithm)
    for kind, extension, shown, wanted in (
        ("image", "png", "webp", "c_limit,h_256,w_256"),
        ("image", "gif", "webp", "c_limit,h_256,pg_1,w_256"),
        ("video", "mp4", "jpg", "c_limit,h_256,so_0,w_256"),
    ):
        common = {"cloud_name": "demo", "api_secret": "s3cr3t", "signature_algorithm": algorithm, "secure": True}
        common |= {"type": "upload", "resource_type": kind, "version": 12, "long_url_signature": False}
        stored = cloudinary_url(name, format=extension, **common)[0]
        expected = cloudinary_url(name, format=shown, raw_transformation=wanted, sign_url=True, **common)[0]
        assert scaled_address(account, stored, extension, 256) == expected
        own = stored.replace("res.cloudinary.com/demo", "demo-res.cloudinary.com")
        address = scaled_address(account, own, extension, 256)
        assert address == expected.replace("res.cloudinary.com/demo", "demo-res.cloudinary.com")


def test_there_is_no_scaled_picture_of_what_is_private_no_picture_or_of_another_account() -> None:
    stored = "https://res.cloudinary.com/demo/{}/upload/v12/a/b_1.{}"
    assert scaled_address(options(), stored.format("image", "png"), "png", 256)
    assert "s3cr3t" not in scaled_address(options(), stored.format("image", "png"), "png", 256)
    for kind in ("private", "authenticated"):
        private = stored.format("image", "png").replace("/upload/", f"/{kind}/")
        assert scaled_address(options(delivery_type=kind), private, "png", 256) == ""
        assert scaled_address(options(delivery_type=kind), stored.format("image", "png"), "png", 256) == ""
    for resource_type, extension in (("video", "wav"), ("raw", "glb"), ("raw", "svg"), ("raw", "exr")):
        assert scaled_address(options(), stored.format(resource_type, extension), extension, 256) == ""
    for url in (
        stored.format("video", "png"),
        stored.format("image", "png").replace("/demo/", "/other/"),
        stored.format("image", "png").replace("https", "http"),
        stored.format("image", "png").replace("res.cloudinary.com", "evil.example"),
        stored.format("image", "png").replace("/v12/", "/"),
        "",
    ):
        assert scaled_address(options(), url, "png", 256) == "", url


async def test_never_more_is_taken_than_the_asset_should_have(tmp_path: Path) -> None:
    async def endless(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_000)

    target = tmp_path / "target"
    target.touch()
    app = web.Application()
    app.router.add_get("/", endless)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        address = str(server.make_url("/"))
        with pytest.raises(StoreTrouble, match="longer than the 999 bytes"):
            await download(session, address, target, bytes_max=999, connect_s=5, piece_s=5)
        await download(session, address, target, bytes_max=1_000, connect_s=5, piece_s=5)
    with pytest.raises(StoreTrouble):
        async with aiohttp.ClientSession() as session:
            await download(session, address, target, bytes_max=9, connect_s=5, piece_s=5)
    assert target.stat().st_size == 1_000


async def test_an_asset_that_drips_is_cut_and_a_redirect_is_not_followed(tmp_path: Path) -> None:
    asked = []

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x")
            await pause(0.05)
        return response

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/drip"})

    target = tmp_path / "target"
    target.touch()
    app = web.Application()
    app.router.add_get("/drip", drip)
    app.router.add_get("/elsewhere", elsewhere)
    async with TestServer(app) as server, aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE_S):
        with pytest.raises(StoreTrouble, match="in time"):
            await download(session, str(server.make_url("/drip")), target, bytes_max=10**9, connect_s=0.2, piece_s=0.3)
        with pytest.raises(StoreTrouble, match="HTTP 302"):
            await download(session, str(server.make_url("/elsewhere")), target, bytes_max=9, connect_s=5, piece_s=5)
    assert asked == ["/elsewhere"]
