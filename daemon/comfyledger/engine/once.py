"""A call in a thread that is seen to its end, although whoever waits for it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Once:
    """Makes a call once, however often it is asked to, and keeps what came of it. In one thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self.is_done = False

    def __call__(self) -> None:
        if self.is_done:
            return
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error
        self.is_done = True

    def result(self) -> Any:
        """What the call returned. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value
