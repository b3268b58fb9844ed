"""Laws of saved checks: the last result is there for the daemon, and no disk keeps a command from ending."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfyledger import wire
from comfyledger.maintenance import saved_checks
from comfyledger.maintenance.audit.findings import Tally
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.wire.answers.checks import FINDINGS_MAX


def audited(*kinds: str, at_ms: int = 1) -> wire.CheckInfo:
    tally = Tally()
    for kind in kinds:
        tally.add(kind, "here", "It is wrong.")
    return saved_checks.of_audit("comfyledger audit", tally.kinds, at_ms, 1.23)


def test_the_last_result_of_each_command_is_what_is_loaded(tmp_path: Path) -> None:
    doctor = saved_checks.of_doctor("comfyledger doctor", [Diagnosis("clock", "ok", "It is right.")], 3, 0.5)
    for result in (audited("row_changed"), audited(at_ms=2), doctor):
        saved_checks.save(tmp_path, result)
    assert saved_checks.load(tmp_path) == [audited(at_ms=2), doctor]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_an_audit_counts_each_kind_with_its_first_example_and_remedy() -> None:
    found = audited("spool_missing", "spool_missing")
    assert (found.ok, found.took_s) == (False, 1.2)
    assert found.findings == [
        wire.CheckFinding("failure", "spool_missing (2): here: It is wrong.", "comfyledger recover --dry-run")
    ]


def test_a_result_is_bounded_and_keeps_what_is_worst() -> None:
    lines = [Diagnosis("a", "ok", "x" * 5_000, "y" * 5_000)] * 300 + [Diagnosis("b", "failure", "It is broken.")]
    found = saved_checks.of_doctor("comfyledger doctor", lines, 1, 1.0)
    assert (found.ok, found.findings[0].text, len(found.findings)) == (False, "b: It is broken.", FINDINGS_MAX)
    assert max(len(one.text) for one in found.findings) == saved_checks.TEXT_CHARS_MAX


@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_a_result_that_cannot_be_saved_is_no_trouble(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    saved_checks.save(tmp_path / folder, audited())
    assert saved_checks.load(tmp_path / folder) == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_never_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, end = os.pipe()
    monkeypatch.setattr(saved_checks, "SAVE_S", 0.01)
    monkeypatch.setattr(saved_checks, "write_whole", lambda *_: os.read(dead, 1))
    saved_checks.save(tmp_path, audited())
    os.close(end)
    assert saved_checks.load(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "audit"}', b" " * (saved_checks.FILE_BYTES_MAX + 1)])
def test_a_file_that_is_no_result_is_no_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last_audit.json").write_bytes(content)
    assert saved_checks.load(tmp_path) == []
