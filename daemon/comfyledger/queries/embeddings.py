"""The embeddings that a ComfyUI has, to tell which of those that a prompt names are missing.

ComfyUI renders without a missing embedding and says so in its own log only. `/object_info` does not list them, so
`GET /embeddings` is asked: by one caller at a time, and at most once in `FRESH_S`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.transfer import NotReached

FRESH_S: Final = 10.0
WAIT_S: Final = 5.0
ENDINGS: Final = (".safetensors", ".pt", ".bin")
"""As in ComfyUI 0.29.0, `load_embed` in `comfy/sd1_clip.py`."""
_NAMED: Final = re.compile(r"(?<![^\s(])embedding:([^\s<\[()]+)")
_WEIGHT: Final = re.compile(r":-?[0-9.]+$")


def missing_embeddings(text: str, known: frozenset[str]) -> list[str]:
    """The embeddings that a prompt names and that are not in `known`, each once, in their order."""
    names = (name for name in map(_bare, _NAMED.findall(text)) if name)
    return [name for name in dict.fromkeys(names) if not known.intersection(_spellings(name))]


def _bare(name: str) -> str:
    return name.strip(",")


def _spellings(name: str) -> Iterator[str]:
    """What ComfyUI may call the file that a name means. `(embedding:name:1.2)` has a weight."""
    for one in (name, _WEIGHT.sub("", name)):
        path = one.replace("\\", "/")
        yield path
        yield from (path.removesuffix(ending) for ending in ENDINGS if path.endswith(ending))


class Embeddings:
    """Of one backend."""

    def __init__(self, comfyui: ComfyUI) -> None:
        self._comfyui = comfyui
        self._lock = asyncio.Lock()
        self._asked_at: float | None = None
        self._names: frozenset[str] | None = None

    async def known(self, now: float) -> frozenset[str] | None:
        """Their names without endings, at most `FRESH_S` old; None if ComfyUI cannot be asked. `now`: `loop.time()`."""
        async with self._lock:
            if self._asked_at is None or now - self._asked_at >= FRESH_S:
                self._asked_at, self._names = now, None
                self._names = await self._ask()
            return self._names

    async def _ask(self) -> frozenset[str] | None:
        try:
            async with asyncio.timeout(WAIT_S):
                body = await self._comfyui.bytes_of("/embeddings")
            return frozenset(name.replace("\\", "/") for name in msgspec.json.decode(body, type=list[str]))
        except (NotReached, TimeoutError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
