"""The process that converts documents: reads them from standard input, until it ends, and writes graphs.

It opens nothing and limits itself, so a document can at worst end it.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.object_info import ObjectInfo, read_object_info
from comfyledger.comfyui.ui_format import exchange
from comfyledger.comfyui.ui_format.convert import GRAPHS_A_DOCUMENT, read_document
from comfyledger.errors import Refused
from comfyledger.limited_process import child

MEMORY_BYTES: Final = 256 * 2**20
"""For Python and an answer of `/object_info`, whose classes are decoded when they are needed."""
MEMORY_A_BYTE: Final = 64
"""For each byte that a document may have: `[]` is an object of 56 bytes, and a place in a list."""
PROCESSOR_S: Final = 10
"""For one document."""


def main() -> None:
    """The argument is the limit of a graph, in bytes."""
    graph_bytes_max = int(sys.argv[1])
    child.limit(MEMORY_BYTES + MEMORY_A_BYTE * GRAPHS_A_DOCUMENT * graph_bytes_max)
    info = ObjectInfo({}, "")
    for kind, content in child.tasks(PROCESSOR_S):
        if kind == exchange.CLASSES:
            info = _classes(content)
        else:
            child.write(*_answer(content, info, graph_bytes_max))


def _classes(content: bytes) -> ObjectInfo:
    try:
        return read_object_info(content, "")
    except BadFrame:
        return ObjectInfo({}, "")


def _answer(document: bytes, info: ObjectInfo, graph_bytes_max: int) -> tuple[bytes, bytes]:
    try:
        return exchange.GRAPH, msgspec.json.encode(read_document(document, info, graph_bytes_max))
    except Refused as refused:
        return exchange.REFUSAL, msgspec.json.encode(exchange.Refusal.of(refused))


if __name__ == "__main__":
    main()
