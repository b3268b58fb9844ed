"""Laws of suspects, prompts that ComfyUI was running when it went away: they run alone, starve nobody, and do not
starve."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, SubmitPrompt
from comfyledger.core.scheduling.lanes import PROBE_FIRST_MS
from comfyledger.core.values import backend_lane, user_lane
from support.core_builders import accepted, cancel, fallen, finished, gone, hold, intended, rendering, submit
from support.plain_engine import PlainEngine, kept_in_memory

STRUCK: tuple[Message, ...] = (*rendering(1), fallen(1))


def engine(*messages: object, depth: int = 3) -> PlainEngine:
    return PlainEngine(Limits({"main": depth})).given(*messages)  # type: ignore[arg-type]


def submits(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(effect.batch_id, effect.prompt) for effect in effects if isinstance(effect, SubmitPrompt)]


def there(lived: PlainEngine) -> set[tuple[str, int]]:
    """What is at the ComfyUI or on its way there."""
    return set(lived.owed._queue._places["main"].there)


def test_a_suspect_goes_out_alone_and_nothing_comes_beside_it() -> None:
    lived = engine(submit("b1", 1), STRUCK, submit("b2", 5, user="Mara"))
    assert submits(lived.take()) == [("b1", 1)]
    lived.given(intended(1, 2), accepted(1, 2))
    assert submits(lived.take()) == []
    lived.post(finished(1, 2))
    assert len(submits(lived.take())) == 3


def test_a_suspect_waits_until_the_others_have_left_and_for_no_newcomer() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1, user="Mara"), rendering(1, batch="b2"), STRUCK)
    lived.post(submit("b3", 9, user="Ann"))
    assert submits(lived.take()) == []
    assert submits(lived.wait(600_000).take()) == []
    lived.post(finished(1, batch="b2"))
    assert submits(lived.take()) == [("b1", 1)]


def test_bystanders_go_on_between_two_runs_of_a_suspect() -> None:
    lived = engine(submit("b1", 1), STRUCK, submit("b2", 9, user="Mara"), submit("b3", 9, user="Ann"))
    assert submits(lived.take()) == [("b1", 1)]
    lived.given(intended(1, 2), accepted(1, 2), fallen(1, 2))
    between = submits(lived.take())
    assert {batch for batch, _ in between} == {"b2", "b3"}


def test_a_suspect_keeps_its_place_among_users_and_no_more() -> None:
    lived = engine(submit("b1", 1), submit("b2", 30, user="Mara"), STRUCK, depth=2)
    runs = [batch for _ in range(6) for batch, _ in one_after_another(lived)]
    assert runs.index("b1") <= lived.limits.queue_depths["main"]


def one_after_another(lived: PlainEngine) -> list[tuple[str, int]]:
    """Let all that may go now go and end well."""
    begun = lived.take()
    for effect in [*begun, *lived.take()]:
        if effect.key in lived.running:
            lived.perform(effect)
    return submits(begun)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_suspect_is_never_together_with_anybody(depth: int) -> None:
    lived = engine(submit("b1", 3), STRUCK, submit("b2", 12, user="Mara"), depth=depth)
    for _ in range(200):
        lived.take()
        suspects = {place for place in there(lived) if lived.ledger.prompt(place[1], place[0]).strikes}
        assert not suspects or there(lived) == suspects
        assert len(there(lived)) <= (1 if suspects else depth)
        if lived.running:
            lived.perform(next(iter(lived.running.values())))
    assert lived.ledger.states("b1") + lived.ledger.states("b2") == ["stored"] * 15


def test_a_suspect_that_takes_comfyui_down_whenever_it_runs_starves_nobody() -> None:
    lived = engine(submit("b1", 3), submit("b2", 12, user="Mara"))
    for _ in range(400):
        lived.take()
        if not lived.running:
            break
        fell = perform_but_for(lived, ("b1", 1))
        if fell:
            for batch, prompt in sorted(there(lived)):
                attempt = lived.ledger.prompt(prompt, batch).attempt
                lived.post(gone(prompt, attempt, restarted=True, batch=batch))
        lived.wait(PROBE_FIRST_MS)
    assert sorted(lived.ledger.states("b1")) == ["failed", "stored", "stored"]
    assert lived.ledger.image(1).code == "poison"
    assert lived.ledger.states("b2") == ["stored"] * 12
    attempts = [lived.ledger.prompt(index, "b2").attempt for index in range(1, 13)]
    assert max(attempts) <= 2, "only what was beside the first fall runs twice"


def perform_but_for(lived: PlainEngine, poison: tuple[str, int]) -> bool:
    """Do one thing that is under way; following the poison ends with the fall of ComfyUI."""
    effect = next(iter(lived.running.values()))
    if effect.kind == "follow" and (effect.batch_id, effect.prompt) == poison:  # type: ignore[attr-defined]
        lived.post(fallen(effect.prompt, effect.attempt))  # type: ignore[attr-defined]
        lived.done(effect)
        return True
    lived.perform(effect)
    return False


@pytest.mark.parametrize("stop", [cancel(), hold(), PauseLane("app", user_lane("areg"))])
def test_a_suspect_that_gives_up_its_turn_holds_nobody_up(stop: Message) -> None:
    lived = engine(submit("b1", 1), submit("b2", 1, user="Mara"), rendering(1, batch="b2"), STRUCK)
    lived.post(submit("b3", 9, user="Ann"))
    assert submits(lived.take()) == []
    lived.post(stop)
    assert {batch for batch, _ in submits(lived.take())} == {"b3"}


def test_a_suspect_whose_turn_was_broken_off_gets_another() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1, user="Mara"), rendering(1, batch="b2"), STRUCK)
    lived.take()
    lived.post(PauseLane("app", user_lane("areg")))
    lived.post(ResumeLane("app", user_lane("areg")))
    lived.post(finished(1, batch="b2"))
    assert submits(lived.take()) == [("b1", 1)]


def test_each_backend_keeps_its_own_suspects_apart() -> None:
    lived = PlainEngine(Limits({"main": 3, "other": 3})).given(submit("b1", 1), STRUCK, submit("b2", 5, user="Mara"))
    taken = lived.take()
    assert {effect.batch_id for effect in taken if effect.lane == backend_lane("main")} == {"b1"}
    assert len(submits(taken)) == 4


def test_a_suspect_is_one_after_a_crash_as_well() -> None:
    lived = engine(submit("b1", 1), STRUCK, submit("b2", 5, user="Mara"))
    lived.restart()
    first = submits(lived.take())
    assert first == [("b1", 1)] or ("b1", 1) not in first


def test_a_suspect_that_waited_for_its_turn_leaves_nothing_behind() -> None:
    lived = engine(submit("b1", 2), submit("b2", 9, user="Mara"), rendering(1, batch="b2"), STRUCK).work()
    lived.wait(600_000).take()
    assert kept_in_memory(lived.owed) == 0
