"""Laws of what does not work: a lane is tried by one call at a time with patience, and nothing is sent blindly."""

from __future__ import annotations

from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import CancelPrompt, Effect, SubmitPrompt
from comfyledger.core.scheduling.lanes import PROBE_FIRST_MS, PROBE_LAST_MS
from comfyledger.core.values import backend_lane, store_lane
from support.core_builders import (
    cancel,
    gone,
    intended,
    one_kept,
    rendering,
    stuck,
    submit,
    uploaded,
)
from support.plain_engine import PlainEngine, kept_in_memory

BACKEND = backend_lane("main")
FOLDER = store_lane("folder")


def engine(*messages: object, depth: int = 3) -> PlainEngine:
    return PlainEngine(Limits({"main": depth})).given(*messages)  # type: ignore[arg-type]


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects]


def in_trouble(images: int = 20) -> PlainEngine:
    """A store that did not answer a first call; nothing runs."""
    lived = engine(submit(quantity=images), *(one_kept(index) for index in range(1, images + 1)))
    lived.post(stuck(FOLDER))
    return lived


def test_a_lane_in_trouble_is_tried_by_one_call_at_a_time() -> None:
    lived = in_trouble()
    assert lived.take() == []
    assert len(lived.wait(PROBE_FIRST_MS).take()) == 1
    assert lived.wait(600_000).take() == []


def test_probes_come_after_one_second_then_two_then_four_up_to_a_minute() -> None:
    lived = in_trouble()
    delays = []
    for _ in range(9):
        wake_at = lived.owed.wake_at_ms(lived.now_ms)
        assert wake_at is not None
        delays.append(wake_at - lived.now_ms)
        assert lived.wait(delays[-1] - 1).take() == []
        (probe,) = lived.wait(1).take()
        lived.post(stuck(FOLDER))
        lived.done(probe)
    assert delays == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, *[PROBE_LAST_MS] * 3]


def test_calls_that_were_under_way_when_the_trouble_began_count_as_one() -> None:
    lived = engine(submit(quantity=8), *(one_kept(index) for index in range(1, 9)))
    running = lived.take()
    assert len(running) == 8
    for effect in running:
        lived.post(stuck(FOLDER))
        lived.done(effect)
    assert lived.owed.wake_at_ms(0) == PROBE_FIRST_MS


def test_one_probe_in_vain_counts_once_whoever_else_says_so() -> None:
    lived = in_trouble()
    (probe,) = lived.wait(PROBE_FIRST_MS).take()
    lived.post(stuck(FOLDER), stuck(FOLDER))
    lived.done(probe)
    assert lived.owed.wake_at_ms(lived.now_ms) == lived.now_ms + 2_000


def test_a_lane_in_trouble_wakes_nobody_once_nothing_is_owed_to_it() -> None:
    lived = engine(stuck(FOLDER)).wait(PROBE_FIRST_MS)
    assert lived.take() == []
    assert lived.owed.wake_at_ms(lived.now_ms) is None


def test_a_probe_that_ends_without_a_word_is_not_repeated_at_once() -> None:
    lived = in_trouble()
    (probe,) = lived.wait(PROBE_FIRST_MS).take()
    lived.done(probe)
    assert lived.take() == []
    assert lived.owed.wake_at_ms(lived.now_ms) == lived.now_ms + 2_000


def test_a_lane_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    lived = in_trouble()
    lived.post(LaneStuck(FOLDER, "throttled", retry_after_s=90.0))
    assert lived.wait(89_999).take() == []
    assert len(lived.wait(1).take()) == 1


def test_what_a_lane_says_never_brings_it_a_call_sooner() -> None:
    lived = in_trouble()
    for wait_ms in (1_000, 2_000, 4_000):
        (probe,) = lived.wait(wait_ms).take()
        lived.post(stuck(FOLDER))
        lived.done(probe)
    lived.post(LaneStuck(FOLDER, "throttled", retry_after_s=0.5))
    assert lived.owed.wake_at_ms(lived.now_ms) == lived.now_ms + 8_000
    lived.post(LaneStuck(FOLDER, "throttled", retry_after_s=30.0))
    lived.post(LaneStuck(FOLDER, "throttled", retry_after_s=20.0))
    assert lived.owed.wake_at_ms(lived.now_ms) == lived.now_ms + 30_000


def test_a_lane_that_works_again_drains_without_a_burst() -> None:
    lived = in_trouble()
    (probe,) = lived.wait(PROBE_FIRST_MS).take()
    lived.perform(probe)
    assert len(lived.take()) == lived.limits.uploads_max
    lived.work()
    assert lived.ledger.states() == ["stored"] * 20


def test_one_more_trouble_begins_with_one_second_again() -> None:
    lived = in_trouble()
    for _ in range(5):
        (probe,) = lived.wait(PROBE_LAST_MS).take()
        lived.post(stuck(FOLDER))
        lived.done(probe)
    lived.post(LaneWorks(FOLDER))
    lived.post(stuck(FOLDER))
    assert lived.owed.wake_at_ms(lived.now_ms) == lived.now_ms + PROBE_FIRST_MS


def test_trouble_that_was_over_within_its_own_group_leaves_none_behind() -> None:
    lived = engine(submit(quantity=9), *(one_kept(index) for index in range(1, 10)))
    lived.post(stuck(FOLDER), LaneWorks(FOLDER))
    assert not lived.owed.in_trouble(FOLDER)
    assert len(lived.take()) == 8


def test_trouble_of_one_lane_leaves_the_others_alone() -> None:
    lived = engine(submit(quantity=2, into=("folder", "cloud")), one_kept(1), one_kept(2), stuck(FOLDER))
    assert {effect.lane for effect in lived.take()} == {store_lane("cloud")}


def test_a_trouble_outlives_a_crash_and_is_probed_at_once() -> None:
    lived = in_trouble()
    lived.restart()
    assert lived.owed.in_trouble(FOLDER)
    assert len(lived.take()) == 1


def test_a_sign_of_life_moves_the_next_probe_forward() -> None:
    lived = in_trouble()
    lived.owed.probe_soon(FOLDER, lived.now_ms)
    lived.owed.probe_soon("store/nowhere", lived.now_ms)
    assert len(lived.take()) == 1


def test_a_comfyui_that_is_away_gets_one_submit_and_every_follower_stays() -> None:
    lived = engine(submit(quantity=9), rendering(1), rendering(2), stuck(BACKEND), depth=5)
    assert kinds(lived.take()) == ["follow", "follow"]
    assert kinds(lived.wait(PROBE_FIRST_MS).take()) == ["submit"]


def test_a_follower_that_ends_in_trouble_waits_before_it_follows_again() -> None:
    lived = engine(submit(quantity=1), rendering(1), stuck(BACKEND))
    (follow,) = lived.take()
    lived.done(follow)
    assert lived.take() == []
    assert lived.wait(PROBE_FIRST_MS).take() == [follow]


def test_a_submit_that_met_trouble_is_resumed_and_not_sent_blindly() -> None:
    lived = engine(submit(quantity=1))
    (first,) = lived.take()
    lived.post(intended(1), stuck(BACKEND))
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [SubmitPrompt("b1", 1, 1, "main", resumed=True)]


# ---- work that ends without a result


def test_an_effect_that_died_is_owed_again_after_growing_delays() -> None:
    lived = engine(submit(quantity=1), one_kept(1))
    delays = []
    for _ in range(4):
        (effect,) = lived.take()
        lived.done(effect)
        wake_at = lived.owed.wake_at_ms(lived.now_ms)
        assert wake_at is not None
        delays.append(wake_at - lived.now_ms)
        lived.wait(delays[-1])
    assert delays == [1_000, 2_000, 4_000, 8_000]


def test_an_effect_started_before_its_delay_is_over_is_not_started_twice() -> None:
    lived = engine(submit(quantity=1, into=("folder", "cloud")), one_kept(1))
    folder, cloud = lived.take()
    lived.done(folder)
    lived.post(uploaded(1, "cloud"))
    lived.done(cloud)
    assert [effect.key for effect in lived.take()] == [folder.key]
    assert lived.wait(PROBE_LAST_MS).take() == []


def test_a_cancel_is_owed_until_the_prompt_is_seen_gone() -> None:
    lived = engine(submit(quantity=1), rendering(1), cancel())
    first = next(effect for effect in lived.take() if isinstance(effect, CancelPrompt))
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [first]
    lived.post(gone(1))
    lived.done(first)
    assert lived.wait(600_000).take() == []


def test_nothing_wakes_the_engine_while_nothing_can_change_by_itself() -> None:
    lived = engine(submit(quantity=5), rendering(1))
    lived.take()
    assert lived.owed.wake_at_ms(lived.now_ms) is None


def test_the_end_of_something_unknown_changes_nothing() -> None:
    lived = engine(submit(quantity=1))
    lived.owed.done(("upload", "b9", 1, "folder"), 0)
    assert kept_in_memory(lived.owed) == kept_in_memory(engine(submit(quantity=1)).owed)
