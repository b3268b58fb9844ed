"""What is filled in just before a graph is sent, and is kept out of everything that is written.

Held in memory alone. ComfyUI quotes inputs in its errors, so its words are looked through before they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from comfyledger.settings import MASK

SHORTEST: Final = 4
"""Of what is masked: a shorter secret would take common letters out of every text."""


class Secrets:
    """`inputs`: by workflow and address. `others`: what else must not be written, like the keys of paid nodes."""

    def __init__(self, inputs: Mapping[str, Mapping[str, str]], others: Iterable[str] = ()) -> None:
        self._inputs = {name: {at: str(value) for at, value in one.items()} for name, one in inputs.items()}
        plain = {value for one in self._inputs.values() for value in one.values()} | set(map(str, others))
        spelled = plain | {msgspec.json.encode(value).decode()[1:-1] for value in plain}
        self._words = sorted((word for word in spelled if len(word) >= SHORTEST), key=len, reverse=True)

    def of(self, workflow: str) -> Mapping[str, str]:
        """The secrets of a workflow, by address."""
        return self._inputs.get(workflow, {})

    def masked(self, text: str) -> str:
        """The text without any secret, nor the beginning of one at its end, where a bound may have cut it."""
        for word in self._words:
            text = text.replace(word, MASK)
        for word in self._words:
            for length in range(min(len(word), len(text)), SHORTEST - 1, -1):
                if text.endswith(word[:length]):
                    return text[:-length] + MASK
        return text


NO_SECRETS: Final = Secrets({})
