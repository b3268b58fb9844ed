"""What is told to the one who started the daemon, over real sockets; and when the sign of life is withheld."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from comfyledger.core.rows import LaneRow
from comfyledger.core.scheduling.capacity import Limits
from comfyledger.core.scheduling.pending_work import PendingWork
from comfyledger.core.values import EVERYTHING
from comfyledger.settings import load
from comfyledger.workers.process.notify import ALIVE, READY, Notifier, notifier_of, status_line, watchdog_s
from comfyledger.workers.process.watchdog import JOB_S_MAX, Watchdog, lanes_of, status_of
from support.waiting import DEADLINE_S


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """An address as systemd gives it, and the socket that listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(DEADLINE_S)
        name = f"comfyledger-test-{os.getpid()}"
        folder = os.open(tmp_path, os.O_RDONLY)
        # Not the whole path: a socket's holds 108 bytes at most.
        address = f"/proc/self/fd/{folder}/{name}" if request.param == "path" else f"@{name}"
        listening.bind(address.replace("@", "\0"))
        yield address, listening
        os.close(folder)


def test_what_is_said_together_comes_in_one_datagram(heard: tuple[str, socket.socket]) -> None:
    address, listening = heard
    notifier_of({"NOTIFY_SOCKET": address}).say(READY, status_line("fine"))
    assert listening.recv(4_096) == b"READY=1\nSTATUS=fine"


def test_more_time_is_asked_for_until_the_work_ends(heard: tuple[str, socket.socket]) -> None:
    address, listening = heard
    notifier = notifier_of({"NOTIFY_SOCKET": address})
    with notifier.extending(every_s=0.001):
        assert {listening.recv(4_096) for _ in range(3)} == {b"EXTEND_TIMEOUT_USEC=60000000"}
    notifier.say(READY)
    rest = list(iter(lambda: listening.recv(4_096), b"READY=1"))
    assert set(rest) <= {b"EXTEND_TIMEOUT_USEC=60000000"}
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.recv(4_096)


def test_a_reload_gives_the_time_that_systemd_compares_with(heard: tuple[str, socket.socket]) -> None:
    address, listening = heard
    notifier_of({"NOTIFY_SOCKET": address}).reloading()
    first, second = listening.recv(4_096).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()


def test_a_status_is_one_line_whatever_it_is_made_of() -> None:
    assert status_line("two\nWATCHDOG=1") == "STATUS=two WATCHDOG=1"


def test_nobody_who_listens_stops_nothing_and_is_logged_once(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    with structlog.testing.capture_logs() as said:
        notifier.say(ALIVE)
        notifier.say(ALIVE)
    assert [one["event"] for one in said] == ["notify.failed"]
    assert notifier.dropped == 2


def test_a_manager_that_reads_nothing_delays_nobody_and_gets_ready_later(
    heard: tuple[str, socket.socket],
) -> None:
    address, listening = heard
    notifier = Notifier(address)
    with structlog.testing.capture_logs() as said:
        while not notifier.dropped:
            notifier.say(ALIVE)
        notifier.say(READY)
        notifier.say(ALIVE)
        listening.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                listening.recv(4_096)
        notifier.say(ALIVE)
    assert listening.recv(4_096) == b"READY=1\nWATCHDOG=1"
    assert [(one["event"], one.get("dropped")) for one in said] == [("notify.failed", None), ("notify.works", 3)]


@pytest.mark.parametrize("address", ["/" + "x" * 200, "/a\0b", "@" + "x" * 200])
def test_an_address_that_no_socket_can_have_stops_nothing(address: str) -> None:
    notifier = Notifier(address)
    notifier.say(READY, status_line("half \ud800"))
    assert notifier.dropped == 1


def test_no_descriptor_left_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    notifier = Notifier("@anybody")
    notifier.say(ALIVE)
    assert notifier.dropped == 1


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_an_address_of_another_kind_is_nobody(address: str) -> None:
    with structlog.testing.capture_logs() as said:
        notifier_of({"NOTIFY_SOCKET": address}).say(READY)
    assert said == []


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_is_meant(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_s(environment, 7) == seconds


# ---- the sign of life


def engine(oldest_job_s: float = 0.0, shortage: str = "") -> Any:
    short = SimpleNamespace(message=shortage) if shortage else None
    owed = PendingWork(Limits())
    return SimpleNamespace(
        oldest_job_s=oldest_job_s,
        owed=owed,
        open_counts=owed.open_counts,
        is_paused=owed.paused,
        in_trouble=owed.in_trouble,
        shortage=short,
        is_locked=False,
    )


def test_no_watchdog_message_is_sent_while_the_writer_is_stuck() -> None:
    there = engine(JOB_S_MAX - 0.1)
    watchdog = Watchdog(Notifier(), there, list, 30.0)
    assert watchdog.words()[0] == ALIVE, "a slow fsync is no reason"
    there.oldest_job_s = JOB_S_MAX
    with structlog.testing.capture_logs() as said:
        assert ALIVE not in watchdog.words() + watchdog.words()
    assert [one["event"] for one in said] == ["writer.stuck"]
    there.oldest_job_s = 0.0
    assert watchdog.words()[0] == ALIVE


def test_the_status_names_what_is_open_and_every_lane_that_stands_still() -> None:
    there = engine(shortage="The ledger's disk is full.")
    there.owed.apply([LaneRow("backend/main", code="not_reached"), LaneRow(EVERYTHING, person=True)], 0)
    settings = load(None)
    lanes = lanes_of(settings.comfyui, settings.stores)
    assert lanes == ["everything", "backend/main", "store/folder"]
    assert status_of(there, lanes) == (
        "0 batches open, 0 prompts, 0 uploads; paused: everything; in trouble: backend/main; The ledger's disk is full."
    )
