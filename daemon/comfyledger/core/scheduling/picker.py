"""Which class a free place of a backend gets: fair over users, urgent ones first, models that are loaded first.

Within the quantum a backend stays with the class that it serves. Then it turns to a class that no backend serves, or to
the one that needs backends most. What a choice costs does not depend on how many prompts wait: it depends on how many
classes are served and, within bounds, on how many are not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from comfyledger.core.scheduling.classes import Classes, PromptId
from comfyledger.core.scheduling.fair_queue import Waiting
from comfyledger.core.scheduling.turns import LEAD_MAX, SHARE, Turns
from comfyledger.core.scheduling.unserved import WorkClass

HYSTERESIS: Final = 2
"""A backend leaves its class for another that is served only if that one needs it more than so many times as much."""
LOOKS: Final = 10
"""So many times in a quantum a backend that stays longer than its quantum looks whether another class needs it more."""


class Offer(NamedTuple):
    """A class that a backend could take from, and what is next in it: see `Urgency`.

    `others`: how many other backends serve it. `need`: how many users wait for each backend that serves it.
    """

    of: WorkClass
    rank: int
    priority: int
    prompts: int
    others: int
    need: float

    @property
    def is_covered(self) -> bool:
        """Whether the other backends that serve it take all that is urgent in it with their next prompts."""
        return self.prompts <= self.others

    @property
    def next(self) -> Waiting:
        """The user who is next in it."""
        return self.of.queue.first(self.priority)

    @property
    def turn(self) -> tuple[int, int, int]:
        """By which classes are ordered: the turn of the user who is next, and of one user first what fewer may take."""
        turn, entry = self.next.turn
        return turn, self.of.size, entry


class Picker:
    """Chooses among classes. `age_ms`: after so long something is overdue; see also `FairQueue`."""

    def __init__(self, classes: Classes, turns: Turns, age_ms: int, quantum_ms: int) -> None:
        self._classes = classes
        self._turns = turns
        self._age_ms = age_ms
        self._quantum_ms = quantum_ms
        self._hurried: dict[str, int] = {}
        """When an overdue class of a user went out of turn, in milliseconds."""

    def pick(self, backend: str, now_ms: int, *, idle: bool, took_ms: int = 0) -> PromptId | None:
        """Take out the prompt that a free place of a backend gets.

        `idle`: nothing is there. Otherwise there is time, and what another backend may begin sooner is left to it.
        `took_ms`: how long a prompt takes there. The quantum is for what begins within it, one prompt from now.
        """
        own = self._own(backend, now_ms)
        stays = own is not None and self._is_in_quantum(backend, now_ms + took_ms)
        found: Offer | None
        if own is not None and not self._has_rivals(own, backend, now_ms, stays=stays):
            found = own
        else:
            alone, shared = self._offers(backend, own, now_ms, idle=idle)
            if own is not None and stays and own in shared:
                found = own
            else:
                found = self._fairest(alone, self._neediest(shared, own, took_ms), now_ms)
        if found is None or (found.is_covered and not idle):
            return None
        return self._classes.send(found.of, found.priority, backend, now_ms)

    def _own(self, backend: str, now_ms: int) -> Offer | None:
        """The class that it serves. There may be several, for example one of what must come here."""
        offers = [offer(one, now_ms, others, HYSTERESIS) for one, others in self._classes.own(backend)]
        if len(offers) > 1:
            offers.sort(key=lambda each: (each.rank, *each.turn))
        return offers[0] if offers else None

    def _is_in_quantum(self, backend: str, at_ms: int) -> bool:
        return at_ms < self._classes.serves[backend].since_ms + self._quantum_ms

    def _has_rivals(self, own: Offer, backend: str, now_ms: int, *, stays: bool) -> bool:
        """Whether its own class must be compared with others: with more urgent ones always, with those that nobody
        serves after the quantum, and then now and again with all.
        """
        if any(self._classes.waiting[: own.priority]):
            return True
        if stays:
            return False
        serves = self._classes.serves[backend]
        if now_ms < serves.compared_ms + self._quantum_ms // LOOKS and not self._classes.any_unserved(backend):
            return False
        serves.compared_ms = now_ms
        return True

    def _offers(self, backend: str, own: Offer | None, now_ms: int, *, idle: bool) -> tuple[list[Offer], list[Offer]]:
        """The most urgent classes for it: those that nobody serves, and those that are served."""
        alone = [offer(one, now_ms, 0) for one in self._classes.unserved(backend)]
        served = [offer(one, now_ms, others) for one, others in self._classes.served(backend)] if own or idle else []
        shared = [each for each in served if not each.is_covered]
        if own is not None:
            shared.append(own)
        if not alone and not shared:
            shared = served
        self._keep_urgent(alone, shared)
        return alone, shared

    def _keep_urgent(self, *offers: list[Offer]) -> None:
        """Leave those of a priority that has the best rank now. A class that has waited for an age brings up all of its
        priority: which of these goes is decided as always.
        """
        if sum(map(bool, self._classes.waiting)) == 1:
            return
        best = min((each.rank for some in offers for each in some), default=0)
        priorities = {each.priority for some in offers for each in some if each.rank == best}
        for some in offers:
            some[:] = [each for each in some if each.priority in priorities]

    def _neediest(self, shared: list[Offer], own: Offer | None, took_ms: int) -> Offer | None:
        """Of what is served: its own class, unless another needs it more, or its users had so much less that a quantum
        does not make up for it.
        """
        others = [each for each in shared if each is not own]
        other = max(others, key=lambda each: each.need, default=None)
        if own is None or other is None or own not in shared:
            return other or (own if own in shared else None)
        quantum = SHARE * self._quantum_ms // took_ms if took_ms else LEAD_MAX
        had_more = own.others == 0 and self._lead(own) > self._lead(other) + quantum
        return other if other.need > own.need or had_more else own

    def _fairest(self, alone: list[Offer], shared: Offer | None, now_ms: int) -> Offer | None:
        """Of what nobody serves: what is of the user who had least. It goes before what is served if this user had
        less; but what is overdue does not wait for ever.
        """
        first = min(alone, key=lambda each: (self._lead(each), *each.turn), default=None)
        if first is None or shared is None:
            return first or shared
        return first if self._lead(first) <= self._lead(shared) or self._hurry(first, now_ms) else shared

    def _lead(self, each: Offer) -> int:
        """How much more than others the user had who is next in a class."""
        return self._turns.lead(each.next.user)

    def _hurry(self, each: Offer, now_ms: int) -> bool:
        """Whether what is overdue goes out of turn. One class of each user does in each age, so that a user with many
        classes has no more than others.
        """
        user = each.next.user
        late = each.rank < each.priority and now_ms - self._hurried.get(user, -self._age_ms) >= self._age_ms
        if late:
            self._hurried = {name: at_ms for name, at_ms in self._hurried.items() if now_ms - at_ms < self._age_ms}
            self._hurried[user] = now_ms
        return late


def offer(one: WorkClass, now_ms: int, others: int, times: float = 1) -> Offer:
    """`times`: how much more the need counts."""
    return Offer(one, *one.queue.urgency(now_ms), others, times * one.queue.weight / (others + 0.5))
