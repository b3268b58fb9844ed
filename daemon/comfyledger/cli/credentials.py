"""The credentials that systemd passed to a running daemon, lent to a command that looks at the same stores.

They lie in a folder that only root and the service may read (systemd.exec(5), LoadCredential=). The daemon's own
environment says which; where it cannot be read, nothing is lent.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
NAME: Final = "CREDENTIALS_DIRECTORY"


def lend(door_path: Path, environ: MutableMapping[str, str], proc: Path = PROC) -> None:
    """Name the daemon's folder of credentials in an environment that names none. `door_path`: the file door.json."""
    if environ.get(NAME):
        return
    try:
        pid = int(json.loads(door_path.read_bytes())["pid"])
        raw = (proc / str(pid) / "environ").read_bytes()
    except (OSError, ValueError, TypeError, KeyError):
        return
    words = dict(word.partition("=")[::2] for word in os.fsdecode(raw).split("\0"))
    folder = words.get(NAME, "")
    if folder and "COMFYLEDGER_STATE_DIR" in words and os.access(folder, os.R_OK | os.X_OK):
        environ[NAME] = folder
