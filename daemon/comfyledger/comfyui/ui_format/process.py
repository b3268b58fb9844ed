"""Converts documents of strangers in a process of its own, which has limits and ends with the document that breaks it.

The process gets objects only: the bytes of `/object_info`, then documents. What its end means for a document is a
refusal; the next document finds a new process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import msgspec

from comfyledger.comfyui.ui_format import exchange
from comfyledger.errors import Refused
from comfyledger.limited_process.exchange import packed
from comfyledger.limited_process.parent import IDLE_S, Closed, Ended, LimitedProcess, NotStarted, TooSlow
from comfyledger.wire.picture import EXPORT_HINT

CONVERT_S: Final = 5.0
WAITING_MAX: Final = 16
"""Documents that wait for their turn. More are refused with `busy`."""


class Converter:
    """Turns documents in the UI format into graphs, one after the other. Of one event loop; close it at the end.

    `graph_bytes_max`: of a graph, as JSON. `convert_s`: for one document, after the process has started.
    """

    def __init__(self, graph_bytes_max: int, *, convert_s: float = CONVERT_S, idle_s: float = IDLE_S) -> None:
        self._process = LimitedProcess(
            "comfyledger.comfyui.ui_format", str(graph_bytes_max), task_s=convert_s, idle_s=idle_s
        )
        self._waiting = 0
        self._digest = ""

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
            kind, content = await self._converted(text, classes, digest)
        finally:
            self._waiting -= 1
        if kind == exchange.REFUSAL:
            raise msgspec.json.decode(content, type=exchange.Refusal).error()
        return exchange.decoded(content)

    async def close(self) -> None:
        """End the process, also while it works on a document."""
        await self._process.close()

    async def _converted(self, text: bytes, classes: bytes, digest: str) -> tuple[bytes, bytes]:
        def frames(is_new: bool) -> Iterator[bytes]:
            if is_new or digest != self._digest:
                yield packed(exchange.CLASSES, classes)
                self._digest = digest
            yield packed(exchange.DOCUMENT, text)

        try:
            return await self._process.ask(frames)
        except NotStarted:
            raise _busy("The process that converts workflows could not be started.") from None
        except Closed:
            raise Refused("not_running") from None
        except (TooSlow, Ended) as why:
            text_of = f"The workflow could not be converted {why}."
            raise Refused("workflow_invalid", text_of, hint=EXPORT_HINT) from None


def _busy(message: str) -> Refused:
    return Refused("busy", message, hint="Try again soon.", retry_after_s=1.0)
