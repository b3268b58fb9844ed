"""Laws of the boxes of a fleet: each joining is a term of its own, and only the present term can end."""

from __future__ import annotations

import pytest

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import GiveUpBox, JoinBox, LeaveBox
from comfyledger.core.decide import boxes
from comfyledger.core.events import BoxGivenUp, BoxJoined, BoxLeft, stream_of
from comfyledger.core.results import BoxKnown
from comfyledger.errors import Refused
from support.core_builders import PlainLedger, given

JOIN = JoinBox("app", "north")


def leaving(term: int = 1) -> LeaveBox:
    return LeaveBox("app", "north", term, "lease")


def row_of(ledger: PlainLedger, name: str = "north") -> BoxRow:
    return ledger.rows["box", name, ""]  # type: ignore[return-value]


def refusal(ledger: PlainLedger, command: JoinBox | LeaveBox | GiveUpBox) -> Refused:
    before = (list(ledger.log), dict(ledger.rows))
    with pytest.raises(Refused) as refused:
        ledger.when(command)
    assert (ledger.log, ledger.rows) == before
    return refused.value


def test_a_box_joins_with_a_term_and_an_event() -> None:
    ledger = given()
    then = ledger.when(JOIN)
    assert (then.answer, then.events) == (BoxKnown("north", 1, changed=True), (BoxJoined("north", 1),))
    assert stream_of(then.events[0]) == "box/north"
    assert row_of(ledger) == BoxRow("north", 1, present=True, since_ms=ledger.now_ms)


def test_joining_again_ends_the_earlier_term() -> None:
    ledger = given(JOIN)
    assert ledger.when(JOIN).answer == BoxKnown("north", 2, changed=True)
    assert (row_of(ledger).is_in(1), row_of(ledger).is_in(2)) == (False, True)


def test_only_the_present_term_can_end() -> None:
    ledger = given(JOIN, JOIN)
    for late in (1, 3):
        then = ledger.when(leaving(late))
        assert (then.answer, then.events) == (BoxKnown("north", 2, changed=False), ())
    then = ledger.when(leaving(2))
    assert (then.answer, then.events) == (BoxKnown("north", 2, changed=True), (BoxLeft("north", 2, "lease"),))
    assert row_of(ledger) == BoxRow("north", 2, present=False, since_ms=ledger.now_ms)
    assert ledger.when(leaving(2)).events == ()


def test_only_a_person_is_named_as_who_had_a_box_leave() -> None:
    ledger = given(JOIN)
    assert ledger.when(LeaveBox("cli", "north", 1, "person")).events == (BoxLeft("north", 1, "person", "cli"),)


def test_a_box_that_comes_back_has_a_later_term_than_ever() -> None:
    ledger = given(JOIN, leaving(1))
    assert ledger.when(JOIN).answer == BoxKnown("north", 2, changed=True)


def test_a_box_that_left_is_given_up_once() -> None:
    ledger = given(JOIN, leaving())
    then = ledger.when(GiveUpBox("cli", "north"))
    assert (then.answer, then.events) == (BoxKnown("north", 1, changed=True), (BoxGivenUp("north", "cli"),))
    assert row_of(ledger).given_up
    assert ledger.when(GiveUpBox("cli", "north")).events == ()


def test_a_box_that_comes_back_is_not_given_up_any_more() -> None:
    ledger = given(JOIN, leaving(), GiveUpBox("cli", "north"), JOIN)
    assert not row_of(ledger).given_up
    ledger.given(leaving(2))
    assert not row_of(ledger).given_up


def test_a_box_that_is_present_is_not_given_up() -> None:
    refused = refusal(given(JOIN), GiveUpBox("cli", "north"))
    assert (refused.code, refused.path) == ("box_present", "name")


@pytest.mark.parametrize("command", [GiveUpBox("cli", "south"), LeaveBox("cli", "south", 1, "person")])
def test_a_box_that_never_joined_is_refused_by_name(command: GiveUpBox | LeaveBox) -> None:
    refused = refusal(given(JOIN), command)
    assert refused.code == "unknown_box"
    assert "'south'" in refused.message


def test_the_boxes_that_are_present_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "PRESENT_MAX", 2)
    ledger = given(JOIN, JoinBox("app", "south"))
    assert refusal(ledger, JoinBox("app", "west")).code == "boxes_limit"
    assert ledger.when(JOIN).kinds == ["BoxJoined"], "it counts once"
    ledger.given(leaving(2))
    assert ledger.when(JoinBox("app", "west")).kinds == ["BoxJoined"]
