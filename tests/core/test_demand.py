"""What waits is counted by what it needs, in seconds that were measured, and gives how many ComfyUIs are wanted."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from comfyledger.core.commands import PauseLane, ResumeLane
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.demand import LABELS_MAX, Demand, Demanded, Need, There
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.core.values import EVERYTHING
from support.core_builders import accepted, finished, gone, hold, intended, left, release, rendered, submit
from support.plain_engine import PlainEngine

ANY = Need("", ())
FLUX = Need("", ("flux", "48gb"))
PINNED = Need("big", ("flux",))
MINUTE_MS = 60_000


def of(demand: Demand, *there: There, stopped: bool = False) -> dict[str, Demanded]:
    return {one.label: one for one in demand.now(there, stopped=stopped)}


def waiting(need: Need, count: int, models: str = "", each_ms: int | None = None) -> Demand:
    demand = Demand(MINUTE_MS)
    for _ in range(count):
        demand.come(need, models)
    if each_ms is not None:
        demand.took(need, models, each_ms)
    return demand


# ---- by need


@pytest.mark.parametrize(
    ("need", "label"), [(ANY, "any"), (FLUX, "48gb+flux"), (PINNED, "backend:big"), (Need("", ("flux",)), "flux")]
)
def test_a_need_is_named_by_its_pin_or_else_by_its_tags(need: Need, label: str) -> None:
    (found,) = waiting(need, 3).now(())
    assert (found.label, found.need, found.queued) == (label, need, 3)


def test_more_needs_than_labels_count_as_other_until_one_is_free() -> None:
    demand = Demand(MINUTE_MS)
    needs = [Need("", (f"tag{n:02}",)) for n in range(LABELS_MAX + 3)]
    for need in needs:
        demand.come(need, "")
    found = of(demand)
    assert len(found) == LABELS_MAX
    assert (found["other"].queued, found["tag00"].queued, sum(one.queued for one in found.values())) == (4, 1, 35)
    demand.go(needs[0], "")
    demand.come(needs[-1], "")
    found = of(demand)
    assert len(found) == LABELS_MAX
    assert (found["other"].queued, found["tag34"].queued, "tag00" in found) == (3, 2, False)


def test_what_waited_is_shown_as_none() -> None:
    demand = waiting(FLUX, 1)
    demand.go(FLUX, "")
    assert of(demand) == {"48gb+flux": Demanded("48gb+flux", FLUX, 0, 0, 0.0, 0)}


def test_counts_are_those_of_a_scan_whatever_comes_and_goes() -> None:
    chance, demand, waits = random.Random(7), Demand(MINUTE_MS), Counter[tuple[Need, str]]()
    for _ in range(2_000):
        place = (chance.choice([ANY, FLUX, PINNED]), chance.choice(["", "a", "b"]))
        if waits[place] and chance.random() < 0.5:
            demand.go(*place)
            waits[place] -= 1
        else:
            demand.come(*place)
            waits[place] += 1
        found = {one.label: one.queued for one in demand.now(())}
        for need in (ANY, FLUX, PINNED):
            assert found.get(need.label, 0) == sum(count for (of_need, _), count in waits.items() if of_need == need)


# ---- seconds


def test_seconds_are_unknown_until_a_prompt_was_measured() -> None:
    demand = waiting(ANY, 4)
    assert of(demand)["any"].queued_s is None
    demand.took(FLUX, "x", 2_500)
    assert of(demand)["any"].queued_s == 10.0


def test_the_time_is_that_of_the_models_else_of_the_need_else_of_all() -> None:
    demand = Demand(MINUTE_MS)
    for need, models in ((FLUX, "a"), (FLUX, "b"), (ANY, "a"), (PINNED, "c")):
        demand.come(need, models)
    demand.took(FLUX, "a", 10_000)
    demand.took(FLUX, "x", 1_000)
    demand.took(ANY, "y", 1_000)
    found = of(demand)
    assert found["48gb+flux"].queued_s == 10.0 + 10.0  # the upper one of two is the median
    assert found["any"].queued_s == 10.0
    assert found["backend:big"].queued_s == 1.0


def test_what_names_no_model_is_not_measured_by_others_that_name_none() -> None:
    demand = waiting(FLUX, 1)
    demand.took(ANY, "", 9_000)
    demand.took(FLUX, "a", 1_000)
    assert of(demand)["48gb+flux"].queued_s == 1.0


def test_one_prompt_that_hung_does_not_count() -> None:
    demand = waiting(ANY, 1, "a")
    for ms in (5_000, 6_000, 900_000):
        demand.took(ANY, "a", ms)
    assert of(demand)["any"].queued_s == 6.0


def test_old_times_are_forgotten() -> None:
    demand = waiting(ANY, 1, "a")
    for ms in (*[60_000] * 100, *[2_000] * 15):
        demand.took(ANY, "a", ms)
    assert of(demand)["any"].queued_s == 2.0
    for number in range(1_000):
        demand.took(ANY, f"model {number}", 3_000)
    assert of(demand)["any"].queued_s == 3.0


# ---- how many are wanted


@pytest.mark.parametrize(
    ("count", "each_ms", "wanted"),
    [(0, 5_000, 0), (1, 5_000, 1), (12, 5_000, 1), (13, 5_000, 2), (120, 5_000, 10), (3, 600_000, 3), (9, None, 1)],
)
def test_as_many_are_wanted_as_finish_in_time_and_no_more_than_prompts(
    count: int, each_ms: int | None, wanted: int
) -> None:
    demand = waiting(ANY, 1, "a", each_ms)
    demand.go(ANY, "a")
    for _ in range(count):
        demand.come(ANY, "a")
    assert of(demand)["any"].wanted == wanted


def test_those_that_run_count_too() -> None:
    there = [There(name, ANY, "a") for name in ("one", "two", "three")]
    assert of(waiting(ANY, 3, "a"), *there)["any"].wanted == 3  # as many as run: nothing is known about times
    busy = of(waiting(ANY, 1, "a", 50_000), *there)["any"]
    assert (busy.running, busy.queued_s, busy.wanted) == (3, 50.0, 4)
    none_waits = waiting(ANY, 1, "a", 600_000)
    none_waits.go(ANY, "a")
    assert of(none_waits, *there)["any"].wanted == 3


def test_of_what_only_one_may_render_one_is_wanted() -> None:
    assert of(waiting(PINNED, 500, "a", 60_000))["backend:big"].wanted == 1


def test_while_nothing_may_go_only_those_that_run_are_wanted() -> None:
    demand = waiting(ANY, 500, "a", 60_000)
    assert of(demand, stopped=True)["any"].wanted == 0
    found = of(demand, There("one", ANY, "a"), stopped=True)["any"]
    assert (found.queued, found.wanted) == (500, 1)


# ---- as the daemon counts


def shown(lived: PlainEngine) -> dict[str, tuple[int, int, float | None, int]]:
    found = lived.owed.standing(lived.now_ms).demand
    return {one.label: (one.queued, one.running, one.queued_s, one.wanted) for one in found}


def test_prompts_that_may_go_wait_and_those_that_are_sent_run() -> None:
    lived = PlainEngine(Limits({"main": 2, "big": 1}, {"big": frozenset({"flux"})}))
    lived.given(submit("b1", 5), submit("b2", 2, needs=("flux",)), submit("b3", 1, backend="main"))
    assert shown(lived) == {"any": (5, 0, None, 1), "flux": (2, 0, None, 1), "backend:main": (1, 0, None, 1)}
    lived.take()
    assert {label: one[:2] for label, one in shown(lived).items()} == {
        "any": (4, 1), "flux": (1, 1), "backend:main": (0, 1)
    }  # fmt: skip
    lived.given(hold("b1"))
    assert shown(lived)["any"][:2] == (0, 1)
    lived.given(release("b1"))
    assert shown(lived)["any"][:2] == (4, 1)


def test_a_pause_of_everything_wants_nothing_more() -> None:
    lived = PlainEngine().given(submit("b1", 5), PauseLane("app", EVERYTHING))
    assert shown(lived) == {"any": (5, 0, None, 0)}


def sent(lived: PlainEngine) -> PlainEngine:
    """The prompt whose turn it is reaches ComfyUI."""
    (effect,) = lived.take()
    assert isinstance(effect, SubmitPrompt)
    lived.given(intended(effect.prompt, effect.attempt), accepted(effect.prompt, effect.attempt))
    lived.done(effect)
    return lived


def test_only_a_run_that_came_to_its_end_tells_how_long_one_takes() -> None:
    lived = PlainEngine(Limits({"main": 1})).given(submit("b1", 3))
    sent(lived).wait(90_000).given(gone(1, restarted=True))
    assert shown(lived)["any"][2] is None
    sent(lived).wait(7_000).given(finished(2))
    assert shown(lived)["any"][:3] == (2, 0, 14.0)


def test_a_run_that_an_earlier_attempt_overtook_is_not_measured() -> None:
    lived = PlainEngine(Limits({"main": 1, "other": 1})).given(submit("b1", 1), PauseLane("app", "backend/other"))
    sent(lived).given(left(1), PauseLane("app", "backend/main"), ResumeLane("app", "backend/other"))
    (again,) = (effect for effect in lived.take() if isinstance(effect, SubmitPrompt))
    lived.given(intended(1, 2, backend=again.backend), accepted(1, 2), submit("b2", 1))
    lived.done(again)
    lived.wait(1_000).given(finished(1, 1))
    assert (again.backend, shown(lived)["any"][2]) == ("other", None)


def test_a_run_that_began_before_a_restart_is_not_measured() -> None:
    lived = PlainEngine(Limits({"main": 1})).given(submit("b1", 2), intended(1), accepted(1))
    lived.restart()
    lived.wait(1_000).given(finished(1))
    assert shown(lived)["any"] == (1, 0, None, 1)


def test_the_queue_of_a_batch_that_is_over_leaves_nothing_to_count() -> None:
    lived = PlainEngine().given(submit("b1", 1), rendered(1))
    assert {label: one[:2] for label, one in shown(lived).items()} == {"any": (0, 0)}
