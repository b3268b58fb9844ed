"""Files for browsers: signed addresses, what they are bound to, when they end, and what is shown or only saved."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from yarl import URL

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.errors import Refused
from comfyledger.server import connections, file_urls, listen, tokens
from comfyledger.server.file_urls import FileUrls
from comfyledger.server.salted_key import make_salt
from comfyledger.settings import Door as DoorSettings
from support.browser import CHROMIUM, Pages
from support.waiting import pass_time, until

pytestmark = pytest.mark.usefixtures("quick_time")

in_module = pytest.mark.asyncio(loop_scope="module")
NOW_S = 1_795_899_000.0
IMAGE = "01M82DA9EJBQZAAZJR4D2RM95D/1"


def some_urls(folder: Path, now_s: float = NOW_S, secret: bytes = b"s" * 32, lasts_s: int = 86_400) -> FileUrls:
    path = folder / "salt"
    if not path.exists():
        make_salt(path)
    return FileUrls(secret, path, DoorSettings(file_url_s=lasts_s), lambda: now_s)


def parts(url: str) -> tuple[str, str]:
    query = URL(url).query
    return query["expires"], query["signature"]


def code_of(urls: FileUrls, image: str, expires: str, signature: str, variant: str = "file") -> str:
    try:
        urls.check(image, expires, signature, variant)
    except Refused as refusal:
        return refusal.code
    return ""


def test_an_address_is_for_one_image_one_variant_and_one_time(tmp_path: Path) -> None:
    urls = some_urls(tmp_path)
    expires, signature = parts(urls.url("http://h", IMAGE))
    assert code_of(urls, IMAGE, expires, signature) == ""
    wrong = [
        (IMAGE[:-1] + "2", expires, signature),
        (IMAGE, str(int(expires) + 1), signature),
        (IMAGE, str(int(expires) - 1), signature),
        (IMAGE, f"0{expires}", signature),
        (IMAGE, f" {expires}", signature),
        (IMAGE, f"{expires}.0", signature),
        (IMAGE, "", signature),
        (IMAGE, "9" * 5_000, signature),
        (IMAGE, expires, signature.upper()),
        (IMAGE, expires, signature[:-1]),
        (IMAGE, expires, ""),
        (IMAGE, expires, "\ud800\u0661"),
        ("", expires, signature),
    ]
    assert {code_of(urls, *one) for one in wrong} == {"signature_invalid"}
    assert code_of(urls, IMAGE, expires, signature, "thumbnail") == "signature_invalid"
    assert code_of(urls, IMAGE, *parts(urls.url("http://h", IMAGE, "thumbnail"))) == "signature_invalid"


def test_an_address_ends_within_the_time_that_the_door_gives(tmp_path: Path) -> None:
    for lasts_s in (60, 86_400, 604_800):
        expires, signature = parts(some_urls(tmp_path, lasts_s=lasts_s).url("http://h", IMAGE))
        assert lasts_s * 23 / 24 - 1 <= int(expires) - NOW_S <= lasts_s
        assert code_of(some_urls(tmp_path, int(expires) - 1), IMAGE, expires, signature) == ""
        assert code_of(some_urls(tmp_path, int(expires)), IMAGE, expires, signature) == "signature_expired"
    assert code_of(some_urls(tmp_path, NOW_S - 30_000), IMAGE, expires, signature) == "signature_invalid", (
        "above 7 days"
    )


def test_an_address_stays_the_same_for_a_while_so_that_it_is_cached(tmp_path: Path) -> None:
    urls = [some_urls(tmp_path, NOW_S - NOW_S % 3_600 + more).url("http://h", IMAGE) for more in (0, 3_599, 3_600)]
    assert urls[0] == urls[1] != urls[2]


def test_a_forged_address_is_not_told_that_it_has_expired(tmp_path: Path) -> None:
    assert code_of(some_urls(tmp_path), IMAGE, "1", "0" * 64) == "signature_invalid"


def test_a_new_salt_another_ledger_or_no_salt_ends_every_address(tmp_path: Path) -> None:
    urls = some_urls(tmp_path)
    expires, signature = parts(urls.url("http://h", IMAGE))
    assert code_of(some_urls(tmp_path, secret=b"t" * 32), IMAGE, expires, signature) == "signature_invalid"
    make_salt(tmp_path / "salt")
    assert code_of(urls, IMAGE, expires, signature) == "", "until the file is read again"
    urls.refresh()
    assert code_of(urls, IMAGE, expires, signature) == "signature_invalid"
    assert code_of(urls, IMAGE, *parts(urls.url("http://h", IMAGE))) == ""
    for content in (None, b"", b"abcd", b"\xff"):
        (tmp_path / "salt").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "salt").write_bytes(content)
        urls.refresh()
        assert urls.url("http://h", IMAGE) == ""
        assert code_of(urls, IMAGE, expires, signature) == "signature_invalid"


# ---- through the door


class Shown:
    """A door with one stored image, its address, and a session without a token."""

    def __init__(self, door: Any, http: aiohttp.ClientSession, image: dict[str, Any], body: bytes) -> None:
        self.door, self.http, self.image, self.body = door, http, image, body
        self.url = URL(image["file_url"], encoded=True)

    async def got(self, url: URL | str, **headers: str) -> tuple[int, bytes, Any]:
        async with self.http.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read(), answer.headers

    async def refused(self, url: URL | str, **headers: str) -> tuple[int, str]:
        status, body, _ = await self.got(url, **headers)
        return status, msgspec.json.decode(body)["code"]

    @property
    def owner(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.door.token}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(lasting_door: Any) -> AsyncIterator[Shown]:
    async with lasting_door.app("shop") as app, aiohttp.ClientSession() as http:
        asked = await app.submit("r1", quantity=2)
        (batch,) = await app.settled(asked["batch_id"])
        (path,) = (lasting_door.folder / "images").rglob("*_image_1.png")
        yield Shown(lasting_door, http, batch["images"][0], path.read_bytes())


@in_module
async def test_a_browser_gets_the_file_without_a_token(shown: Shown) -> None:
    assert shown.url.host == "127.0.0.1"
    assert str(shown.url).startswith(f"{shown.door.url}/v1/images/{shown.image['image_id']}/file?")
    status, body, headers = await shown.got(shown.url)
    assert (status, body) == (HTTPStatus.OK, shown.body)
    assert headers["Content-Type"] == "image/png"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"].startswith("private")
    assert headers["Content-Disposition"].startswith("inline; filename*=UTF-8''Areg_opal-fever_image_1.png")
    etag = f'"{hashlib.sha256(shown.body).hexdigest()}"'
    assert headers["ETag"] == etag
    assert (await shown.got(shown.url, **{"If-None-Match": etag}))[0] == HTTPStatus.NOT_MODIFIED
    status, body, headers = await shown.got(shown.url, Range="bytes=10-19")
    assert (status, body) == (HTTPStatus.PARTIAL_CONTENT, shown.body[10:20])


@in_module
async def test_a_token_gets_the_file_by_every_name_of_it(shown: Shown) -> None:
    for name in (shown.image["image_id"], shown.image["public_id"], shown.image["public_id"].upper()):
        status, body, _ = await shown.got(f"{shown.door.url}/v1/images/{name}/file", **shown.owner)
        assert (status, body) == (HTTPStatus.OK, shown.body)
    signed_by_public_id = shown.url.with_path(f"/v1/images/{shown.image['public_id']}/file", keep_query=True)
    assert (await shown.got(signed_by_public_id))[1] == shown.body, "the same image by another name of it"


@in_module
async def test_every_wrong_address_has_its_code_and_changes_nothing(shown: Shown) -> None:
    expires, signature = shown.url.query["expires"], shown.url.query["signature"]
    plain = f"{shown.door.url}/v1/images/{shown.image['image_id']}/file"
    other = plain.replace("/1/file", "/2/file")
    signed = f"?expires={expires}&signature={signature}"
    revoked = tokens.add(shown.door.folder / "state" / "tokens.json", "gone", "read", 0.0, read_all=True)
    tokens.revoke(shown.door.folder / "state" / "tokens.json", "gone")
    shown.door.context.access.keyring.refresh()
    wrong = {
        f"{other}{signed}": "signature_invalid",
        f"{plain.replace('/1/file', '/9/file')}{signed}": "signature_invalid",
        f"{plain.replace(shown.image['batch_id'], '01NOBODY')}{signed}": "signature_invalid",
        f"{shown.door.url}/v1/images/..%2f..%2fetc%2fpasswd/file{signed}": "signature_invalid",
        f"{plain}?expires={expires}": "signature_invalid",
        f"{plain}?signature={signature}": "signature_invalid",
        f"{plain}?expires=1&signature={signature}": "signature_invalid",
        f"{plain}{signed}&expires={expires}": "invalid_field",
        f"{plain}{signed}&size=2": "unknown_field",
        f"{plain}{signed}&token=x": "unauthorized",
        plain: "unauthorized",
    }
    with shown.door.unchanged():
        for url, code in wrong.items():
            assert (await shown.refused(URL(url, encoded=True)))[1] == code, url
        assert (await shown.refused(plain, Authorization=f"Bearer {revoked}"))[1] == "unauthorized"
        for name in ("..%2f..%2fetc%2fpasswd", "Nobody_image_1", "01NOBODY/1"):
            url = URL(f"{shown.door.url}/v1/images/{name}/file", encoded=True)
            assert await shown.refused(url, **shown.owner) == (HTTPStatus.NOT_FOUND, "unknown_image")
        async with shown.http.post(shown.url) as answer:
            assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
        assert (await shown.refused(shown.url, Host="evil.example"))[1] == "forbidden_host"


@in_module
async def test_an_expired_address_says_so(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = shown.door.context.file_urls
    monkeypatch.setattr(urls, "_now_s", lambda: float(shown.url.query["expires"]))
    assert await shown.refused(shown.url) == (HTTPStatus.FORBIDDEN, "signature_expired")


@in_module
async def test_every_answer_with_an_image_has_its_address(shown: Shown) -> None:
    image_id, batch_id = shown.image["image_id"], shown.image["batch_id"]
    async with shown.door.app() as app:
        answers = [
            await app.ask("get_image", image=image_id),
            (await app.ask("get_batch", batch_id=batch_id))["images"][0],
            next(one for one in (await app.ask("list_images"))["images"] if one["image_id"] == image_id),
            (await app.ask("explain", what=image_id))["image"],
        ]
    for path in (f"images/{image_id}", f"images/{image_id}/story"):
        async with shown.http.get(f"{shown.door.url}/v1/{path}", headers=shown.owner) as answer:
            found = await answer.json()
            answers.append(found.get("image", found))
    assert {URL(one["file_url"]).path for one in answers} == {shown.url.path}
    for one in answers:
        assert (await shown.got(URL(one["file_url"], encoded=True)))[1] == shown.body


@in_module
async def test_an_address_names_the_host_that_the_client_used(shown: Shown) -> None:
    port = URL(shown.door.url).port
    url = f"{shown.door.url}/v1/images/{shown.image['image_id']}"
    async with shown.http.get(url, headers={**shown.owner, "Host": f"localhost:{port}"}) as answer:
        assert (await answer.json())["file_url"].startswith(f"http://localhost:{port}/v1/")
    socket = aiohttp.UnixConnector(str(shown.door.folder / "state" / "door.sock"))
    url = f"http://localhost/v1/images/{shown.image['image_id']}"
    async with aiohttp.ClientSession(connector=socket, headers=shown.owner) as local, local.get(url) as answer:
        assert (await answer.json())["file_url"].startswith(f"{shown.door.url}/v1/")


@in_module
async def test_the_python_client_asks_for_an_address(shown: Shown) -> None:
    """Over the Unix socket, and the address is one of the port."""
    async with Client(state_dir=shown.door.folder / "state") as client:
        for name in (shown.image["image_id"], shown.image["public_id"]):
            url = await client.url_of(name)
            assert (await shown.got(URL(url, encoded=True)))[1] == shown.body
        await client.pause("everything")
        waiting = await client.submit(request_id="later", username="Areg", character="Fox", quantity=1)
        with pytest.raises(Refused, match="is pending; it has no address") as refused:
            await client.url_of(f"{waiting.batch_id}/1")
        await client.cancel(waiting.batch_id)
        await client.resume("everything")
    assert refused.value.code == "unknown_image"


def test_behind_a_proxy_an_address_is_https_but_on_this_machine(tmp_path: Path) -> None:
    make_salt(tmp_path / "salt")
    urls = FileUrls(b"s" * 32, tmp_path / "salt", DoorSettings(behind_proxy=True), lambda: NOW_S)
    bases = [urls.base_of(Asked(host)) for host in ("images.example", "127.0.0.1:9831")]  # type: ignore[arg-type]
    assert bases == ["https://images.example", "http://127.0.0.1:9831"]


class Asked:
    """What is looked at of a request of a caller who sent a token."""

    transport = None

    def __init__(self, host: str) -> None:
        self.host = host

    def get(self, _: object) -> None:
        return None


def test_without_a_file_or_a_port_there_is_no_address(tmp_path: Path) -> None:
    urls = some_urls(tmp_path)
    for state, sha256, has_one in (("stored", "a", True), ("pending", "", False), ("forgotten", "a", False)):
        image = wire.ImageInfo(IMAGE, IMAGE[:-2], 1, 1, "n", "f/n", state, 1, sha256=sha256)
        assert bool(urls.added(image, Asked("h")).file_url) == has_one  # type: ignore[arg-type]
    assert urls.url("", IMAGE) == ""


async def test_a_connection_with_a_signature_is_not_closed_as_anonymous(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a video would be cut off after seconds."""
    monkeypatch.setattr(connections, "ANONYMOUS_S", 30.0)
    monkeypatch.setattr(listen, "REQUEST_S", 600.0)
    async with open_door(tmp_path) as door, door.app() as app:
        (batch,) = await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        url = URL(batch["images"][0]["file_url"], encoded=True)
        signed, other = await raw_get(url), await raw_get(url.with_path("/healthz"))
        pass_time(31.0)
        await until(other[0].at_eof, "the other connection is closed")
        assert not signed[0].at_eof()
        for _, writer in (signed, other):
            writer.close()


async def raw_get(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has got an answer with status 200 and stays open; the rest of the answer is read on."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
    await reader.readexactly(length)
    return reader, writer


async def test_a_new_key_and_a_forgotten_image_end_an_address(open_door: Any, tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, door.app() as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=2))["batch_id"])
        first, second = (Shown(door, http, image, b"") for image in batch["images"])
        await app.ask("forget", batch_id=batch["batch_id"], images=[1])
        assert await first.refused(first.url) == (HTTPStatus.NOT_FOUND, "unknown_image")
        assert "file_url" not in await app.ask("get_image", image=first.image["image_id"])
        assert (await second.got(second.url))[0] == HTTPStatus.OK
        make_salt(door.folder / "state" / "file_urls.salt")

        async def ended() -> bool:
            return (await second.got(second.url))[0] == HTTPStatus.FORBIDDEN

        await until(ended, "the daemon has read the new salt")
        assert await second.refused(second.url) == (HTTPStatus.FORBIDDEN, "signature_invalid")
        again = await app.ask("get_image", image=second.image["image_id"])
        assert (await second.got(URL(again["file_url"], encoded=True)))[0] == HTTPStatus.OK


async def test_what_the_spool_no_longer_holds_comes_from_its_store(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(tmp_path) as door, door.app() as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        (kept,) = (door.folder / "state" / "spool").rglob("1.png")
        there = Shown(door, http, batch["images"][0], kept.read_bytes())
        assert (await there.got(there.url))[1] == there.body
        row = await door.context.reader.image(batch["batch_id"], 1)
        served = "https://res.example/image/upload/v1/Areg_opal-fever_image_1.png"
        uploads = (msgspec.structs.replace(row.uploads[0], url=served),)
        elsewhere = msgspec.structs.replace(row, uploads=uploads)

        async def image(batch_id: str, index: int) -> Any:
            return elsewhere

        with monkeypatch.context() as patched:
            patched.setattr(door.context.reader, "image", image)
            assert (await there.got(there.url))[0] == HTTPStatus.OK, "the spool is nearer"
            kept.unlink()
            status, body, headers = await there.got(there.url)
            assert (status, headers["Location"], body) == (HTTPStatus.FOUND, served, b"")
            assert headers["Cache-Control"].startswith("private")
        assert (await there.got(there.url))[:2] == (HTTPStatus.OK, there.body), "from the folder store"


async def test_what_could_run_script_is_only_saved(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_door(tmp_path) as door, door.app() as app, aiohttp.ClientSession() as http:
        (batch,) = await app.settled((await app.submit("r1", quantity=1))["batch_id"])
        row = await door.context.reader.image(batch["batch_id"], 1)
        for extension in ("svg", "html", "xml", "pdf", "glb", "txt"):
            body = b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='ran'</script></svg>"
            path = tmp_path / f"1.{extension}"
            path.write_bytes(body)
            sha256 = hashlib.sha256(body).hexdigest()
            changed = msgspec.structs.replace(row, extension=extension, sha256=sha256, size_bytes=len(body))

            async def image(*_: Any, changed: Any = changed) -> Any:
                return changed

            monkeypatch.setattr(door.context.reader, "image", image)
            monkeypatch.setattr(door.context.reader, "image_named", image)
            monkeypatch.setattr(door.context.file_source, "_spool", SimpleNamespace(path_of=lambda *_, path=path: path))
            there = Shown(door, http, batch["images"][0], body)
            status, got, headers = await there.got(there.url)
            assert (status, got) == (HTTPStatus.OK, body)
            assert headers["Content-Disposition"].startswith("attachment; ")
            assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Content-Type"] in {"application/octet-stream", "model/gltf-binary"}
            _, _, named = await there.got(f"{door.url}/images/{row.public_id}", **there.owner)
            alike = ("Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options", "Content-Type")
            assert [named[name] for name in alike] == [headers[name] for name in alike]


DRAWING = b"""<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="top.postMessage(TELL, '*')">
<script>top.postMessage(TELL, "*")</script></svg>"""
PAGE = """<!doctype html><body><script>
const picture = PICTURE, drawing = DRAWING, said = {ran: []};
onmessage = event => said.ran.push(event.data);
const loaded = (kind, source) => new Promise(done => {
  const made = document.createElement(kind);
  made.onload = () => done("shown " + (made.naturalWidth || "")); made.onerror = () => done("refused");
  made[kind === "object" ? "data" : "src"] = source;
  document.body.append(made);
});
const heard = word => new Promise(done => {
  const look = () => said.ran.includes(word) ? done() : setTimeout(look, 20);
  look();
});
(async () => {
  said.picture = await loaded("img", picture);
  said.drawing = await loaded("img", drawing);
  for (const kind of ["iframe", "object", "embed"]) loaded(kind, drawing);
  await fetch(drawing, {mode: "no-cors"});
  loaded("iframe", "/drawing.svg");
  await heard("control");
  await new Promise(done => setTimeout(done, 1000));
  await fetch("/said", {method: "POST", body: JSON.stringify(said)});
})();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
async def test_a_browser_shows_a_picture_and_runs_no_script_of_a_drawing(
    open_door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control is the same drawing from the page's own server, where its script runs."""
    async with open_door(tmp_path) as door, door.app() as app, Pages() as pages:
        (batch,) = await app.settled((await app.submit("r1", quantity=2))["batch_id"])
        rows = {index: await door.context.reader.image(batch["batch_id"], index) for index in (1, 2)}
        body, pages.drawing = (DRAWING.replace(b"TELL", tell) for tell in (b"'door'", b"'control'"))
        (tmp_path / "2.svg").write_bytes(body)
        sha256 = hashlib.sha256(body).hexdigest()
        rows[2] = msgspec.structs.replace(rows[2], extension="svg", sha256=sha256, size_bytes=len(body))
        asked = []

        async def image(batch_id: str, index: int) -> Any:
            asked.append(index)
            return rows[index]

        (kept,) = (door.folder / "state" / "spool").rglob("1.png")
        paths = {1: kept, 2: tmp_path / "2.svg"}
        spool = SimpleNamespace(path_of=lambda _batch, index, _extension: paths[index])
        monkeypatch.setattr(door.context.reader, "image", image)
        monkeypatch.setattr(door.context.file_source, "_spool", spool)
        first, second = (json.dumps(one["file_url"]) for one in batch["images"])
        pages.page = PAGE.replace("PICTURE", first, 1).replace("DRAWING", second, 1)
        said = await pages.visited(tmp_path / "profile")
    assert said["picture"] == "shown 64"
    assert said["drawing"] == "refused", "a picture that might be a document is none"
    assert asked.count(2) >= 3, "the drawing was asked for"
    assert set(said["ran"]) == {"control"}


def test_the_term_has_a_limit() -> None:
    assert file_urls.FILE_URL_S_MAX == 7 * 24 * 3_600
