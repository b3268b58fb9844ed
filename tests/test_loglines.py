"""The way of a log line to its descriptor: it costs nobody time, its order holds, and what is lost is counted."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyledger.loglines import QUEUE_BYTES_MAX, LineWriter
from support.waiting import DEADLINE_S


def report(lines: int) -> str:
    return f"dropped {lines}"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def filled(write: int) -> int:
    """Fill a pipe to the brim; how many bytes that took."""
    os.set_blocking(write, False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(write, b"\n" * 4_096)
    os.set_blocking(write, True)
    return count


def read_until(read: int, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += os.read(read, 65_536)
    return found


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = LineWriter(write, report)
    for number in range(5_000):
        writer.put(f"line {number}")
    found = read_until(read, b"line 4999\n").decode().splitlines()
    assert found == [f"line {number}" for number in range(5_000)]
    assert writer.flush(DEADLINE_S)
    assert writer.dropped == 0


def test_an_unread_pipe_delays_nobody_and_dropped_lines_are_reported(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    filled(write)
    writer = LineWriter(write, report)
    line, count = "x" * 1_000, 2 * QUEUE_BYTES_MAX // 1_000
    for number in range(count):
        writer.put(f"{number} {line}")  # a wait for the pipe would have no end
    lost = writer.dropped
    assert 0 < lost < count
    assert not writer.flush(0.05), "it waits for a bounded time"
    found = read_until(read, f"dropped {lost}\n".encode()).decode().split()
    numbers = [int(word) for word in found if word.isdigit()]
    assert numbers == [*range(count - lost), lost]
    writer.put("after")
    assert read_until(read, b"after\n").splitlines()[-1] == b"after"
    assert writer.flush(DEADLINE_S)


def test_a_non_blocking_pipe_loses_nothing_that_the_queue_can_hold(pipe: tuple[int, int]) -> None:
    read, write = pipe
    filled(write)
    os.set_blocking(write, False)
    writer = LineWriter(write, report)
    writer.put("late")
    assert read_until(read, b"late\n").endswith(b"late\n")
    assert writer.dropped == 0


def test_a_reader_that_goes_away_costs_lines_and_nothing_else() -> None:
    read, write = os.pipe()
    os.close(read)
    writer = LineWriter(write, report)
    os.close(write)
    writer.put("one")
    writer.put("two")
    assert writer.flush(DEADLINE_S)
    assert writer.dropped == 2


def test_a_full_disk_is_reported_once_it_has_room_again(tmp_path: Path) -> None:
    """A file whose size is limited stands for a disk; the limit is raised in the same process."""
    program = f"""
import os, resource
from comfyledger.loglines import LineWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
writer = LineWriter(fd, lambda lines: f"dropped {{lines}}")
for line in ("first", "second", "third"):
    writer.put(line)
assert writer.flush(60.0) and writer.dropped == 2, writer.dropped
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.put("fourth")
assert writer.flush(60.0) and writer.dropped == 2
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE_S)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["first", "seco", "dropped 2", "fourth"], "a line that was cut does not spoil the next"


def test_dropped_lines_are_reported_although_nothing_more_is_logged(tmp_path: Path) -> None:
    program = f"""
import os, resource, time
from comfyledger.loglines import LineWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
writer = LineWriter(fd, lambda lines: f"dropped {{lines}}")
writer.put("gone")
assert writer.flush(60.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
until = time.monotonic() + 30
while not os.fstat(fd).st_size and time.monotonic() < until:
    time.sleep(0.01)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE_S)
    assert (tmp_path / "log").read_text() == "dropped 1\n"


def test_what_is_closed_elsewhere_stays_open_for_the_log() -> None:
    read, write = os.pipe()
    writer = LineWriter(write, report)
    os.close(write)
    writer.put("still")
    assert read_until(read, b"still\n") == b"still\n"
    os.close(read)


def test_text_that_is_no_unicode_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    read, write = pipe
    LineWriter(write, report).put("a \ud800 b")
    assert read_until(read, b"b\n") == b"a \\ud800 b\n"


def test_lines_of_many_threads_are_all_there(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = LineWriter(write, report)
    threads = [threading.Thread(target=lambda: [writer.put("x") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(DEADLINE_S)
    writer.put("end")
    assert read_until(read, b"end\n").count(b"x\n") == 4_000
