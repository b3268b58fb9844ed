"""The effects that rows owe: which are under way, which wait for their turn, and which wait for a time.

No effect is under way twice: its key says what it is about. What is not wanted any more is not started; if it is under
way, it ends.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from comfyledger.core.scheduling.capacity import Calls, Limits
from comfyledger.core.scheduling.classes import PromptId
from comfyledger.core.scheduling.effects import Effect, EffectKey, FetchPrompt, FindSources
from comfyledger.core.scheduling.lanes import backoff_ms


class OwedEffects:
    """Changed by its owner alone, who says which effects rows owe and which may start."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.wanted: Final[dict[EffectKey, Effect]] = {}
        self.running: Final[dict[EffectKey, Effect]] = {}
        self.calls: dict[tuple[str, str], Calls] = {}
        """By lane and kind."""
        self.fetching: Final[dict[PromptId, int]] = {}
        """The attempt whose files are being fetched. Those of another attempt get the same places in the spool."""
        self.later: Final[list[tuple[int, EffectKey]]] = []
        """A heap by time. The owner's own keys may be among them."""
        self._again: set[EffectKey] = set()
        """Sources that changed while they were looked up."""
        self._failed_in_row: dict[EffectKey, int] = {}

    def owe(self, before: Iterable[Effect], after: Iterable[Effect]) -> None:
        """Replace what a row owed before with what it owes now."""
        for effect in before:
            key = effect.key
            self.wanted.pop(key, None)
            self._calls_of(effect).withdraw(key)
        for effect in after:
            key = effect.key
            self.wanted[key] = effect
            if key not in self.running:
                self.wait(effect)
            elif isinstance(effect, FindSources):
                self._again.add(key)
        for effect in before if self._failed_in_row else ():
            if effect.key not in self.wanted:
                self._failed_in_row.pop(effect.key, None)

    def wait(self, effect: Effect) -> None:
        """Have an effect wait for its turn."""
        if isinstance(effect, FetchPrompt) and (effect.batch_id, effect.prompt) in self.fetching:
            return  # the owner has it wait once that fetch has ended
        self._calls_of(effect).wait(effect)

    def wait_again(self, key: EffectKey) -> None:
        """Its time has come: have an effect wait for its turn, if it is wanted and not under way."""
        if key in self.wanted and key not in self.running:
            self.wait(self.wanted[key])

    def look_again(self, effect: FindSources) -> None:
        """A look that runs may have read what was before, so it runs once more."""
        if effect.key in self.running:
            self._again.add(effect.key)
        else:
            self.wait(effect)

    def start(self, effect: Effect, payer: str | None) -> None:
        """An effect is under way. `payer`: the user whose place it takes; None if it takes none."""
        key = effect.key
        self.running[key] = effect
        if isinstance(effect, FetchPrompt):
            self.fetching[effect.batch_id, effect.prompt] = effect.attempt
        self._calls_of(effect).started(key, payer)

    def end(self, key: EffectKey) -> Effect | None:
        """An effect is not under way any more. Returns it; None if it was not."""
        effect = self.running.pop(key, None)
        if effect is not None:
            self._calls_of(effect).ended(key)
        return effect

    def resume(self, effect: Effect, now_ms: int, *, died: bool, at_once: bool) -> None:
        """An effect has ended. If it is still wanted, it starts again after a growing delay, or `at_once`.

        `died`: its worker raised an error. A look at sources that did not die waits for their next change.
        """
        key = effect.key
        is_late = key in self._again
        self._again.discard(key)
        if key not in self.wanted:
            return
        if isinstance(effect, FindSources) and not died:
            self._failed_in_row.pop(key, None)
            if is_late:
                self.wait(self.wanted[key])
        elif at_once:
            self.wait(self.wanted[key])
        else:
            times = self._failed_in_row[key] = self._failed_in_row.get(key, 0) + 1
            self.at(now_ms + backoff_ms(times), key)

    def at(self, at_ms: int, key: EffectKey) -> None:
        """Do something about a key at a time."""
        heapq.heappush(self.later, (at_ms, key))

    def due(self, now_ms: int) -> Iterable[EffectKey]:
        """Take out the keys whose time has come."""
        while self.later and self.later[0][0] <= now_ms:
            yield heapq.heappop(self.later)[1]

    def drop_empty_calls(self) -> None:
        """Forget the lanes that have no call any more."""
        self.calls = {place: calls for place, calls in self.calls.items() if not calls.is_empty}

    def _calls_of(self, effect: Effect) -> Calls:
        place = (effect.lane, effect.kind)
        found = self.calls.get(place)
        if found is None:
            found = self.calls[place] = Calls(self._limits, effect.kind)
        return found
