"""Finds the known names that are nearest to an unknown one. PURE, and bounded: a server may list 50,000 models.

difflib compares too slowly for such lists. So a plain search first takes the names that have a word in common with the
unknown one, and difflib puts those in order.
"""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from comfyledger.comfyui.graph.nodes import COMPARED_CHARS_MAX, printable

NEAREST_MAX: Final = 3
SEARCHED_MAX: Final = 200_000
"""How many names are looked at for all unknown ones together; about 0.3 s."""
COMPARED_MAX: Final = 200
_WORDS_MAX: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]{3,}|\d{2,}")


class Nearest:
    """One search for several names. It ends when it has looked at SEARCHED_MAX."""

    def __init__(self) -> None:
        self._left = SEARCHED_MAX
        self._known: dict[tuple[str, int], tuple[tuple[Any, ...], tuple[str, ...]]] = {}
        """With the choices, so that the id of a list stays its own."""

    def to(self, name: str, choices: tuple[Any, ...]) -> tuple[str, ...]:
        """At most NEAREST_MAX of the choices, the nearest first, cut and printable."""
        key = (name, id(choices))
        if key not in self._known:
            self._left -= len(choices)
            self._known[key] = choices, _nearest(name, choices) if self._left >= 0 else ()
        return self._known[key][1]


def _nearest(name: str, choices: Iterable[Any]) -> tuple[str, ...]:
    wanted = _folded(name)
    words = sorted(set(_WORD.findall(wanted.rpartition(".")[0] or wanted)), key=len)[-_WORDS_MAX:]
    alike = ((_likeness(_folded(choice), wanted, words), choice) for choice in choices if isinstance(choice, str))
    likeliest = heapq.nlargest(COMPARED_MAX, (pair for pair in alike if pair[0]), key=itemgetter(0))
    found = [choice for likeness, choice in likeliest if likeness > len(words) + 1]
    folded = {_folded(choice): choice for _, choice in reversed(likeliest)}
    found += [folded[one] for one in difflib.get_close_matches(wanted, folded, n=NEAREST_MAX)]
    return tuple(map(printable, dict.fromkeys(found)))[:NEAREST_MAX]


def _likeness(folded: str, wanted: str, words: Sequence[str]) -> int:
    """How many words of the wanted name a choice has; more than all of them if it is the same."""
    if folded == wanted:
        return len(words) + 2
    return sum(word in folded for word in words) + (folded[:2] == wanted[:2])


def _folded(name: str) -> str:
    """Without folders: models of one name in another folder are the likeliest."""
    bare = name[-COMPARED_CHARS_MAX:].rpartition("/")[2].rpartition("\\")[2]
    return bare.casefold()
