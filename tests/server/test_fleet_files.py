"""Two boxes on one log: files, signed addresses and tokens are good at both doors, whichever box has the file."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner
from yarl import URL

from comfyledger.cli.main import cli
from comfyledger.client import Client
from comfyledger.errors import Refused
from comfyledger.workers.fleet import heard
from comfyledger.workers.fleet.peer_key import LASTS_S, PeerKey
from support.boxes import two_boxes
from support.ledger_kinds import NEEDS_POSTGRES
from support.waiting import until

NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    async with two_boxes(tmp_path) as doors:
        yield doors


async def kept_at_south(north: Any, south: Any) -> str:
    """An image that south alone has, by its id: no store has it."""
    async with Client(north.url, north.token) as client:
        await client.pause("store:folder")
        batch = await client.submit(**NAMES, quantity=1, backend="south.main", request_id="kept")
        name = f"{batch.batch_id}/1"

        def is_kept() -> bool:
            image = north.context.view.image(batch.batch_id, 1)
            return image is not None and image.state == "kept"

        await until(is_kept, "the image is kept at south")
    return name


async def command(door: Any, *words: str) -> str:
    """What a command prints that must end well."""
    state = ["--state-dir", str(door.folder / "state")]
    config = ["--config", str(door.folder / "config.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, cli, [*state, *words, *config])
    assert result.exit_code == 0, result.output
    return str(result.stdout)


async def got(url: str, token: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.request("GET", URL(url, encoded=True), headers=headers) as answer:
        return answer.status, await answer.read()


@NEEDS_POSTGRES
async def test_an_image_that_another_box_keeps_is_had_at_any_door(two: Any) -> None:
    north, south = two
    name = await kept_at_south(north, south)
    async with Client(south.url, south.token) as client:
        expected, info = await client.file(name), await client.get_image(name)
    paths = (f"/v1/images/{name}/file", f"/v1/images/{name}/file?redirect=false", f"/images/{info.public_id}")
    for path in paths:
        assert await got(north.url + path, north.token) == (200, expected), path
    status, webp = await got(f"{north.url}/v1/images/{name}/thumbnail", north.token)
    assert (status, webp[8:12]) == (200, b"WEBP")
    headers = {"Authorization": f"Bearer {north.token}"}
    async with aiohttp.request("POST", f"{north.url}/v1/zips", json={"images": [name]}, headers=headers) as answer:
        _, packed = await got((await answer.json())["url"])
    with zipfile.ZipFile(io.BytesIO(packed)) as found:
        assert [found.read(one) for one in found.namelist()] == [expected]


@NEEDS_POSTGRES
async def test_an_address_that_one_box_signed_is_good_at_the_other_until_the_key_is_rotated(two: Any) -> None:
    north, south = two
    name = await kept_at_south(north, south)
    async with Client(south.url, south.token) as client:
        signed = (await client.get_image(name)).file_url
    at_north = signed.replace(south.url, north.url)
    assert (await got(at_north))[0] == 200
    await command(north, "token", "rotate", "--file-urls")

    def is_new() -> bool:
        keys = [door.context.file_urls for door in two]
        for one in keys:
            one.refresh()
        return all(one.url(south.url, name) != signed for one in keys)

    await until(is_new, "both boxes know the new key")
    assert [(await got(url))[0] for url in (at_north, signed)] == [403, 403]


@NEEDS_POSTGRES
async def test_a_file_whose_box_is_silent_is_refused_with_its_name(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    north, south = two
    name = await kept_at_south(north, south)
    monkeypatch.setattr(heard, "SILENT_S", -1.0)
    async with Client(north.url, north.token) as client:
        with pytest.raises(Refused, match="The box south was last heard") as refused:
            await client.file(name)
    assert refused.value.code == "box_away"


@NEEDS_POSTGRES
async def test_a_token_that_is_made_at_one_box_is_valid_at_all_until_it_is_revoked(two: Any) -> None:
    north, south = two
    made = (await command(north, "token", "add", "gallery", "--right", "read")).strip().splitlines()[-1]
    keyrings = [door.context.access.keyring for door in two]

    def knowing() -> list[bool]:
        for one in keyrings:
            one.refresh()
        return [one.who(made) is not None for one in keyrings]

    await until(lambda: knowing() == [True, True], "both boxes know the token")
    assert "all boxes" in await command(south, "token", "list")
    await command(south, "token", "revoke", "gallery")
    await until(lambda: knowing() == [False, False], "no box knows the token")


@NEEDS_POSTGRES
async def test_a_session_of_a_token_of_the_fleet_goes_on_at_each_box(two: Any) -> None:
    north, south = two
    made = (await command(north, "token", "add", "gallery", "--right", "read")).strip().splitlines()[-1]
    accesses = [door.context.access for door in two]

    def know() -> bool:
        for one in accesses:
            one.keyring.refresh()
        return all(one.keyring.who(made) is not None for one in accesses)

    await until(know, "both boxes know the token")
    key, _ = accesses[0].sessions.begin(accesses[0].keyring.who(made), "")
    assert (await got(f"{south.url}/v1/images", key))[0] == 200
    own, _ = accesses[0].sessions.begin(accesses[0].keyring.who(north.token), "")
    assert (await got(f"{north.url}/v1/images", own))[0] == 200
    assert (await got(f"{south.url}/v1/images", own))[0] == 401


@NEEDS_POSTGRES
async def test_a_path_of_boxes_needs_the_signature_of_a_box(two: Any) -> None:
    north, south = two
    name = await kept_at_south(north, south)
    path, key = f"/fleet/images/{name}", south.context.peer_key
    assert (await got(south.url + key.signed(path)))[0] == 200
    for query in ("", "?expires=1&signature=0", key.signed("/fleet/images/B/1").removeprefix("/fleet/images/B/1")):
        assert (await got(south.url + path + query, south.token))[0] == 403, query
    assert (await got(north.url + key.signed(path)))[0] == 404


async def test_a_daemon_without_a_fleet_has_no_paths_of_boxes(door: Any) -> None:
    assert (await got(f"{door.url}/fleet/images/B/1", door.token))[0] == 404


def test_a_signature_of_a_box_is_for_one_path_and_a_short_time() -> None:
    now = [1_000.0]
    key = PeerKey(b"s" * 32, lambda: now[0])
    query = URL(key.signed("/fleet/images/B/1")).query
    asked = (query["expires"], query["signature"])
    assert key.allows("/fleet/images/B/1", *asked)
    assert not key.allows("/fleet/images/B/2", *asked)
    assert not PeerKey(b"t" * 32, lambda: now[0]).allows("/fleet/images/B/1", *asked)
    now[0] += LASTS_S
    assert not key.allows("/fleet/images/B/1", *asked)
    now[0] -= 3 * LASTS_S
    assert not key.allows("/fleet/images/B/1", *asked)
