"""The files that are shipped for people: config.toml, and the folders `systemd`, `monitoring` and `examples`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """A file or folder by its name in the repository: from the installed package, or else from the source tree."""
    folder = _PACKAGE / "shipped"  # pyproject.toml puts it into the wheel
    return (folder if folder.is_dir() else _PACKAGE.parents[1]) / name
