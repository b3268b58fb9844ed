"""The documents of the interfaces and the page that shows them, as the daemon serves them."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

import comfyledger
from comfyledger.server.v1 import documents
from comfyledger.wire.schema.asyncapi import asyncapi
from comfyledger.wire.schema.openapi import openapi

PAGES = ["/openapi.json", "/asyncapi.json", "/docs", *(f"/docs/{name}" for name in documents._SHIPPED if name)]


async def test_the_documents_are_served_without_a_token(door: Any) -> None:
    async with aiohttp.ClientSession(door.url) as http:
        async with http.get("/openapi.json") as answer:
            assert await answer.json() == openapi(comfyledger.__version__)
        async with http.get("/asyncapi.json") as answer:
            assert await answer.json() == asyncapi(comfyledger.__version__, door.url.removeprefix("http://"))


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_of_a_foreign_host_or_origin_gets_nothing(door: Any, path: str) -> None:
    async with aiohttp.ClientSession(door.url) as http:
        async with http.get(path, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 421
        async with http.get(path, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("path", PAGES[2:])
async def test_every_file_of_the_page_may_load_from_the_daemon_alone(door: Any, path: str) -> None:
    async with aiohttp.ClientSession(door.url) as http, http.get(path) as answer:
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert set(re.findall(r"[a-z]+:|'self'|\*", policy)) == {"'self'", "data:"}


async def test_a_name_that_is_no_file_of_the_page_is_not_found(door: Any) -> None:
    async with aiohttp.ClientSession(door.url) as http:
        for name in ("x.js", "..%2Fpages.py", "index.html", "swagger-ui%2FLICENSE"):
            async with http.get(f"/docs/{name}") as answer:
                assert answer.status == 404


def test_the_page_names_no_other_host() -> None:
    for name in ("", "start.js"):
        text = documents._SHIPPED[name].read_text("utf-8")
        assert re.findall(r"https?://|//[a-z]+\.", text) == []
