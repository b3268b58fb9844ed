"""A daemon that a person starts at a terminal says first what a person needs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from support.waiting import DEADLINE_S

WIDTH = 80


def test_the_first_lines_at_a_terminal_break_no_word(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'state_dir = "state"\n[door]\nport = 0\n[comfyui.main]\nurl = "http://127.0.0.1:1"\n'
    )
    lines = shown(tmp_path, ["comfyledger", "run", "--config", "config.toml"], "daemon.ready")
    assert lines[0] == "comfyledger 0.1.0 is ready."
    greeting = lines[: next(at for at, line in enumerate(lines) if "daemon.ready" in line)]
    text = " ".join(" ".join(greeting).split())
    assert str(tmp_path / "state" / "door.sock") in text
    assert "http://127.0.0.1:1. It cannot be reached: Connection refused. Start it" in text
    assert f"comfyledger --state-dir {tmp_path}/state submit" in text
    assert "Errno" not in "".join(lines)
    assert all(len(line) <= WIDTH or str(tmp_path) in line for line in greeting)


def test_the_log_at_a_terminal_breaks_no_word(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'state_dir = "state"\n[door]\nport = 0\n[comfyui.main]\nurl = "http://127.0.0.1:1"\n'
    )
    coloured = shown(tmp_path, ["comfyledger", "run", "--config", "config.toml"], "backend/main")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
    facts = lines[next(at for at, line in enumerate(lines) if "daemon.ready" in line) :]
    assert len(facts) > 5
    assert all(len(line) <= WIDTH or len(line.split()) == 1 for line in facts), facts


def shown(folder: Path, words: list[str], until: str) -> list[str]:
    """What a module writes to a terminal of its own, up to and with a word."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, WIDTH, 0, 0))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("COMFYLEDGER_", "COLUMNS"))}
    with subprocess.Popen(
        [sys.executable, "-m", *words], stdin=its, stdout=its, stderr=its, cwd=folder, env=environ
    ) as process:
        os.close(its)
        text, deadline = "", time.monotonic() + DEADLINE_S
        try:
            while until not in text:
                readable, _, _ = select.select([ours], [], [], max(0.0, deadline - time.monotonic()))
                assert readable, text
                text += os.read(ours, 65_536).decode()
        finally:
            process.terminate()
            os.close(ours)
    return text.replace("\r", "").splitlines()
