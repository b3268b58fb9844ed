"""Laws of what was heard of a run: it counts only from its start to its end without a gap, and says what the history
says."""

from __future__ import annotations

import itertools

import pytest

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.heard import Heard
from comfyledger.comfyui.messages import (
    Executed,
    Executing,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Message,
    ViewFile,
)

FILE = ViewFile("a_00001_.png", "b", "output")
RUN: tuple[Message, ...] = (
    ExecutionStart("p"),
    Executing("p", "9"),
    Executed("p", "9", (FILE,)),
    ExecutionSuccess("p"),
    Executing("p", None),
)
WHOLE = HistoryEntry("p", "success", True, "success", {"9": (FILE,)})


def said(*messages: Message) -> list[HistoryEntry | None]:
    heard = Heard()
    return [heard.hears(message) for message in messages]


def test_a_run_that_was_heard_from_start_to_end_is_known() -> None:
    assert said(*RUN) == [None, None, None, None, WHOLE]


@pytest.mark.parametrize("lacking", [0, 3])
def test_a_run_whose_start_or_success_was_not_heard_is_not_known(lacking: int) -> None:
    assert said(*(one for place, one in enumerate(RUN) if place != lacking))[-1] is None


@pytest.mark.parametrize("before", range(1, 5))
def test_a_run_with_a_gap_is_not_known(before: int) -> None:
    heard = Heard()
    for message in RUN[:before]:
        heard.hears(message)
    heard.missed()
    assert [heard.hears(message) for message in RUN[before:]][-1] is None


@pytest.mark.parametrize("end", [ExecutionError("p", "9", "X", "E", "no"), ExecutionInterrupted("p", "9")])
def test_a_run_that_did_not_succeed_is_not_known(end: Message) -> None:
    assert said(*RUN[:3], end, RUN[4])[-1] is None


def test_runs_that_follow_each_other_are_not_mixed() -> None:
    other = tuple(
        type(one)("q", *[getattr(one, name) for name in one.__struct_fields__[1:]])  # type: ignore[union-attr]
        for one in RUN
    )
    assert said(*RUN, *other)[-1] == HistoryEntry("q", "success", True, "success", {"9": (FILE,)})
    assert said(*RUN[:4], *other)[-1] == HistoryEntry("q", "success", True, "success", {"9": (FILE,)})


def test_messages_of_two_runs_in_any_order_never_give_files_of_the_other() -> None:
    stray = Executed("q", "9", (ViewFile("q.png", "b", "output"),))
    for place in range(len(RUN) + 1):
        entries = said(*RUN[:place], stray, *RUN[place:])
        assert [entry for entry in entries if entry is not None] == [WHOLE]


def test_nothing_is_heard_of_nothing() -> None:
    for order in itertools.permutations((ExecutionSuccess(""), Executing("", None))):
        assert said(*order)[-1] is None
