"""`doctor` as it is typed: what a person sees, what a script gets, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyledger.cli.base import FOUND
from comfyledger.comfyui.object_info import read_object_info
from comfyledger.maintenance import saved_checks
from comfyledger.maintenance.doctor import run as inspect
from comfyledger.maintenance.doctor.judge import Diagnosis
from support.ports import closed_port
from support.ui_documents import CLASSES, document, node, node_class

GOOD = Diagnosis("disk spool", "ok", "There is room.")
FREE = Diagnosis("output", "ok", "Files stay for ever.", "output_dir")
LOW = Diagnosis("clock", "warning", "It \x1b[31mdiffers.", "timedatectl set-ntp true")
BAD = Diagnosis("token", "failure", "Others can read it.", "chmod 600 token")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Nobody listens as ComfyUI, and at no other port."""
    path = tmp_path / "config.toml"
    path.write_text(f"[door]\nport = {closed_port()}\n[comfyui.main]\nurl = 'http://127.0.0.1:1'\n")
    return path


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the examination find this."""

    def says(*found: Diagnosis, lacking: Any = None) -> list[bool]:
        probed: list[bool] = []

        async def examine(*_: Any, probe: bool, **__: Any) -> inspect.Report:
            probed.append(probe)
            return inspect.Report(found, lacking=lacking or {})

        monkeypatch.setattr(inspect, "examine", examine)
        return probed

    return says


@pytest.mark.parametrize(
    ("found", "code", "last"),
    [
        ((GOOD,), 0, "Everything is well."),
        ((GOOD, LOW), 0, "It works; see the warnings."),
        ((BAD, GOOD, LOW), FOUND, "Something is broken; see the failures."),
    ],
)
def test_only_a_failure_ends_with_6(run: Any, says: Any, found: Any, code: int, last: str) -> None:
    says(*found)
    result = run("doctor")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (code, last)


def test_each_diagnosis_is_one_clean_line_with_its_remedy(run: Any, says: Any) -> None:
    says(GOOD, FREE, LOW, BAD)
    assert run("doctor").stdout.splitlines()[:4] == [
        "ok       disk spool  There is room.",
        "ok       output      Files stay for ever. To change that: output_dir",
        "warning  clock       It \\x1b[31mdiffers. Fix: timedatectl set-ntp true",
        "failure  token       Others can read it. Fix: chmod 600 token",
    ]


def test_json_has_area_verdict_sentence_and_mend(run: Any, says: Any) -> None:
    says(GOOD, BAD)
    result = run("doctor", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["verdict"], result.stderr) == (FOUND, "failure", "")
    assert said["diagnoses"] == [
        {"area": "disk spool", "verdict": "ok", "sentence": "There is room.", "mend": ""},
        {"area": "token", "verdict": "failure", "sentence": "Others can read it.", "mend": "chmod 600 token"},
    ]


def test_which_workflow_fits_where_is_a_table_while_there_is_room(run: Any, says: Any) -> None:
    lacking = {"portrait": {"small": ["a", "b"], "big": []}, "film": {"small": [], "big": ["c"]}}
    says(GOOD, lacking=lacking)
    lines = run("doctor").stdout.splitlines()
    assert lines[-5:-2] == ["WORKFLOW  small    big", "portrait  lacks 2  fits", "film      fits     lacks 1"]
    assert json.loads(run("doctor", "--json").stdout)["lacking"] == lacking
    says(GOOD, lacking={"portrait": {f"gpu-{n}": [] for n in range(7)}})
    assert "WORKFLOW" not in run("doctor").stdout


def test_comfyui_is_probed_only_if_told_so(run: Any, says: Any) -> None:
    probed = says(GOOD)
    run("doctor")
    run("doctor", "--probe-comfyui")
    assert probed == [False, True]


def test_a_whole_look_needs_no_daemon_and_makes_no_noise(run: Any, config: Path) -> None:
    result = run("doctor", "--config", str(config), "--json")
    bad = {one["area"]: one["verdict"] for one in json.loads(result.stdout)["diagnoses"] if one["verdict"] != "ok"}
    assert bad == {"comfyui main": "failure", "daemon": "warning"}
    assert (result.exit_code, result.stderr) == (FOUND, "")


def test_a_configuration_that_cannot_be_used_is_a_line_among_others(run: Any, config: Path) -> None:
    config.write_text("[dor]\n")
    result = run("doctor", "--config", str(config))
    assert result.exit_code == FOUND
    lines = result.stdout.splitlines()
    assert lines[0].startswith("failure  configuration")
    assert "Did you mean `door`?" in lines[0]
    assert [line.split()[1] for line in lines[1:-1]] == ["SQLite", "plugins"]


def test_a_broken_workflow_is_a_failure_and_the_others_are_checked(
    run: Any, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    classes = {"Blank": node_class({"width": ["INT", {}]}, "IMAGE"), "SaveImage": CLASSES["Save"]}

    async def examine(_: Any, graphs: Any, *__: Any, drafts: Any, **___: Any) -> inspect.Report:
        seen.extend(graphs)
        body = json.dumps(classes).encode()
        drawn = [await drafts["drawn"](body, read_object_info(body, "digest")) for _ in range(2)]
        assert drawn[0] is drawn[1], "it was converted twice"
        seen.extend(node["class_type"] for node in drawn[0].graph.values())
        return inspect.Report((GOOD,))

    monkeypatch.setattr(inspect, "examine", examine)
    more = "[workflows.empty-image]\nfile = 'sample:empty-image'\n[workflows.lost]\nfile = 'lost.json'\n"
    save = node(2, "SaveImage", ["x"], links={"images": 1})
    said = document(node(1, "Blank", [8]), save, links=[[1, 1, 0, 2, 0, "IMAGE"]])
    (config.parent / "drawn.json").write_text(json.dumps(said))
    config.write_text(config.read_text() + more + "[workflows.drawn]\nfile = 'drawn.json'\n")
    result = run("doctor", "--config", str(config))
    assert (result.exit_code, seen) == (FOUND, ["empty-image", "Blank", "SaveImage"])
    assert "[workflows.lost]" in result.stdout.splitlines()[0]


HANGING = """
import sys, threading
from comfyledger.maintenance.doctor import machine, run
from comfyledger.cli.main import cli
run.CHECK_S = 0.2
never = threading.Event()

def hang(path):
    threading.Thread(target=never.wait, daemon=False).start()  # a plugin's thread, which Python would wait for
    never.wait()

machine.disk = hang
cli(sys.argv[1:])
"""


def test_a_thread_that_never_ends_does_not_keep_the_command(tmp_path: Path, config: Path) -> None:
    words = ["--state-dir", str(tmp_path), "doctor", "--config", str(config)]
    ended = subprocess.run(
        [sys.executable, "-c", HANGING, *words], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == FOUND
    assert ended.stdout.splitlines()[-1] == "Something is broken; see the failures."
    assert "did not answer within 0.2 s" in ended.stdout


def test_help_says_that_nothing_is_changed(run: Any) -> None:
    assert "Changes nothing" in run("doctor", "--help").stdout


def test_the_result_is_kept_for_the_daemon_without_secrets(run: Any, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("http://", "http://me:hush@"))
    run("doctor", "--config", str(config))
    (kept,) = saved_checks.load(tmp_path)
    assert (kept.kind, kept.ok) == ("doctor", False)
    assert {one.level for one in kept.findings} == {"ok", "warning", "failure"}
    assert "hush" not in str(kept)
