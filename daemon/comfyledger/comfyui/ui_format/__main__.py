"""The process that converts documents: reads them from standard input, until it ends, and writes graphs.

It opens nothing and limits itself, so a document can at worst end it.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

import msgspec

from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.object_info import ObjectInfo, read_object_info
from comfyledger.comfyui.ui_format import exchange
from comfyledger.comfyui.ui_format.convert import GRAPHS_A_DOCUMENT, read_document
from comfyledger.errors import Refused

MEMORY_BYTES: Final = 256 * 2**20
"""For Python and an answer of `/object_info`, whose classes are decoded when they are needed."""
MEMORY_A_BYTE: Final = 64
"""For each byte that a document may have: `[]` is an object of 56 bytes, and a place in a list."""
PROCESSOR_S: Final = 10
"""For one document. The daemon kills the process before; this is for a daemon that is gone."""
FILES_MAX: Final = 16


def main() -> None:
    """The argument is the limit of a graph, in bytes."""
    graph_bytes_max = int(sys.argv[1])
    limit(MEMORY_BYTES + MEMORY_A_BYTE * GRAPHS_A_DOCUMENT * graph_bytes_max)
    info = ObjectInfo({}, "")
    _write(exchange.READY, b"")
    while (task := exchange.read_from(sys.stdin.buffer)) is not None:
        kind, content = task
        if kind == exchange.CLASSES:
            info = _classes(content)
        else:
            _limit_processor()
            _write(*_answer(content, info, graph_bytes_max))


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


def _write(kind: bytes, content: bytes) -> None:
    sys.stdout.buffer.write(exchange.packed(kind, content))
    sys.stdout.buffer.flush()


def limit(memory_bytes: int) -> None:
    """Keep this process to so much address space, to a few files, and from writing any."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _limit_processor() -> None:
    """From now on. The limit counts from the start of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + PROCESSOR_S, hard))


if __name__ == "__main__":
    main()
