"""Sends sd_notify messages to the service manager: lines in a datagram to $NOTIFY_SOCKET.

Nothing is received and no send waits. Without a socket nothing is sent. Callers decide when to send what. (sd_notify(3)
of systemd 252; sockets with a path or an abstract name.)
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import structlog

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"
_ONCE: Final = (READY, STOPPING)
"""Messages that are sent once in a process, or once for each reload."""
EXTENSION_S: Final = 60.0
EXTEND_EVERY_S: Final = 15.0

log = structlog.get_logger("comfyledger.notify")


class Notifier:
    """Sends messages to one address. Without an address it sends nothing."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._unsaid: tuple[str, ...] = ()
        self.dropped = 0
        """Datagrams that could not be sent since the start."""
        self._failed = 0
        """Of these, since the last one that could."""

    def say(self, *lines: str) -> None:
        """Send these lines in one datagram. Neither raises nor waits.

        A datagram that cannot be sent is dropped and counted. Only READY and STOPPING are repeated with the next one:
        they are sent just once.
        """
        if not self._address:
            return
        unsaid = tuple(one for one in self._unsaid if one not in lines)
        try:
            self._send("\n".join((*unsaid, *lines)))
        except (OSError, ValueError) as error:
            self._unsaid = tuple(one for one in lines if one in _ONCE) or unsaid
            self._log_failure(error)
        else:
            self._unsaid = ()
            if self._failed:
                log.info("notify.works", dropped=self._failed)
            self._failed = 0

    def _send(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
            out.sendto(text.encode(errors="backslashreplace"), self._address)

    def _log_failure(self, error: Exception) -> None:
        """Log once for each trouble: messages are sent every few seconds."""
        self.dropped += 1
        self._failed += 1
        if self._failed == 1:
            log.warning("notify.failed", error=getattr(error, "strerror", None) or str(error))

    def status(self, text: str) -> None:
        """What `systemctl status` shows, one line."""
        self.say(status_line(text))

    def reloading(self) -> None:
        """The configuration is being read again; READY ends it. The time is the one that systemd compares with."""
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    @contextmanager
    def extending(self, every_s: float = EXTEND_EVERY_S) -> Iterator[None]:
        """Ask for more time while the body runs. A thread does it, because the body may block the event loop."""
        done = threading.Event()
        thread = threading.Thread(target=self._extend, args=(done, every_s), name="notify-extending", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _extend(self, done: threading.Event, every_s: float) -> None:
        while True:
            self.say(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * 1_000_000)}")
            if done.wait(every_s):
                return


SILENT: Final = Notifier()


def status_line(text: str) -> str:
    return f"STATUS={' '.join(text.splitlines())}"


def notifier_of(environment: Mapping[str, str]) -> Notifier:
    """The notifier of $NOTIFY_SOCKET; a silent one if that is neither a path nor an abstract name."""
    address = environment.get("NOTIFY_SOCKET", "")
    return Notifier(address if address.startswith(("/", "@")) else "")


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """After how many seconds without a WATCHDOG message systemd ends this process; None if there is no watchdog.

    $WATCHDOG_PID, if set, says for whom $WATCHDOG_USEC is meant (sd_watchdog_enabled(3)).
    """
    given = environment.get("WATCHDOG_USEC", "")
    if not given.isascii() or not given.isdigit() or int(given) == 0:
        return None
    return int(given) / 1_000_000 if environment.get("WATCHDOG_PID", str(pid)) == str(pid) else None
