"""`systemd`: the units as shipped, as adapted to a machine, and which files are written and removed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comfyledger.cli import systemd_units
from comfyledger.cli.commands import systemd
from comfyledger.cli.main import cli
from comfyledger.settings import load

ROOT = Path(__file__).parents[2]
SHIPPED = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "systemd").iterdir())}
SERVICES = ["comfyledger.service", "comfyledger-audit.service", "comfyledger-backup.service"]
analyze = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(analyze is None, reason="systemd-analyze is not installed; .ci/run installs it.")

Run = Callable[..., Result]


@pytest.fixture
def asked(tmp_path: Path) -> Run:
    def call(*words: str) -> Result:
        root = [] if words[0] == "print" else ["--root", str(tmp_path / "root")]
        return CliRunner().invoke(cli, ["systemd", *words, *root])

    return call


def written(tmp_path: Path) -> dict[str, str]:
    root = tmp_path / "root"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def place(tmp_path: Path, config: str = "", systemd_version: int | None = 257) -> systemd_units.Place:
    path = tmp_path / "config.toml"
    path.write_text(config)
    found = load(path, None if "state_dir" in config else systemd_units.STATE)
    return systemd_units.place_of(
        found, Path("/opt/comfyledger/bin/comfyledger"), [Path("/opt/comfyledger")], systemd_version
    )


def line(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


# ---- what is shipped


def test_every_file_that_is_shipped_is_found_and_has_its_place() -> None:
    assert (
        {path.name for path in systemd.unit_files()}
        == set(SHIPPED)
        == {
            *SERVICES,
            *("comfyledger-audit.timer", "comfyledger-backup.timer", "comfyledger.sysusers", "comfyledger.tmpfiles"),
        }
    )


def test_what_is_shipped_is_what_is_made_for_the_place_that_it_names(tmp_path: Path) -> None:
    there = place(tmp_path)
    for name in SERVICES:
        made = systemd_units.rendered(name, SHIPPED[name], there)
        config = str(tmp_path / "config.toml")
        assert (
            made.replace(config, "/etc/comfyledger/config.toml").replace("=-/var", "=/var").replace(" -/var", " /var")
            == SHIPPED[name]
        )


@needs_systemd
@pytest.mark.parametrize("name", [name for name in SHIPPED if name.endswith(("service", "timer"))])
def test_systemd_finds_nothing_to_say_against_a_unit(name: str, tmp_path: Path, asked: Run) -> None:
    assert asked("install").exit_code == 0
    unit = tmp_path / "root" / "etc" / "systemd" / "system" / name
    found = subprocess.run([str(analyze), "verify", unit], capture_output=True, text=True, check=False)
    about_us = [said for said in (found.stdout + found.stderr).splitlines() if "comfyledger" in said]
    assert (found.returncode, about_us) == (0, [])


@needs_systemd
@pytest.mark.parametrize(("name", "most"), [(SERVICES[0], 1.5), (SERVICES[1], 0.5), (SERVICES[2], 0.5)])
def test_little_is_exposed(name: str, most: float, tmp_path: Path, asked: Run) -> None:
    assert asked("install").exit_code == 0
    unit = tmp_path / "root" / "etc" / "systemd" / "system" / name
    # The threshold is in tenths.
    judged = [str(analyze), "security", "--offline=true", f"--threshold={int(most * 10)}", unit]
    found = subprocess.run(judged, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:]


# ---- as they are made


def test_no_unit_names_a_setting_that_this_systemd_does_not_know(tmp_path: Path) -> None:
    text = SHIPPED["comfyledger.service"]
    assert line(systemd_units.rendered("comfyledger.service", text, place(tmp_path, "", 252)), "RestartSteps") == []
    for version in (254, None):
        assert line(
            systemd_units.rendered("comfyledger.service", text, place(tmp_path, "", version)), "RestartSteps"
        ) == ["8"]


def test_only_the_daemon_may_write_outside_the_ledgers_folder(tmp_path: Path) -> None:
    config = """
        [door]
        unix_path = "/run/apps/door.sock"
        [ledger]
        path = "/srv/ledger/ledger.db"
        [spool]
        path = "/var/lib/comfyledger/spool"
        [inputs]
        path = "/srv/inputs"
        [comfyui.main]
        output_dir = "/srv/comfyui/output"
        input_dir = "/srv/comfyui/input"
        [stores.disk]
        kind = "folder"
        root = "/mnt/my images"
    """
    there = place(tmp_path, config)
    made = {name: systemd_units.rendered(name, text, there) for name, text in SHIPPED.items()}
    outside = '-/srv/ledger -/srv/inputs "-/mnt/my images" -/run/apps -/srv/comfyui/output -/srv/comfyui/input'
    assert line(made["comfyledger.service"], "ReadWritePaths") == [f"-/var/lib/comfyledger {outside}"]
    assert line(made["comfyledger-audit.service"], "ReadWritePaths") == ["-/var/lib/comfyledger -/srv/ledger"]
    assert line(made["comfyledger-backup.service"], "ReadWritePaths") == [
        "-/var/lib/comfyledger -/srv/ledger -/var/lib/comfyledger-backups"
    ]
    readable, beside = line(made["comfyledger.service"], "ExecStartPost")
    assert readable.endswith("token /srv/ledger/ledger.db")
    assert beside.endswith(" g+r /srv/ledger/ledger.db-wal /srv/ledger/ledger.db-shm /srv/ledger/ledger.db.mark")
    folders = made["comfyledger.tmpfiles"].removeprefix(SHIPPED["comfyledger.tmpfiles"]).splitlines()
    owned = ":0750 :comfyledger :comfyledger -"
    assert folders == [f"d {one} {owned}" for one in ("/srv/ledger", "/srv/inputs", '"/mnt/my images"', "/run/apps")], (
        "ComfyUI's folder is not ours to make"
    )


def test_of_homes_only_what_is_needed_is_seen(tmp_path: Path) -> None:
    found = load(None, Path("/home/areg/state"))
    there = systemd_units.place_of(
        found, Path("/home/areg/venv/bin/comfyledger"), [Path("/home/areg/venv"), Path("/usr")], 257
    )
    made = systemd_units.rendered("comfyledger.service", SHIPPED["comfyledger.service"], there)
    assert line(made, "ProtectHome") == ["tmpfs"]
    assert line(made, "BindReadOnlyPaths") == ["-/home/areg/venv"]
    assert line(made, "BindPaths") == ["-/home/areg/state"]
    folders = systemd_units.rendered("comfyledger.tmpfiles", SHIPPED["comfyledger.tmpfiles"], there)
    assert folders == SHIPPED["comfyledger.tmpfiles"], "nothing is made in a home"
    assert line(made, "ExecStart") == ["/home/areg/venv/bin/comfyledger run"], "without a file the defaults hold"
    assert "COMFYLEDGER_STATE_DIR=/home/areg/state" in line(made, "Environment")


def test_no_path_becomes_a_second_word_a_specifier_or_a_variable() -> None:
    assert systemd_units.word("/srv/100%") == "/srv/100%%"
    assert systemd_units.word('/srv/a "b"\\') == '"/srv/a \\"b\\"\\\\"'
    assert systemd_units._command(["/srv/$HOME/x"]) == "/srv/$$HOME/x"


def test_the_state_folder_of_the_configuration_takes_precedence(tmp_path: Path, asked: Run) -> None:
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "/srv/state"')
    said = asked("print", "--config", str(config)).stdout
    assert "Environment=COMFYLEDGER_STATE_DIR=/srv/state" in said
    assert f"ExecStart={Path(sys.executable).with_name('comfyledger')} run --config {config}" in said


def test_without_a_configuration_the_units_use_the_state_folder_of_systemd(
    asked: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", "/home/areg/state")
    monkeypatch.setenv("COMFYLEDGER_SPOOL__PATH", "/home/areg/spool")
    said = asked("print").stdout
    assert "Environment=COMFYLEDGER_STATE_DIR=/var/lib/comfyledger\n" in said
    assert "/home/areg" not in said


# ---- what is written and removed


def test_what_is_installed_is_what_is_printed_and_is_gone_after(tmp_path: Path, asked: Run) -> None:
    said = asked("install")
    assert said.exit_code == 0, said.output
    there = written(tmp_path)
    assert len(there) == len(SHIPPED)
    printed = asked("print").stdout
    for target, text in there.items():
        assert f"# /{target}\n{text.partition(chr(10))[2]}" in printed
    assert asked("install").exit_code == 0, "once more"
    assert written(tmp_path) == there
    assert asked("uninstall").exit_code == 0
    assert written(tmp_path) == {}


def test_a_dry_run_changes_nothing_and_names_every_file(tmp_path: Path, asked: Run) -> None:
    assert asked("install", "--dry-run").stdout.count("would write") == len(SHIPPED)
    assert written(tmp_path) == {}
    asked("install")
    there = written(tmp_path)
    assert asked("uninstall", "--dry-run").stdout.count("would remove") == len(SHIPPED)
    assert written(tmp_path) == there


def test_a_file_that_somebody_changed_is_neither_replaced_nor_removed(tmp_path: Path, asked: Run) -> None:
    asked("install")
    changed = tmp_path / "root" / "etc" / "systemd" / "system" / "comfyledger.service"
    changed.write_text(changed.read_text() + "# mine\n")
    foreign = tmp_path / "root" / "etc" / "sysusers.d" / "comfyledger.conf"
    foreign.write_text("# foreign\n")
    before = written(tmp_path)
    refused = asked("install")
    assert refused.exit_code == 1
    assert str(changed) in refused.output
    assert str(foreign) in refused.output
    assert written(tmp_path) == before
    assert asked("uninstall").exit_code == 0
    assert set(written(tmp_path)) == {"etc/systemd/system/comfyledger.service", "etc/sysusers.d/comfyledger.conf"}


def test_a_configuration_that_cannot_be_used_installs_nothing(tmp_path: Path, asked: Run) -> None:
    config = tmp_path / "config.toml"
    config.write_text("levle = 1")
    assert asked("install", "--config", str(config)).exit_code == 1
    assert written(tmp_path) == {}
