"""What is said of a prompt at a ComfyUI that does not work, and of what was left behind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.rows import LaneRow, PromptRow, Stray
from comfyledger.core.scheduling.fit import Fit
from comfyledger.queries.move_reasons import left_behind, waits_there
from comfyledger.queries.reasons import Situation, owed
from queries.test_explain import BATCH, BATCH_ROW, PENDING, lanes, paused, troubled

AT_MAIN = PromptRow(BATCH, 2, (3,), 7, "main", state="accepted", attempt=1, prompt_id="p1")
BOTH = Fit({"main": (), "other": ()})
AWAY = lanes(troubled("backend/main"))
WAITS = "With move_after_s = 0 what was sent there waits for it; `comfyledger move backend:main` moves it."


def there(rows: dict[str, LaneRow] = AWAY, fit: Fit = BOTH, after_ms: int = 0, pin: str = "") -> Situation:
    return Situation(replace(BATCH_ROW, backend=pin), rows, fit=fit, move_after_ms={"main": after_ms})


MOVES: dict[str, tuple[PromptRow, Situation, str]] = {
    "with 0 it waits": (AT_MAIN, there(), WAITS),
    "its files wait, too": (replace(AT_MAIN, state="finished"), there(), WAITS),
    "after a time": (AT_MAIN, there(after_ms=600_000), "It moves to another ComfyUI once that has lasted 600 s."),
    "its user is paused": (
        *(AT_MAIN, there(lanes(troubled("backend/main"), paused("user/areg")), after_ms=1)),
        "It waits for it, because its batch or its user is paused; `comfyledger move backend:main` moves it.",
    ),
    "there is no other": (AT_MAIN, there(fit=Fit({"main": ()})), ""),
    "no other works": (
        *(AT_MAIN, there(lanes(troubled("backend/main"), troubled("backend/other")))),
        "No other ComfyUI that works may take it.",
    ),
    "everything is paused": (
        *(AT_MAIN, there(lanes(troubled("backend/main"), paused("everything")))),
        "No other ComfyUI that works may take it.",
    ),
    "it is pinned": (AT_MAIN, there(pin="main"), "The request names this ComfyUI, so it waits for it."),
    "a suspect": (
        *(replace(AT_MAIN, strikes=1), there(after_ms=1)),
        "It was running when a ComfyUI went away, so it goes to no other.",
    ),
    "it is being cancelled": (replace(AT_MAIN, state="cancelling"), there(), ""),
}


@pytest.mark.parametrize("case", MOVES)
def test_what_is_at_a_comfyui_that_does_not_work_moves_or_waits_and_that_is_said(case: str) -> None:
    prompt, situation, said = MOVES[case]
    text, command = waits_there(prompt, situation.places)
    assert text == said
    assert command == ("comfyledger move backend:main" if "`comfyledger move" in said else "")


def test_the_reason_names_the_comfyui_since_when_it_is_away_and_the_attempt() -> None:
    trouble, step = owed(PENDING, AT_MAIN, there())
    assert trouble.text.startswith("ComfyUI main does not work (not_reached).")
    assert trouble.text.endswith(WAITS)
    assert (trouble.command, trouble.lane, trouble.since_ms) == ("comfyledger move backend:main", "backend/main", 6)
    assert step.text == "It is queued or running at ComfyUI main (attempt 1, prompt id p1)."


def test_a_comfyui_that_works_is_not_talked_of() -> None:
    (step,) = owed(PENDING, AT_MAIN, there({}))
    assert (step.code, step.command) == ("at_comfyui", "")


def test_what_was_left_behind_is_named_with_where_it_is() -> None:
    prompt = replace(AT_MAIN, state="queued", strays=(Stray(1, "main", "p1"),))
    (said,) = left_behind(prompt, there().places)
    assert (said.code, said.lane, said.since_ms) == ("stray", "backend/main", 6)
    assert said.text.startswith("Attempt 1 was left behind at ComfyUI main. It is removed there once main works,")
    (said,) = left_behind(prompt, there({}).places)
    assert said.text.startswith("Attempt 1 was left behind at ComfyUI main. It is removed there, or used if")
    assert [one.code for one in owed(PENDING, prompt, there())] == ["turn", "stray"]


def test_a_suspect_that_waits_for_its_comfyui_is_said_to_go_to_no_other() -> None:
    struck = replace(AT_MAIN, state="queued", strikes=1)
    alone = next(one for one in owed(PENDING, struck, there()) if one.code == "alone")
    assert alone.text.endswith("so it runs alone, after all others. It goes to no other than main.")
    (alone,) = owed(PENDING, struck, there({}, Fit({"main": ()})))
    assert alone.text.endswith("so it runs alone, after all others.")
