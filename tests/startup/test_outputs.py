"""Whose output folders are cleared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from comfyledger import settings
from comfyledger.startup.build_workers import _outputs
from comfyledger.workers.spool.retention import DAY_S


def test_a_folder_that_several_share_is_cleared_once_after_the_longest_time(tmp_path: Path) -> None:
    lines = [
        f"[comfyui.{name}]\nurl = 'http://{name}:8188'\noutput_dir = '{folder}'\noutput_keep_days = {days}\n"
        for name, folder, days in (
            ("a", tmp_path / "x", 1),
            ("b", tmp_path / "x" / ".." / "x", 9),
            ("c", tmp_path / "x", 2),
            ("d", tmp_path / "y", 2),
        )
    ]
    (tmp_path / "x").mkdir()
    config = tmp_path / "config.toml"
    config.write_text("".join([*lines, "[comfyui.e]\nurl = 'http://e:8188'\n"]))
    made = list(_outputs(settings.load(config).comfyui, SimpleNamespace(reader=None), lambda: 0.0))  # type: ignore[arg-type]
    found = {one._ours.parent.name: one._keep_s / DAY_S for one in made}
    assert (len(made), found) == (2, {"x": 9, "y": 2})
