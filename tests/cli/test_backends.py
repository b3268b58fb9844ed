"""`backends`, `drain`, and how `status` shows many ComfyUIs."""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.cli.commands import backends as commands

WORK = wire.BackendWork(2, 1, 1, 0, {"finished": 1412, "failed": 1}, 288.4)
GOOD = wire.BackendInfo("big", "http://big:8188", True, "0.29.0", node_classes=946, work=WORK)
AWAY = wire.BackendInfo(
    "small", "http://small:8188", False, state="away", problem="not_reached: refused", work=wire.BackendWork(2)
)
EMPTY = replace(GOOD, state="paused", work=wire.BackendWork(2))
FETCHING = replace(GOOD, state="draining", work=wire.BackendWork(2, fetching=1))
DRAINING = replace(GOOD, state="draining")


def info(*backends: wire.BackendInfo) -> wire.Info:
    return wire.Info("0.1.0", 1, "l1", "e1", 9, False, 60, {}, [], [], list(backends), [], [])


def test_backends_are_a_table_of_80_columns_with_reasons_below(door: Any, run: Any) -> None:
    door.answers["server_info"] = info(replace(GOOD, name="workshop-a100"), AWAY, replace(GOOD, name="x", work=None))
    lines = run("backends").stdout.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["workshop-a100", "connected", "0.29.0", "946", "1", "1", "1,412", "288"],
        ["small", "away", "?", "?", "0", "0", "0", "0"],
        ["x", "connected", "0.29.0", "946", "?", "?", "?", "?"],
    ]
    assert lines[4:] == ["small: not_reached: refused (http://small:8188)"]
    assert max(map(len, lines)) <= 80


def test_backends_as_json_are_those_of_the_wire(door: Any, run: Any) -> None:
    door.answers["server_info"] = info(GOOD)
    (found,) = json.loads(run("backends", "--json").stdout)["backends"]
    assert (found["name"], found["work"]["running"], found["work"]["images_per_hour"]) == ("big", 1, 288.4)


def test_status_counts_many_backends_and_lists_a_few(door: Any, run: Any) -> None:
    door.answers |= {"server_info": info(GOOD, AWAY), "list_batches": wire.Batches([], False)}
    assert "http://small:8188" in run("status").stdout
    door.answers["server_info"] = info(*[replace(GOOD, name=f"b{n}") for n in range(98)], AWAY, EMPTY)
    said = run("status").stdout
    assert "100 ComfyUIs: 98 connected, 1 away, 1 paused" in said
    assert "http://big:8188" not in said


def test_drain_pauses_and_says_what_is_left(door: Any, run: Any) -> None:
    door.answers |= {"pause": wire.ChangedCount(0), "server_info": info(DRAINING)}
    result = run("drain", "backend:big")
    assert door.requests("pause") == [{"scope": "backend:big"}]
    assert "It still has 1 prompt running, 1 prompt waiting;" in result.stdout
    door.answers["server_info"] = info(EMPTY)
    assert "has nothing of ours" in run("drain", "backend:big").stdout


def test_drain_waits_until_nothing_is_left_and_says_each_change_once(
    door: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LOOK_EVERY_S", 0.0)
    shown = [DRAINING, DRAINING, FETCHING, EMPTY]
    door.answers |= {"pause": wire.ChangedCount(0), "server_info": lambda _: info(shown.pop(0))}
    result = run("drain", "backend:big", "--wait")
    assert result.exit_code == base.DONE
    assert result.stderr.splitlines() == [
        "big still has 1 prompt running, 1 prompt waiting.",
        "big still has 1 prompt finished with files to fetch.",
    ]
    assert "big is paused and has nothing of ours." in result.stdout


def test_an_interrupted_drain_leaves_it_paused_and_says_so(door: Any, run: Any) -> None:
    def draining(_: Any) -> wire.Info:
        threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        return info(DRAINING)

    door.answers |= {"pause": wire.ChangedCount(0), "server_info": draining}
    result = run("drain", "backend:big", "--wait")
    assert result.exit_code == base.INTERRUPTED
    assert "big stays paused." in result.stderr
    assert door.requests("resume") == []


@pytest.mark.parametrize(("scope", "code"), [("store:folder", base.USAGE), ("backend:gone", base.REFUSED)])
def test_only_a_backend_that_is_configured_can_be_drained(door: Any, run: Any, scope: str, code: int) -> None:
    door.answers |= {"pause": wire.ChangedCount(0), "server_info": info(GOOD)}
    assert run("drain", scope).exit_code == code
