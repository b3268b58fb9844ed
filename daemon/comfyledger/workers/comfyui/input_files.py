"""The files that prompts load, in the input folder of one ComfyUI: put there once, looked at before each prompt, and
removed when they are forgotten.

A name follows from the bytes, so what is there already is used, whoever put it there. But somebody may have replaced or
removed it, or ComfyUI may have written half of it. So a file counts as there after all of its bytes were read back, and
then as long as ComfyUI says that it has not changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from comfyledger import crash_points
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.graph.input_names import input_name, input_names
from comfyledger.comfyui.graph.nodes import Graph
from comfyledger.comfyui.input_folder import InputFile, NotRead, NotTaken
from comfyledger.comfyui.node_classes import NodeClasses
from comfyledger.comfyui.transfer import FileMissing, NotGiven, NotReached
from comfyledger.core.media import extension_of, medium_of
from comfyledger.core.values import LoadedFile
from comfyledger.workers.inputs.loaded_bytes import BytesGone, BytesLater
from comfyledger.workers.spool.files import entered

NAMES_KEPT: Final = 10_000
"""How many files are remembered. One that is not is read once more."""
PIXEL: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415478da63606060000000040001c8eaebf90000000049454e44ae426082"
)
"""A PNG of one black pixel. ComfyUI has no call that deletes, so this takes the place of a picture that is forgotten;
nothing takes the place of every other file."""

log = structlog.get_logger("comfyledger.inputs")

T = TypeVar("T")


class FileFault(Exception):
    """A file cannot be placed or removed, while ComfyUI answers other calls. `final`: another try would not help."""

    def __init__(self, text: str, *, final: bool) -> None:
        self.text = text
        self.final = final
        super().__init__(text)


class Bytes(Protocol):
    """Where the bytes of inputs and of images are."""

    def open(self, load: LoadedFile) -> AbstractAsyncContextManager[BinaryIO]:
        """The open file, at its beginning, with exactly the bytes of `load.sha256`. Raises BytesGone, BytesLater."""

    async def must_wait(self, load: LoadedFile) -> bool:
        """Whether the bytes cannot be had now, and may be later."""


Intend = Callable[[LoadedFile, str], Awaitable[bool]]
"""Makes it durable that a file will be under a name, and says whether it may be. It is asked before each use: the file
may have been forgotten meanwhile."""


class InputFiles:
    """The input folder of one ComfyUI. `folder` is that folder if it is on this machine, for removing files."""

    def __init__(
        self, comfyui: ComfyUI, classes: NodeClasses, held: Bytes, intend: Intend, folder: Path | None = None
    ) -> None:
        self._comfyui = comfyui
        self._classes = classes
        self._held = held
        self._intend = intend
        self._folder = folder
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._etags: OrderedDict[str, str] = OrderedDict()
        """By name, of files whose bytes were read."""

    async def must_wait(self, loads: Iterable[LoadedFile]) -> bool:
        """Whether the bytes of a file cannot be had now, and this ComfyUI is not known to have them.

        To be asked before a prompt is begun: while it waits, another may go.
        """
        for load in loads:
            names = [input_name(load.sha256, load.extension, top_level=top_level) for top_level in (False, True)]
            if not any(name in self._etags for name in names) and await self._held.must_wait(load):
                return True
        return False

    async def placed(self, graph: Graph, loads: Sequence[LoadedFile]) -> dict[str, str]:
        """Have every file in the input folder. Returns the name for each address of the graph.

        Raises FileFault, BytesLater, NotReached.
        """
        names = self._names(graph, loads)
        for name, load in {names[load.at]: load for load in loads}.items():
            await self._tried(self._place(name, load))
        return names

    async def are_there(self, graph: Graph, loads: Sequence[LoadedFile]) -> bool:
        """Whether every file is in the input folder as it was placed. Raises FileFault, NotReached."""
        names = self._names(graph, loads)
        for name, load in {names[load.at]: load for load in loads}.items():
            async with self._turn(load.sha256):
                if not await self._tried(self._holds(name, load)):
                    return False
        return True

    async def remove(self, sha256: str, name: str, is_unwanted: Callable[[], Awaitable[bool]]) -> bool | None:
        """Overwrite a file that nobody may load any more, and delete it where that can be done. Returns whether it was
        there; None if it is wanted again. Raises FileFault, NotReached.
        """
        async with self._turn(sha256):
            if not await is_unwanted():
                return None
            self._etags.pop(name, None)
            crash_points.at("input.removing")
            was_there = await self._tried(self._overwritten(name))
            if self._folder is not None:
                await asyncio.to_thread(_delete, self._folder, name)
            crash_points.at("input.removed")
            return was_there

    def _names(self, graph: Graph, loads: Iterable[LoadedFile]) -> dict[str, str]:
        return input_names(graph, loads, self._classes.current())

    def _turn(self, sha256: str) -> asyncio.Lock:
        """Held while somebody looks at the file, sends it or removes it."""
        return self._turns.setdefault(sha256, asyncio.Lock())

    async def _place(self, name: str, load: LoadedFile) -> None:
        async with self._turn(load.sha256):
            if not await self._intend(load, name):
                raise FileFault(_forgotten(load), final=True)
            if await self._holds(name, load):
                return
            crash_points.at("input.sending")
            async with self._held.open(load) as file:
                await self._comfyui.upload(name, file, load.size_bytes)
            crash_points.at("input.uploaded")
            if not await self._holds(name, load):
                raise FileFault(f"ComfyUI took {name} and does not have its bytes.", final=False)
            crash_points.at("input.verified")

    async def _holds(self, name: str, load: LoadedFile) -> bool:
        """Whether the folder has exactly these bytes. They are read unless they were, and have not changed since."""
        try:
            async with self._comfyui.input_file(name, self._etags.get(name, "")) as found:
                if found is None:
                    self._etags.move_to_end(name)
                    return True
                self._etags.pop(name, None)
                if await _is(found, load):
                    self._remember(name, found.etag)
                    return True
        except FileMissing:
            self._etags.pop(name, None)
        return False

    def _remember(self, name: str, etag: str) -> None:
        if etag:
            self._etags[name] = etag
        while len(self._etags) > NAMES_KEPT:
            self._etags.popitem(last=False)

    async def _overwritten(self, name: str) -> bool:
        """Whether there was a file to overwrite."""
        try:
            async with self._comfyui.input_file(name):
                pass
        except FileMissing:
            return False
        except NotGiven as trouble:
            log.info("input.unreadable", name=name, error=trouble.text)
        stub = PIXEL if medium_of(extension_of(name)) == "image" else b""
        await self._comfyui.upload(name, BytesIO(stub), len(stub))
        return True

    async def _tried(self, work: Awaitable[T]) -> T:
        """What fails while ComfyUI answers another call is the fault of the file. Raises FileFault, BytesLater, and
        NotReached if ComfyUI does not answer at all.
        """
        try:
            return await work
        except BytesGone as gone:
            raise FileFault(str(gone), final=True) from gone
        except NotTaken as refusal:
            raise FileFault(refusal.text, final=refusal.final) from refusal
        except NotRead as broken:
            raise BytesLater(str(broken)) from broken
        except NotReached as trouble:
            if trouble.sent:
                await self._comfyui.system_stats()
                raise FileFault(trouble.text, final=isinstance(trouble, NotGiven) and trouble.final) from trouble
            raise


def _forgotten(load: LoadedFile) -> str:
    if load.source is None:
        return f"The input sha256:{load.sha256} was forgotten."
    return "The image that it is made from was forgotten, or has other bytes now. Retry the batch to look again."


async def _is(found: InputFile, load: LoadedFile) -> bool:
    """Whether a file has these bytes. No more of it is read than they are."""
    digest, size = hashlib.sha256(), 0
    async for piece in found.pieces:
        size += len(piece)
        if size > load.size_bytes:
            return False
        digest.update(piece)
    return digest.hexdigest() == load.sha256


def _delete(folder: Path, name: str) -> None:
    """Delete a file, and follow no link below the folder. If that fails its bytes are overwritten all the same."""
    *inner, filename = name.split("/")
    try:
        with ExitStack() as stack:
            place = stack.enter_context(entered(folder.resolve()))
            for part in inner:
                place = stack.enter_context(entered(part, place))
            os.unlink(filename, dir_fd=place)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("input.not_deleted", path=str(folder / name), error=error.strerror)
