"""The end of a limited process that does the work. It limits itself and opens nothing: a task can at worst end it."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from typing import BinaryIO, Final

from comfyledger.limited_process import exchange

FILES_MAX: Final = 16


def limit(memory_bytes: int) -> None:
    """Keep this process to so much address space, to a few files, and from writing any."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def tasks(processor_s: int) -> Iterator[tuple[bytes, bytes]]:
    """Each kind and content from standard input, until it ends. Each may take so many seconds of processor time.

    The daemon kills the process before; this is for a daemon that is gone.
    """
    write(exchange.READY, b"")
    while (task := exchange.read_from(sys.stdin.buffer)) is not None:
        _limit_processor(processor_s)
        yield task


def write(kind: bytes, content: bytes) -> None:
    """An answer to the daemon."""
    sys.stdout.buffer.write(exchange.packed(kind, content))
    sys.stdout.buffer.flush()


def received(files: socket.socket) -> BinaryIO:
    """The open file that belongs to a task, at its beginning. Raises OSError."""
    descriptors = socket.recv_fds(files, 1, 1)[1]
    file = open(descriptors[0], "rb")  # noqa: SIM115 (whoever takes it closes it)
    file.seek(0)
    return file


def _limit_processor(processor_s: int) -> None:
    """From now on. The limit counts from the start of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + processor_s, hard))
