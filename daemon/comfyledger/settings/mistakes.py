"""The mistakes of a configuration, all at once, each with its place and what to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from comfyledger.errors import Refused

EVERY_KEY: Final = "`comfyledger config example` prints config.toml: every key with its unit and default."


class Mistake(msgspec.Struct, frozen=True):
    """One mistake. `path` is that of the key, like `door.port`; it is empty for the file as a whole."""

    path: str
    message: str
    hint: str = EVERY_KEY


class Invalid(Refused):
    """Refused(config_invalid) with all mistakes: first those of the file in its order, then those of the checks."""

    def __init__(self, where: str, mistakes: Sequence[Mistake]) -> None:
        self.where = where
        self.key_mistakes = tuple(mistakes)
        first, *others = [_sentence(one) for one in mistakes]
        if not others:
            super().__init__("config_invalid", f"{where}: {first}", hint=mistakes[0].hint, path=mistakes[0].path)
            return
        listed = " · ".join((first, *others))
        hint = "`comfyledger config check` shows each on a line of its own, with what mends it."
        super().__init__("config_invalid", f"{where} has {len(mistakes)} mistakes: {listed}", hint=hint)


def _sentence(mistake: Mistake) -> str:
    return f"`{mistake.path}`: {mistake.message}" if mistake.path else mistake.message
