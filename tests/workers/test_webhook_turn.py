"""Which box delivers the webhooks: two of them with clocks of their own, and one row that both ask for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any, cast

import pytest

from comfyledger.core.webhooks import WebhookProgress
from comfyledger.workers.webhooks.turn import SAFE_S, TURN_S, Turn


class Told:
    """In the place of the webhooks: what they were told."""

    def __init__(self) -> None:
        self.delivers = True
        self.may_deliver = bool
        self.progress: list[WebhookProgress] = []
        self.position = 1_000

    def has_come_to(self, progress: Iterable[WebhookProgress]) -> bool:
        return all(one.position <= self.position for one in progress)

    def begin_turn(self, progress: Iterable[WebhookProgress]) -> bool:
        was, self.delivers, self.progress = self.delivers, True, list(progress)
        return not was

    def end_turn(self, progress: Iterable[WebhookProgress]) -> bool:
        self.progress = list(progress)
        return self.stop_turn()

    def stop_turn(self) -> bool:
        was, self.delivers = self.delivers, False
        return was


class Database:
    """The row, by a clock of its own."""

    def __init__(self) -> None:
        self.now_s, self.box, self.ends_s = 0.0, "", 0.0
        self.progress: list[WebhookProgress] = []

    async def hold_deliveries(self, box: str, lasts_s: float) -> bool:
        if self.box not in {"", box} and self.ends_s >= self.now_s:
            return False
        self.box, self.ends_s = box, self.now_s + lasts_s
        return True

    async def webhook_progress(self) -> list[WebhookProgress]:
        return self.progress


def turns(*clocks: Any) -> list[tuple[Told, Turn]]:
    made = []
    for number, clock in enumerate(clocks):
        told = Told()
        made.append((told, Turn(cast(Any, told), f"box-{number}", clock)))
    return made


async def ask(turn: Turn, database: Database) -> None:
    await turn.ask(cast(Any, database))


async def test_nobody_delivers_before_it_has_the_turn() -> None:
    ((told, turn),) = turns(lambda: 0.0)
    assert not told.delivers
    assert not turn.holds()


async def test_who_has_the_turn_goes_on_from_what_was_saved() -> None:
    ((told, turn),), database = turns(lambda: 0.0), Database()
    database.progress = [WebhookProgress("shop", "e", 7)]
    await ask(turn, database)
    assert (told.delivers, told.progress) == (True, database.progress)
    assert turn.holds()


async def test_a_box_that_lacks_what_was_delivered_waits_with_the_turn_it_has() -> None:
    ((told, turn),), database = turns(lambda: 0.0), Database()
    database.progress = [WebhookProgress("shop", "e", 7)]
    told.position = 6
    await ask(turn, database)
    assert (told.delivers, turn.holds(), database.box) == (False, False, "box-0")
    told.position = 7
    await ask(turn, database)
    assert (told.delivers, turn.holds()) == (True, True)


async def test_who_does_not_renew_the_turn_stops_before_another_begins() -> None:
    now = [100.0]
    ((first, one), (second, two)), database = turns(lambda: now[0], lambda: now[0]), Database()
    for turn in (one, two):
        await ask(turn, database)
    assert (first.delivers, second.delivers) == (True, False)
    now[0] += SAFE_S
    database.now_s += SAFE_S
    assert not one.holds()
    await ask(two, database)
    assert not second.delivers
    database.now_s += TURN_S - SAFE_S + 0.001
    await ask(two, database)
    assert second.delivers
    await ask(one, database)
    assert not first.delivers


@pytest.mark.parametrize("seed", range(20))
async def test_two_boxes_never_hold_the_turn_at_the_same_time(seed: int) -> None:
    """Whatever their clocks show, how often they sleep, and how seldom they ask."""
    chance = random.Random(seed)
    clocks = [[chance.uniform(0, 1e6)] for _ in range(3)]
    made, database = turns(*(lambda clock=clock: clock[0] for clock in clocks)), Database()
    for _ in range(400):
        step = chance.expovariate(1 / 4)
        database.now_s += step
        for clock in clocks:
            clock[0] += step
        for _, turn in made:
            if chance.random() < 0.3:
                await ask(turn, database)
        holding = [turn.holds() for _, turn in made]
        assert sum(holding) <= 1
    assert len({name for name, _ in itertools.groupby([database.box])}) == 1
