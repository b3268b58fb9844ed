"""The server that both clients of the benchmark upload to: just enough of Cloudinary's Upload API, at almost no cost.

It is a raw protocol in a process of its own. It counts the bytes of a body and believes the MD5 in the fields. Reading
multipart properly, or hashing, would cost more than the clients do, and the benchmark would measure that. `GET /counts`
returns the counts since the last such request. It listens on loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
from typing import Any, ClassVar, Final

BUFFER_BYTES: Final = 1_048_576
BEGINNING_BYTES_MAX: Final = 65_536
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_PART: Final = re.compile(rb'name="(public_id|context)"\r\n\r\n([^\r]*)\r\n')
_FILE: Final = b'name="file"'


class Counts:
    """Counts since the last report: connections that sent anything, uploads, bytes of their bodies, different names."""

    def __init__(self) -> None:
        self.connections = self.uploads = self.body_bytes = 0
        self.names: set[str] = set()

    def as_json(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "uploads": self.uploads,
            "body_bytes": self.body_bytes,
            "names": len(self.names),
        }


class Talk(asyncio.BufferedProtocol):
    """One connection. All connections share one buffer; only the beginning of a request is kept."""

    counts: ClassVar = Counts()
    latency_s: ClassVar = 0.0
    _buffer: ClassVar = bytearray(BUFFER_BYTES)

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._beginning = bytearray()
        self._answer = b""
        self._left = 0
        self._is_known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer:
            self._take(nbytes)
            return
        self._beginning += self._buffer[:nbytes]
        if self._beginning.startswith(b"GET /counts "):
            self._tell_counts()
        elif _FILE in self._beginning:
            self._begin()
        elif len(self._beginning) > BEGINNING_BYTES_MAX:
            self._transport.abort()

    def _begin(self) -> None:
        """All fields and a part of the file have arrived."""
        head, _, body = bytes(self._beginning).partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None:
            self._transport.abort()
            return
        fields = {key.decode(): value.decode() for key, value in _PART.findall(body.partition(_FILE)[0])}
        counts = Talk.counts
        counts.connections += not self._is_known
        counts.uploads += 1
        counts.body_bytes += int(length[1])
        counts.names.add(fields["public_id"])
        self._is_known = True
        self._answer = _http(_asset(fields))
        self._left = int(length[1])
        self._beginning.clear()
        self._take(len(body))

    def _take(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left <= 0:
            asyncio.get_running_loop().call_later(self.latency_s, self._transport.write, self._answer)
            self._answer = b""

    def _tell_counts(self) -> None:
        self._transport.write(_http(Talk.counts.as_json()))
        self._beginning.clear()
        Talk.counts = Counts()


def _asset(fields: dict[str, str]) -> dict[str, Any]:
    """Cloudinary's answer about a new asset, with the MD5 that the client named."""
    public_id = fields["public_id"]
    said = dict(entry.split("=", 1) for entry in fields["context"].split("|"))
    url = f"res.cloudinary.com/demo/image/upload/v1700000000/{public_id}.png"
    return {
        "asset_id": "b5e6d2b39ba3e0869d67141ba7dba6cf",
        "public_id": public_id,
        "version": 1_700_000_000,
        "version_id": "98f52566f43d8e516a486958a45c1eb9",
        "signature": "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334",
        "width": 1024,
        "height": 1024,
        "format": "png",
        "resource_type": "image",
        "created_at": "2025-11-22T12:00:00Z",
        "tags": [],
        "type": "upload",
        "etag": said["md5"],
        "url": f"http://{url}",
        "secure_url": f"https://{url}",
        "asset_folder": public_id.rpartition("/")[0],
        "display_name": public_id.rpartition("/")[2],
        "context": {"custom": said},
        "api_key": "123456789012345",
    }


def _http(said: dict[str, Any]) -> bytes:
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(latency_s: float) -> None:
    """Listen, print the address, and continue until SIGTERM."""
    Talk.latency_s = latency_s
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Talk, "127.0.0.1", 0, backlog=512)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--cpu", type=int)
    given = parser.parse_args()
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    asyncio.run(serve(given.latency))


if __name__ == "__main__":
    main()
