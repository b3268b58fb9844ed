"""Words for people about what backends lack. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

TOLD_MAX: Final = 8
"""Of how many backends a sentence says what they lack."""


def told_of_all(reasons: Mapping[str, str]) -> str:
    """Why no backend takes something, in one text. `reasons`: of each; where all have the same, it is the text."""
    if len(set(reasons.values())) <= 1:
        return next(iter(reasons.values()), "")
    return f"No ComfyUI would take it. {of_each(reasons)}"


def told_where(fits: Iterable[str], refused: Mapping[str, str]) -> str:
    """Which backends take something, and why the others do not."""
    return f"fits: {', '.join(list(fits)[:TOLD_MAX])} · not {of_each(refused)}"


def of_each(said: Mapping[str, str]) -> str:
    """What is said of each backend, by name, of the first ones."""
    told = [f"{name}: {text}" for name, text in list(said.items())[:TOLD_MAX]]
    more = [f"and {len(said) - TOLD_MAX} more"] if len(said) > TOLD_MAX else []
    return "; ".join([*told, *more])
