"""What the doctor counts of input files: those that the ledger knows, strange ones, and owed removals."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from comfyledger.core.commands import ForgetInput
from comfyledger.core.reports import InputGone
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.doctor.inputs import inputs
from comfyledger.maintenance.doctor.judge import InputsSeen, of_inputs
from support.core_builders import adding, name_of, sending
from support.ledger_builders import raw, take

NAMES = [f"{number:064x}" for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inputs"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that knows two inputs: one is at two ComfyUIs, and the other one is forgotten."""
    ledger = Ledger.open(tmp_path / "ledger.db")
    take(ledger, adding(NAMES[0]), sending(NAMES[0]), adding(NAMES[1]), sending(NAMES[1]), sending(NAMES[1], "old"))
    take(ledger, ForgetInput("app", NAMES[1]), InputGone(NAMES[1], ""), InputGone(NAMES[1], "main", name_of(NAMES[1])))
    ledger.close()
    return tmp_path / "ledger.db"


def lay(folder: Path, name: str, *, is_old: bool = True) -> None:
    path = folder / name[:2] / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")
    if is_old:
        os.utime(path, (0, 0))


def test_inputs_are_counted_with_what_is_strange_and_what_is_owed(path: Path, folder: Path) -> None:
    lay(folder, NAMES[0])
    lay(folder, NAMES[1])
    lay(folder, NAMES[2], is_old=False)
    (folder / "notes.txt").write_text("x")
    assert inputs(path, folder, time.time()) == InputsSeen(1, 10, 1, {"old": 1})


def test_a_folder_that_is_not_there_yet_has_nothing_strange(path: Path, folder: Path) -> None:
    assert inputs(path, folder, time.time()) == InputsSeen(1, 10, 0, {"old": 1})
    assert inputs(folder / "nowhere.db", folder, time.time()) == InputsSeen()


def test_a_ledger_without_inputs_says_nothing(path: Path, folder: Path) -> None:
    raw(path).execute("DROP TABLE inputs")
    assert inputs(path, folder, time.time()) is None
    path.write_bytes(b"no ledger" * 1000)
    assert inputs(path, folder, time.time()) is None


def test_a_folder_that_this_user_may_not_read_is_said_and_not_judged(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a member of the service's group, who may look at everything but pictures."""

    def refused(_: object) -> list[str]:
        raise PermissionError

    monkeypatch.setattr(os, "listdir", refused)
    seen = inputs(path, folder, time.time())
    assert seen == InputsSeen(1, 10, 0, {"old": 1}, is_readable=False)
    said = of_inputs(seen, 100, ["main", "old"])
    assert [(one.verdict, one.sentence[:40]) for one in said][1] == (
        *("warning", "The folder of inputs was not looked at: "),
    )
    assert of_inputs(InputsSeen(is_readable=False), 100, []) == []
