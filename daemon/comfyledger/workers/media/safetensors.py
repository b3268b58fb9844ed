"""Safetensors: a description in JSON, and tensors that end where the file does. Latents of ComfyUI are such files.

ComfyUI's SaveLatent and its savers of models write prompt and workflow into `__metadata__`. Its values become empty
texts and spaces, but for those that say how a model is used. (The format's README; modelspec)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final

from comfyledger.workers.media.broken_file import Broken, take, trailing, truncated
from comfyledger.workers.media.masked import Mask, Measured

HEADER_BYTES_MAX: Final = 16 * 1_048_576
"""The format allows more; no file of a workflow has a tenth of it."""
METADATA: Final = re.compile(rb'"__metadata__"\s*:\s*\{')
PAIR: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*")\s*([,}])', re.DOTALL)
KEPT: Final = frozenset({"format", "config"})
KEPT_PREFIXES: Final = ("modelspec.", "ss_network_")


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so may be one. `head`: its first 9 bytes."""
    return len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= HEADER_BYTES_MAX


def measure_safetensors(file: BinaryIO, size: int) -> Measured:
    """Raises Broken unless the tensors that are described fill the file."""
    file.seek(0)
    length = int.from_bytes(take(file, 8), "little")
    if length > HEADER_BYTES_MAX:
        raise Broken("structure", f"The description of the tensors has more than {HEADER_BYTES_MAX} bytes.")
    raw = take(file, length)
    end = 8 + length + _tensor_bytes(raw)
    if end > size:
        raise truncated()
    if end < size:
        raise trailing()
    return Measured("safetensors", masks=tuple(_texts(raw)))


def measure_latent(file: BinaryIO, size: int) -> Measured:
    """A latent is the same under another name. Raises Broken."""
    return replace(measure_safetensors(file, size), extension="latent")


def _tensor_bytes(raw: bytes) -> int:
    try:
        described: dict[str, Any] = json.loads(raw)
        return max(
            (int(one["data_offsets"][1]) for name, one in described.items() if name != "__metadata__"), default=0
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Broken("structure", f"The description of the tensors cannot be read: {str(error)[:100]}.") from error


def _texts(raw: bytes) -> Iterator[Mask]:
    """The values of the metadata, each with the place of its text in the file."""
    found = METADATA.search(raw)
    at = found.end() if found is not None else len(raw)
    while pair := PAIR.match(raw, at):
        key = json.loads(pair[1])
        if key not in KEPT and not key.startswith(KEPT_PREFIXES):
            yield Mask(8 + pair.start(2), len(pair[2]), b'""', b" ")
        at = pair.end()
        if pair[3] == b"}":
            return
    if found is not None and not raw[at:].lstrip().startswith(b"}"):
        raise Broken("structure", "The metadata beside the tensors is not made of texts.")
