"""Laws of prompts that wait for images: looked at when something changed, and sent when all bytes are known."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import ForgetInput, PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import Effect, FindSources, RemoveInput
from comfyledger.core.scheduling.lanes import PROBE_FIRST_MS
from comfyledger.core.values import EVERYTHING, backend_lane, user_lane
from support.core_builders import (
    adding,
    cancel,
    failing,
    forget,
    hold,
    kept,
    made_from,
    one_kept,
    release,
    rendered,
    sending,
    sources_of,
    stuck,
    submit,
    uploaded,
    uploading,
)
from support.plain_engine import PlainEngine, kept_in_memory

BACKEND = backend_lane("main")
LINK = submit("b2", 1, loads=(made_from(),))
CHAIN: tuple[Message, ...] = (submit(quantity=1), LINK)


def engine(*messages: object, limits: Limits | None = None) -> PlainEngine:
    return PlainEngine(limits).given(*messages)  # type: ignore[arg-type]


def looks(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(effect.batch_id, effect.prompt) for effect in effects if isinstance(effect, FindSources)]


def kinds(effects: list[Effect]) -> list[str]:
    return sorted(effect.kind for effect in effects)


def looked(*messages: object) -> PlainEngine:
    """A prompt whose sources were looked up after the messages, and were not there."""
    lived = engine(*CHAIN, *messages)
    lived.done(*(effect for effect in lived.take() if isinstance(effect, FindSources)))
    return lived


# ---- when it is looked at


def test_a_prompt_that_waits_for_an_image_is_not_sent_but_looked_at_and_after_a_crash_alike() -> None:
    lived = engine(*CHAIN)
    (look, other) = sorted(lived.take(), key=lambda effect: effect.kind)
    assert (look, other.kind) == (FindSources("b2", 1, (made_from(),)), "submit")
    lived.restart()
    assert kinds(lived.take()) == ["sources", "submit"]


def test_it_is_looked_at_once_and_not_by_the_clock() -> None:
    lived = looked()
    assert looks(lived.wait(3_600_000).take()) == []
    assert lived.owed.wake_at_ms(lived.now_ms) is None


@pytest.mark.parametrize("change", [one_kept(), failing(), (cancel(),), (forget(),)])
def test_it_is_looked_at_again_when_its_source_changes(change: tuple[Message, ...]) -> None:
    assert looks(looked().given(change).take()) == [("b2", 1)]


def test_a_change_of_another_image_is_nothing_to_it() -> None:
    lived = looked(submit("b3", 1))
    assert looks(lived.given(one_kept(batch="b3")).take()) == []


def test_a_change_while_it_is_looked_at_has_it_looked_at_once_more() -> None:
    lived = engine(*CHAIN)
    effects = lived.take()
    lived.given(one_kept(), uploading(), uploaded())
    assert looks(lived.take()) == []
    lived.done(*(effect for effect in effects if isinstance(effect, FindSources)))
    (again,) = (effect for effect in lived.take() if isinstance(effect, FindSources))
    lived.done(again)
    assert looks(lived.wait(3_600_000).take()) == []


def test_a_hold_that_comes_and_goes_while_it_is_looked_at_has_it_looked_at_once_more() -> None:
    """What the look reported while the batch was held changed nothing."""
    lived = engine(*CHAIN)
    (look,) = (effect for effect in lived.take() if isinstance(effect, FindSources))
    lived.given(hold("b2"), release("b2"))
    assert looks(lived.take()) == []
    lived.done(look)
    assert looks(lived.take()) == [("b2", 1)]


def test_a_look_that_died_is_tried_again_later() -> None:
    lived = engine(*CHAIN)
    (look,) = (effect for effect in lived.take() if isinstance(effect, FindSources))
    lived.done(look, died=True)
    assert looks(lived.take()) == []
    assert looks(lived.wait(PROBE_FIRST_MS).take()) == [("b2", 1)]


def test_it_waits_for_every_source() -> None:
    lived = engine(submit("b1", 2), submit("b2", 1, loads=(made_from(), made_from(image=2))))
    lived.done(*(effect for effect in lived.take() if isinstance(effect, FindSources)))
    for index in (1, 2):
        lived.given(one_kept(index))
        (look,) = (effect for effect in lived.take() if isinstance(effect, FindSources))
        lived.perform(look)
    assert not lived.ledger.prompt(batch="b2").lacks_sources


def test_prompts_that_wait_are_counted() -> None:
    lived = looked(submit("b3", 1, label="other", loads=(made_from("b2"),)), hold("b2"))
    assert lived.owed.open_counts()["waiting"] == 2
    assert lived.owed.open_counts_of("other")["waiting"] == 1
    assert lived.owed.standing(0).prompts == {"queued": 1, "waiting": 2}


def test_looks_are_bounded() -> None:
    lived = engine(submit(quantity=1), submit("b2", 5, loads=(made_from(),)), limits=Limits(sources_max=2))
    assert len(looks(lived.take())) == 2


# ---- when it is sent


def test_it_is_sent_once_its_bytes_are_known() -> None:
    lived = looked().given(one_kept())
    sha256 = lived.ledger.image().sha256
    lived.done(*(effect for effect in lived.take() if isinstance(effect, FindSources)))
    lived.post(sources_of("b2", made_from(sha256=sha256)))
    assert kinds(lived.take()) == ["submit"]
    assert looks(lived.given(uploading(), uploaded()).take()) == []


def test_a_chain_ends_when_all_works() -> None:
    lived = engine(*CHAIN, submit("b3", 1, loads=(made_from("b2"),)), submit("b4", 1, loads=(made_from("b3"),))).work()
    assert [lived.ledger.states(batch) for batch in ("b1", "b2", "b3", "b4")] == [["stored"]] * 4
    assert kept_in_memory(lived.owed) == 0


@pytest.mark.parametrize("end", [failing(), (cancel(),), (forget(),)])
def test_the_end_of_the_first_ends_a_whole_chain(end: tuple[Message, ...]) -> None:
    lived = engine(*CHAIN, submit("b3", 1, loads=(made_from("b2"),))).given(end).work()
    codes = [lived.ledger.image(batch=batch).code for batch in ("b2", "b3")]
    assert codes == ["input_failed", "input_failed"]
    assert kept_in_memory(lived.owed) == 0


# ---- people and troubles


def test_a_backend_in_trouble_keeps_nobody_from_looking() -> None:
    lived = looked(stuck(BACKEND)).given(one_kept())
    assert looks(lived.take()) == [("b2", 1)]


@pytest.mark.parametrize("lane", [BACKEND, user_lane("areg"), EVERYTHING])
def test_a_pause_keeps_it_from_being_sent_and_not_from_being_looked_at(lane: str) -> None:
    lived = looked(*rendered(1), PauseLane("app", lane)).given(kept(1))
    (look,) = (effect for effect in lived.take() if isinstance(effect, FindSources))
    lived.perform(look)
    assert "submit" not in kinds(lived.take())
    lived.post(ResumeLane("app", lane))
    assert "submit" in kinds(lived.take())


def test_nothing_begins_for_a_held_batch_until_it_is_resumed() -> None:
    lived = looked(hold("b2")).given(failing())
    assert looks(lived.take()) == []
    lived.restart()
    assert looks(lived.take()) == []
    lived.post(release("b2"))
    assert looks(lived.take()) == [("b2", 1)]


def test_cancel_ends_one_that_waits() -> None:
    lived = looked(cancel(batch="b2"))
    assert lived.ledger.batch("b2").settled
    assert looks(lived.given(one_kept()).take()) == []


# ---- inputs that are removed


def test_what_is_removed_from_a_backend_is_owed_until_it_is_gone_and_after_a_crash_alike() -> None:
    lived = engine(adding("1f"), sending("1f"), ForgetInput("app", "1f"))
    here, there = RemoveInput("1f", "", ""), RemoveInput("1f", "main", "comfyledger/1f.png")
    assert lived.take() == [here, there]
    assert [here.lane, there.lane] == ["inputs", BACKEND]
    lived.restart()
    for effect in lived.take():
        lived.perform(effect)
    assert lived.wait(3_600_000).take() == []
    assert kept_in_memory(lived.owed) == 0


def test_a_backend_in_trouble_is_asked_to_remove_one_input_at_a_time() -> None:
    lived = engine(*(message for sha256 in ("1f", "2f") for message in (adding(sha256), sending(sha256))))
    lived.given(stuck(BACKEND), ForgetInput("app", "1f"), ForgetInput("app", "2f"))
    assert [effect.lane for effect in lived.take()] == ["inputs", "inputs"]
    assert len(lived.wait(PROBE_FIRST_MS).take()) == 1


def test_an_input_that_is_added_again_is_owed_nothing() -> None:
    lived = engine(adding("1f"), sending("1f"), ForgetInput("app", "1f"), adding("1f"))
    assert lived.take() == []
    assert kept_in_memory(lived.owed) == 0
