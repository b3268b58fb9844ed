"""Which queued prompts wait for images that they are made from, by image.

A prompt that waits is looked at when it appears, and again whenever one of these images changes; never by the clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.effects import FindSources

SourceId = tuple[str, int]
"""(batch_id, image)"""


class SourceWaits:
    """An index from images to the prompts that wait for them."""

    def __init__(self) -> None:
        self._waiting: dict[SourceId, dict[PromptId, None]] = {}
        self._effects: dict[PromptId, FindSources] = {}

    def put(self, batch: BatchRow, row: PromptRow) -> FindSources | None:
        """Take in a prompt as it is now. It waits if it is queued, lacks a source, and its batch is not held; then
        returns what it is owed.
        """
        self._discard((row.batch_id, row.index))
        if row.state != "queued" or not row.lacks_sources or batch.held:
            return None
        effect = FindSources(row.batch_id, row.index, row.loads)
        self._effects[row.batch_id, row.index] = effect
        for source in _sources(effect):
            self._waiting.setdefault(source, {})[row.batch_id, row.index] = None
        return effect

    def _discard(self, prompt: PromptId) -> None:
        effect = self._effects.pop(prompt, None)
        for source in _sources(effect) if effect is not None else ():
            waiting = self._waiting.get(source, {})
            waiting.pop(prompt, None)
            if not waiting:
                self._waiting.pop(source, None)

    def effect(self, prompt: PromptId) -> FindSources | None:
        """What a prompt that waits is owed."""
        return self._effects.get(prompt)

    @property
    def every(self) -> Iterable[FindSources]:
        """What all prompts that wait are owed."""
        return self._effects.values()

    def of(self, source: SourceId) -> Iterable[FindSources]:
        """What the prompts that wait for an image are owed."""
        waiting = self._waiting.get(source)
        return [self._effects[prompt] for prompt in waiting] if waiting else ()


def _sources(effect: FindSources) -> Iterable[SourceId]:
    return ((load.source.batch_id, load.source.image) for load in effect.loads if load.source is not None)
