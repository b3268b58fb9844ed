"""The demo as a person runs it: every batch, the video among them, and the proof at its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from comfyledger.cli.base import USAGE
from support.ledger_kinds import NEEDS_POSTGRES
from support.waiting import DEADLINE_S


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comfyledger", "demo", *words],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.parametrize("store", ["folder", "cloudinary", "s3"])
def test_the_demo_proves_eight_images_and_a_video(tmp_path: Path, store: str) -> None:
    done = run(tmp_path, "--store", store, "--seconds-per-image", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 9 files are there, whole, each with its own number" in done.stdout
    assert "app-four asked for 1 video for Areg and was given 1\n" in done.stdout
    assert "Areg_opal-fever_video_1.mp4" in done.stdout
    assert list(tmp_path.iterdir()) == [], "what the demo wrote is removed"


def test_several_stand_ins_share_the_batches_and_one_of_them_dies(tmp_path: Path) -> None:
    done = run(tmp_path, "--backends", "2", "--seconds-per-image", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 9 files are there, whole, each with its own number" in done.stdout
    assert re.search(r"The stand-in gpu2 was killed while it had [1-9] prompts?, and started again\.", done.stdout)
    shared = re.search(r"Together: gpu1 finished ([0-9]+) runs?, gpu2 finished ([0-9]+) runs?\.", done.stdout)
    assert shared, done.stdout
    assert (sum(map(int, shared.groups())), min(map(int, shared.groups())) > 0) == (9, True)
    assert list(tmp_path.iterdir()) == [], "what the demo wrote is removed"


@NEEDS_POSTGRES
def test_boxes_share_a_log_and_one_of_each_dies(tmp_path: Path) -> None:
    done = run(tmp_path, "--boxes", "3", "--seconds-per-image", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The box west was killed while it had work. Nobody started it again.\n" in done.stdout
    assert "The stand-in of south and the database were killed, and started again.\n" in done.stdout
    assert "All 9 files are there, whole, each with its own number" in done.stdout
    assert list(tmp_path.iterdir()) == [], "what the demo wrote is removed"


def test_a_demo_that_is_kept_names_its_page_and_how_to_sign_in(tmp_path: Path) -> None:
    done = run(tmp_path, "--keep")
    try:
        page = re.search(r"Look at it: +(http://127\.0\.0\.1:[0-9]+/)$", done.stdout, re.MULTILINE)
        state = re.search(r"comfyledger --state-dir (\S+) open$", done.stdout, re.MULTILINE)
        assert page, done.stdout
        assert state, done.stdout
        asked = urllib.request.Request(page[1], headers={"Accept": "text/html"})
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
            assert b"page.js" in answer.read()
        assert Path(state[1], "token").is_file()
    finally:
        ids = re.search(r"kill ([0-9 ]+)$", done.stdout, re.MULTILINE)
        assert ids, done.stdout
        for pid in map(int, ids[1].split()):
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("other", [("--backends", "2"), ("--store", "s3"), ("--comfyui", "http://127.0.0.1:1")])
def test_boxes_have_stand_ins_and_a_folder_of_their_own(tmp_path: Path, other: tuple[str, str]) -> None:
    assert run(tmp_path, "--boxes", "2", *other).returncode == USAGE


def test_a_real_comfyui_is_not_one_of_several(tmp_path: Path) -> None:
    assert run(tmp_path, "--backends", "2", "--comfyui", "http://127.0.0.1:1").returncode == USAGE
