"""The benchmarks run and say what they are asked for; how fast anything is, is not for a test."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from support.ledger_kinds import NEEDS_POSTGRES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCHEDULING = (
    *("rival.p95", "rival.loads", "single.p95", "single.most", "open.loads", "open.end"),
    *("closed.loads", "closed.end", "choice", "choice.growth"),
)
APPEND = {f"append.{callers}{more}" for callers in (16, 256) for more in ("", ".peer", ".sqlite", ".limit")} | {
    "append.1",
    "append.1.sqlite",
}
SHARED = {f"append.{callers}.shared" for callers in (1, 16, 256)}
FLEET = {
    f"fleet.{what}" for what in ("answer.p99", "answer.median", "taken.p99", "taken.cpu", "lock.p99", "lock.median")
}
COSTS = ("images", "limit", "cpu", "switches", "comfyui", "calls", "written")
WHOLE = {f"whole.{size}{what}" for size in ("", "large.") for what in COSTS} | {"whole.heard", "whole.idle"}


def test_the_upload_benchmark_compares_all_clients_on_few_connections() -> None:
    words = ("--files", "20", "--size", "300000", "--rounds", "1", "--concurrency", "4")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "upload.py", *words], capture_output=True, text=True, check=True, timeout=240
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    names = ("rate", "cpu", "memory", "memory_4x_files", "memory_4x_size", "connections")
    assert set(lines) == {f"upload.{name}.4" for name in names}
    assert all(set(line) == {"name", "ratio", "value", "unit", "peer"} for line in lines.values())
    assert all(line["ratio"] > 0 and line["peer"].startswith("cloudinary 1.") for line in lines.values())
    assert lines["upload.connections.4"]["value"] == 4
    assert "comfyledger x4" in ran.stderr


@pytest.mark.timeout(300)
def test_the_benchmark_of_object_stores_compares_with_boto3_and_with_itself() -> None:
    words = ("--files", "6", "--size", "100000", "--rounds", "1", "--concurrency", "3", "--large", "17")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "upload_objects.py", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    sizes = {"objects.memory.files": "6 files", "objects.memory.size": "files of 17 MiB"}
    names = {f"objects.{name}.3" for name in ("rate", "cpu", "memory", "connections")}
    assert set(lines) == names | set(sizes)
    assert {name: lines[name]["peer"] for name in sizes} == sizes
    assert all(lines[name]["peer"].startswith("boto3 1.") for name in names)
    assert all(line["ratio"] > 0 and line["value"] > 0 for line in lines.values())


def test_the_benchmark_of_scale_compares_every_part_with_another() -> None:
    words = ("--events", "1", "500", "--groups", "1")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "scale.py", *words], capture_output=True, text=True, check=True, timeout=240
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    parts = ("start", "append", "audit_memory", "audit_chain", "audit_streams", "audit_fold", "audit", "audit_aim")
    room = ("room", "room_events", "room_payload", "room_texts")
    assert set(lines) == {f"scale.{events}.{part}" for events in (1, 500) for part in (*parts, *room)}
    assert all(set(line) - {"floor", "peer"} == {"name", "ratio", "value", "unit"} for line in lines.values())
    assert all(line["value"] > 0 and line["ratio"] > 0 for line in lines.values())
    assert all(("floor" in line) != ("peer" in line) for line in lines.values())
    assert "whole/s" in ran.stderr


def test_every_aim_is_measured_by_a_benchmark_that_is_run() -> None:
    run = runpy.run_path(str(BENCHMARKS / "run.py"))
    said = {
        "append.py": APPEND,
        "door.py": {f"door.{clients}.{what}" for clients in (1, 100) for what in ("median", "p99", "http")},
        "whole.py": WHOLE,
        "backends.py": {"backends.instant.cpu", "backends.instant.images"},
        "subscribers.py": {"subscribers.1", "subscribers.100", "subscribers.1000", "subscribers.memory.1000"},
        "memory.py": {"memory.images"},
        "open_images.py": {"open_images.report"},
        "folders.py": {"folders.save", "folders.shared", "folders.put"},
        "replay.py": {"replay.decode", "replay.fold", "replay.tables", "replay.fold.peer"},
        "upload.py": {f"upload.{what}.{connections}" for what in ("rate", "cpu") for connections in (8, 32)},
        "upload_objects.py": {f"objects.{what}.{at}" for what in ("rate", "cpu") for at in (8, 32)}
        | {"objects.memory.files", "objects.memory.size"},
        "scale.py": {"scale.100000.append", "scale.100000.start", "scale.100000.audit"},
    }
    longer = {
        "backends.py": {"backends.busy", "backends.cpu", "backends.memory"},
        "scheduling.py": {f"scheduling.{what}" for what in SCHEDULING},
        "append.py": SHARED,
        "fleet.py": FLEET,
        "peers/comfy_api_proxy.py": set(),
    }
    assert [words[0] for words in run["PROGRAMS"]] == list(said)
    assert [words[0] for words in run["LONGER"]] == list(longer)
    assert {aim.name for aim in run["AIMS"]} <= set().union(*said.values(), *longer.values())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("open_images.py", "--images", "200", "--users", "5", "--rounds", "1"), {"open_images.report"}),
        (("folders.py", "--images", "100", "--rounds", "1"), {"folders.save", "folders.shared", "folders.put"}),
        (("append.py", "--submits", "20", "--rounds", "1"), APPEND),
        pytest.param(("append.py", "--submits", "20", "--rounds", "1", "--shared"), SHARED, marks=NEEDS_POSTGRES),
        pytest.param(("fleet.py", "--boxes", "2", "--rate", "20", "--seconds", "0.5"), FLEET, marks=NEEDS_POSTGRES),
        (("whole.py", "--images", "10", "--rounds", "1"), WHOLE),
        (
            ("backends.py", "--backends", "2", "--seconds", "0", "--images", "10", "--rounds", "1"),
            {"backends.instant.cpu", "backends.instant.images"},
        ),
        (
            ("backends.py", "--backends", "3", "--seconds", "0.05", "--images", "24"),
            {"backends.busy", "backends.cpu", "backends.memory"},
        ),
    ],
)
def test_a_benchmark_says_what_it_compares_with(words: tuple[str, ...], names: set[str]) -> None:
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / words[0], *words[1:]], stdout=subprocess.PIPE, check=True, timeout=240
    )
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    assert set(lines) == names
    assert all(("floor" in line) != ("peer" in line) and line["ratio"] >= 0 for line in lines.values())


def test_a_peer_that_is_not_installed_is_named_and_nothing_is_measured() -> None:
    words = [sys.executable, BENCHMARKS / "peers" / "comfy_api_proxy.py", "--command", "no-such-program"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=240)
    assert ran.stdout == ""
    assert "no-such-program is not installed" in ran.stderr


def test_the_clients_that_ours_is_compared_with_stay_as_they_are() -> None:
    """A slower client would raise our ratio. Whoever has to change the file says so here, and measures both ways."""
    found = hashlib.sha256((BENCHMARKS / "whole_clients.py").read_bytes()).hexdigest()
    assert found == "9c0d5ca8aac56d81b5960ca76b4afb05ad63d98434935625a9d7f8ebae70756d"


def test_the_benchmark_of_scheduling_compares_with_a_rival_that_is_as_a_study_found_it_and_keeps_its_bounds() -> None:
    """In virtual time with fixed seeds, so each figure but the cost of a choice is the same on every machine."""
    words = ("--seeds", "1", "--choices", "2000", "--rounds", "1")
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "scheduling.py", *words], capture_output=True, text=True, check=False, timeout=240
    )
    missed = [line for line in ran.stderr.splitlines() if line.startswith("missed:")]
    assert ran.returncode == (3 if missed else 0), ran.stderr
    assert all("scheduling.choice" in line for line in missed)
    lines = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    assert set(lines) == {f"scheduling.{what}" for what in SCHEDULING}
    assert lines["scheduling.single.p95"]["ratio"] < 0.2
    assert "pressure (SwarmUI)" in ran.stderr
