"""What is counted of each backend: how long it was busy, its changes of models, its strays, what it refuses."""

from __future__ import annotations

from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.fit import ALL_INPUTS
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary
from support.core_builders import accepted, finished, intended, left, submit
from support.farm import Farm
from support.plain_engine import PlainEngine


def of(farm: Farm) -> OpenWorkSummary:
    return farm.queue.add_to(OpenWorkSummary(), farm.now_ms, stopped=False)


def test_a_backend_is_busy_while_it_has_a_prompt_and_as_long_as_all_of_them_take() -> None:
    farm = Farm({"gpu": 10.0}, load_s=0.0)
    farm.ask("Areg", 3)
    assert of(farm.until(4.0)).busy_ms == {"gpu": 4_000}
    assert of(farm.until(25.0)).busy_ms == {"gpu": 25_000}
    assert of(farm.until(90.0)).busy_ms == {"gpu": 30_000}
    farm.ask("Areg", 1)
    assert of(farm.until(95.0)).busy_ms == {"gpu": 35_000}


def test_a_change_of_models_is_counted_and_the_first_ones_are_none() -> None:
    farm = Farm({"gpu": 10.0, "idle": 10.0}, load_s=0.0, limits=Limits(model_quantum_ms=0))
    farm.ask("Areg", 2, "sd15", backend="gpu")
    farm.until(30.0)
    assert of(farm).model_changes == {"gpu": 0, "idle": 0}
    farm.ask("Areg", 2, "flux", backend="gpu")
    farm.until(60.0)
    farm.ask("Areg", 1, "sd15", backend="gpu")
    assert of(farm).model_changes == {"gpu": 2, "idle": 0}


def test_what_a_backend_has_done_begins_anew_with_another_server_and_ends_with_it() -> None:
    farm = Farm({"gpu": 10.0, "other": 10.0}, load_s=0.0)
    farm.ask("Areg", 1, "sd15", backend="gpu")
    farm.until(10.0).ask("Areg", 1, "flux", backend="gpu")
    farm.until(20.0)
    farm.queue.set_backends({"gpu": 2}, ["gpu"], farm.now_ms)
    assert (of(farm).busy_ms, of(farm).model_changes) == ({"gpu": 0}, {"gpu": 0})


def test_attempts_that_were_left_behind_count_where_they_are() -> None:
    lived = PlainEngine(Limits({"main": 2, "other": 2})).given(submit("b1", 2), intended(1), accepted(1), left(1))
    assert lived.owed.standing(0).strays == {"main": 1}
    lived.given(intended(1, 2, backend="other"), accepted(1, 2), finished(1, 2))
    assert lived.owed.standing(0).strays == {"main": 1}


def test_a_graph_that_a_backend_refuses_counts_once_whatever_its_inputs() -> None:
    lived = PlainEngine(Limits({"main": 2, "other": 2})).given(submit("b1", 2))
    template = lived.ledger.batch("b1").template
    for inputs in (ALL_INPUTS, "one", "two"):
        lived.owed.refuse("other", template, inputs, "It lacks a node.", 0)
    assert lived.owed.standing(0).unfit == {"other": 1}
    lived.owed.learned("other", 0)
    assert lived.owed.standing(0).unfit == {}
