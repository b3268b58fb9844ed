"""The web page as the daemon serves it: to browsers only, without a token, and able to load from the daemon alone."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.server import web_page

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def http(door: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(door.url) as session:
        yield session


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's files, in a folder of the test's own."""
    (tmp_path / "page.js").write_text("start();\n" * 100)
    (tmp_path / "index.html").write_bytes((web_page._FILES / "index.html").read_bytes())
    monkeypatch.setattr(web_page, "_FILES", tmp_path)
    return tmp_path


async def test_a_browser_gets_the_page_and_a_program_a_sentence(http: aiohttp.ClientSession) -> None:
    for accepted, kind in [(HTML["Accept"], "text/html"), ("*/*", "text/plain"), ("application/json", "text/plain")]:
        async with http.get("/", headers={"Accept": accepted}) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert "Accept" in answer.headers["Vary"]
            assert "comfyledger" in await answer.text()


async def test_the_page_loads_from_the_daemon_alone_and_is_not_framed(door: Any, http: aiohttp.ClientSession) -> None:
    host = door.url.removeprefix("http://")
    async with http.get("/", headers=HTML) as answer:
        headers = answer.headers
    directives = dict(one.split(" ", 1) for one in headers["Content-Security-Policy"].split("; "))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' blob:",
        "connect-src": f"'self' ws://{host} wss://{host}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "Set-Cookie" not in headers


async def test_every_file_of_the_page_is_as_guarded_as_the_page(http: aiohttp.ClientSession, files: Path) -> None:
    async with http.get("/page/page.js") as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert await answer.text() == (files / "page.js").read_text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_a_browser_asks_each_time_and_gets_only_what_has_changed(
    http: aiohttp.ClientSession, files: Path
) -> None:
    async with http.get("/page/page.js") as answer:
        first = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    async with http.get("/page/page.js", headers={"If-None-Match": first}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    before = (files / "page.js").stat()
    (files / "page.js").write_text("other();\n" * 100)
    os.utime(files / "page.js", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    async with http.get("/page/page.js", headers={"If-None-Match": first}) as answer:
        assert (answer.status, await answer.read()) == (200, b"other();\n" * 100)
        assert answer.headers["ETag"] != first


async def test_a_file_is_compressed_for_who_can_read_that(door: Any, files: Path) -> None:
    plain = (files / "page.js").read_bytes()
    async with aiohttp.ClientSession(door.url, auto_decompress=False) as http:
        async with http.get("/page/page.js", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len(await answer.read()) < len(plain)
        async with http.get("/page/page.js", headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == plain


async def test_head_is_answered_without_a_body(http: aiohttp.ClientSession, files: Path) -> None:
    for path in ("/", "/page/page.js"):
        async with http.head(path, headers=HTML) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert "X-Frame-Options" in answer.headers


@pytest.mark.parametrize("name", ["x.js", "..%2Fweb_page.py", "index.html", "%2Fetc%2Fpasswd", "page.css"])
async def test_a_name_that_is_no_file_of_the_page_is_not_found(
    http: aiohttp.ClientSession, files: Path, name: str
) -> None:
    async with http.get(f"/page/{name}") as answer:
        assert answer.status == 404


async def test_a_page_of_a_foreign_host_or_origin_gets_nothing(http: aiohttp.ClientSession) -> None:
    for path in ("/", "/page/page.js"):
        async with http.get(path, headers={**HTML, "Host": "evil.example"}) as answer:
            assert answer.status == 421
        async with http.get(path, headers={**HTML, "Origin": "https://evil.example"}) as answer:
            assert answer.status == 403


def test_the_document_has_no_script_style_or_handler_of_its_own_and_names_no_host() -> None:
    text = (web_page._FILES / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bon[a-z]+=|\bstyle=|https?:|//", text) == []


def test_the_document_finds_its_files_below_a_prefix_of_a_proxy_too() -> None:
    text = (web_page._FILES / "index.html").read_text("utf-8")
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "page/page.css", "page/page.js"]
