"""A command that opens the stores of a running service uses the credentials that systemd passed to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from comfyledger.cli.configuration import CREDENTIALS, lend_credentials


def running(folder: Path, **environ: str) -> tuple[Path, Path]:
    """The door.json of a daemon, and a folder like /proc with its environment."""
    door = folder / "door.json"
    door.write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 7}))
    proc = folder / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "environ").write_bytes(b"".join(f"{key}={value}\0".encode() for key, value in environ.items()))
    return door, proc


def test_the_folder_that_the_service_has_is_lent(tmp_path: Path) -> None:
    door, proc = running(tmp_path, COMFYLEDGER_STATE_DIR="/state", **{CREDENTIALS: str(tmp_path)})
    environ: dict[str, str] = {}
    lend_credentials(door, environ, proc)
    assert environ == {CREDENTIALS: str(tmp_path)}


def test_a_folder_of_ones_own_is_kept(tmp_path: Path) -> None:
    door, proc = running(tmp_path, COMFYLEDGER_STATE_DIR="/state", **{CREDENTIALS: str(tmp_path)})
    environ = {CREDENTIALS: "/mine"}
    lend_credentials(door, environ, proc)
    assert environ == {CREDENTIALS: "/mine"}


@pytest.mark.parametrize("left", ['{"pid": 7', '{"pid": null}', "[]", '{"pid": 8}', '{"pid": "7/../7"}'])
def test_of_a_daemon_that_cannot_be_looked_at_nothing_is_lent(tmp_path: Path, left: str) -> None:
    door, proc = running(tmp_path, COMFYLEDGER_STATE_DIR="/state", **{CREDENTIALS: str(tmp_path)})
    door.write_text(left)
    environ: dict[str, str] = {}
    lend_credentials(door, environ, proc)
    lend_credentials(tmp_path / "nowhere.json", environ, proc)
    assert environ == {}


def test_another_program_under_the_same_process_id_lends_nothing(tmp_path: Path) -> None:
    door, proc = running(tmp_path, **{CREDENTIALS: str(tmp_path)})
    environ: dict[str, str] = {}
    lend_credentials(door, environ, proc)
    assert environ == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_not_lent(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    door, proc = running(tmp_path, COMFYLEDGER_STATE_DIR="/state", **{CREDENTIALS: str(closed)})
    environ: dict[str, str] = {}
    lend_credentials(door, environ, proc)
    closed.chmod(0o700)
    assert environ == {}
