"""Writes log lines: a bounded queue, and one thread that writes it to a descriptor.

Logging puts a line into the queue and returns. If the reader has gone, the disk is full or nobody reads the pipe, only
lines are lost: they are dropped, counted, and reported in one line as soon as a line can be written again. Order is
kept. `kill -9` loses the lines in the queue; an orderly end writes them.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

QUEUE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of waiting lines: about 15,000 usual lines, minutes in which the reader may stall."""
RESUME_BYTES: Final = QUEUE_BYTES_MAX // 2
"""After the queue was full, it accepts lines again below this, so that one report covers one gap."""
RETRY_S: Final = 1.0
"""How often the report of dropped lines is tried again while nothing else is logged."""
FLUSH_S: Final = 2.0
"""How long an ending process waits for the last lines to be written."""


class LineWriter:
    """Writes lines to a copy of `fd`, which stays open.

    `report(count)` makes the line that reports dropped ones. Raises OSError if `fd` is not open.
    """

    def __init__(self, fd: int, report: Callable[[int], str]) -> None:
        self._fd = os.dup(fd)
        self.report = report
        self._wake = threading.Condition()  # re-entrant: a finalizer may log while a line is handed over
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued_bytes = 0
        self._missed = 0
        """Lines refused since the last accepted one."""
        self._unreported = 0
        self._dropped = 0
        self._is_idle = True
        self._is_torn = False
        threading.Thread(target=self._run, name="log-lines", daemon=True).start()

    @property
    def dropped(self) -> int:
        """The number of lines dropped since the start."""
        return self._dropped

    def put(self, line: str) -> None:
        """Accept one line without its line end. Neither raises nor waits."""
        raw = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._wake:
            most = RESUME_BYTES if self._missed else QUEUE_BYTES_MAX
            if self._queued_bytes + len(raw) > most:
                self._missed += 1
                self._dropped += 1
                return
            self._queue.append((raw, self._missed))
            self._queued_bytes += len(raw)
            self._missed = 0
            self._wake.notify_all()

    def drop(self) -> None:
        """Count a line that could not be formatted."""
        with self._wake:
            self._missed += 1
            self._dropped += 1
            self._wake.notify_all()

    def flush(self, within_s: float = FLUSH_S) -> bool:
        """Wait until all accepted lines are written or dropped; False if that takes longer."""
        until = time.monotonic() + within_s
        with self._wake:
            while self._queue or not self._is_idle:
                if not self._wake.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    return False
        return True

    # ---- in the thread

    def _run(self) -> None:
        while True:
            raw, missed = self._next()
            self._unreported += missed
            head = (self.report(self._unreported) + "\n").encode() if self._unreported else b""
            if not (head or raw):
                continue
            if self._write(head + raw):
                self._unreported = 0
            elif raw:
                self._unreported += 1
                with self._wake:
                    self._dropped += 1

    def _next(self) -> tuple[bytes, int]:
        """The oldest line and the number of lines dropped before it; an empty line if only that is to report."""
        with self._wake:
            self._is_idle = True
            self._wake.notify_all()
            while not self._queue and not self._missed:
                if not self._wake.wait(RETRY_S if self._unreported else None) and self._unreported:
                    break
            self._is_idle = False
            if self._queue:
                raw, missed = self._queue.popleft()
                self._queued_bytes -= len(raw)
                return raw, missed
            missed, self._missed = self._missed, 0
            return b"", missed

    def _write(self, raw: bytes) -> bool:
        """Whether all of it is written. After a cut line, the next one begins on a line of its own."""
        rest = memoryview(b"\n" + raw if self._is_torn else raw)
        begun = False
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
                begun = True
            except BlockingIOError:  # another process made the pipe or terminal non-blocking
                with suppress(OSError):
                    _wait_for_room(self._fd)
            except OSError:
                self._is_torn = self._is_torn or begun
                return False
        self._is_torn = False
        return True


def _wait_for_room(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(RETRY_S * 1_000)
