"""A daemon joins its fleet at once if its name is free, and never while another one speaks under that name."""

from __future__ import annotations

import pytest

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import BoxSeen
from comfyledger.workers.fleet.about import About
from comfyledger.workers.fleet.namesake import SILENT_S, Namesake


def said(beat: int, place: str, age_s: float = 1.0, name: str = "north") -> list[BoxSeen]:
    return [BoxSeen(name, "http://there", About(place=place).encoded(), 0, beat, age_s)]


@pytest.mark.parametrize(
    "seen",
    [
        [],
        said(7, "there", name="south"),
        said(7, "here"),
        said(7, ""),
        said(7, "there", SILENT_S),
    ],
    ids=["nobody", "another name", "a daemon of this state folder", "an older release", "one that fell silent"],
)
def test_a_box_whose_name_is_free_joins_at_once(seen: list[BoxSeen]) -> None:
    assert Namesake("north", "here").may_join(seen)


def test_a_box_whose_name_is_spoken_for_ends_and_says_where_the_other_one_is() -> None:
    one = Namesake("north", "here")
    assert not one.may_join(said(7, "there", 1.0))
    assert not one.may_join(said(7, "there", 4.0))
    with pytest.raises(LedgerUnusable, match="as the box north at http://there") as refused:
        one.may_join(said(8, "there", 0.0))
    assert "[box] name" in refused.value.hint


def test_a_box_that_moved_to_another_machine_joins_once_the_old_one_has_fallen_silent() -> None:
    one = Namesake("north", "here")
    assert not one.may_join(said(7, "there", 1.0))
    assert one.may_join(said(7, "there", SILENT_S))
