"""Laws of what is said of an image that one box of a fleet keeps: what stops that box, and not what stops another."""

from __future__ import annotations

import pytest

from comfyledger.core.decide.recorder import Policy
from comfyledger.core.rows import ImageRow, LaneRow
from comfyledger.queries.reasons import Situation, owed
from support.core_builders import PlainLedger, forget, given, one_kept, submit, uploaded, uploading

AWAY = LaneRow("store/folder@north", code="not_reached", since_ms=5)
FULL = LaneRow("store/folder@south", code="full")
PAUSED = LaneRow("store/folder", person=True)


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
