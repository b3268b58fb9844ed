"""`config example`: the files that are shipped for people, printed or written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.documents import CONFIG, ROOT


def test_config_example_prints_config_toml_as_it_is(run: Any) -> None:
    assert run("config", "example").stdout == CONFIG


def test_config_example_writes_the_monitoring_files_and_the_example_app(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    said = run("config", "example", "--out", str(out)).stdout
    written = [path for path in out.rglob("*") if path.is_file()]
    assert sorted(map(str, written)) == sorted(said.splitlines())
    assert {path.name for path in written} >= {"config.toml", "comfyledger-alerts.yml", "follow_a_batch.py"}
    for path in written:
        assert path.read_bytes() == (ROOT / path.relative_to(out)).read_bytes()


def test_config_example_replaces_no_file_and_then_writes_none(run: Any, tmp_path: Path) -> None:
    mine = tmp_path / "examples" / "follow_a_batch.py"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = run("config", "example", "--out", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{mine} exists already" in result.stderr
    assert mine.read_text() == "mine"
    assert not (tmp_path / "config.toml").exists()


def test_a_folder_that_cannot_be_made_is_a_refusal_with_a_hint(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("config", "example", "--out", str(tmp_path / "file" / "below"))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr
