"""What each fact means to the doctor: given facts, then verdicts and what mends them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.comfyui.answers import PromptAnswer, RefusalAnswer
from comfyledger.comfyui.graph.plan import Plan
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.naming.names import Templates
from comfyledger.maintenance.doctor import comfyui_judge as of_comfyui
from comfyledger.maintenance.doctor import judge
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.maintenance.doctor.run import Report

GIB = 2**30
DISK = judge.Disk("/srv/spool", exists=True, free=10 * GIB, file_system="ext4", can_write=True)
DAEMON = judge.DaemonSeen("http://127.0.0.1:9831")
LEDGER = judge.LedgerSeen("/state/ledger.db", position=7)
PROBE = of_comfyui.Probe("id", "id", ended="success", heard=True)
LOADER = of_comfyui.Planned(
    {
        "4": {"class_type": "Loader", "inputs": {"ckpt_name": "mine.safetensors"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
    },
    Plan("9", "9.filename_prefix", (), None, {}),
)


def verdicts(found: list[Diagnosis]) -> list[str]:
    return [one.verdict for one in found]


@pytest.mark.parametrize(
    ("version", "refused", "verdict", "word"),
    [
        ((3, 51, 3), "", "ok", "SQLite 3.51.3 accepts"),
        ((3, 40, 1), "", "ok", "let nothing else write"),
        ((3, 36, 0), "", "failure", "too old"),
        ((3, 51, 3), "no wal", "failure", "no wal"),
    ],
)
def test_sqlite_is_named_and_must_take_its_settings(version: Any, refused: str, verdict: str, word: str) -> None:
    (one,) = judge.of_sqlite(version, refused)
    assert one.verdict == verdict
    assert word in one.sentence


@pytest.mark.parametrize(
    ("changed", "verdict", "mend"),
    [
        ({}, "ok", ""),
        ({"exists": False}, "ok", ""),
        ({"problem": "It is another program's.", "hint": "[ledger] path"}, "failure", "[ledger] path"),
        ({"trouble": ("It is changed.", "comfyledger replay --rebuild")}, "failure", "comfyledger replay --rebuild"),
        ({"journal_mode": "delete"}, "warning", "restart the daemon, which sets it"),
    ],
)
def test_a_ledger_that_the_daemon_would_refuse_is_a_failure(changed: Any, verdict: str, mend: str) -> None:
    (one,) = judge.of_ledger(replace(LEDGER, **changed))
    assert (one.verdict, one.mend) == (verdict, mend)


@pytest.mark.parametrize(
    ("changed", "for_ledger", "for_spool"),
    [
        ({}, ["ok"], ["ok"]),
        ({"file_system": ""}, ["ok"], ["ok"]),
        ({"file_system": "nfs4", "network": "NFS"}, ["failure"], ["warning"]),
        ({"file_system": "fuse.sshfs"}, ["warning"], ["warning"]),
        ({"file_system": "9p"}, ["warning"], ["warning"]),
        ({"file_system": "fuse.ext4"}, ["ok"], ["ok"]),
        ({"free": 2 * GIB}, ["ok"], ["ok"]),
        ({"free": 2 * GIB - 1}, ["warning"], ["warning"]),
        ({"free": GIB}, ["warning"], ["warning"]),
        ({"free": GIB - 1}, ["failure"], ["failure"]),
        ({"can_write": False}, ["failure"], ["failure"]),
        ({"free": 0, "can_write": False, "network": "CIFS"}, ["failure"] * 3, ["warning", "failure", "failure"]),
    ],
)
def test_a_disk_is_local_roomy_and_writable(changed: Any, for_ledger: list[str], for_spool: list[str]) -> None:
    disk = replace(DISK, **changed)
    assert verdicts(judge.of_disk("ledger", disk, GIB, refuses_network=True)) == for_ledger
    found = judge.of_disk("spool", disk, GIB, refuses_network=False)
    assert verdicts(found) == for_spool
    assert all("[spool]" in one.mend for one in found if one.verdict != "ok")


@pytest.mark.parametrize(
    ("disk", "verdict"),
    [
        (None, "ok"),
        (DISK, "ok"),
        (replace(DISK, network="NFS"), "ok"),
        (replace(DISK, exists=False), "failure"),
        (replace(DISK, can_write=False), "failure"),
    ],
)
def test_an_output_folder_that_cannot_be_cleared_is_a_failure(disk: judge.Disk | None, verdict: str) -> None:
    (one,) = judge.of_output("main", disk)
    assert one.verdict == verdict


@pytest.mark.parametrize(
    ("disk", "verdict"),
    [(DISK, "ok"), (replace(DISK, exists=False), "failure"), (replace(DISK, can_write=False), "failure")],
)
def test_an_input_folder_where_nothing_can_be_deleted_is_a_failure(disk: judge.Disk, verdict: str) -> None:
    (one,) = judge.of_input("main", disk)
    assert (one.area, one.verdict) == ("input main", verdict)


@pytest.mark.parametrize(
    ("seen", "verdict", "words"),
    [
        (judge.InputsSeen(12, 3 * GIB), "ok", "12 input files take 3.00 GiB of the 20.00 GiB"),
        (judge.InputsSeen(1, 3, strange=2), "warning", "has 2 files that the ledger does not know"),
        (judge.InputsSeen(removals={"": 1}), "warning", "1 input files are still to be deleted here"),
        (judge.InputsSeen(removals={"main": 4}), "warning", "4 forgotten input files .* at the ComfyUI main."),
        (judge.InputsSeen(removals={"old": 4}), "warning", "at the ComfyUI old, which is not configured any more"),
    ],
)
def test_inputs_that_are_still_to_be_removed_are_told_with_the_place(
    seen: judge.InputsSeen, verdict: str, words: str
) -> None:
    *_, last = judge.of_inputs(seen, 20 * GIB, ["main"])
    assert (last.area, last.verdict) == ("inputs", verdict)
    assert re.search(words, last.sentence)


@pytest.mark.parametrize("seen", [None, judge.InputsSeen()])
def test_without_inputs_nothing_is_said_of_them(seen: judge.InputsSeen | None) -> None:
    assert judge.of_inputs(seen, GIB, ["main"]) == []


def test_one_series_for_all_media_is_remarked_and_is_no_fault() -> None:
    (one,) = judge.of_naming("{username}_{character}_image_{number}")
    assert (one.verdict, "[naming] file" in one.mend) == ("ok", True)
    assert judge.of_naming(Templates().file) == []


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (judge.Clock(0.0), ["ok"]),
        (judge.Clock(0.4, {"x": 4.9}, 59.0), ["ok"]),
        (judge.Clock(-0.5), ["warning"]),
        (judge.Clock(0.0, {"x": -5.0}), ["warning"]),
        (judge.Clock(0.0, {"x": 5.0, "y": None, "z": 0.0, "w": -9.0}), ["warning", "warning"]),
        (judge.Clock(0.0, {"x": 5.0}, 60.0), ["warning", "warning"]),
        (judge.Clock(0.0, {"x": 0.0}, -1e9), ["ok"]),
    ],
)
def test_a_clock_that_jumps_differs_or_went_back_is_a_warning(clock: judge.Clock, expected: list[str]) -> None:
    assert verdicts(judge.of_clock(clock)) == expected


@pytest.mark.parametrize(
    ("changed", "expected", "word"),
    [
        ({}, ["warning"], "does not run"),
        ({"pid": 9}, ["warning"], "left over from process 9"),
        ({"pid": 9, "is_taken": True}, ["warning", "failure"], "left over"),
        ({"is_taken": True}, ["failure"], "Another program"),
        ({"pid": 9, "is_alive": True}, ["failure"], "does not answer"),
        ({"holder": 8}, ["warning"], "Process 8 holds the ledger"),
        ({"pid": 9, "is_alive": True, "version": "1.2"}, ["ok"], "version 1.2"),
        ({"version": "1.1"}, ["warning"], "runs version 1.1"),
        ({"version": "1.2", "lanes": {"store/x": "full"}, "is_full": True}, ["ok", "warning", "warning"], "answers"),
    ],
)
def test_a_daemon_answers_in_the_commands_own_version(changed: Any, expected: list[str], word: str) -> None:
    found = judge.of_daemon(replace(DAEMON, **changed), "1.2")
    assert verdicts(found) == expected
    assert word in found[0].sentence


def test_each_broken_plugin_is_a_failure_and_the_others_are_named() -> None:
    good, bad = judge.PluginSeen("folder", "f"), judge.PluginSeen("cloud", "c", "ImportError: no c")
    assert verdicts(judge.of_plugins([])) == ["failure"]
    assert verdicts(judge.of_plugins([good])) == ["ok"]
    failure, ok = judge.of_plugins([good, bad])
    assert (failure.verdict, ok.verdict, ok.sentence) == ("failure", "ok", "Loaded: folder.")
    assert "ImportError: no c" in failure.sentence


@pytest.mark.parametrize(
    ("expected", "found"), [("ok", []), ("ok", ["ok"]), ("warning", ["ok", "warning"]), ("failure", ["failure", "ok"])]
)
def test_the_whole_is_as_well_as_its_worst_part(expected: str, found: list[Any]) -> None:
    assert Report(tuple(Diagnosis("x", verdict, "") for verdict in found)).verdict == expected


# ---- ComfyUI


def test_a_comfyui_that_does_not_show_whether_it_uses_ids_is_a_warning() -> None:
    refusals = [RefusalAnswer(400, kind, "", "", ()) for kind in ("invalid_prompt_id", "prompt_no_outputs", "")]
    found = [of_comfyui.of_id("c", answer) for answer in (*refusals, PromptAnswer("x", 1, ()))]
    assert verdicts(found) == ["ok", "warning", "warning", "warning"]


def test_a_websocket_that_does_not_open_or_greet_is_a_failure() -> None:
    sockets = (of_comfyui.Socket(True), of_comfyui.Socket(False), of_comfyui.Socket(False, "HTTP 503"))
    assert verdicts([of_comfyui.of_socket("c", one) for one in sockets]) == ["ok", "failure", "failure"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["ok", "ok"]),
        ({"heard": False}, ["ok", "failure"]),
        ({"ended": "error"}, ["failure", "ok"]),
        ({"ended": "interrupted"}, ["failure", "ok"]),
        ({"ended": "gone", "heard": False}, ["failure", "failure"]),
        ({"ended": "waiting", "heard": False}, ["warning"]),
        ({"returned_id": "other"}, ["failure"]),
        ({"refused": "no"}, ["failure"]),
        ({"left": True}, ["ok", "ok", "warning"]),
    ],
)
def test_the_probe_is_known_by_our_id_heard_of_and_gone_again(changed: Any, expected: list[str]) -> None:
    assert verdicts(of_comfyui.of_probe("c", replace(PROBE, **changed))) == expected


SAVES = {"input": {"required": {"images": ["MODEL"]}}, "output_node": True}


def of_nodes(required: Any) -> list[Diagnosis]:
    """What is said of a loader whose description has these inputs."""
    info = ObjectInfo({"Loader": {"input": {"required": required}, "output": ["MODEL"]}, "SaveImage": SAVES}, "")
    return of_comfyui.of_nodes("c", "mine", LOADER, info)


@pytest.mark.parametrize(
    "offered", [[["a.safetensors"]], ["COMBO", {"options": ["a.safetensors"]}]], ids=["list", "COMBO"]
)
def test_a_model_that_comfyui_does_not_have_is_a_warning(offered: list[Any]) -> None:
    (one,) = of_nodes({"ckpt_name": offered})
    assert one.verdict == "warning"
    assert "Workflow mine: Node 4 (Loader): ckpt_name is 'mine.safetensors'" in one.sentence


def test_a_mistake_that_no_value_of_a_request_mends_is_a_failure() -> None:
    (one,) = of_nodes({"ckpt_name": ["STRING"], "more": ["INT"]})
    assert (one.verdict, "the required input more is missing" in one.sentence) == ("failure", True)


def test_the_first_of_many_mistakes_are_shown() -> None:
    found = of_nodes({str(n): ["INT"] for n in range(30)})
    assert len(found) == of_comfyui.MISTAKES_SHOWN + 1
    assert "20 other things" in found[-1].sentence


@pytest.mark.parametrize("required", [{"ckpt_name": [["mine.safetensors"]]}, {"ckpt_name": ["STRING", {}]}, {}, None])
def test_what_comfyui_offers_or_does_not_list_is_fine(required: Any) -> None:
    assert verdicts(of_nodes(required)) == ["ok"]


@pytest.mark.parametrize("described", [{"input": 3}, {}, None])
def test_a_class_that_comfyui_describes_in_a_strange_way_is_fine(described: Any) -> None:
    info = ObjectInfo({"Loader": described, "SaveImage": SAVES}, "")
    assert verdicts(of_comfyui.of_nodes("c", "mine", LOADER, info)) == ["ok"]


def test_a_missing_node_class_is_a_failure_that_names_node_and_workflow() -> None:
    (one,) = of_comfyui.of_nodes("c", "mine", LOADER, ObjectInfo({"SaveImage": SAVES}, ""))
    assert one.verdict == "failure"
    assert "Workflow mine: Node 4 (Loader): ComfyUI does not have this class" in one.sentence
    assert "[workflows.mine]" in one.mend
