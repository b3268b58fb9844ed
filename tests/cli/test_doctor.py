"""`doctor` as it is typed: what a person sees, what a script gets, and how it ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyledger.cli.base import FOUND
from comfyledger.maintenance.doctor import run as inspect
from comfyledger.maintenance.doctor.judge import Diagnosis

GOOD = Diagnosis("disk spool", "ok", "There is room.")
FREE = Diagnosis("output", "ok", "Files stay for ever.", "output_dir")
LOW = Diagnosis("clock", "warning", "It \x1b[31mdiffers.", "timedatectl set-ntp true")
BAD = Diagnosis("token", "failure", "Others can read it.", "chmod 600 token")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Nobody listens as ComfyUI, and at no other port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "config.toml"
    path.write_text(f"[door]\nport = {port}\n[comfyui.main]\nurl = 'http://127.0.0.1:1'\n")
    return path


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the examination find this."""

    def says(*found: Diagnosis) -> list[bool]:
        probed: list[bool] = []

        async def examine(*_: Any, probe: bool) -> inspect.Report:
            probed.append(probe)
            return inspect.Report(found)

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

    async def examine(_: Any, graphs: Any, *__: Any, **___: Any) -> inspect.Report:
        seen.extend(graphs)
        return inspect.Report((GOOD,))

    monkeypatch.setattr(inspect, "examine", examine)
    more = "[workflows.empty-image]\nfile = 'sample:empty-image'\n[workflows.lost]\nfile = 'lost.json'\n"
    (config.parent / "drawn.json").write_text('{"nodes": [], "links": []}')
    config.write_text(config.read_text() + more + "[workflows.drawn]\nfile = 'drawn.json'\n")
    result = run("doctor", "--config", str(config))
    assert (result.exit_code, seen) == (FOUND, ["empty-image"])
    lost, drawn, *_ = result.stdout.splitlines()
    assert "[workflows.lost]" in lost
    assert drawn.startswith("ok ")
    assert "Workflow drawn is in the UI format." in drawn


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
