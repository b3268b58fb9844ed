"""`open`: asks the running daemon for a link, and shows or prints it."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from comfyledger.cli.commands.open_page import is_remote
from comfyledger.cli.main import cli
from support.door import Door, opened


@pytest.fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    for name in ("COMFYLEDGER_URL", "COMFYLEDGER_TOKEN", "SSH_CONNECTION", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    async with opened(tmp_path) as made:
        yield made


async def open_page(door: Door, *words: str) -> Result:
    arguments = ["--state-dir", str(door.folder / "state"), "open", *words]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments)


def printed(result: Result) -> str:
    """Its last line: the daemon of this process may have logged something before."""
    return result.stdout.splitlines()[-1]


async def session_of(link: str) -> int:
    """The status that the daemon answers to the code in a link."""
    base, _, code = link.partition("/#code=")
    async with aiohttp.ClientSession() as http, http.post(f"{base}/v1/sessions", json={"code": code}) as answer:
        return answer.status


async def test_the_browser_gets_a_link_that_signs_in_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: shown.append(url) or True)
    result = await open_page(door)
    assert result.exit_code == 0
    assert "#code=" not in result.output
    assert [await session_of(shown[0]), await session_of(shown[0])] == [201, 401]


async def test_a_machine_without_a_browser_prints_the_link(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    result = await open_page(door)
    assert "No browser was found" in result.stderr
    assert await session_of(printed(result)) == 201


async def test_over_ssh_it_says_how_to_get_there(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser at the other machine"))
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    result = await open_page(door)
    port = door.url.rpartition(":")[2]
    assert f"ssh -N -L {port}:127.0.0.1:{port}" in result.stderr
    assert printed(result).startswith(f"http://127.0.0.1:{port}/#code=")


async def test_scripts_get_the_link_as_json(door: Door) -> None:
    for words in (["--json"], ["--print"]):
        result = await open_page(door, *words)
        link = json.loads(printed(result))["url"] if words == ["--json"] else printed(result)
        assert await session_of(link) == 201


async def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["--state-dir", str(tmp_path), "open"])
    assert result.exit_code == 4
    assert "comfyledger run" in result.stderr


async def test_a_daemon_without_a_port_has_no_page(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        made.context.file_urls.door_url = ""  # as where `unix_path` is set
        result = await open_page(made, "--json")
    assert result.exit_code == 1
    assert json.loads(printed(result))["error"]["code"] == "page_unreachable"


@pytest.mark.parametrize(
    ("environment", "remote"),
    [
        ({}, False),
        ({"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}, True),
        ({"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22", "DISPLAY": "localhost:10.0"}, False),
        ({"DISPLAY": ":0"}, False),
    ],
)
def test_a_browser_is_opened_where_the_person_sits(environment: dict[str, str], remote: bool) -> None:
    assert is_remote(environment) is remote
