"""The server that both clients of the benchmark of object stores upload to: just enough of S3, at almost no cost.

It is a raw protocol in a process of its own, which counts the bytes of bodies and keeps the names alone. It refuses a
name that it has if it is asked to, so the store finds a server that it can use. It compares the checksum of the one
byte with which the store tries that, and no other, since that would cost more than all the rest. `GET /counts` returns
the counts since the last such request and forgets the names. It listens on loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
from typing import ClassVar, Final

BUFFER_BYTES: Final = 1_048_576
HEAD_BYTES_MAX: Final = 65_536
PROBES: Final = "/.comfyledger-probe/"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_EXPECTS: Final = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_IS_NEW: Final = re.compile(rb"\r\nif-none-match: *\*", re.IGNORECASE)
_SUM: Final = re.compile(rb"\r\nx-amz-checksum-crc64nvme: *([^\r]+)", re.IGNORECASE)
_SUM_OF_TRY: Final = b"I5Whw0YbvtI="
_LISTING: Final = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
_BEGUN: Final = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_COMPLETED: Final = '<CompleteMultipartUploadResult><ETag>"1-1"</ETag></CompleteMultipartUploadResult>'
_BAD: Final = "<Error><Code>BadDigest</Code><Message>other bytes</Message></Error>"
_TAKEN: Final = "<Error><Code>PreconditionFailed</Code><Message>taken</Message></Error>"


class Counts:
    """Counts since the last report: connections that stored anything, objects, bytes of bodies, different names."""

    def __init__(self) -> None:
        self.connections = self.uploads = self.body_bytes = 0
        self.names: set[str] = set()

    def as_json(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "uploads": self.uploads,
            "body_bytes": self.body_bytes,
            "names": len({name for name in self.names if PROBES not in name}),
        }


class Talk(asyncio.BufferedProtocol):
    """One connection. All connections share one buffer; only the head of a request is kept."""

    counts: ClassVar = Counts()
    latency_s: ClassVar = 0.0
    _buffer: ClassVar = bytearray(BUFFER_BYTES)

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._head = bytearray()
        self._request = b""
        self._left = 0
        self._is_known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._request:
            self._take(nbytes)
            return
        self._head += self._buffer[:nbytes]
        head, found, body = self._head.partition(b"\r\n\r\n")
        if found:
            self._begin(bytes(head), len(body))
        elif len(self._head) > HEAD_BYTES_MAX:
            self._transport.abort()

    def _begin(self, head: bytes, received: int) -> None:
        length = _LENGTH.search(head)
        self._request, self._left = head, int(length[1]) if length else 0
        Talk.counts.body_bytes += self._left
        self._head.clear()
        if _EXPECTS.search(head):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take(received)

    def _take(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left <= 0:
            method, target = self._request.split(b" ", 2)[:2]
            answer = self._answer(method.decode(), target.decode())
            asyncio.get_running_loop().call_later(self.latency_s, self._transport.write, answer)
            self._request = b""

    def _answer(self, method: str, target: str) -> bytes:
        path, _, query = target.partition("?")
        match method:
            case "GET" if path == "/counts":
                counts, Talk.counts = Talk.counts, Counts()
                return _http(200, json.dumps(counts.as_json()))
            case "GET":
                return _http(200, _LISTING)
            case "POST" if "uploadId" not in query:
                return _http(200, _BEGUN)
            case "PUT" if "uploadId" in query:
                return _http(200)
            case "PUT" | "POST":
                return self._stored(path, "" if method == "PUT" else _COMPLETED)
        return _http(204)

    def _stored(self, path: str, said: str) -> bytes:
        counts = Talk.counts
        if path in counts.names and _IS_NEW.search(self._request):
            return _http(412, _TAKEN)
        said_sum = _SUM.search(self._request)
        if PROBES in path and said_sum and said_sum[1] != _SUM_OF_TRY:
            return _http(400, _BAD)
        counts.names.add(path)
        if PROBES not in path:
            counts.uploads += 1
            counts.connections += not self._is_known
            self._is_known = True
        return _http(200, said)


def _http(status: int, said: str = "") -> bytes:
    length = "" if status == 204 else f"Content-Length: {len(said)}\r\n"
    return f'HTTP/1.1 {status} OK\r\nETag: "1"\r\nContent-Type: application/xml\r\n{length}\r\n{said}'.encode()


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
