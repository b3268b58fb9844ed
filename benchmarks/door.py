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
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from measured import line, say
from processes import daemon, peer

MESSAGES: Final = {1: 400, 100: 2_000}
"""By the number of clients."""
Make = Callable[[], str]

_numbers = itertools.count()


def submit() -> str:
    data = {"request_id": f"r{next(_numbers)}", "username": "Areg", "character": "Opal Fever", "quantity": 1}
    return json.dumps({"type": "submit_batch", "id": 1, "data": data})


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


if __name__ == "__main__":
    main()
