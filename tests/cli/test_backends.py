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
GOOD = wire.BackendInfo(
    "big",
    "http://big:8188",
    True,
    "0.29.0",
    node_classes=946,
    work=WORK,
    fits=["portrait", "upscale"],
    lacks={"film": "1 mistake. Node 3 (WanVideoSampler): This ComfyUI does not have the class."},
)
AWAY = wire.BackendInfo(
    "small", "http://small:8188", False, state="away", problem="not_reached: refused", work=wire.BackendWork(2)
)
EMPTY = replace(GOOD, state="paused", work=wire.BackendWork(2))
FETCHING = replace(GOOD, state="draining", work=wire.BackendWork(2, fetching=1))
DRAINING = replace(GOOD, state="draining")
LEFT = replace(GOOD, state="draining", problem="not_reached", work=wire.BackendWork(2, strays=2))


def info(*backends: wire.BackendInfo) -> wire.Info:
    return wire.Info("0.1.0", 1, "l1", "e1", 9, False, 60, {}, [], [], list(backends), [], [])


def test_backends_are_a_table_of_80_columns_with_reasons_below(door: Any, run: Any) -> None:
    door.answers["server_info"] = info(replace(GOOD, name="workshop-a100"), AWAY, replace(GOOD, name="x", work=None))
    lines = run("backends").stdout.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["workshop-a100", "connected", "0.29.0", "2/3", "1", "1", "1,412", "288"],
        ["small", "away", "?", "?", "0", "0", "0", "0"],
        ["x", "connected", "0.29.0", "2/3", "?", "?", "?", "?"],
    ]
    assert lines[4:] == ["small: not_reached: refused (http://small:8188)"]
    assert max(map(len, lines)) <= 80


def test_tags_and_warm_models_are_a_table_of_their_own_where_there_are_any(door: Any, run: Any) -> None:
    warm = replace(GOOD, tags=["48gb", "flux"], warm=["ae.safetensors", "flux1-dev.safetensors"])
    door.answers["server_info"] = info(warm, replace(AWAY, tags=["flux"]), replace(GOOD, name="plain", warm=[]))
    lines = run("backends").stdout.splitlines()
    assert lines[5:9] == [
        "",
        "COMFYUI  TAGS        WARM MODELS",
        "big      48gb, flux  ae.safetensors, flux1-dev.safetensors",
        "small    flux        ?",
    ]


def test_one_backend_is_shown_with_what_fits_and_what_the_others_lack(door: Any, run: Any) -> None:
    door.answers["server_info"] = info(AWAY, replace(GOOD, warm=["flux1-dev.safetensors"]))
    lines = run("backends", "big").stdout.splitlines()
    assert door.requests("server_info") == [{"fits": True}]
    facts = dict(line.split(maxsplit=1) for line in lines if line.startswith(("fits", "version", "ended")))
    assert facts == {
        "fits": "portrait, upscale",
        "version": "0.29.0, 946 node classes",
        "ended": "1,412 finished, 1 failed since the daemon's start",
    }
    assert lines[-2:] == [
        "DOES NOT FIT  WHY",
        "film          1 mistake. Node 3 (WanVideoSampler): This ComfyUI does not have the class.",
    ]
    assert "DOES NOT FIT" not in run("backends", "small").stdout
    assert json.loads(run("backends", "big", "--json").stdout)["fits"] == ["portrait", "upscale"]
    gone = run("backends", "gone")
    assert (gone.exit_code, "Known: small, big." in gone.stderr) == (base.REFUSED, True)


def test_what_waits_is_below_the_table_with_how_many_are_wanted(door: Any, run: Any) -> None:
    demand = [
        wire.DemandInfo("48gb+flux", ["48gb", "flux"], "", 380, 4, 1_900.0, 32),
        wire.DemandInfo("any", [], "", 1, 0, None, 1),
        wire.DemandInfo("backend:big", [], "big", 0, 1, 0.0, 1),
    ]
    door.answers["server_info"] = replace(info(GOOD), demand=demand)
    assert run("backends").stdout.splitlines()[2:] == [
        "",
        "380 prompts wait for 48gb+flux: about 31 min 40 s of work, 32 ComfyUIs wanted.",
        "1 prompt waits: of unknown length, 1 ComfyUI wanted.",
    ]


def test_backends_as_json_are_those_of_the_wire(door: Any, run: Any) -> None:
    demand = [wire.DemandInfo("any", [], "", 9, 2, 45.0, 1)]
    door.answers["server_info"] = replace(info(GOOD), demand=demand)
    said = json.loads(run("backends", "--json").stdout)
    (found,) = said["backends"]
    assert (found["name"], found["work"]["running"], found["work"]["images_per_hour"]) == ("big", 1, 288.4)
    assert [(one["needs"], one["queued_s"], one["backends_wanted"]) for one in said["demand"]] == [("any", 45.0, 1)]


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


def test_move_says_how_many_left_and_how_many_stay_and_why(door: Any, run: Any) -> None:
    door.answers |= {"move": wire.Moved(2, {"pinned": 1}, "1 prompt may go nowhere else."), "server_info": info(LEFT)}
    result = run("move", "backend:big")
    assert door.requests("move") == [{"scope": "backend:big"}]
    assert result.stdout.splitlines() == [
        "2 prompts moved away from big, 1 still there.",
        "1 prompt may go nowhere else.",
    ]
    assert json.loads(run("move", "backend:big", "--json").stdout)["stays"] == {"pinned": 1}


def test_move_waits_until_what_was_left_behind_is_gone(door: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LOOK_EVERY_S", 0.0)
    shown = [LEFT, LEFT, EMPTY]
    door.answers |= {"move": wire.Moved(2), "server_info": lambda _: info(shown.pop(0))}
    result = run("move", "backend:big", "--wait")
    assert result.stdout.splitlines()[0] == "2 prompts moved away from big."
    assert result.stderr.splitlines() == ["big still has 2 prompts left behind there. not_reached"]
    assert shown == []


def test_only_a_backend_can_be_moved_away_from(door: Any, run: Any) -> None:
    assert run("move", "user:Areg").exit_code == base.USAGE
    assert door.requests("move") == []


def test_what_was_left_behind_is_shown_below_the_table(door: Any, run: Any) -> None:
    door.answers["server_info"] = info(GOOD, replace(LEFT, name="small"))
    assert "small: 2 prompts left behind there, which others got" in run("backends").stdout
    assert "2 left behind" in run("backends", "small").stdout


def test_what_waits_at_one_that_is_away_is_shown_with_the_command_or_the_time(door: Any, run: Any) -> None:
    waits = replace(AWAY, work=wire.BackendWork(2, waiting=2))
    door.answers |= {"list_batches": wire.Batches([], False), "server_info": info(GOOD, waits)}
    said = "small: 2 prompts there or on the way; with `comfyledger move backend:small` others get what they may take"
    assert said in run("backends").stdout
    assert said in run("status").stdout
    door.answers["server_info"] = info(GOOD, replace(waits, move_after_s=600.0))
    assert (
        "small: 2 prompts there or on the way; after 600 s of that others get what they may take"
        in run("backends").stdout
    )
    door.answers["server_info"] = info(waits)
    assert "2 prompts there" not in run("backends").stdout


@pytest.mark.parametrize(("scope", "code"), [("store:folder", base.USAGE), ("backend:gone", base.REFUSED)])
def test_only_a_backend_that_is_configured_can_be_drained(door: Any, run: Any, scope: str, code: int) -> None:
    door.answers |= {"pause": wire.ChangedCount(0), "server_info": info(GOOD)}
    assert run("drain", scope).exit_code == code
