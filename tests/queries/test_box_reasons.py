"""Laws of what is said of an image that one box of a fleet keeps: what stops that box, and not what stops another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.core.boxes import BoxRow
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import ImageRow, LaneRow
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.values import SPOOL, lane_at
from comfyledger.queries.reasons import Situation, owed
from support.core_builders import PlainLedger, adding, forget, given, loading, one_kept, submit, uploaded, uploading

AWAY = LaneRow("store/folder@north", code="not_reached", since_ms=5)
FULL = LaneRow("store/folder@south", code="full")
PAUSED = LaneRow("store/folder", person=True)
INPUT = "a" * 64


def at_north(*messages: object) -> PlainLedger:
    return given(submit(quantity=1), one_kept(), *messages, policy=Policy(box="north", term=1))  # type: ignore[arg-type]


def said(ledger: PlainLedger, *lanes: LaneRow) -> list[tuple[str, str, str]]:
    image: ImageRow = ledger.image(1)
    there = Situation(ledger.batch("b1"), {row.name: row for row in lanes})
    return [(one.what, one.code, one.lane) for one in owed(image, ledger.prompt(1), there)]


@pytest.mark.parametrize(
    ("what", "ledger"),
    [("upload", at_north()), ("delete", at_north(uploading(), uploaded(), forget(stores=True)))],
)
def test_only_the_trouble_of_the_box_that_keeps_an_image_stops_it(what: str, ledger: PlainLedger) -> None:
    assert said(ledger, AWAY, FULL) == [(what, "not_reached", "store/folder@north")]
    assert said(ledger, FULL) == [(what, "turn", "store/folder")]
    assert said(ledger, PAUSED, FULL) == [(what, "paused", "store/folder")]


def test_the_box_is_named() -> None:
    ledger = at_north()
    (found,) = owed(ledger.image(1), ledger.prompt(1), Situation(ledger.batch("b1"), {AWAY.name: AWAY}))
    assert found.text.startswith("The store folder at box north does not work (not_reached).")


GONE = BoxRow("north", 1, present=False, since_ms=5)


def reasons(ledger: PlainLedger, **more: Any) -> list[wire.OwedInfo]:
    return owed(ledger.image(1), ledger.prompt(1), Situation(ledger.batch("b1"), **more))


def test_an_image_that_only_a_box_keeps_which_left_waits_for_it_or_for_a_person() -> None:
    (waits,) = reasons(at_north(), gone={"north": GONE})
    assert (waits.code, waits.command, waits.since_ms) == ("box_away", "comfyledger fleet give-up north", 5)
    (given_up,) = reasons(at_north(), gone={"north": msgspec.structs.replace(GONE, given_up=True)})
    assert (given_up.code, given_up.command) == ("box_away", "")
    (turn,) = reasons(at_north(), gone={"south": GONE})
    assert turn.code == "turn"


def test_a_prompt_says_that_a_box_left_which_keeps_its_input() -> None:
    ledger = given(adding(INPUT), submit(quantity=1, loads=(loading(INPUT),)))
    row = InputRow(INPUT, "png", labels=("app",), here="kept", box="north")
    about = {"fit": Fit({"main": ()}), "inputs": {INPUT: row}}
    found = reasons(ledger, gone={"north": GONE}, **about)
    assert [one.code for one in found] == ["turn", "box_away"]
    assert [one.code for one in reasons(ledger, gone={"south": GONE}, **about)] == ["turn"]


@pytest.mark.parametrize(
    ("full", "codes"),
    [((), ["turn"]), (("north",), ["turn"]), (("north", "south"), ["spool_full"]), (("",), ["spool_full"])],
)
def test_a_prompt_waits_for_room_only_if_no_box_that_may_take_it_has_any(
    full: tuple[str, ...], codes: list[str]
) -> None:
    ledger = given(submit(quantity=1))
    lanes = {row.name: row for row in (LaneRow(lane_at(SPOOL, box), code="spool_full") for box in full)}
    fit = Fit({"north.a": frozenset(), "south.a": frozenset()})
    found = owed(ledger.image(1), ledger.prompt(1), Situation(ledger.batch("b1"), lanes, fit=fit))
    assert [one.code for one in found] == codes
