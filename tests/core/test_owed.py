"""Laws of what is owed: by state and not by events, bounded, fair, patient with what does not work, and forgetful."""

from __future__ import annotations

from collections import Counter

import pytest

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide import Message
from comfyledger.core.effects import CancelPrompt, Effect, FetchPrompt, FollowPrompt, SubmitPrompt, UploadImage
from comfyledger.core.owed import PROBE_FIRST_MS, PROBE_LAST_MS, Limits
from comfyledger.core.reports import LaneStuck, LaneWorks
from comfyledger.core.values import EVERYTHING, backend_lane, store_lane, user_lane
from core_given import (
    accepted,
    cancel,
    failed,
    finished,
    gone,
    hold,
    intended,
    interrupted,
    kept,
    one_kept,
    one_stored,
    release,
    rendered,
    rendering,
    retry,
    stuck,
    submit,
    unwanted,
    uploading,
)
from core_house import House, kept_in_memory

BACKEND = backend_lane("main")
FOLDER = store_lane("folder")
PAIR = submit(quantity=2, per_prompt=2)


def house(*messages: object, depth: int = 3, uploads: int = 8) -> House:
    return House(Limits(queue_depth=depth, uploads_max=uploads)).given(*messages)  # type: ignore[arg-type]


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects]


def prompts(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(effect.batch_id, effect.prompt) for effect in effects if isinstance(effect, SubmitPrompt)]


# ---- by state


@pytest.mark.parametrize(
    ("before", "owed"),
    [
        ((), ["submit"]),
        ((intended(1),), ["submit"]),
        (rendering(1), ["follow"]),
        (rendered(1), ["fetch"]),
        (one_kept(1), ["upload"]),
        ((*one_kept(1), uploading(1)), ["upload"]),
        (one_stored(1), []),
        ((*one_kept(1), unwanted(1)), []),
        ((cancel(),), []),
        ((intended(1), cancel()), ["cancel", "follow"]),
        ((*rendering(1), cancel()), ["cancel", "follow"]),
        ((*rendering(1), cancel(), gone(1)), []),
        ((*rendered(1), cancel()), []),
        ((*rendering(1), gone(1, restarted=True)), ["submit"]),
        ((*rendering(1), failed(1)), ["submit"]),
        ((*rendering(1), interrupted(1)), []),
        ((*rendering(1), interrupted(1), release()), ["submit"]),
        ((hold(),), []),
        ((*rendered(1), hold()), ["fetch"]),
    ],
)
def test_effects_are_owed_by_state_and_after_a_crash_alike(before: tuple[Message, ...], owed: list[str]) -> None:
    lived = house(submit(quantity=1), before)
    assert sorted(kinds(lived.take())) == owed
    lived.restart()
    assert sorted(kinds(lived.take())) == owed


def test_what_may_have_gone_out_before_a_crash_is_looked_for_first() -> None:
    lived = house(submit(quantity=1), intended(1))
    lived.restart()
    assert lived.take() == [SubmitPrompt("b1", 1, 1, "main", resumed=True)]


def test_effects_carry_what_their_worker_needs() -> None:
    lived = house(PAIR, rendering(1))
    prompt_id = lived.ledger.prompt().prompt_id
    assert lived.take() == [FollowPrompt("b1", 1, 1, "main", prompt_id, (1, 2))]
    lived.post(finished(1, files=2))
    assert lived.take() == [FetchPrompt("b1", 1, 1, "main", prompt_id, (1, 2), lived.ledger.prompt().files)]
    lived.post(kept(1, 2))
    (upload, _) = lived.take()
    assert isinstance(upload, UploadImage)
    assert (upload.image, upload.store, upload.lane) == (lived.ledger.image(1), "folder", FOLDER)


def test_an_effect_that_runs_is_not_handed_out_again() -> None:
    lived = house(submit(quantity=1))
    (effect,) = lived.take()
    assert lived.take() == []
    lived.post(intended(1))
    assert lived.wait(600_000).take() == []
    lived.done(effect)
    assert kinds(lived.wait(PROBE_FIRST_MS).take()) == ["submit"]


def test_every_store_of_an_image_is_owed_its_bytes() -> None:
    lived = house(submit(quantity=1, into=("folder", "cloud")), one_kept(1))
    assert {effect.lane for effect in lived.take()} == {FOLDER, store_lane("cloud")}


def test_whatever_was_asked_is_done_when_all_works() -> None:
    lived = house(submit("b1", 7, per_prompt=3), submit("b2", 5, user="Mara", into=("folder", "cloud"))).work()
    assert lived.ledger.states("b1") + lived.ledger.states("b2") == ["stored"] * 12
    assert {lived.ledger.prompt(index, "b2").attempt for index in range(1, 6)} == {1}


# ---- the queue of a ComfyUI


def test_no_more_than_queue_depth_prompts_are_in_a_comfyui() -> None:
    lived = house(submit(quantity=10))
    effects = lived.take()
    assert len(effects) == 3
    lived.post(intended(1), accepted(1))
    lived.done(effects[0])
    assert kinds(lived.take()) == ["follow"]
    lived.post(finished(1))
    assert kinds(lived.take()) == ["fetch", "submit"]


def test_each_backend_has_a_queue_of_its_own() -> None:
    lived = house(submit("b1", 9), submit("b2", 9, backend="other"), depth=2)
    assert Counter(effect.lane for effect in lived.take()) == {BACKEND: 2, backend_lane("other"): 2}


def test_a_prompt_being_cancelled_keeps_its_place_until_it_is_gone() -> None:
    lived = house(submit("b1", 1), submit("b2", 1), rendering(1), depth=1)
    lived.post(cancel())
    assert prompts(lived.take()) == []
    lived.post(gone(1))
    assert prompts(lived.take()) == [("b2", 1)]


def test_a_prompt_cancelled_before_its_call_gives_its_place_away() -> None:
    lived = house(submit("b1", 1), submit("b2", 1), depth=1)
    (first,) = lived.take()
    lived.post(cancel())
    assert prompts(lived.take()) == [("b2", 1)]
    lived.done(first)
    assert lived.take() == []


def test_a_prompt_on_its_way_keeps_its_place_when_its_row_changes() -> None:
    lived = house(PAIR, *(message for n in (1, 2, 3) for message in (*rendering(1, n), failed(1, n))), depth=1)
    lived.given(retry(1), submit("b2", 1))
    assert prompts(lived.take()) == [("b1", 1)]
    lived.post(retry(2))
    assert lived.take() == []
    assert lived.post(intended(1, 4))[0].go


def test_a_late_end_of_an_earlier_submit_gives_no_place_away() -> None:
    lived = house(submit(quantity=2), depth=1)
    (first,) = lived.take()
    lived.post(intended(1), failed(1, 1, "http_500"))
    (second,) = lived.take()
    lived.done(first)
    assert lived.wait(60_000).take() == []
    assert {first.key, second.key} == {("submit", "b1", 1, 1), ("submit", "b1", 2, 1)}


def test_a_submit_that_did_not_get_as_far_as_its_intent_goes_back_into_the_queue() -> None:
    lived = house(submit(quantity=1))
    (first,) = lived.take()
    lived.done(first)
    assert lived.take() == []
    assert lived.owed.wake_at_ms(lived.now_ms) == PROBE_FIRST_MS
    assert lived.wait(PROBE_FIRST_MS).take() == [first]


def test_users_take_turns() -> None:
    lived = house(submit("b1", 60), submit("b2", 2, user="Mara"), depth=4)
    assert [batch for batch, _ in prompts(lived.take())] == ["b1", "b2", "b1", "b2"]


def test_a_higher_priority_goes_first() -> None:
    lived = house(submit("b1", 3, priority=2), submit("b2", 2, priority=0), depth=3)
    assert [batch for batch, _ in prompts(lived.take())] == ["b2", "b2", "b1"]


# ---- bounds


def test_uploads_and_fetches_are_bounded_for_each_lane() -> None:
    lived = House(Limits(queue_depth=20, uploads_max=2, fetches_max=1))
    lived.given(submit("b1", 6, into=("folder", "cloud")), *(one_kept(index) for index in range(1, 4)))
    lived.given(rendered(4), rendered(5))
    effects = lived.take()
    assert Counter((effect.kind, effect.lane) for effect in effects if effect.kind != "submit") == {
        ("upload", FOLDER): 2,
        ("upload", store_lane("cloud")): 2,
        ("fetch", BACKEND): 1,
    }
    upload = next(effect for effect in effects if effect.lane == FOLDER)
    lived.perform(upload)
    assert [effect.lane for effect in lived.take()] == [FOLDER]


def test_following_is_not_bounded() -> None:
    lived = house(submit(quantity=50), *(rendering(index) for index in range(1, 51)), depth=50)
    assert kinds(lived.take()) == ["follow"] * 50


# ---- people


@pytest.mark.parametrize("lane", [BACKEND, user_lane("areg"), EVERYTHING])
def test_a_pause_keeps_new_prompts_from_going(lane: str) -> None:
    lived = house(submit(quantity=2), PauseLane("app", lane))
    assert lived.take() == []
    lived.restart()
    assert lived.take() == []
    lived.post(submit("b2", 1))
    assert lived.take() == []
    lived.post(ResumeLane("app", lane))
    assert len(lived.take()) == 3


@pytest.mark.parametrize("lane", [FOLDER, EVERYTHING])
def test_a_pause_keeps_images_from_their_store(lane: str) -> None:
    lived = house(submit(quantity=1), one_kept(1), PauseLane("app", lane))
    assert lived.take() == []
    lived.post(ResumeLane("app", lane))
    assert kinds(lived.take()) == ["upload"]


@pytest.mark.parametrize("lane", [user_lane("mara"), backend_lane("other"), store_lane("cloud")])
def test_a_pause_of_another_lane_changes_nothing(lane: str) -> None:
    lived = house(PauseLane("app", lane), submit(quantity=2), one_kept(1))
    assert sorted(kinds(lived.take())) == ["submit", "upload"]


@pytest.mark.parametrize("lane", [BACKEND, user_lane("areg"), EVERYTHING])
def test_what_is_at_comfyui_is_followed_fetched_and_cancelled_through_a_pause(lane: str) -> None:
    lived = house(submit(quantity=3), rendering(1), rendered(2), rendering(3), cancel(3), PauseLane("app", lane))
    assert sorted(kinds(lived.take())) == ["cancel", "fetch", "follow", "follow"]


def test_a_held_batch_gives_way_to_others_and_goes_on_when_resumed() -> None:
    lived = house(submit("b1", 3), hold(), submit("b2", 1))
    assert prompts(lived.take()) == [("b2", 1)]
    lived.post(release())
    assert prompts(lived.take()) == [("b1", 1), ("b1", 2)]


def test_a_batch_held_while_its_prompt_is_picked_waits_and_goes_on_when_resumed() -> None:
    lived = house(submit(quantity=1))
    (first,) = lived.take()
    lived.post(hold())
    assert not lived.post(intended(1))[0].go
    lived.done(first)
    assert lived.wait(600_000).take() == []
    lived.post(release())
    assert lived.take() == [first]


def test_a_batch_held_and_resumed_while_its_prompt_is_picked_goes_on() -> None:
    lived = house(submit(quantity=1))
    (first,) = lived.take()
    lived.given(hold(), release())
    assert lived.take() == []
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [first]


# ---- lanes in trouble


def in_trouble(images: int = 20) -> House:
    """A store that did not answer a first call; nothing runs."""
    lived = house(submit(quantity=images), *(one_kept(index) for index in range(1, images + 1)))
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
    lived = house(submit(quantity=8), *(one_kept(index) for index in range(1, 9)))
    running = lived.take()
    assert len(running) == 8
    for effect in running:
        lived.post(stuck(FOLDER))
        lived.done(effect)
    assert lived.owed.wake_at_ms(0) == PROBE_FIRST_MS


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
    lived = house(submit(quantity=9), *(one_kept(index) for index in range(1, 10)))
    lived.post(stuck(FOLDER), LaneWorks(FOLDER))
    assert not lived.owed.in_trouble(FOLDER)
    assert len(lived.take()) == 8


def test_trouble_of_one_lane_leaves_the_others_alone() -> None:
    lived = house(submit(quantity=2, into=("folder", "cloud")), one_kept(1), one_kept(2), stuck(FOLDER))
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
    lived = house(submit(quantity=9), rendering(1), rendering(2), stuck(BACKEND), depth=5)
    assert kinds(lived.take()) == ["follow", "follow"]
    assert kinds(lived.wait(PROBE_FIRST_MS).take()) == ["submit"]


def test_a_follower_that_ends_in_trouble_waits_before_it_follows_again() -> None:
    lived = house(submit(quantity=1), rendering(1), stuck(BACKEND))
    (follow,) = lived.take()
    lived.done(follow)
    assert lived.take() == []
    assert lived.wait(PROBE_FIRST_MS).take() == [follow]


def test_a_submit_that_met_trouble_is_resumed_and_not_sent_blindly() -> None:
    lived = house(submit(quantity=1))
    (first,) = lived.take()
    lived.post(intended(1), stuck(BACKEND))
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [SubmitPrompt("b1", 1, 1, "main", resumed=True)]


# ---- work that ends without a result


def test_an_effect_that_died_is_owed_again_after_growing_delays() -> None:
    lived = house(submit(quantity=1), one_kept(1))
    delays = []
    for _ in range(4):
        (effect,) = lived.take()
        lived.done(effect)
        wake_at = lived.owed.wake_at_ms(lived.now_ms)
        assert wake_at is not None
        delays.append(wake_at - lived.now_ms)
        lived.wait(delays[-1])
    assert delays == [1_000, 2_000, 4_000, 8_000]


def test_a_cancel_is_owed_until_the_prompt_is_seen_gone() -> None:
    lived = house(submit(quantity=1), rendering(1), cancel())
    first = next(effect for effect in lived.take() if isinstance(effect, CancelPrompt))
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [first]
    lived.post(gone(1))
    lived.done(first)
    assert lived.wait(600_000).take() == []


def test_nothing_wakes_the_engine_while_nothing_can_change_by_itself() -> None:
    lived = house(submit(quantity=5), rendering(1))
    lived.take()
    assert lived.owed.wake_at_ms(lived.now_ms) is None


def test_the_end_of_something_unknown_changes_nothing() -> None:
    lived = house(submit(quantity=1))
    lived.owed.done(("upload", "b9", 1, "folder"), 0)
    assert kept_in_memory(lived.owed) == kept_in_memory(house(submit(quantity=1)).owed)


# ---- memory


ENDS: list[tuple[Message, ...]] = [
    one_stored(1),
    (*one_kept(1), unwanted(1)),
    (cancel(),),
    (hold(), cancel()),
    (*rendering(1), cancel(), gone(1)),
    (*rendered(1), cancel()),
]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_of_a_settled_batch_stays_in_memory(end: tuple[Message, ...]) -> None:
    lived = house(submit(quantity=1))
    lived.done(*lived.take())
    lived.given(end)
    lived.wait(600_000).take()
    assert lived.owed.open_counts() == {"batches": 0, "prompts": 0, "uploads": 0, "running": 0}
    assert kept_in_memory(lived.owed) == 0


def test_an_effect_that_failed_and_is_wanted_no_more_is_forgotten() -> None:
    lived = house(submit(quantity=1), rendering(1))
    lived.done(*lived.take())
    lived.given(cancel(), gone(1))
    lived.wait(600_000).take()
    assert kept_in_memory(lived.owed) == 0


def test_a_batch_that_came_and_went_within_one_group_leaves_nothing() -> None:
    lived = house()
    lived.post(submit(quantity=5, per_prompt=2), cancel())
    assert lived.take() == []
    assert kept_in_memory(lived.owed) == 0


def test_a_batch_taken_up_and_cancelled_again_within_one_group_leaves_nothing() -> None:
    lived = house(submit(quantity=6, per_prompt=2), rendering(1), rendering(2), rendering(3))
    for attempt in (1, 2, 3):
        for prompt in (1, 2, 3):
            lived.given(rendering(prompt, attempt), failed(prompt, attempt), release())
    assert lived.ledger.batch().settled
    lived.post(retry(), cancel())
    assert lived.take() == []
    assert kept_in_memory(lived.owed) == 0


def test_finished_work_leaves_nothing_behind() -> None:
    lived = house(submit("b1", 20, per_prompt=3), submit("b2", 20, user="Mara", priority=0)).work()
    lived.wait(600_000).take()
    assert kept_in_memory(lived.owed) == 0


def test_counts_say_how_much_is_open() -> None:
    lived = house(submit(quantity=5, into=("folder", "cloud")), one_kept(1))
    lived.take()
    assert lived.owed.open_counts() == {"batches": 1, "prompts": 4, "uploads": 2, "running": 5}
    assert lived.owed.user_of("b1") == "areg"
    assert lived.owed.user_of("b9") is None
