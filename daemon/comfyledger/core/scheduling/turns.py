"""One clock for all backends: when each user had a turn last, and who had more or fewer prompts than a fair share.

A turn is one prompt that goes. A queue of prompts asks whose turn was longest ago. Because all queues ask the same
clock, a user who has turns in one of them waits longer in the others. A prompt that another box of a fleet sends is a
turn here too, so all boxes have nearly the same clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

ROUNDS: Final = 2
"""A user who had no turn for so many rounds counts as one who comes for the first time. A round is a turn for each user
who waits."""
NEVER: Final = -(1 << 62)
SHARE: Final = 720_720
"""What one user, or one prompt, counts. It can be parted equally into up to 16 parts."""
LEAD_MAX: Final = 100 * SHARE
"""More than so many prompts before or behind the others are not remembered."""


class _Had(NamedTuple):
    """`turn`: the last one of a user. `shares`: how many prompts, with what is forgiven; compares with the clock."""

    turn: int
    shares: int


class Turns:
    """What users had lately. What it holds is bounded by LEAD_MAX and by the number of users who wait."""

    def __init__(self) -> None:
        self.now = 0
        self.offset = 0
        """How many of what is next are left to other boxes of a fleet, which choose at the same time."""
        self._clock = 0
        """How many prompts, in SHAREs, a user would have had who had waited all the time."""
        self._entries = 0
        self._strangers_turn = NEVER
        self._had: OrderedDict[str, _Had] = OrderedDict()
        """By user, in the order of their last turns."""
        self._waiting: dict[str, int] = {}
        """By user, in how many places of queues."""

    def last(self, user: str) -> int:
        """When a user had a turn last, as a count of prompts; NEVER if that is too long ago to matter."""
        had = self._had.get(user)
        return had.turn if had is not None else NEVER

    def lead(self, user: str) -> int:
        """How much more a user had than a fair share. Who comes for the first time has less than anybody."""
        had = self._had.get(user)
        return min(max(had.shares - self._clock, -LEAD_MAX), LEAD_MAX) if had is not None else NEVER

    def take(self, user: str) -> int:
        """A prompt of this user, who waits, goes now."""
        self.now += 1
        before = self._clock + max(0 if user not in self._had else self.lead(user), -LEAD_MAX)
        self._clock += SHARE // len(self._waiting)
        self._had[user] = _Had(self.now, min(before + SHARE, self._clock + LEAD_MAX))
        self._had.move_to_end(user)
        return self.now

    def took_elsewhere(self, user: str) -> None:
        """A prompt of this user went that did not wait here. While nobody waits there is nothing to remember."""
        if self._waiting:
            self.take(user)

    def enter(self, user: str) -> tuple[int, int]:
        """A user begins to wait in one more place: the last turn that counts for it, and which entry this is.

        A stranger gets a turn of long ago: so it goes before the others, but not before those who have waited for long.
        """
        self._waiting[user] = self._waiting.get(user, 0) + 1
        self._entries += 1
        self._strangers_turn = max(self._strangers_turn, self._long_ago())
        return max(self.last(user), self._strangers_turn), self._entries

    def leave(self, user: str) -> None:
        """A user waits in one place less."""
        left = self._waiting.pop(user) - 1
        if left:
            self._waiting[user] = left
        long_ago = self._long_ago()
        while self._had and (not self._waiting or self._is_old(next(iter(self._had.values())), long_ago)):
            self._had.popitem(last=False)

    def _is_old(self, had: _Had, long_ago: int) -> bool:
        return had.turn < long_ago and had.shares <= self._clock

    def share(self, user: str) -> int:
        """The part of a user that counts in each place where the user waits."""
        return SHARE // self._waiting[user]

    def _long_ago(self) -> int:
        return self.now - ROUNDS * len(self._waiting)
