"""Thumbnails over HTTP: for a token, or by a signed address that is bound to image, size and expiry."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from PIL import Image
from yarl import URL

from comfyledger.errors import Refused
from comfyledger.server import tokens

in_module = pytest.mark.asyncio(loop_scope="module")


class Shown:
    """A door with a batch of two stored images, and a session without a token."""

    def __init__(self, door: Any, http: aiohttp.ClientSession, images: list[dict[str, Any]]) -> None:
        self.door, self.http, self.images = door, http, images
        self.small = URL(images[0]["thumbnail_url"], encoded=True)
        self.large = URL(images[0]["thumbnail_large_url"], encoded=True)
        self.plain = f"{door.url}/v1/images/{images[0]['image_id']}/thumbnail"

    async def got(self, url: URL | str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read(), answer.headers

    async def code(self, url: URL | str, **headers: str) -> tuple[int, str]:
        status, body, _ = await self.got(url, **headers)
        return status, msgspec.json.decode(body)["code"]

    def token(self, label: str, *, read_all: bool) -> dict[str, str]:
        path = self.door.folder / "state" / "tokens.json"
        token = tokens.add(path, label, "read", 0.0, read_all=read_all)
        self.door.context.access.keyring.refresh()
        return {"Authorization": f"Bearer {token}"}

    @property
    def owner(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.door.token}"}


def is_webp(body: bytes) -> bool:
    with Image.open(io.BytesIO(body)) as picture:
        return picture.format == "WEBP"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(lasting_door: Any) -> AsyncIterator[Shown]:
    async with lasting_door.app("shop") as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=2))["batch_id"])
        yield Shown(lasting_door, http, batch["images"])


@in_module
async def test_a_browser_gets_both_sizes_without_a_token(shown: Shown) -> None:
    assert str(shown.small).startswith(f"{shown.plain}?size=small&expires=")
    for url, size in ((shown.small, "small"), (shown.large, "large")):
        status, body, headers = await shown.got(url)
        assert (status, is_webp(body)) == (HTTPStatus.OK, True)
        assert headers["Content-Type"] == "image/webp"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "private, no-cache"
        assert headers["ETag"] == f'W/"{shown.images[0]["sha256"]}-{size}"'
        assert headers["Content-Disposition"] == f"inline; filename*=UTF-8''Areg_opal-fever_image_1-{size}.webp"
        status, body, _ = await shown.got(url, If_None_Match=headers["ETag"])
        assert (status, body) == (HTTPStatus.NOT_MODIFIED, b"")
        status, body, head = await shown.got(url, "HEAD")
        assert (status, body, head["Content-Length"]) == (HTTPStatus.OK, b"", headers["Content-Length"])
    other = f'"{shown.images[0]["sha256"]}-large"'
    assert (await shown.got(shown.small, If_None_Match=other))[0] == HTTPStatus.OK


@in_module
async def test_a_token_gets_it_by_every_name_of_the_image_and_the_small_one_by_default(shown: Shown) -> None:
    small, large = (await shown.got(shown.small))[1], (await shown.got(shown.large))[1]
    image = shown.images[0]
    for name in (image["image_id"], image["public_id"], image["public_id"].upper()):
        plain = f"{shown.door.url}/v1/images/{name}/thumbnail"
        assert (await shown.got(plain, **shown.owner))[1] == small
        assert (await shown.got(f"{plain}?size=large", **shown.owner))[1] == large


@in_module
async def test_every_wrong_address_has_its_code_and_changes_nothing(shown: Shown) -> None:
    expires, signature = shown.small.query["expires"], shown.small.query["signature"]
    signed = f"expires={expires}&signature={signature}"
    file = URL(shown.images[0]["file_url"], encoded=True)
    wrong = {
        f"{shown.plain}?size=large&{signed}": "signature_invalid",
        f"{shown.plain.replace('/1/thumb', '/2/thumb')}?size=small&{signed}": "signature_invalid",
        f"{shown.plain.replace('/1/thumb', '/9/thumb')}?size=small&{signed}": "signature_invalid",
        f"{shown.plain}?{file.query_string}": "signature_invalid",
        f"{shown.plain.replace('/thumbnail', '/file')}?{signed}": "signature_invalid",
        f"{shown.plain.replace('/thumbnail', '/file')}?size=small&{signed}": "unknown_field",
        f"{shown.plain}?size=small&expires={int(expires) + 1}&signature={signature}": "signature_invalid",
        f"{shown.plain}?size=huge&{signed}": "invalid_field",
        f"{shown.plain}?size=small&size=small&{signed}": "invalid_field",
        f"{shown.plain}?size=small&width=9&{signed}": "unknown_field",
        f"{shown.plain}?size=small": "unauthorized",
        shown.plain: "unauthorized",
    }
    with shown.door.unchanged():
        for url, code in wrong.items():
            assert (await shown.code(URL(url, encoded=True)))[1] == code, url
        for name in ("..%2f..%2fetc%2fpasswd", "Nobody_image_1", "01NOBODY/1"):
            url = URL(f"{shown.door.url}/v1/images/{name}/thumbnail", encoded=True)
            assert await shown.code(url, **shown.owner) == (HTTPStatus.NOT_FOUND, "unknown_image")
        async with shown.http.post(shown.small) as answer:
            assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert (await shown.got(f"{shown.plain}?{signed}"))[0] == HTTPStatus.OK, "the small one is meant by default"


@in_module
async def test_an_expired_address_says_so(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown.door.context.file_urls, "_now_s", lambda: float(shown.small.query["expires"]))
    assert await shown.code(shown.small) == (HTTPStatus.FORBIDDEN, "signature_expired")


@in_module
async def test_a_token_gets_no_thumbnail_of_another_label(shown: Shown) -> None:
    """Not even one that is cached, and with the same refusal as for an image that does not exist."""
    await shown.got(shown.small)
    other, gallery = shown.token("other", read_all=False), shown.token("gallery", read_all=True)
    assert (await shown.got(shown.plain, **gallery))[0] == HTTPStatus.OK
    assert await shown.code(shown.plain, **other) == (HTTPStatus.NOT_FOUND, "unknown_image")


@in_module
async def test_every_answer_with_an_image_has_both_addresses(shown: Shown) -> None:
    image = shown.images[0]
    async with shown.door.app() as app:
        answers = [
            await app.ask("get_image", image=image["image_id"]),
            (await app.ask("get_batch", batch_id=image["batch_id"]))["images"][0],
            next(one for one in (await app.ask("list_images"))["images"] if one["image_id"] == image["image_id"]),
            (await app.ask("explain", what=image["image_id"]))["image"],
        ]
    for one in answers:
        for name in ("thumbnail_url", "thumbnail_large_url"):
            assert (await shown.got(URL(one[name], encoded=True)))[0] == HTTPStatus.OK


@in_module
async def test_what_has_no_thumbnail_has_no_address_and_a_code(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    image = shown.images[1]
    row = await shown.door.context.reader.image(image["batch_id"], 2)

    async def changed(*_: Any) -> Any:
        return msgspec.structs.replace(row, extension="glb")

    for reader in ("image", "image_named"):
        monkeypatch.setattr(shown.door.context.reader, reader, changed)
    plain = f"{shown.door.url}/v1/images/{image['image_id']}"
    assert await shown.code(f"{plain}/thumbnail", **shown.owner) == (HTTPStatus.NOT_FOUND, "thumbnail_unsupported")
    found = msgspec.json.decode((await shown.got(plain, **shown.owner))[1])
    assert "file_url" in found
    assert "thumbnail_url" not in found
    assert "thumbnail_large_url" not in found


@in_module
async def test_the_metrics_count_what_was_made_and_what_came_from_the_cache(shown: Shown) -> None:
    async def page() -> str:
        return (await shown.got(f"{shown.door.url}/metrics", **shown.owner))[1].decode()

    def count(text: str, outcome: str) -> float:
        (line,) = (
            one for one in text.splitlines() if one.startswith(f'comfyledger_thumbnails_total{{outcome="{outcome}"')
        )
        return float(line.split()[1])

    await shown.got(shown.small)
    before = await page()
    await shown.got(shown.small)
    after = await page()
    assert [count(after, one) - count(before, one) for one in ("made", "cached", "failed")] == [0, 1, 0]
    assert "comfyledger_thumbnails_bytes 0.0" not in after


@in_module
async def test_who_comes_beyond_the_bound_is_told_when_to_come_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: Any) -> bytes:
        raise Refused("busy", retry_after_s=1.0)

    monkeypatch.setattr(shown.door.context.thumbnails, "thumbnail", busy)
    status, body, headers = await shown.got(shown.small)
    assert (status, msgspec.json.decode(body)["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "busy")
    assert headers["Retry-After"] == "1"


async def test_a_store_that_scales_gives_its_own_addresses(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, door.app() as app, aiohttp.ClientSession() as http:
        store = door.context.stores["folder"].store
        store.thumbnail_url = lambda url, extension, side_max: f"https://res.example/{side_max}.webp"
        (batch,) = await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        image = await app.ask("get_image", image=f"{batch['batch_id']}/1")
        assert image["thumbnail_url"] == "https://res.example/256.webp"
        assert image["thumbnail_large_url"] == "https://res.example/1024.webp"
        there = Shown(door, http, [image])
        assert is_webp((await there.got(there.plain, **there.owner))[1]), "who asks the daemon gets its own"
        del store.thumbnail_url
        again = await app.ask("get_image", image=image["image_id"])
        assert again["thumbnail_url"].startswith(f"{there.plain}?size=small&expires=")


async def test_what_the_spool_no_longer_holds_comes_from_its_store_and_forgetting_ends_it(
    open_door: Any, tmp_path: Path
) -> None:
    async with open_door(tmp_path) as door, door.app() as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=2))["batch_id"])
        there = Shown(door, http, batch["images"])
        (kept,) = (door.folder / "state" / "spool").rglob("1.png")
        kept.unlink()
        status, body, _ = await there.got(there.small)
        assert (status, is_webp(body)) == (HTTPStatus.OK, True)
        await there.got(URL(batch["images"][1]["thumbnail_url"], encoded=True))
        cache = door.folder / "state" / "thumbnails"
        assert {path.name for path in cache.rglob("*.webp")} == {"1-small.webp", "2-small.webp"}
        await app.ask("forget", batch_id=batch["batch_id"], images=[1])
        assert {path.name for path in cache.rglob("*.webp")} == {"2-small.webp"}, "when the answer is there"
        assert await there.code(there.small) == (HTTPStatus.NOT_FOUND, "unknown_image")
        again = await app.ask("get_image", image=batch["images"][0]["image_id"])
        assert {"thumbnail_url", "thumbnail_large_url"}.isdisjoint(again)
        await app.ask("forget", username="Areg")
        assert list(cache.rglob("*")) == []
