"""A place that is filled once, and a copy of it for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspect_given import Place


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("filled") / "state")
    place.fill()
    return place


@pytest.fixture
def place(filled: Place, tmp_path: Path) -> Place:
    return filled.copy_to(tmp_path / "state")
