"""The benchmarks run and say what they are asked for; how fast anything is, is not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_upload_benchmark_compares_all_it_names_and_ours_keeps_its_connections() -> None:
    words = ("--files", "20", "--size", "300000", "--rounds", "1", "--concurrency", "4")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "upload.py", *words], capture_output=True, text=True, check=True, timeout=60
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    names = ("rate", "cpu", "memory", "memory_4x_files", "memory_4x_size", "connections")
    assert set(lines) == {f"upload.{name}.4" for name in names}
    assert all(set(line) == {"name", "ratio", "value", "unit", "peer"} for line in lines.values())
    assert all(line["ratio"] > 0 and line["peer"].startswith("cloudinary 1.") for line in lines.values())
    assert lines["upload.connections.4"]["value"] == 4
    assert "comfyledger x4" in ran.stderr


def test_the_benchmark_of_scale_measures_every_part_against_a_floor_or_a_peer() -> None:
    words = ("--events", "1", "--groups", "1")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "scale.py", *words], capture_output=True, text=True, check=True, timeout=60
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    parts = ("start", "append", "audit_memory", "audit_chain", "audit_fold", "audit")
    room = ("room", "room_events", "room_payload", "room_texts")
    assert set(lines) == {f"scale.1.{part}" for part in (*parts, *room)}
    assert all(set(line) - {"floor", "peer"} == {"name", "ratio", "value", "unit"} for line in lines.values())
    assert all(line["value"] > 0 and line["ratio"] > 0 for line in lines.values())
    assert all(("floor" in line) != ("peer" in line) for line in lines.values())
    assert "audit/s" in ran.stderr
