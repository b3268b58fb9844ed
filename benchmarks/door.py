"""How long an app waits for its numbers: from `submit_batch` to the answer, over the websocket, with everything
durable.

    python benchmarks/door.py --rounds 3

The floor is a bare aiohttp server that makes 4 KiB durable for each message and echoes it, with the same client.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from measured import in_turns, line, say
from processes import Daemon, daemon, peer

MESSAGES: Final = {1: 400, 100: 2_000}
"""By the number of clients."""
Make = Callable[[], str]

_numbers = itertools.count()


def body() -> dict[str, Any]:
    return {"request_id": f"r{next(_numbers)}", "username": "Areg", "character": "Opal Fever", "quantity": 1}


def submit() -> str:
    return json.dumps({"type": "submit_batch", "id": 1, "data": body()})


async def waits_ms(url: str, headers: dict[str, str], clients: int, make: Make) -> list[float]:
    """How long each answer took. Each of `clients` clients sends its requests one after the other."""
    took: list[float] = []

    async def client(socket: ClientConnection) -> None:
        for _ in range(MESSAGES[clients] // clients):
            frame = make()
            start = time.perf_counter()
            await socket.send(frame)
            answer = await socket.recv()
            took.append(1_000 * (time.perf_counter() - start))
            if b'"error"' in (answer if isinstance(answer, bytes) else answer.encode()):
                raise AssertionError(answer)

    sockets = [await connect(url, additional_headers=headers, compression=None) for _ in range(clients)]
    await asyncio.gather(*map(client, sockets))
    await asyncio.gather(*(socket.close() for socket in sockets))
    return sorted(took)


async def over_http(url: str, headers: dict[str, str], clients: int) -> None:
    """The same requests over HTTP, each client on one connection that stays open."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    lines = {**headers, "Host": f"{host}:{port}", "Content-Type": "application/json"}
    head = "POST /v1/batches HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(MESSAGES[clients] // clients):
            data = json.dumps(body()).encode()
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 201 "):
                raise AssertionError(answer)
            await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))


def costs_ms(ours: Daemon, clients: int, rounds: int) -> tuple[float, float]:
    """Processor time of the daemon for a submit over HTTP and over the websocket."""

    def cost(work: Callable[[], Coroutine[None, None, Any]]) -> float:
        before = ours.cpu_s()
        asyncio.run(work())
        return 1_000 * (ours.cpu_s() - before) / MESSAGES[clients]

    http, websocket = in_turns(
        rounds,
        lambda: cost(lambda: over_http(ours.url, ours.headers, clients)),
        lambda: cost(lambda: waits_ms(ours.websocket, ours.headers, clients, submit)),
    )
    return http, websocket


async def stopped(url: str, headers: dict[str, Any]) -> None:
    """Nothing is rendered meanwhile."""
    async with connect(url, additional_headers=headers, compression=None) as socket:
        await socket.send(json.dumps({"type": "pause", "id": 1, "data": {"scope": "everything"}}))
        await socket.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        folder = Path(name)
        with daemon(folder) as ours, peer("door_echo.py", str(folder / "synced"), folder=folder) as echo:
            asyncio.run(stopped(ours.websocket, ours.headers))
            for clients in MESSAGES:
                found: dict[str, list[list[float]]] = {"ours": [], "echo": []}
                for _ in range(rounds):
                    found["ours"].append(asyncio.run(waits_ms(ours.websocket, ours.headers, clients, submit)))
                    found["echo"].append(asyncio.run(waits_ms(echo, {}, clients, submit)))
                for what, share in (("median", 0.5), ("p99", 0.99)):
                    mine, floor = (median(one[int(len(one) * share)] for one in found[who]) for who in ("ours", "echo"))
                    said = f"aiohttp echo, one durable 4 KiB a message: {floor:.2f} ms"
                    say(line(f"door.{clients}.{what}", mine, floor, "ms", floor=said))
                http, websocket = costs_ms(ours, clients, rounds)
                said = f"the websocket: {websocket:.3f} ms of processor time"
                say(line(f"door.{clients}.http", http, websocket, "ms", floor=said))


if __name__ == "__main__":
    main()
