"""What obstore's threads have of ours: futures that they answer, and bytes that they send.

They give it back a moment after a call has ended, also after one that was cancelled, and need Python for that. If the
interpreter ends at this moment, the process aborts. So a store that closes waits until it has everything back.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

FIRST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 0.05
T = TypeVar("T")


class Lending:
    """Knows what was lent and is not back. It does not keep it alive."""

    def __init__(self) -> None:
        self._lent: dict[int, weakref.ref[Any]] = {}
        self._numbers = itertools.count()
        self.at_rest: Callable[[], object] = lambda: None
        """Called whenever everything is back, in whatever thread that is."""

    def lend(self, thing: T, back: Callable[[], object] | None = None) -> T:
        """Remember something until nobody has it any more, and then call `back`, in whatever thread that is. A caller
        that binds it to a name keeps it, even after an error, whose traceback has the names.
        """
        number = next(self._numbers)

        def returned(_: object) -> None:
            if back is not None:
                back()
            if len(self._lent) <= 1:  # this one alone; it counts as lent until all is done
                self.at_rest()
            self._lent.pop(number, None)

        self._lent[number] = weakref.ref(thing, returned)
        return thing

    async def all_back(self, within_s: float) -> bool:
        """Wait until everything is back, so many seconds at most; whether it is."""
        from obstore import parse_scheme

        ends_at, pause_s = asyncio.get_running_loop().time() + within_s, FIRST_PAUSE_S
        while True:
            parse_scheme("memory:///")  # Threads without Python put things aside, and any call of obstore frees them.
            if not self._lent:
                return True
            if asyncio.get_running_loop().time() >= ends_at:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def recall(self) -> None:
        """Cancel the calls that have not ended."""
        for lent in list(self._lent.values()):
            thing = lent()
            if asyncio.isfuture(thing):
                thing.cancel()
