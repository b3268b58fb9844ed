"""Files in ComfyUI's input folder: sent once, looked at before each prompt, sent again when they have changed, and
removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from aiohttp import web
from PIL import Image

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.values import LoadedFile
from comfyledger.workers.comfyui.input_files import FileFault, InputFiles
from comfyledger.workers.inputs.loaded_bytes import BytesGone, BytesLater
from support.graphs import node
from support.input_folder import InputFolder, input_folder

BODY, OTHER = os.urandom(100_000), os.urandom(100_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME, TOP = f"comfyledger/{SHA256[:2]}/{SHA256}.png", f"comfyledger-{SHA256}.png"
LONG_S = 60.0
GRAPH = {"5": node("LoadImage", image=None), "6": node("LoadImageMask", image=None), "7": node("OurLoader", image=None)}
INFO = ObjectInfo(
    {
        name: {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}, "python_module": module}
        for name, module in (("LoadImage", "nodes"), ("LoadImageMask", "nodes"), ("OurLoader", "custom_nodes.ours"))
    },
    "digest",
)


def load(at: str = "5.image", body: bytes = BODY, extension: str = "png") -> LoadedFile:
    return LoadedFile(at, None, hashlib.sha256(body).hexdigest(), extension, len(body))


class House:
    """The files of one backend, what is kept here, and what was intended."""

    def __init__(self, server: InputFolder, comfyui: ComfyUI, folder: Path | None = None) -> None:
        self.server = server
        self.kept: dict[str, BinaryIO] = {SHA256: io.BytesIO(BODY)}
        self.opened = 0
        self.intended: list[str] = []
        self.uploaded_before: list[list[str]] = []
        self.is_wanted = True
        self._comfyui = comfyui
        self._folder = folder
        self.restart()

    def restart(self) -> None:
        """Whatever was remembered is forgotten."""
        self.files = InputFiles(self._comfyui, cast(NodeClasses, self), self, self._intend, self._folder)

    def current(self) -> ObjectInfo:
        return INFO

    @asynccontextmanager
    async def open(self, load: LoadedFile) -> AsyncIterator[BinaryIO]:
        self.opened += 1
        file = self.kept.get(load.sha256)
        if file is None:
            raise BytesGone("It is gone.")
        file.seek(0)
        yield file

    async def must_wait(self, load: LoadedFile) -> bool:
        return load.sha256 not in self.kept

    async def _intend(self, load: LoadedFile, name: str) -> bool:
        self.intended.append(name)
        self.uploaded_before.append(list(self.server.uploaded))
        return self.is_wanted

    async def placed(self, *loads: LoadedFile) -> dict[str, str]:
        return await self.files.placed(GRAPH, loads or (load(),))

    async def remove(self, name: str = NAME, wanted: bool = False) -> bool | None:
        async def is_unwanted() -> bool:
            return not wanted

        return await self.files.remove(SHA256, name, is_unwanted)

    def there(self, name: str = NAME) -> bytes:
        return self.server.path(name).read_bytes()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with input_folder(tmp_path) as (server, comfyui):
        yield House(server, comfyui)


# Placing


async def test_a_file_is_sent_once_and_then_only_asked_for(house: House) -> None:
    assert await house.placed() == {"5.image": NAME}
    assert house.there() == BODY
    house.server.age(NAME, LONG_S)
    for _ in range(3):
        assert await house.placed() == {"5.image": NAME}
    assert (house.server.uploaded, house.opened, house.intended) == ([NAME], 1, [NAME] * 4)
    assert house.uploaded_before[0] == [], "the intent is recorded before the upload"


async def test_a_file_that_has_settled_is_not_read_again(house: House) -> None:
    house.server.put(NAME, BODY, age_s=LONG_S)
    await house.placed()
    assert house.server.uploaded == []
    sent = house.server.bytes_sent
    await house.placed()
    assert house.server.bytes_sent == sent >= len(BODY)


async def test_a_file_of_several_inputs_is_sent_once_for_each_name(house: House) -> None:
    names = await house.placed(load("5.image"), load("6.image"), load("7.image"))
    assert names == {"5.image": NAME, "6.image": NAME, "7.image": TOP}
    assert house.server.uploaded == [NAME, TOP]


async def test_prompts_that_come_together_send_a_file_once(house: House) -> None:
    await asyncio.gather(*(house.placed() for _ in range(20)))
    assert house.server.uploaded == [NAME]


async def test_nobody_waits_for_bytes_that_comfyui_has(house: House) -> None:
    assert not await house.files.must_wait([load()])
    await house.placed()
    house.server.age(NAME, LONG_S)
    await house.placed()
    house.kept.clear()
    assert not await house.files.must_wait([load()])
    house.restart()
    assert await house.files.must_wait([load()])


@pytest.mark.parametrize("age_s", [0.0, LONG_S])
async def test_a_file_that_was_replaced_is_sent_again(house: House, age_s: float) -> None:
    """Also by other bytes of the same size, within the second in which it was read."""
    await house.placed()
    house.server.age(NAME, age_s)
    await house.placed()
    house.server.put(NAME, OTHER, age_s=age_s / 2)
    assert not await house.files.are_there(GRAPH, [load()])
    await house.placed()
    assert house.there() == BODY
    assert await house.files.are_there(GRAPH, [load()])
    assert house.server.uploaded == [NAME, NAME]


async def test_a_file_replaced_in_the_same_instant_is_seen(house: House) -> None:
    """The clock of a file system may stand still between two writes, and then both have the same ETag."""
    await house.placed()
    before = house.server.path(NAME).stat()
    house.server.put(NAME, OTHER)
    os.utime(house.server.path(NAME), ns=(before.st_atime_ns, before.st_mtime_ns))
    await house.placed()
    assert house.there() == BODY


async def test_a_file_that_is_gone_is_sent_again(house: House) -> None:
    await house.placed()
    house.server.path(NAME).unlink()
    await house.placed()
    assert house.there() == BODY


async def test_after_a_restart_a_file_is_read_and_not_sent(house: House) -> None:
    await house.placed()
    house.restart()
    house.kept.clear()
    await house.placed()
    assert house.server.uploaded == [NAME]
    assert house.intended == [NAME, NAME]


async def test_half_a_file_is_sent_again(house: House) -> None:
    house.server.put(NAME, BODY[:50_000], age_s=LONG_S)
    await house.placed()
    assert house.there() == BODY


async def test_no_more_is_read_than_the_file_may_have(house: House) -> None:
    with house.server.path(TOP).open("wb") as file:
        file.truncate(1024**3)
    await house.placed(load("7.image"))
    assert house.there(TOP) == BODY
    assert house.server.bytes_sent < 1024**3


async def test_a_file_that_was_forgotten_is_neither_sent_nor_used(house: House) -> None:
    house.is_wanted = False
    for _ in range(2):
        with pytest.raises(FileFault, match="forgotten") as fault:
            await house.placed()
        assert fault.value.final
        assert house.server.asked == []
        house.server.put(NAME, BODY)


async def test_without_bytes_a_prompt_fails_for_good_unless_comfyui_has_them(house: House) -> None:
    house.kept.clear()
    with pytest.raises(FileFault, match="It is gone") as fault:
        await house.placed()
    assert fault.value.final
    house.server.put(NAME, BODY)
    assert await house.placed() == {"5.image": NAME}


async def test_a_file_that_cannot_be_read_now_is_tried_later(house: House) -> None:
    house.kept[SHA256] = io.BytesIO(BODY[:10])
    with pytest.raises(BytesLater):
        await house.placed()


@pytest.mark.parametrize(("status", "final"), [(413, True), (400, True), (500, False), (502, False)])
async def test_what_fails_while_comfyui_answers_is_the_fault_of_the_file(
    house: House, status: int, final: bool
) -> None:
    house.server.answers["/upload/image"] = web.Response(status=status)
    with pytest.raises(FileFault) as fault:
        await house.placed()
    assert fault.value.final is final


async def test_what_fails_while_comfyui_answers_nothing_is_the_fault_of_the_lane(house: House) -> None:
    for path in ("/upload/image", "/system_stats"):
        house.server.answers[path] = web.Response(status=502)
    with pytest.raises(NotReached):
        await house.placed()


async def test_a_comfyui_that_loses_what_it_takes_fails_the_prompt(house: House) -> None:
    said = {"name": f"{SHA256}.png", "subfolder": f"comfyledger/{SHA256[:2]}", "type": "input"}
    house.server.answers["/upload/image"] = web.json_response(said)
    with pytest.raises(FileFault, match="does not have its bytes") as fault:
        await house.placed()
    assert not fault.value.final


# Removing


@pytest.mark.parametrize(("extension", "is_picture"), [("png", True), ("jpg", True), ("mp4", False), ("latent", False)])
async def test_a_forgotten_file_is_overwritten(house: House, extension: str, is_picture: bool) -> None:
    name = NAME.replace("png", extension)
    house.server.put(name, BODY)
    assert await house.remove(name) is True
    if is_picture:
        assert Image.open(io.BytesIO(house.there(name))).convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    else:
        assert house.there(name) == b""


async def test_a_file_that_is_not_there_is_not_made_by_its_removal(house: House) -> None:
    assert await house.remove() is False
    assert house.server.uploaded == []


async def test_a_file_that_is_wanted_again_stays(house: House) -> None:
    await house.placed()
    assert await house.remove(wanted=True) is None
    assert house.there() == BODY


async def test_a_removed_file_that_is_loaded_again_is_sent_again(house: House) -> None:
    await house.placed()
    await house.remove()
    house.server.path(NAME).unlink()
    await house.placed()
    assert house.server.uploaded == [NAME] * 3


async def test_nobody_removes_a_file_while_it_is_placed(house: House) -> None:
    await asyncio.gather(*(one() for _ in range(10) for one in (house.placed, house.remove)))
    await house.placed()
    assert house.there() == BODY


async def test_a_file_on_this_machine_is_deleted(house: House) -> None:
    local = House(house.server, house._comfyui, house.server.folder)
    for name in (NAME, TOP):
        local.server.put(name, BODY)
        assert await local.remove(name) is True
        assert not local.server.path(name).exists()


async def test_no_link_below_the_folder_is_followed(house: House, tmp_path_factory: Any) -> None:
    away = tmp_path_factory.mktemp("away")
    (away / f"{SHA256}.png").write_bytes(BODY)
    (house.server.folder / "comfyledger").mkdir()
    local = House(house.server, house._comfyui, house.server.folder)
    (house.server.folder / "comfyledger" / SHA256[:2]).symlink_to(away)
    assert await local.remove() is True
    assert (away / f"{SHA256}.png").exists()


async def test_what_cannot_be_removed_is_the_fault_of_the_file(house: House) -> None:
    await house.placed()
    house.server.answers["/upload/image"] = web.Response(status=500)
    with pytest.raises(FileFault):
        await house.remove()
