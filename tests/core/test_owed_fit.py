"""Laws of who gets what: a backend gets what it can run, as far as anybody knows, and nothing waits for nobody."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.rows import BatchRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, SubmitPrompt
from comfyledger.core.scheduling.fit import ALL_INPUTS, Fit, allowed
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.scheduling.unserved import WorkClass
from comfyledger.core.values import backend_lane
from support.core_builders import fallen, gone, hold, release, rendering, submit
from support.plain_engine import PlainEngine, kept_in_memory

THREE = Limits({"main": 2, "big": 2, "far": 2}, {"big": frozenset({"flux", "48gb"}), "far": frozenset({"flux"})})
WHY = "Node 5 is missing."


def where(effects: list[Effect]) -> list[tuple[str, int, str]]:
    return sorted((one.batch_id, one.prompt, one.backend) for one in effects if isinstance(one, SubmitPrompt))


def backends(effects: list[Effect]) -> set[str]:
    return {backend for _, _, backend in where(effects)}


def engine(*messages: object) -> PlainEngine:
    return PlainEngine(THREE).given(*messages)  # type: ignore[arg-type]


def refuse(lived: PlainEngine, backend: str, inputs: str = ALL_INPUTS, batch: str = "b1") -> None:
    lived.owed.refuse(backend, lived.ledger.batch(batch).template, inputs, WHY, lived.now_ms)


@pytest.mark.parametrize(
    ("pin", "needs", "found"),
    [
        ("", (), ("main", "big", "far")),
        ("", ("flux",), ("big", "far")),
        ("", ("48gb", "flux"), ("big",)),
        ("far", ("flux",), ("far",)),
        ("main", ("flux",), ()),
        ("gone", (), ()),
    ],
)
def test_a_batch_may_go_where_all_its_tags_are_and_where_it_is_pinned(
    pin: str, needs: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert allowed(THREE.every_tag, pin, needs) == found


def test_a_prompt_goes_only_to_backends_that_have_its_tags() -> None:
    lived = engine(submit("b1", 9, needs=("flux",)), submit("b2", 1, user="Mara", needs=("48gb",)))
    taken = where(lived.take())
    assert {backend for _, _, backend in taken} == {"big", "far"}
    assert len(taken) == 4
    assert next(backend for batch, _, backend in taken if batch == "b2") == "big"


def test_what_nobody_may_run_any_more_waits_and_disturbs_nobody() -> None:
    lived = engine(submit("b1", 2, needs=("96gb",)), submit("b2", 1))
    assert [batch for batch, _, _ in where(lived.take())] == ["b2"]


def queues(lived: PlainEngine) -> list[WorkClass]:
    return [one for of_key in lived.owed._queue._classes._classes.values() for one in of_key.values()]


def test_a_queue_goes_with_its_last_prompt() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1, needs=("flux",)), submit("b3", 1, needs=("48gb",)))
    assert len(queues(lived)) == 3
    lived.given(hold("b3"))
    assert len(queues(lived)) == 2
    lived.take()
    assert not queues(lived)


def test_what_a_backend_refuses_goes_to_the_others_at_once() -> None:
    lived = engine(submit("b1", 1))
    (first,) = lived.take()
    assert first.lane == backend_lane("main")
    refuse(lived, "main")
    lived.done(first)
    (again,) = lived.take()
    assert again.lane == backend_lane("big")
    lived.given(submit("b2", 9))
    assert backends(lived.take()) == {"big", "far"}, "its template is refused whatever the batch"


def test_what_waits_already_is_not_sent_to_a_backend_that_refuses_it() -> None:
    lived = engine(submit("b1", 20))
    lived.take()
    refuse(lived, "main")
    lived.post(rendering(1), gone(1, restarted=True))
    for effect in list(lived.running.values()):
        lived.done(effect)
    assert backends(lived.wait(5_000).take()) == {"big", "far"}


def test_what_is_known_already_costs_nothing_when_it_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lived = engine(submit("b1", 9))
    refuse(lived, "main")
    monkeypatch.setattr(PendingWork, "_requeue", None)
    refuse(lived, "main")


def test_inputs_that_a_backend_refuses_say_nothing_of_others() -> None:
    lived = engine(submit("b1", 1))
    batch = lived.ledger.batch("b1")
    row = lived.ledger.prompt(1, "b1")
    refuse(lived, "main", "some digest")
    assert lived.owed.fit.left(batch, row) == ("main", "big", "far")


def test_what_all_refuse_goes_where_it_may_so_that_somebody_says_so() -> None:
    lived = engine(submit("b1", 1))
    for name in ("main", "big", "far"):
        refuse(lived, name)
    row = lived.ledger.prompt(1, "b1")
    assert lived.owed.fit.left(lived.ledger.batch("b1"), row) == ()
    assert lived.owed.fit.reasons(lived.ledger.batch("b1"), row) == dict.fromkeys(("main", "big", "far"), WHY)
    assert len(where(lived.take())) == 1


def test_a_backend_that_has_something_else_is_tried_again() -> None:
    lived = engine(submit("b1", 9, backend=""))
    refuse(lived, "main")
    lived.owed.learned("big", lived.now_ms)
    assert backends(lived.take()) == {"big", "far"}
    lived.owed.learned("main", lived.now_ms)
    assert backends(lived.take()) == {"main"}


def test_a_batch_that_continues_may_go_everywhere_again() -> None:
    lived = engine(submit("b1", 9), hold())
    refuse(lived, "main")
    lived.given(release())
    assert backends(lived.take()) == {"main", "big", "far"}


def test_a_suspect_stays_where_it_struck_even_if_that_backend_refuses_it() -> None:
    lived = engine(submit("b1", 1), rendering(1), fallen(1))
    refuse(lived, "main")
    batch, row = lived.ledger.batch("b1"), lived.ledger.prompt(1, "b1")
    assert lived.owed.fit.elsewhere(batch, row, "main") == (), "its batch is held, so it is not tried for ever"
    assert lived.owed.fit.elsewhere(batch, replace(row, strikes=0), "main") == ("big", "far")
    assert where(lived.take()) == [("b1", 1, "main")]


def test_nothing_is_kept_of_graphs_that_nobody_waits_for() -> None:
    lived = engine(submit("b1", 2))
    refuse(lived, "main")
    lived.work()
    assert kept_in_memory(lived.owed) == 0
    lived.owed.refuse("main", "any template", ALL_INPUTS, WHY, lived.now_ms)
    assert kept_in_memory(lived.owed) == 0


def test_what_comfyui_itself_refused_of_a_prompt_outlives_a_crash() -> None:
    fit = Fit(THREE.every_tag)
    batch = engine(submit("b1", 1)).ledger.batch("b1")
    assert isinstance(batch, BatchRow)
    row = engine(submit("b1", 1)).ledger.prompt(1, "b1")
    assert fit.left(batch, replace(row, refused_by=("big",))) == ("main", "far")
