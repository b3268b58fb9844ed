"""A place that is filled once, and a copy of it for each test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from comfyledger import settings
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.settings import Settings
from support.killed_restore import Home
from support.ledger_on_disk import Place
from support.ports import closed_port


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("filled") / "state")
    place.fill()
    return place


@pytest.fixture
def place(filled: Place, tmp_path: Path) -> Place:
    return filled.copy_to(tmp_path / "state")


@pytest.fixture
def home(place: Place) -> Home:
    home = Home(place.folder)
    backup(home.path, home.file, 0.0, silent)
    return home


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings from a few lines of TOML. Nobody listens as ComfyUI, and the door's port is closed."""
    for name in os.environ:
        if name.startswith(("CLOUDINARY_", "COMFYLEDGER_")):
            monkeypatch.delenv(name)

    def loaded(lines: str = "") -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(f"[door]\nport = {closed_port()}\n[comfyui.main]\nurl = 'http://127.0.0.1:1'\n{lines}")
        return settings.load(path, tmp_path / "state")

    return loaded
