"""A TCP proxy in threads: what a network does to the connections between a box and PostgreSQL.

It passes bytes on, holds them (a partition: nobody answers, and nothing is lost), refuses connections and resets those
that are open, or loses the answer of a COMMIT. It needs no event loop, so it serves programs that have none.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from threading import Condition, Event, Thread
from typing import Final, Literal

from support.ports import KeptPort
from support.waiting import DEADLINE_S

Way = Literal["pass", "hold", "refuse"]
CHUNK_BYTES: Final = 65_536
COMMITTED: Final = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""How PostgreSQL says that a transaction is durable: CommandComplete with the tag COMMIT. It says ROLLBACK if not."""
RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a port of its own, for a server on another port of 127.0.0.1, until `close`."""

    def __init__(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)
        self._kept = KeptPort()
        self._changed = Condition()
        self._way: Way = "pass"
        self._cuts = 0
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.cut = Event()
        """Set when the answer of a COMMIT was lost."""
        self.pass_on()

    @property
    def port(self) -> int:
        return self._kept.number

    def address(self, address: str) -> str:
        """The address of a database of the server, through this proxy."""
        return address.replace(f":{self._server[1]}/", f":{self.port}/")

    # ---- what the network does

    def pass_on(self) -> None:
        """As a network that works. What was held goes on."""
        self._change("pass")
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hold(self) -> None:
        """As a partition: no byte arrives in either direction, and nobody is told so."""
        self._change("hold")

    def refuse(self) -> None:
        """As a server that is not there: open connections are reset, and new ones are refused."""
        self._change("refuse")
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
            self._listener = None
        self._reset()

    def lose_next_commit(self) -> None:
        """The next transaction is committed, and its connection is reset before the answer arrives."""
        self.cut.clear()
        with self._changed:
            self._cuts = 1

    def close(self) -> None:
        self.refuse()

    # ---- within

    def _change(self, way: Way) -> None:
        with self._changed:
            self._way = way
            self._changed.notify_all()

    def _reset(self) -> None:
        with self._changed:
            every, self._open = self._open, set()
        for one in every:
            _reset(one)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                Thread(target=self._connect, args=(listener.accept()[0],), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            if not self._may_pass():
                raise ConnectionRefusedError
            server = socket.create_connection(self._server, timeout=DEADLINE_S)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        with self._changed:
            self._open |= {client, server}
        Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client, answers=True)

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool = False) -> None:
        kept = b""
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if not self._may_pass():
                    break
                ready, kept = self._ready(kept + data) if answers else (data, b"")
                target.sendall(ready)
                if COMMITTED in kept:
                    break
        if self._may_pass() and not kept:  # the end of a connection does not pass a partition either
            _shut(target)
        else:
            _reset(target)
        with self._changed:
            self._open -= {source, target}
        source.close()

    def _may_pass(self) -> bool:
        """Whether a byte goes on, once the network says so."""
        with self._changed:
            self._changed.wait_for(lambda: self._way != "hold")
            return self._way == "pass"

    def _ready(self, data: bytes) -> tuple[bytes, bytes]:
        """What may be passed on of a server's bytes, and what is kept back because a COMMIT's answer begins there."""
        with self._changed:
            if not self._cuts:
                return data, b""
            at = data.find(COMMITTED)
            if at >= 0:
                self._cuts = 0
                self.cut.set()
                return data[:at], data[at:]
        size = next(size for size in range(len(COMMITTED) - 1, -1, -1) if data.endswith(COMMITTED[:size]))
        return data[: len(data) - size], data[len(data) - size :]


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.shutdown(socket.SHUT_RD)  # wakes the thread that reads
    one.close()
