"""Converts documents of strangers in a process of its own, which has limits and ends with the document that breaks it.

The process gets objects only: the bytes of `/object_info`, then documents. It is started when the first document comes,
killed when one takes too long, and ended after a while without one. What its end means for a document is a refusal;
the next document finds a new process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Self

import msgspec

from comfyledger.comfyui.ui_format import exchange
from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT

START_S: Final = 20.0
"""For Python to start and to import, on a machine that is busy."""
CONVERT_S: Final = 5.0
IDLE_S: Final = 300.0
"""After so long without a document the process ends. It has some 20 MB, and what `/object_info` answered."""
WAITING_MAX: Final = 16
"""Documents that wait for their turn. More are refused with `busy`."""
KEPT_VARIABLES: Final = ("HOME", "PYTHONHOME", "PYTHONPATH")
"""All that the process sees of the environment, which holds secrets: where Python finds its packages."""


class Converter:
    """Turns documents in the UI format into graphs, one after the other. Of one event loop; close it at the end.

    `graph_bytes_max`: of a graph, as JSON. `convert_s`: for one document, after the process has started.
    """

    def __init__(self, graph_bytes_max: int, *, convert_s: float = CONVERT_S, idle_s: float = IDLE_S) -> None:
        self._graph_bytes_max = graph_bytes_max
        self._convert_s = convert_s
        self._idle_s = idle_s
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: Process | None = None
        self._digest = ""
        self._is_closed = False
        self._killed: Process | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def convert(self, document: bytes | Mapping[str, Any], classes: bytes, digest: str) -> dict[str, Any]:
        """The graph in API format of a document, which may stand in a wrapper.

        `classes`: the answer of `/object_info`; `digest`: of it, and it is sent again only if that has changed. Raises
        Refused as `convert.read_document` does, workflow_invalid if the document takes too long or too much memory,
        busy if too many documents wait or no process can be started, and not_running after `close`.
        """
        if self._waiting >= WAITING_MAX:
            raise _busy("Too many workflows in the UI format wait to be converted.")
        text = document if isinstance(document, bytes) else msgspec.json.encode(document)
        self._waiting += 1
        try:
            async with self._turn:
                kind, content = await self._converted(text, classes, digest)
        finally:
            self._waiting -= 1
        if kind == exchange.REFUSAL:
            raise msgspec.json.decode(content, type=exchange.Refusal).error()
        return exchange.decoded(content)

    async def close(self) -> None:
        """End the process, also while it works on a document."""
        self._is_closed = True
        self._kill()
        async with self._turn:
            await self._end()

    async def _converted(self, text: bytes, classes: bytes, digest: str) -> tuple[bytes, bytes]:
        """The answer to a document. A process that has served before may have been ended by anything: then a new one
        is asked.
        """
        self._rest()
        served_before = self._process is not None
        try:
            return await self._tried(text, classes, digest)
        except (EOFError, OSError):
            if not served_before:
                raise _too_heavy("within the limits of memory and processor time") from None
        try:
            return await self._tried(text, classes, digest)
        except (EOFError, OSError):
            raise _too_heavy("within the limits of memory and processor time") from None

    async def _tried(self, text: bytes, classes: bytes, digest: str) -> tuple[bytes, bytes]:
        """Raises EOFError or OSError if the process ends. After every failure there is no process."""
        is_done = False
        try:
            process = await self._started()
            async with asyncio.timeout(self._convert_s):
                answer = await self._asked(process, text, classes, digest)
            is_done = True
        except TimeoutError:
            raise _too_heavy(f"within {self._convert_s:g} s") from None
        finally:
            if is_done:
                self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._kill)
            else:
                await self._end()
        return answer

    async def _asked(self, process: Process, text: bytes, classes: bytes, digest: str) -> tuple[bytes, bytes]:
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        if digest != self._digest:
            process.stdin.write(exchange.packed(exchange.CLASSES, classes))
            self._digest = digest
        process.stdin.write(exchange.packed(exchange.DOCUMENT, text))
        await process.stdin.drain()
        return await _answer(process)

    async def _started(self) -> Process:
        """The process, ready. Raises Refused (busy) if none can be started."""
        if self._is_closed:
            raise Refused("not_running")
        if self._process is not None:
            return self._process
        words = [sys.executable, "-P", "-m", "comfyledger.comfyui.ui_format", str(self._graph_bytes_max)]
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        try:
            async with asyncio.timeout(START_S):
                self._process = await asyncio.create_subprocess_exec(
                    *words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=kept
                )
                await _answer(self._process)
        except (TimeoutError, EOFError, OSError):
            raise _busy("The process that converts workflows could not be started.") from None
        return self._process

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _kill(self) -> None:
        """Once for each process: a second signal could wait for its end, which asyncio then misses."""
        process = self._process
        if process is not None and process is not self._killed:
            self._killed = process
            with suppress(ProcessLookupError):
                process.kill()

    async def _end(self) -> None:
        """End the process and forget it. If this is cancelled, the process has been killed."""
        self._rest()
        self._kill()
        process, self._process, self._digest = self._process, None, ""
        if process is not None:
            await process.wait()


async def _answer(process: Process) -> tuple[bytes, bytes]:
    """Raises EOFError if the process ends."""
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    kind, length = exchange.HEAD.unpack(await process.stdout.readexactly(exchange.HEAD.size))
    return kind, await process.stdout.readexactly(length)


def _busy(message: str) -> Refused:
    return Refused("busy", message, hint="Try again soon.", retry_after_s=1.0)


def _too_heavy(within: str) -> Refused:
    return Refused("workflow_invalid", f"The workflow could not be converted {within}.", hint=EXPORT_HINT)
