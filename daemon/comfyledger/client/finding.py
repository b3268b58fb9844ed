"""Where the daemon is, and its token: what was asked for, the environment, or what the daemon left in its state folder.

Reads small files and nothing else. It is asked again before each connection, since a restarted daemon may listen on
another port.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

UNIX: Final = "unix:"
DEFAULT_URL: Final = "http://127.0.0.1:8189"


class Address(NamedTuple):
    """Where a daemon is said to be. `token` is empty where none was found; `token_path` is where it would be."""

    url: str
    token: str
    token_path: Path

    @property
    def unix_path(self) -> str:
        """Of a daemon that listens at a Unix socket."""
        return self.url.removeprefix(UNIX) if self.url.startswith(UNIX) else ""

    @property
    def websocket(self) -> str:
        if self.unix_path:
            return "ws://localhost/ws"
        base = self.url.rstrip("/")
        return ("ws" + base.removeprefix("http") if base.startswith("http") else base) + "/ws"


def find_state_dir(environ: Mapping[str, str]) -> Path:
    """The daemon's state folder: COMFYLEDGER_STATE_DIR, else below XDG_STATE_HOME, else ~/.local/state/comfyledger."""
    if environ.get("COMFYLEDGER_STATE_DIR"):
        return Path(environ["COMFYLEDGER_STATE_DIR"]).expanduser()
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "comfyledger"


def find_daemon(
    url: str | None, token: str | None, state_dir: Path | str | None, environ: Mapping[str, str]
) -> Address:
    """What was asked for comes first, then the environment, then what the daemon left in its state folder.

    A state folder that was asked for is not overruled by COMFYLEDGER_URL and COMFYLEDGER_TOKEN.
    """
    folder = Path(state_dir).expanduser() if state_dir else find_state_dir(environ)
    said = {} if state_dir else environ
    found_url = url or said.get("COMFYLEDGER_URL") or _door_url(folder / "door.json") or DEFAULT_URL
    found_token = token or said.get("COMFYLEDGER_TOKEN") or _text(folder / "token").strip()
    return Address(found_url, found_token, folder / "token")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def find_config(folder: Path) -> Path | None:
    """The configuration file of the daemon that runs on a state folder, if it has one."""
    found = _said(folder / "door.json", "config")
    return Path(found) if found and Path(found).is_file() else None


def _door_url(path: Path) -> str:
    return _said(path, "url")


def _said(path: Path, key: str) -> str:
    """What the daemon left in door.json under a key."""
    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return ""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
