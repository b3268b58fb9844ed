"""Laws of who is next over all ComfyUIs: fair over users, urgent first, loaded models first, and nobody starves."""

from __future__ import annotations

import pytest

from comfyledger.core.rows import PromptRow
from comfyledger.core.scheduling.fair_queue import FairQueue
from comfyledger.core.scheduling.turns import Turns
from comfyledger.core.scheduling.unserved import ANY_BACKEND, SEEN_MAX, Unserved, WorkClass
from support.farm import Farm

TAKES_S = 5.0
LOAD_S = 20.0
QUANTUM_S = 100.0
AGE_S = 600.0
HIGH, NORMAL, LOW = range(3)


def farm(backends: int, depth: int = 2) -> Farm:
    return Farm({f"gpu{number}": TAKES_S for number in range(backends)}, depth, LOAD_S)


# ---- over backends


def test_prompts_fill_idle_backends_before_any_has_two() -> None:
    four = farm(4)
    four.ask("areg", 4)
    assert [len(prompts) for prompts in four.there.values()] == [1, 1, 1, 1]
    four.ask("areg", 8)
    assert [len(prompts) for prompts in four.there.values()] == [2, 2, 2, 2]


def test_among_idle_backends_that_which_has_the_models_goes_first() -> None:
    two = farm(2)
    two.ask("areg", 1, "sdxl")
    two.ask("areg", 1, "flux")
    two.end()
    two.ask("mara", 1, "flux")
    two.ask("mara", 1, "sdxl")
    two.end()
    assert two.loads == 2


def test_a_prompt_is_bound_to_no_busy_backend_while_as_many_could_begin_it_next() -> None:
    fast_and_slow = Farm({"fast": 1.0, "slow": 100.0}, load_s=0.0)
    fast_and_slow.ask("areg", 12)
    fast_and_slow.end()
    assert [run.backend for run in fast_and_slow.runs].count("slow") <= 2
    assert fast_and_slow.now_s <= 200.0


def test_a_busy_backend_takes_nothing_for_which_others_have_the_models() -> None:
    two = Farm({"slow": 100.0, "fast": 1.0}, load_s=1.0)
    two.ask("areg", 1, "flux", backend="fast")
    two.ask("areg", 1, "sdxl", backend="slow")
    two.until(10.0)
    images = two.ask("mara", 20, "flux")
    two.until(40.0)
    assert two.begun(images) == 20


def test_a_single_backend_is_sent_its_next_prompt_while_one_runs() -> None:
    one = farm(1)
    one.ask("areg", 2)
    assert len(one.there["gpu0"]) == 2


@pytest.mark.parametrize(("takes_s", "most"), [(0.2, 3), (0.9, 3), (1.0, 2), (5.0, 2)])
def test_a_backend_has_two_prompts_and_three_while_they_take_less_than_a_second(takes_s: float, most: int) -> None:
    one = Farm({"gpu0": takes_s}, depth=0, load_s=0.0)
    one.ask("areg", 40)
    assert len(one.there["gpu0"]) == 2
    one.until(10.5 * takes_s)
    assert len(one.there["gpu0"]) == most
    assert one.queue.depths() == {"gpu0": most}


def test_one_prompt_that_hung_does_not_make_a_fast_backend_slow() -> None:
    one = Farm({"gpu0": 0.5}, depth=0, load_s=0.0)
    one.ask("areg", 40)
    one.until(5.0)
    one.takes_s = {"gpu0": 600.0}
    one.until(10.0)
    one.takes_s = {"gpu0": 0.5}
    one.until(610.0)
    assert one.queue.depths() == {"gpu0": 3}


def test_a_pinned_prompt_goes_to_its_backend_and_no_other() -> None:
    three = farm(3)
    three.ask("areg", 30, "sdxl")
    pinned = three.ask("mara", 5, "flux", backend="gpu1")
    three.end()
    assert {run.backend for run in three.runs if run.prompt[0] == pinned.batch_id} == {"gpu1"}


def test_pinned_prompts_and_others_of_the_same_models_take_turns() -> None:
    one = farm(1)
    anywhere, here = one.ask("areg", 40), one.ask("mara", 40, backend="gpu0")
    one.until(LOAD_S + 40 * TAKES_S)
    assert abs(one.begun(anywhere) - one.begun(here)) <= 2


def test_what_does_not_fit_a_backend_never_goes_there() -> None:
    three = farm(3)
    flux, sdxl = three.ask("areg", 20, "flux", fits=["gpu0", "gpu1"]), three.ask("mara", 20, "sdxl")
    three.end()
    assert {run.backend for run in three.runs if run.prompt[0] == flux.batch_id} == {"gpu0", "gpu1"}
    assert three.begun(flux, sdxl) == 40


def test_a_class_counts_as_served_only_by_backends_that_it_fits() -> None:
    two = farm(2)
    two.ask("areg", 400, "flux", backend="gpu1")
    two.ask("ann", 400, "sdxl", backend="gpu0")
    two.until(50.0)
    alone = two.ask("mara", 1, "flux", fits=["gpu0"])
    two.end()
    assert two.waited_s(alone) <= QUANTUM_S + TAKES_S + LOAD_S


def test_what_is_there_from_before_a_restart_tells_what_is_loaded() -> None:
    two = farm(2)
    two.rows["before", 1] = PromptRow("before", 1, (1,), 1, "gpu1", models="flux", state="accepted", attempt=1)
    two.queue.count_place("gpu1", ("before", 1), two.now_ms, taken=True)
    two.queue.count_place("gpu1", ("before", 1), two.now_ms, taken=False)
    two.ask("areg", 1, "flux")
    assert [len(two.there[backend]) for backend in ("gpu0", "gpu1")] == [0, 1]


def test_what_an_absent_backend_has_loaded_keeps_nobody_waiting() -> None:
    two = farm(2)
    two.ask("areg", 200, "sdxl", backend="gpu1")
    two.ask("areg", 3, "flux")
    two.until(50.0)
    two.queue.works(["gpu1"], two.now_ms)
    alone = two.ask("mara", 1, "flux")
    two.end()
    assert two.waited_s(alone) <= QUANTUM_S + 2 * TAKES_S + LOAD_S


# ---- the quantum


def test_within_the_quantum_a_backend_stays_with_its_models() -> None:
    one = farm(1)
    one.ask("areg", 100, "sdxl")
    one.ask("mara", 100, "flux")
    one.until(QUANTUM_S - TAKES_S)
    assert one.loads == 1
    one.until(10 * QUANTUM_S)
    assert one.loads in {10, 11}


def test_a_backend_leaves_its_models_at_once_when_nothing_waits_for_them() -> None:
    one = farm(1)
    one.ask("areg", 1, "sdxl")
    mara = one.ask("mara", 1, "flux")
    one.end()
    assert one.waited_s(mara) == LOAD_S + TAKES_S + LOAD_S


@pytest.mark.parametrize("backends", [1, 2, 4])
@pytest.mark.parametrize("others", [1, 8])
@pytest.mark.parametrize("at_s", [61.0, 99.0, 100.0, 260.0, 777.0])
def test_a_strangers_image_of_loaded_models_begins_after_what_runs_and_one_prompt(
    backends: int, others: int, at_s: float
) -> None:
    """When each of the others has had a turn."""
    some = farm(backends)
    for number in range(others):
        some.ask(f"user {number}", 500, "sdxl")
    some.until(at_s)
    stranger = some.ask("stranger", 1, "sdxl")
    some.end()
    assert some.waited_s(stranger) <= 2 * TAKES_S


@pytest.mark.parametrize("backends", [1, 2, 4])
@pytest.mark.parametrize("flood", [1, 20])
@pytest.mark.parametrize("at_s", [0.0, 31.0, 99.0, 100.0, 260.0, 777.0, 2_000.0])
def test_a_strangers_image_of_other_models_begins_after_a_quantum_one_prompt_and_a_load(
    backends: int, flood: int, at_s: float
) -> None:
    """However many models one other user wants."""
    some = farm(backends)
    for number in range(flood):
        some.ask("areg", 2_000 // flood, f"model {number}")
    some.until(at_s)
    stranger = some.ask("stranger", 1, "another model")
    some.end()
    assert some.waited_s(stranger) <= QUANTUM_S + TAKES_S + LOAD_S


@pytest.mark.parametrize("at_s", [260.0, 777.0, 778.0, 781.0, 2_000.0])
def test_after_the_quantum_a_stranger_with_other_models_waits_for_no_quantum(at_s: float) -> None:
    one = farm(1)
    one.ask("areg", 2_000, "sdxl")
    one.until(at_s)
    stranger = one.ask("stranger", 1, "flux")
    one.end()
    assert one.waited_s(stranger) <= 2 * TAKES_S + LOAD_S


def test_who_had_less_is_not_kept_waiting_by_who_had_more_and_waits_for_longer() -> None:
    one = farm(1)
    one.ask("areg", 1_000, "sdxl")
    for number in range(8):
        one.ask(f"user {number}", 200, "flux")
    one.until(600.0)
    one.ask("mara", 1, "flux")
    one.until(620.0)
    second = one.ask("mara", 1, "qwen")
    one.end()
    assert one.waited_s(second) <= QUANTUM_S + TAKES_S + LOAD_S


def test_a_class_that_nobody_serves_is_found_behind_a_thousand_others() -> None:
    one = farm(1)
    for number in range(10 * SEEN_MAX):
        one.ask("areg", 1, f"model {number}")
    mara = one.ask("mara", 1, "another model")
    one.end()
    assert one.waited_s(mara) <= 4 * (LOAD_S + TAKES_S)


def test_each_choice_looks_at_the_classes_of_other_users() -> None:
    unserved, turns = Unserved(), Turns()
    for number in range(2 * SEEN_MAX):
        one = WorkClass(f"model {number}", ANY_BACKEND, FairQueue(1, turns))
        one.queue.add(NORMAL, f"user {number}", "b1", 1, 0)
        unserved.put(one, NORMAL)
    seen = [{one.key for one in unserved.some()} for _ in range(2)]
    assert [len(keys) for keys in seen] == [SEEN_MAX, SEEN_MAX]
    assert not seen[0] & seen[1]


def test_models_are_loaded_seldom_while_the_same_ones_wait() -> None:
    eight = farm(8)
    for number in range(20):
        eight.ask(f"user {number}", 100, f"model {number % 4}")
    eight.end()
    assert eight.loads <= 8 + 4 * 4


# ---- fairness


MANY = 2_000
FLOODS = {
    "in the class of the others": (4, ["m"], ["m"] * 7),
    "in a class of its own": (4, ["f"], ["m"] * 7),
    "in many classes": (4, [f"f{number}" for number in range(20)], ["m"] * 7),
    "in many classes of one backend": (1, [f"f{number}" for number in range(20)], ["m"]),
    "where each has a class": (10, [f"f{number}" for number in range(20)], [f"m{number}" for number in range(9)]),
}


@pytest.mark.parametrize("name", FLOODS)
def test_one_user_has_no_more_than_another_however_much_it_asks_for(name: str) -> None:
    backends, flood_keys, keys = FLOODS[name]
    some = farm(backends)
    floods = [some.ask("flood", MANY, key) for key in flood_keys]
    plain = [some.ask(f"user {number}", MANY, key) for number, key in enumerate(keys)]
    some.until(4_000.0)
    counts = [some.begun(*floods), *(some.begun(batch) for batch in plain)]
    assert max(counts) <= 1.3 * min(counts), counts


def test_who_waits_for_several_models_has_no_more_than_who_waits_for_one() -> None:
    two = farm(2)
    first, last = two.ask("areg", 1_000, "sdxl"), two.ask("ann", 1_000, "flux")
    both = [two.ask("mara", 1_000, "sdxl"), two.ask("mara", 1_000, "flux")]
    two.until(2_000.0)
    counts = [two.begun(first), two.begun(last), two.begun(*both)]
    assert max(counts) <= 1.1 * min(counts)


# ---- priorities


def test_what_is_urgent_breaks_a_quantum() -> None:
    one = farm(1)
    one.ask("areg", 100, "sdxl")
    one.until(50.0)
    urgent = one.ask("areg", 1, "flux", priority=HIGH)
    one.end()
    assert one.waited_s(urgent) <= 2 * TAKES_S + LOAD_S


def test_what_is_urgent_is_left_to_the_backends_that_have_its_models() -> None:
    three = farm(3)
    three.ask("areg", 100, "sdxl", backend="gpu0")
    three.ask("areg", 100, "flux", backend="gpu1")
    three.ask("areg", 100, "flux", backend="gpu2")
    three.until(60.0)
    loads = three.loads
    urgent = three.ask("mara", 2, "flux", priority=HIGH)
    three.until(80.0)
    assert three.begun(urgent) == 2
    assert three.loads == loads


def test_a_low_priority_comes_up_in_another_class_as_well() -> None:
    one = farm(1)
    for number in range(4):
        one.ask(f"user {number}", 1_000, "sdxl", priority=HIGH)
    low = one.ask("mara", 1, "flux", priority=LOW)
    one.end()
    assert one.waited_s(low) <= 2 * AGE_S + QUANTUM_S + 2 * TAKES_S + LOAD_S


# ---- nobody starves


def test_the_second_model_of_a_user_who_is_served_elsewhere_does_not_wait_for_ever() -> None:
    two = farm(2)
    two.ask("areg", 1_000, "flux", backend="gpu1")
    for number in range(12):
        two.ask(f"user {number}", 1_000, "sdxl", backend="gpu0")
    two.until(1_000.0)
    second = two.ask("areg", 1, "qwen", backend="gpu0")
    two.until(3_000.0)
    assert QUANTUM_S < two.waited_s(second) <= AGE_S + QUANTUM_S + 2 * TAKES_S + LOAD_S


def test_in_one_class_a_user_who_is_served_elsewhere_does_not_wait_for_ever() -> None:
    two = Farm({"slow": TAKES_S, "fast": 0.1}, load_s=0.0)
    two.ask("areg", 20_000, "flux", backend="fast")
    for number in range(3):
        two.ask(f"user {number}", 1_000, "sdxl", backend="slow")
    two.until(100.0)
    others = two.ask("areg", 5, "sdxl", backend="slow")
    two.until(100.0 + 5 * 4 * 4 * TAKES_S)
    assert two.begun(others) == 5


def test_strangers_who_never_end_do_not_keep_out_who_waits() -> None:
    one = Farm({"gpu0": TAKES_S}, load_s=0.0)
    areg = one.ask("areg", 20)
    for number in range(400):
        one.ask(f"stranger {number}")
        one.until(one.now_s + TAKES_S)
    assert one.begun(areg) >= 15
