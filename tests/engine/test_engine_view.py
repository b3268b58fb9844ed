"""The engine shows one read-only view of itself, and nothing outside reads or writes anything else of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import comfyledger
from comfyledger.engine import Engine, EngineView
from support.ledger_builders import submission

SOURCE = Path(comfyledger.__file__).parent
CALLS = {
    *("command", "report", "load", "run", "stop", "set_brake", "series_waiting"),
    *("look_for_lock", "probe_soon", "observe", "refuse", "learned", "set_backends"),
    *("catch_up", "caught_up", "joined"),
}
SHOWN = [name for name in vars(EngineView) if not name.startswith("_")]


def used_of_an_engine(tree: ast.AST) -> Iterator[str]:
    """The attributes that a module uses of what it calls `engine`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name.strip("_") == "engine":
                yield node.attr


def test_an_engine_has_calls_and_a_view_and_nothing_else(rig: Any) -> None:
    assert {name for name in vars(rig.engine) if not name.startswith("_")} == {"view"}
    assert {name for name, _ in inspect.getmembers(Engine) if not name.startswith("_")} == CALLS


def test_no_module_uses_more_of_an_engine() -> None:
    modules = [path for path in SOURCE.rglob("*.py") if path.parent != SOURCE / "engine"]
    used = {path.name: set(used_of_an_engine(ast.parse(path.read_text()))) for path in modules}
    assert sum(map(len, used.values())) > 5
    assert {name: more for name, names in used.items() if (more := names - CALLS - {"view"})} == {}


@pytest.mark.parametrize("name", SHOWN)
def test_nothing_can_be_written_through_the_view(rig: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(rig.engine.view, name, 1)


async def test_what_the_view_gives_out_is_a_copy(rig: Any) -> None:
    await rig.engine.command(submission("r1"))
    view = rig.engine.view
    lines = view.lines_after(0, 100)
    assert [line.position for line in lines] == list(range(1, view.position + 1))
    lines.clear()
    view.queued.clear()
    view.open_counts().clear()
    assert len(view.lines_after(0, 100)) == view.position
    assert view.open_counts()["batches"] == 1


async def test_lines_come_from_memory_as_long_as_it_has_the_first_of_them(rig: Any) -> None:
    for n in range(4):
        await rig.engine.command(submission(f"r{n}"))
    view, tail = rig.engine.view, rig.engine._state.tail
    assert [line.position for line in view.lines_after(1, 2)] == [2, 3]
    assert view.lines_after(view.position, 100) == []
    tail.popleft()
    tail.popleft()
    assert view.lines_after(1, 2) is None
    assert [line.position for line in view.lines_after(2, 1)] == [3]
