"""Laws of priority: a batch changes its place while it waits, and never what is under way or over."""

from __future__ import annotations

import pytest

from comfyledger.core.events import BatchPrioritized
from comfyledger.core.results import Changed
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.errors import Refused
from support.core_builders import cancel, given, hold, prioritizing, release, rendering, retry, submit
from support.plain_engine import PlainEngine

HIGH, NORMAL, LOW = 0, 1, 2


def engine(*messages: object) -> PlainEngine:
    lived = PlainEngine(Limits({"main": 1}))
    lived.given(*messages)  # type: ignore[arg-type]
    return lived


def sent(lived: PlainEngine) -> list[str]:
    """The batches of the prompts that go next, one after the other."""
    return [effect.batch_id for effect in lived.take() if isinstance(effect, SubmitPrompt)]


def test_the_event_says_what_the_priority_is_and_who_changed_it() -> None:
    ledger = given(submit())
    then = ledger.when(prioritizing(HIGH))
    assert then.events == (BatchPrioritized("b1", HIGH, by="app"),)
    assert then.answer == Changed(3)
    assert ledger.batch().priority == HIGH


def test_the_same_priority_again_changes_nothing() -> None:
    then = given(submit()).when(prioritizing(NORMAL))
    assert (then.events, then.answer) == ((), Changed(0))


@pytest.mark.parametrize("batch", ["b1", "nowhere"])
def test_a_batch_that_is_settled_or_unknown_is_refused(batch: str) -> None:
    ledger = given(submit(), cancel())
    with pytest.raises(Refused) as refused:
        ledger.when(prioritizing(HIGH, batch))
    assert refused.value.code == ("nothing_to_do" if batch == "b1" else "unknown_batch")


def test_a_batch_that_becomes_urgent_goes_before_those_that_waited_longer() -> None:
    lived = engine(submit("b1", 2), submit("b2", 1, priority=LOW), prioritizing(HIGH, "b2"))
    assert sent(lived) == ["b2"]


def test_a_batch_that_becomes_less_urgent_lets_others_go_first() -> None:
    lived = engine(submit("b1", 2), submit("b2", 1, user="Mara"), prioritizing(LOW))
    assert sent(lived) == ["b2"]


def test_what_is_at_comfyui_stays_there_when_its_batch_becomes_less_urgent() -> None:
    lived = engine(submit("b1", 2), rendering(1), prioritizing(LOW), submit("b2", 1, user="Mara", priority=HIGH))
    assert sent(lived) == []
    assert {effect.kind for effect in lived.running.values()} == {"follow"}


def test_a_held_batch_keeps_its_new_priority_until_it_goes_on() -> None:
    lived = engine(submit("b1", 1), hold(), submit("b2", 1, user="Mara"), prioritizing(HIGH))
    assert sent(lived) == ["b2"]
    lived.ledger.given(cancel(batch="b2"))
    again = engine(submit("b1", 1), hold(), prioritizing(HIGH), submit("b2", 1, user="Mara"), release())
    assert sent(again) == ["b1"]


def test_a_restart_and_a_retry_keep_the_priority() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1, user="Mara"), prioritizing(HIGH, "b2"))
    lived.restart()
    assert sent(lived) == ["b2"]
    ledger = given(submit(), prioritizing(LOW), hold(), retry())
    assert ledger.batch().priority == LOW
