"""Which models one ComfyUI was sent last, for people. In memory only: the log has no names of models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comfyledger.comfyui.graph import checks
from comfyledger.comfyui.graph.nodes import Graph, upstream

NAMES_MAX: Final = 32
NAME_CHARS_MAX: Final = 255


class WarmModels:
    """Of one backend. What a prompt loads is looked up when somebody asks, and not for each prompt."""

    def __init__(self) -> None:
        self._sent: tuple[Graph, tuple[str, ...]] | None = None
        self._names: tuple[str, ...] | None = None

    def sent(self, graph: Graph, outputs: Iterable[str]) -> None:
        """ComfyUI has a prompt that runs these output nodes: it will load the files that they need, and no others.

        The graph must not change afterwards. It shares nearly all of its nodes with its template.
        """
        self._sent = graph, tuple(outputs)

    @property
    def names(self) -> tuple[str, ...] | None:
        """None until a prompt was sent there since the daemon's start."""
        if self._sent is not None:
            (graph, outputs), self._sent = self._sent, None
            found = checks.models(graph, upstream(graph, outputs))
            self._names = tuple(sorted(name for name in found if len(name) <= NAME_CHARS_MAX))[:NAMES_MAX]
        return self._names
