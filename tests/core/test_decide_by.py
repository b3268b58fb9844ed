"""Whoever caused an event is named in it: every event of every command carries the client's label."""

from __future__ import annotations

from typing import Any

import pytest

from comfyledger.core.commands import Command, PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.reports import SeriesAnswered
from support.core_builders import (
    cancel,
    dropping,
    failing,
    forget,
    given,
    hold,
    one_kept,
    one_stored,
    owing,
    raising,
    release,
    renumbering,
    restoring,
    retry,
    series,
    submit,
    unwanted,
)

FOLLOWS = {"BatchSettled"}
"""What a batch does of itself once nothing of it is open."""
PARKED = (submit(quantity=1), *one_kept(1), unwanted(1))


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ((), submit(trust=True)),
        ((submit(),), cancel()),
        ((submit(quantity=2),), cancel(1)),
        ((submit(quantity=1), *failing(1)), retry()),
        ((submit(),), hold()),
        ((submit(), hold()), release()),
        ((submit(),), PauseLane("app", "store/folder")),
        ((PauseLane("app", "store/folder"),), ResumeLane("app", "store/folder")),
        ((submit(quantity=1), *one_stored(1)), forget(stores=True)),
        ((), raising(("Areg", 57))),
        ((submit(),), restoring(("Areg", 57))),
        (PARKED, dropping("folder", "b1")),
        ((submit(quantity=1), *one_stored(1)), owing(1)),
        (PARKED, renumbering(1)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else "",
)
def test_every_event_that_a_client_caused_carries_its_label(before: tuple[Message, ...], command: Command[Any]) -> None:
    events = given(before).when(command).events
    named = {type(event).__name__: getattr(event, "by", getattr(event, "label", "")) for event in events}
    assert named
    assert {kind for kind, label in named.items() if label != command.label} <= FOLLOWS


def test_a_series_asked_of_the_stores_is_opened_for_the_first_asker() -> None:
    unknown = given().when(submit(trust=False)).answer
    assert unknown.by == "app"
    (opened,) = given().when(SeriesAnswered(series(), (), unknown.by)).events
    assert opened.by == "app"  # type: ignore[attr-defined]
