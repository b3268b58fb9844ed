"""What is owed is started, also after a start; a worker that dies is logged and its work is owed again."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from comfyledger.core.commands import CancelBatch
from comfyledger.core.reports import LaneStuck, LaneWorks, PromptWasAccepted, SubmitIntended
from comfyledger.core.scheduling.effects import Effect
from support.ledger_builders import submission
from support.waiting import until


def kinds(rig: Any) -> list[str]:
    return [effect.kind for effect in rig.effects]


async def test_a_batch_is_owed_as_soon_as_it_is_durable(rig: Any) -> None:
    await rig.submit(submission("r1"))
    await until(lambda: len(rig.effects) == 3)
    assert [effect.key for effect in rig.effects] == [("submit", "batch-app-r1", n, 1) for n in (1, 2, 3)]


async def test_a_start_goes_on_with_what_was_owed_before(make: Any) -> None:
    before = make()
    before.start()
    await before.submit(submission("r1", quantity=2))
    await before.engine.report(SubmitIntended("batch-app-r1", 1, 1, "main"))
    await before.engine.report(PromptWasAccepted("batch-app-r1", 1, 1))
    await before.close()
    after = make()
    after.start()
    await until(lambda: len(after.effects) == 2)
    assert sorted(effect.key for effect in after.effects) == [
        ("follow", "batch-app-r1", 1, 1),
        ("submit", "batch-app-r1", 2, 1),
    ]


async def test_what_is_open_is_seen_before_the_loop_runs_and_is_loaded_once(make: Any) -> None:
    """The door opens before the loop runs, and whoever comes in may ask at once."""
    before = make()
    before.start()
    await before.submit(submission("r1", quantity=2))
    await before.close()
    after = make()
    await after.engine.load()
    assert after.engine.view.batch("batch-app-r1").batch_id == "batch-app-r1"
    counts = after.engine.view.open_counts()
    after.start()
    await until(lambda: len(after.effects) == 2)
    assert after.engine.view.open_counts() == {**counts, "running": 2}


async def test_a_backend_that_comes_has_work_at_once(rig: Any) -> None:
    await rig.submit(submission("r1", quantity=9))
    await until(lambda: len(rig.effects) == 3)
    rig.engine.set_backends({"main": 3, "more": 2}, {}, {})
    await until(lambda: len(rig.effects) == 5)
    assert {effect.lane for effect in rig.effects[3:]} == {"backend/more"}


async def test_a_worker_that_dies_is_logged_and_its_work_retried_with_back_off(rig: Any) -> None:
    async def die(effect: Effect) -> None:
        if effect.kind == "follow":
            raise ZeroDivisionError

    rig.perform = die
    with capture_logs() as logs:
        await rig.submit(submission("r1", quantity=1))
        await until(lambda: kinds(rig) == ["submit"])
        await rig.engine.report(SubmitIntended("batch-app-r1", 1, 1, "main"))
        await rig.engine.report(PromptWasAccepted("batch-app-r1", 1, 1))
        await until(lambda: kinds(rig).count("follow") == 1)
        for times, delay_ms in ((1, 1_000), (2, 2_000), (3, 4_000)):
            rig.now_ms += delay_ms - 1
            rig.poke()
            await rig.engine.report(LaneWorks("nobody's lane"))
            assert kinds(rig).count("follow") == times
            rig.now_ms += 1
            rig.poke()
            await until(lambda times=times: kinds(rig).count("follow") == times + 1)  # type: ignore[misc]
    died = [entry for entry in logs if entry["event"] == "effect.died"]
    assert [entry["effect"] for entry in died] == [["follow", "batch-app-r1", 1, 1]] * 4


async def test_what_becomes_due_between_looking_and_waiting_is_not_slept_through(rig: Any) -> None:
    """The clock goes on after the engine has looked: it was not due yet, and is over by the time of the wait."""
    tries: list[int] = []

    async def stuck(effect: Effect) -> None:
        tries.append(rig.now_ms)
        await rig.engine.report(LaneStuck(effect.lane, "not_reached"))

    rig.perform = stuck
    await rig.submit(submission("r1", quantity=1))
    await until(lambda: tries and (rig.engine._state.owed.wake_at_ms(rig.now_ms) or 0) > rig.now_ms)
    due = rig.engine._state.owed.wake_at_ms(rig.now_ms)
    look = rig.engine._state.owed.take

    def look_just_before_it_is_due(now_ms: int) -> Any:
        found = look(now_ms)
        rig.now_ms = max(rig.now_ms, due + 1)
        return found

    rig.engine._state.owed.take = look_just_before_it_is_due
    rig.now_ms = due - 1
    rig.poke()
    await until(lambda: len(tries) == 2)


async def test_an_effect_is_never_under_way_twice(rig: Any) -> None:
    await rig.submit(submission("r1", quantity=2))
    await until(lambda: len(rig.effects) == 2)
    for _ in range(5):
        rig.now_ms += 100_000
        rig.poke()
        await rig.engine.report(LaneWorks("nobody's lane"))
    assert len(rig.effects) == 2


async def test_memory_holds_open_work_only(rig: Any) -> None:
    for n in range(20):
        await rig.submit(submission(f"r{n}"))
        await rig.engine.command(CancelBatch("app", f"batch-app-r{n}"))
    open_counts = rig.engine.view.open_counts()
    assert (open_counts["batches"], open_counts["prompts"], open_counts["uploads"]) == (0, 0, 0)
    assert rig.engine.view.questions == {}
    assert len(rig.engine._state.tail) <= rig.engine.view.position
