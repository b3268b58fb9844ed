"""What a ledger must say, in a hundred lines of plain Python: what the state machine holds the engine against.

It knows numbers, requests, states of images and what may become of them. It knows no events, no rows, no disk and no
time, and takes nothing from the code that it judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

OPEN = {"pending", "kept"}
UNDER_WORK = {
    "pending": {"pending", "kept", "failed", "parked"},
    "kept": {"kept", "stored", "parked"},
    "forgetting": {"forgetting", "forgotten"},
}
"""What workers may make of an image; whatever has ended stays as it is."""

Request = tuple[str, str]
Image = tuple[str, int]


class Model:
    """All that was acknowledged. `held` are batches, `paused` lanes.

    `ever` are the numbers that were given in any life; `first` is what a series begins with that nobody used;
    `unasked` are series that an earlier life has used, of which the stores may be asked again.
    """

    def __init__(self) -> None:
        self.next: dict[str, int] = {}
        self.answered: dict[Request, tuple[str, str, tuple[int, ...]]] = {}
        self.given: dict[tuple[str, int], Image] = {}
        self.images: dict[Image, str] = {}
        self.held: set[str] = set()
        self.paused: set[str] = set()
        self.begun: set[tuple[str, int, int]] = set()
        self.ever: set[tuple[str, int]] = set()
        self.first = 1
        self.unasked: set[str] = set()

    # ---- numbers

    def opened(self, series: str, highest: int) -> None:
        self.next[series] = max(self.next.get(series, highest + self.first), highest + 1)
        self.unasked.discard(series)

    def raised(self, series: str, highest: int) -> None:
        """What a store was found to hold, which so was asked."""
        self.opened(series, highest)

    def goes_on_with(self, following: dict[str, int], margin: int) -> None:
        """After a restore every series goes on above all that was ever given; known ones by the margin."""
        for series, number in self.ever:
            assert following.get(series, self.first) > number + (margin if series in following else 0)
        self.next = dict(following)

    def accepted(
        self, request: Request, body: str, outputs: tuple[str, ...], batch_id: str, numbers: tuple[int, ...]
    ) -> None:
        """A new batch has the next numbers of its series, in order, and nobody else has one of them.

        `outputs`: the series of each output. Its images take turns.
        """
        assert request not in self.answered
        for index, number in enumerate(numbers, 1):
            series = outputs[(index - 1) % len(outputs)]
            assert number == self.next[series]
            assert (series, number) not in self.ever, "a number was given twice"
            self.ever.add((series, number))
            self.given[series, number] = (batch_id, index)
            self.images[batch_id, index] = "pending"
            self.next[series] = number + 1
        self.answered[request] = (body, batch_id, numbers)

    def repeated(self, request: Request, body: str, batch_id: str, numbers: tuple[int, ...]) -> None:
        assert self.answered[request] == (body, batch_id, numbers)

    def conflicts(self, request: Request, body: str) -> bool:
        return request in self.answered and self.answered[request][0] != body

    # ---- states

    def of(self, batch_id: str, chosen: Iterable[int] = ()) -> list[Image]:
        named = set(chosen)
        return [image for image in self.images if image[0] == batch_id and (not named or image[1] in named)]

    def in_state(self, images: Iterable[Image], *states: str) -> list[Image]:
        return [image for image in images if self.images[image] in states]

    def settled(self, batch_id: str) -> bool:
        return not self.in_state(self.of(batch_id), *OPEN)

    def cancel(self, batch_id: str, chosen: tuple[int, ...]) -> int:
        """How many images this cancels: what is not rendered yet."""
        mine = self.in_state(self.of(batch_id, chosen), "pending")
        self.images.update(dict.fromkeys(mine, "cancelled"))
        if not chosen or self.settled(batch_id):
            self.held.discard(batch_id)
        return len(mine)

    def retry(self, batch_id: str, chosen: tuple[int, ...]) -> int | None:
        """How many images this takes up; None if it is refused because there is nothing to do."""
        failed, parked = (self.in_state(self.of(batch_id, chosen), state) for state in ("failed", "parked"))
        if not failed and not parked and batch_id not in self.held:
            return None
        self.images.update(dict.fromkeys(failed, "pending") | dict.fromkeys(parked, "kept"))
        self.held.discard(batch_id)
        return len(failed) + len(parked)

    def hold(self, batch_id: str) -> bool:
        """Whether it can be held: not when it is over."""
        if not self.settled(batch_id):
            self.held.add(batch_id)
        return batch_id in self.held

    def release(self, batch_id: str) -> bool:
        was_held = batch_id in self.held
        self.held.discard(batch_id)
        return was_held

    def pause(self, lane: str) -> bool:
        self.paused.add(lane)
        return True

    def resume(self, lane: str) -> bool:
        was_paused = lane in self.paused
        self.paused.discard(lane)
        return was_paused

    # ---- what workers did

    def began(self, batch_id: str, prompt: int, attempt: int) -> None:
        """An attempt is begun once; whoever comes later is told to look first."""
        assert (batch_id, prompt, attempt) not in self.begun, "an attempt was begun twice"
        self.begun.add((batch_id, prompt, attempt))

    def worked(self, states: dict[Image, str], held: set[str]) -> None:
        """Workers may have moved images forward, and may have found a reason to hold a batch."""
        for image, before in self.images.items():
            assert states[image] in UNDER_WORK.get(before, {before}), f"{image} went from {before} to {states[image]}"
        let_go = self.held - held
        assert all(self.settled_in(states, batch_id) for batch_id in let_go), "nobody resumed a batch"
        self.images, self.held = dict(states), set(held)

    def steered(
        self, states: dict[Image, str], held: set[str], chosen: set[Image], allowed: dict[str, set[str]]
    ) -> None:
        """A command has changed some images, only those chosen, and only as it may."""
        for image, before in self.images.items():
            may = allowed.get(before, {before}) if image in chosen else {before}
            assert states[image] in may, f"{image} went from {before} to {states[image]}"
        assert held == {batch for batch in self.held if not self.settled_in(states, batch)}
        self.images, self.held = dict(states), held

    def forgotten_since(self, then: dict[Image, str], states: set[str], now: dict[Image, str]) -> dict[Image, str]:
        """The images of a backup after its restore: as they were, but for those that were forgotten since."""
        since = {image for image in then if self.images.get(image) in states}
        assert set(now) == set(then)
        assert all(now[image] in states if image in since else now[image] == then[image] for image in then)
        return dict(now)

    def settled_in(self, states: dict[Image, str], batch_id: str) -> bool:
        return all(state not in OPEN for image, state in states.items() if image[0] == batch_id)

    def check(self, rows: dict[str, Any]) -> None:
        """The rows say what the model says. `rows`: next, numbers, images, held, settled, paused."""
        assert {series: rows["next"].get(series) for series in self.next} == self.next
        assert rows["numbers"] == {image: number for (_, number), image in self.given.items()}
        assert rows["images"] == self.images
        assert rows["held"] == self.held
        assert rows["paused"] == self.paused
        assert rows["settled"] == {batch_id for batch_id, _ in self.images if self.settled(batch_id)}
