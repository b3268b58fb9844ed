"""A ledger's file answers like its daemon: what was replayed, and a backup."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from comfyledger.cli import base
from comfyledger.maintenance.audit.findings import silent
from comfyledger.maintenance.backup import backup
from comfyledger.maintenance.replay import replay
from support.ledger_on_disk import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "there")
    place.fill()
    return place


@pytest.fixture(params=["replayed", "backup"])
def file(request: Any, place: Place, tmp_path: Path) -> Path:
    path = tmp_path / "past.db"
    if request.param == "backup":
        backup(place.path, path, time.time(), silent)
    else:
        with closing(sqlite3.connect(place.path)) as connection:
            (last,) = connection.execute("SELECT max(position) FROM events").fetchone()
        replay(place.path, last, path, silent)
    return path


def test_a_file_lists_images_and_batches_as_they_were(run: Any, place: Place, file: Path) -> None:
    images = json.loads(run("images", "--ledger", str(file), "--json").stdout)["images"]
    assert {(one["batch_id"], one["index"], one["state"]) for one in images} == {
        (row.batch_id, row.index, row.state) for row in place.images()
    }
    stored = json.loads(run("images", "--ledger", str(file), "--state", "stored", "--json").stdout)["images"]
    assert {one["state"] for one in stored} == {"stored"}
    batches = json.loads(run("batches", "--ledger", str(file), "--json").stdout)["batches"]
    assert {one["batch_id"] for one in batches} == {one["batch_id"] for one in images}


def test_a_file_says_which_ledger_it_is_and_what_was_open(run: Any, file: Path) -> None:
    said = json.loads(run("status", "--ledger", str(file), "--json").stdout)
    assert said["ledger_id"]
    assert said["position"] > 0
    lanes = [lane["lane"] for lane in said["lanes"]]
    text = run("status", "--ledger", str(file)).stdout
    assert f"position {said['position']}" in text
    assert all(lane in text for lane in lanes)
    assert all(batch["batch_id"] in text for batch in said["open_batches"])


@pytest.mark.parametrize("content", [None, b"no database", b""])
def test_what_is_no_ledger_is_refused(run: Any, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.db"
    if content is not None:
        path.write_bytes(content)
    result = run("images", "--ledger", str(path))
    assert result.exit_code == base.REFUSED
    assert "ledger_unusable" in result.stderr
