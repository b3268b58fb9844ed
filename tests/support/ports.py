"""Ports that no other program of this machine is given, also while nobody listens at them.

A server that is killed and started again keeps its address, and a port where nobody listens stays one. The kernel gives
a port that is bound here to nobody who asks for any, and lets those listen who ask for this one, as servers do.
"""

from __future__ import annotations

import socket
from functools import cache
from weakref import finalize


class KeptPort:
    """A port at 127.0.0.1, kept as long as this object is there."""

    def __init__(self) -> None:
        kept = socket.socket()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        self.number: int = kept.getsockname()[1]
        finalize(self, kept.close)


@cache
def never_open() -> KeptPort:
    """One for all tests of this process that want nobody to listen."""
    return KeptPort()


def closed_port() -> int:
    return never_open().number
