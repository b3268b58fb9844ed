"""The demo as a person runs it: every batch, the video among them, and the proof at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("store", ["folder", "cloudinary"])
def test_the_demo_proves_eight_images_and_a_video(tmp_path: Path, store: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "comfyledger", "demo", "--store", store, "--seconds-per-image", "0"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 9 files are there, whole, each with its own number" in done.stdout
    assert "app-four asked for 1 video for Areg and was given 1\n" in done.stdout
    assert "Areg_opal-fever_video_1.mp4" in done.stdout
    assert list(tmp_path.iterdir()) == [], "what the demo wrote is removed"
