"""Classes that no backend serves, so that a choice finds the fairest of them without passing all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

from comfyledger.core.scheduling.fair_queue import FairQueue

SEEN_MAX: Final = 100
"""The classes of so many users are looked at for one choice. The next choice looks at others."""


Backends = frozenset[str] | None
"""Where prompts may go; None for everywhere."""
ANY_BACKEND: Final[Backends] = None
EVERYWHERE: Final = 1 << 30


class WorkClass:
    """Prompts that load the same models and may go to the same backends. `key`: the models, as the owner of the prompts
    names them.
    """

    __slots__ = ("backends", "key", "listed", "queue", "size")

    def __init__(self, key: str, backends: Backends, queue: FairQueue) -> None:
        self.key = key
        self.backends = backends
        self.queue = queue
        self.size = len(backends) if backends is not None else EVERYWHERE
        """How many backends it may go to."""
        self.listed: tuple[int, str] | None = None
        """Under which priority and user it is listed in `Unserved`."""


class Unserved:
    """Classes by the priority and the user that came first when they were listed: a user with a thousand classes hides
    nobody else's.
    """

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[int, str], OrderedDict[WorkClass, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lists)

    def put(self, one: WorkClass, priority: int) -> None:
        """List a class under what is first in it now. `priority`: which is next in it."""
        place = (priority, one.queue.first(priority).user)
        if place != one.listed:
            self.discard(one)
            one.listed = place
            self._lists.setdefault(place, OrderedDict())[one] = None

    def discard(self, one: WorkClass) -> None:
        """Unlist a class, if it is listed."""
        if one.listed is not None:
            listed = self._lists[one.listed]
            del listed[one]
            if not listed:
                del self._lists[one.listed]
            one.listed = None

    def some(self) -> Iterator[WorkClass]:
        """Of each user and priority the class that was listed first."""
        for place in list(islice(self._lists, SEEN_MAX)):
            self._lists.move_to_end(place)
            yield next(iter(self._lists[place]))
