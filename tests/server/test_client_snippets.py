"""What docs/client.md shows, run one after the other as a reader would, against the door of a daemon."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.documents import CLIENT, ROOT, blocks
from support.waiting import DEADLINE_S

SNIPPETS = [(mark, body) for mark, body in blocks(CLIENT, "python") if mark]


def test_every_snippet_that_is_no_signature_is_run() -> None:
    unmarked = [body for mark, body in blocks(CLIENT, "python") if not mark]
    assert [body for body in unmarked if not body.rstrip().endswith("...")] == []
    assert {mark for mark, _ in SNIPPETS} <= {"run: client", "run: script"}


async def test_the_snippets_do_what_they_say(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(door.folder / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    names: dict[str, Any] = {}
    for mark, body in SNIPPETS:
        code = compile(body, "docs/client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        async with asyncio.timeout(DEADLINE_S):
            if mark == "run: client":
                await eval(code, names)
            else:
                await asyncio.to_thread(exec, code, names)
        assert capsys.readouterr().out, body
    assert list((tmp_path / "pictures").glob("Areg_opal-fever_image_*.png"))


async def test_the_script_of_the_examples_saves_what_it_asked_for(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(door.folder / "state"))
    (tmp_path / "out").mkdir()
    words = ["order-1", "Areg", "Opal Fever", "2", str(tmp_path / "out")]
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples" / "submit_and_save.py"), *words, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await script.communicate()
    assert script.returncode == 0
    lines = said.decode().splitlines()
    saved = sorted(tmp_path.glob("out/*"))
    assert [path.name for path in saved] == ["Areg_opal-fever_image_1.png", "Areg_opal-fever_image_2.png"]
    assert [line for line in lines if line.startswith("saved ")] == [f"saved {path}" for path in saved]
    assert "2 of 2 stored" in lines
