"""Laws of what is owed: by state and not by events, bounded, fair, patient with what does not work, and forgetful."""

from __future__ import annotations

from collections import Counter

import pytest

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.decide.decide import Message
from comfyledger.core.rows import ImageRow, Upload
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.effects import (
    CancelPrompt,
    DeleteImage,
    Effect,
    FetchPrompt,
    FindSources,
    FollowPrompt,
    RemoveInput,
    SubmitPrompt,
    UploadImage,
)
from comfyledger.core.scheduling.lanes import PROBE_FIRST_MS
from comfyledger.core.values import EVERYTHING, backend_lane, store_lane, user_lane
from support.core_builders import (
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
from support.plain_engine import PlainEngine, kept_in_memory

BACKEND = backend_lane("main")
FOLDER = store_lane("folder")
PAIR = submit(quantity=2, per_prompt=2)


def engine(*messages: object, depth: int = 3) -> PlainEngine:
    return PlainEngine(Limits({"main": depth})).given(*messages)  # type: ignore[arg-type]


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects]


def prompts(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(effect.batch_id, effect.prompt) for effect in effects if isinstance(effect, SubmitPrompt)]


PROMPT = ("batch", 1, 1, "main")
STORED = ("folder", ImageRow("batch", 1, 1, "f", "n", 1, "areg"), Upload("folder"))


@pytest.mark.parametrize(
    "effect",
    [
        SubmitPrompt(*PROMPT),
        FollowPrompt(*PROMPT, "id", (1,)),
        CancelPrompt(*PROMPT, "id"),
        FetchPrompt(*PROMPT, "id", (1,), ()),
        UploadImage(*STORED),
        DeleteImage(*STORED),
        FindSources("batch", 1, ()),
        RemoveInput("sha256", "", ""),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_the_key_of_an_effect_begins_with_its_kind(effect: Effect) -> None:
    assert effect.key[0] == effect.kind


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
    lived = engine(submit(quantity=1), before)
    assert sorted(kinds(lived.take())) == owed
    lived.restart()
    assert sorted(kinds(lived.take())) == owed


def test_what_may_have_gone_out_before_a_crash_is_looked_for_first() -> None:
    lived = engine(submit(quantity=1), intended(1))
    lived.restart()
    assert lived.take() == [SubmitPrompt("b1", 1, 1, "main", resumed=True)]


def test_effects_carry_what_their_worker_needs() -> None:
    lived = engine(PAIR, rendering(1))
    prompt_id = lived.ledger.prompt().prompt_id
    assert lived.take() == [FollowPrompt("b1", 1, 1, "main", prompt_id, (1, 2))]
    lived.post(finished(1, files=2))
    assert lived.take() == [FetchPrompt("b1", 1, 1, "main", prompt_id, (1, 2), lived.ledger.prompt().files)]
    lived.post(kept(1, 2))
    (upload, _) = lived.take()
    assert isinstance(upload, UploadImage)
    assert (upload.image, upload.store, upload.lane) == (lived.ledger.image(1), "folder", FOLDER)


def test_an_effect_that_runs_is_not_handed_out_again() -> None:
    lived = engine(submit(quantity=1))
    (effect,) = lived.take()
    assert lived.take() == []
    lived.post(intended(1))
    assert lived.wait(600_000).take() == []
    lived.done(effect)
    assert kinds(lived.wait(PROBE_FIRST_MS).take()) == ["submit"]


def test_every_store_of_an_image_is_owed_its_bytes() -> None:
    lived = engine(submit(quantity=1, into=("folder", "cloud")), one_kept(1))
    assert {effect.lane for effect in lived.take()} == {FOLDER, store_lane("cloud")}


def test_whatever_was_asked_is_done_when_all_works() -> None:
    lived = engine(submit("b1", 7, per_prompt=3), submit("b2", 5, user="Mara", into=("folder", "cloud"))).work()
    assert lived.ledger.states("b1") + lived.ledger.states("b2") == ["stored"] * 12
    assert {lived.ledger.prompt(index, "b2").attempt for index in range(1, 6)} == {1}


# ---- the queue of a ComfyUI


def test_no_more_than_queue_depth_prompts_are_in_a_comfyui() -> None:
    lived = engine(submit(quantity=10))
    effects = lived.take()
    assert len(effects) == 3
    lived.post(intended(1), accepted(1))
    lived.done(effects[0])
    assert kinds(lived.take()) == ["follow"]
    lived.post(finished(1))
    assert kinds(lived.take()) == ["fetch", "submit"]


def test_each_backend_has_a_queue_of_its_own() -> None:
    lived = PlainEngine(Limits({"main": 2, "other": 3})).given(submit("b1", 9))
    assert Counter(effect.lane for effect in lived.take()) == {BACKEND: 2, backend_lane("other"): 3}


def test_the_idlest_backend_takes_the_next_prompt() -> None:
    lived = PlainEngine(Limits({"main": 3, "other": 3})).given(submit("b1", 1))
    assert [effect.lane for effect in lived.take()] == [BACKEND]
    lived.given(submit("b2", 3))
    assert [effect.lane for effect in lived.take()] == [backend_lane("other"), BACKEND]


def test_a_batch_goes_to_the_backend_that_it_names_and_no_other() -> None:
    lived = PlainEngine(Limits({"main": 1, "other": 9})).given(submit("b1", 3, backend="main"), submit("b2", 1))
    assert {effect.lane: prompts([effect]) for effect in lived.take()} == {
        BACKEND: [("b1", 1)],
        backend_lane("other"): [("b2", 1)],
    }


def test_a_backend_in_trouble_takes_nothing_while_another_works() -> None:
    lived = PlainEngine(Limits({"main": 3, "other": 1})).given(stuck(BACKEND), submit("b1", 3))
    assert [effect.lane for effect in lived.take()] == [backend_lane("other")]
    assert lived.wait(60_000).take() == []
    lived.given(stuck(backend_lane("other")))
    assert BACKEND in [effect.lane for effect in lived.wait(2_000).take()]


def test_a_prompt_being_cancelled_keeps_its_place_until_it_is_gone() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1), rendering(1), depth=1)
    lived.post(cancel())
    assert prompts(lived.take()) == []
    lived.post(gone(1))
    assert prompts(lived.take()) == [("b2", 1)]


def test_a_prompt_cancelled_before_its_call_gives_its_place_away() -> None:
    lived = engine(submit("b1", 1), submit("b2", 1), depth=1)
    (first,) = lived.take()
    lived.post(cancel())
    assert prompts(lived.take()) == [("b2", 1)]
    lived.done(first)
    assert lived.take() == []


def test_a_prompt_on_its_way_keeps_its_place_when_its_row_changes() -> None:
    lived = engine(PAIR, *(message for n in (1, 2, 3) for message in (*rendering(1, n), failed(1, n))), depth=1)
    lived.given(retry(1), submit("b2", 1))
    assert prompts(lived.take()) == [("b1", 1)]
    lived.post(retry(2))
    assert lived.take() == []
    assert lived.post(intended(1, 4))[0].go


def test_a_late_end_of_an_earlier_submit_gives_no_place_away() -> None:
    lived = engine(submit(quantity=2), depth=1)
    (first,) = lived.take()
    lived.post(intended(1), failed(1, 1, "http_500"))
    (second,) = lived.take()
    lived.done(first)
    assert lived.wait(60_000).take() == []
    assert {first.key, second.key} == {("submit", "b1", 1, 1), ("submit", "b1", 2, 1)}


def test_a_submit_that_recorded_no_intent_goes_back_into_the_queue() -> None:
    lived = engine(submit(quantity=1), depth=1)
    (first,) = lived.take()
    lived.done(first)
    assert lived.take() == []
    assert lived.owed.wake_at_ms(lived.now_ms) == PROBE_FIRST_MS
    assert lived.wait(PROBE_FIRST_MS).take() == [first]


def test_users_take_turns() -> None:
    lived = engine(submit("b1", 60), submit("b2", 2, user="Mara"), depth=4)
    assert [batch for batch, _ in prompts(lived.take())] == ["b1", "b2", "b1", "b2"]


def test_a_higher_priority_goes_first() -> None:
    lived = engine(submit("b1", 3, priority=2), submit("b2", 2, priority=0), depth=3)
    assert [batch for batch, _ in prompts(lived.take())] == ["b2", "b2", "b1"]


# ---- bounds


def test_uploads_and_fetches_are_bounded_for_each_lane() -> None:
    lived = PlainEngine(Limits({"main": 20}, uploads_max=2, fetches_max=1))
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


def test_files_of_one_user_leave_places_for_those_of_others() -> None:
    lived = PlainEngine(Limits({"main": 20}, fetches_max=4, fetches_user_max=2))
    lived.given(submit("b1", 5), submit("b2", 2, user="Mara"))
    lived.given(*(rendered(index) for index in range(1, 6)), rendered(1, batch="b2"), rendered(2, batch="b2"))
    fetches = [effect for effect in lived.take() if isinstance(effect, FetchPrompt)]
    assert [(fetch.batch_id, fetch.prompt) for fetch in fetches] == [("b1", 1), ("b1", 2), ("b2", 1), ("b2", 2)]
    lived.perform(fetches[2])
    assert [effect for effect in lived.take() if isinstance(effect, FetchPrompt)] == []
    lived.perform(fetches[0])
    again = [effect for effect in lived.take() if isinstance(effect, FetchPrompt)]
    assert [(fetch.batch_id, fetch.prompt) for fetch in again] == [("b1", 3)]


def test_following_is_not_bounded() -> None:
    lived = engine(submit(quantity=50), *(rendering(index) for index in range(1, 51)), depth=50)
    assert kinds(lived.take()) == ["follow"] * 50


# ---- people


@pytest.mark.parametrize("lane", [BACKEND, user_lane("areg"), EVERYTHING])
def test_a_pause_keeps_new_prompts_from_going(lane: str) -> None:
    lived = engine(submit(quantity=2), PauseLane("app", lane))
    assert lived.take() == []
    lived.restart()
    assert lived.take() == []
    lived.post(submit("b2", 1))
    assert lived.take() == []
    lived.post(ResumeLane("app", lane))
    assert len(lived.take()) == 3


@pytest.mark.parametrize("lane", [FOLDER, EVERYTHING])
def test_a_pause_keeps_images_from_their_store(lane: str) -> None:
    lived = engine(submit(quantity=1), one_kept(1), PauseLane("app", lane))
    assert lived.take() == []
    lived.post(ResumeLane("app", lane))
    assert kinds(lived.take()) == ["upload"]


@pytest.mark.parametrize("lane", [user_lane("mara"), backend_lane("other"), store_lane("cloud")])
def test_a_pause_of_another_lane_changes_nothing(lane: str) -> None:
    lived = engine(PauseLane("app", lane), submit(quantity=2), one_kept(1))
    assert sorted(kinds(lived.take())) == ["submit", "upload"]


@pytest.mark.parametrize("lane", [BACKEND, user_lane("areg"), EVERYTHING])
def test_prompts_at_comfyui_are_followed_fetched_cancelled_during_a_pause(lane: str) -> None:
    lived = engine(submit(quantity=3), rendering(1), rendered(2), rendering(3), cancel(3), PauseLane("app", lane))
    assert sorted(kinds(lived.take())) == ["cancel", "fetch", "follow", "follow"]


def test_a_held_batch_gives_way_to_others_and_goes_on_when_resumed() -> None:
    lived = engine(submit("b1", 3), hold(), submit("b2", 1))
    assert prompts(lived.take()) == [("b2", 1)]
    lived.post(release())
    assert prompts(lived.take()) == [("b1", 1), ("b1", 2)]


def test_a_batch_held_while_its_prompt_is_picked_waits_until_resumed() -> None:
    lived = engine(submit(quantity=1))
    (first,) = lived.take()
    lived.post(hold())
    assert not lived.post(intended(1))[0].go
    lived.done(first)
    assert lived.wait(600_000).take() == []
    lived.post(release())
    assert lived.take() == [first]


def test_a_batch_held_and_resumed_while_its_prompt_is_picked_goes_on() -> None:
    lived = engine(submit(quantity=1))
    (first,) = lived.take()
    lived.given(hold(), release())
    assert lived.take() == []
    lived.done(first)
    assert lived.wait(PROBE_FIRST_MS).take() == [first]


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
    lived = engine(submit(quantity=1))
    lived.done(*lived.take())
    lived.given(end)
    lived.wait(600_000).take()
    assert lived.owed.open_counts() == {"batches": 0, "prompts": 0, "uploads": 0, "waiting": 0, "running": 0}
    assert kept_in_memory(lived.owed) == 0


def test_an_effect_that_failed_and_is_wanted_no_more_is_forgotten() -> None:
    lived = engine(submit(quantity=1), rendering(1))
    lived.done(*lived.take())
    lived.given(cancel(), gone(1))
    lived.wait(600_000).take()
    assert kept_in_memory(lived.owed) == 0


def test_a_batch_that_came_and_went_within_one_group_leaves_nothing() -> None:
    lived = engine()
    lived.post(submit(quantity=5, per_prompt=2), cancel())
    assert lived.take() == []
    assert kept_in_memory(lived.owed) == 0


def test_a_batch_retried_and_cancelled_within_one_group_leaves_nothing() -> None:
    lived = engine(submit(quantity=6, per_prompt=2), rendering(1), rendering(2), rendering(3))
    for attempt in (1, 2, 3):
        for prompt in (1, 2, 3):
            lived.given(rendering(prompt, attempt), failed(prompt, attempt), release())
    assert lived.ledger.batch().settled
    lived.post(retry(), cancel())
    assert lived.take() == []
    assert kept_in_memory(lived.owed) == 0


def test_finished_work_leaves_nothing_behind() -> None:
    lived = engine(submit("b1", 20, per_prompt=3), submit("b2", 20, user="Mara", priority=0)).work()
    lived.wait(600_000).take()
    assert kept_in_memory(lived.owed) == 0


def test_counts_say_how_much_is_open() -> None:
    lived = engine(submit(quantity=5, into=("folder", "cloud")), one_kept(1))
    lived.take()
    assert lived.owed.open_counts() == {"batches": 1, "prompts": 4, "uploads": 2, "waiting": 0, "running": 5}
    assert lived.owed.user_of("b1") == "areg"
    assert lived.owed.user_of("b9") is None
