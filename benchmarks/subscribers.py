"""How fast the log reaches 1, 100 and 1,000 subscribers, and how much memory each of them costs.

    python benchmarks/subscribers.py --rounds 3

A batch is held and resumed again and again, and all subscribers get the events. A single subscriber gets them
afterwards, because making the events takes longer than sending them to one. The floor is the `websockets` package's
broadcast of the same frames: it reads no log, filters nothing and waits for nobody. The same clients listen to both.
Memory is the daemon's, as the system counts it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from measured import line, say
from processes import Daemon, daemon, peer

EVENTS: Final = {1: 2_000, 100: 400, 1_000: 60}
"""By the number of subscribers."""
KIB: Final = 1_024


async def everybody(stack: AsyncExitStack, url: str, headers: dict[str, str], count: int) -> list[ClientConnection]:
    found = []
    for _ in range(count):
        socket = connect(url, additional_headers=headers, compression=None, max_size=None, ping_interval=None)
        found.append(await stack.enter_async_context(socket))
    return found


async def heard(sockets: Sequence[ClientConnection], frames: int) -> None:
    async def listen(socket: ClientConnection) -> None:
        for _ in range(frames):
            await socket.recv()

    await asyncio.gather(*map(listen, sockets))


async def ask(socket: ClientConnection, kind: str, **data: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"type": kind, "id": 1, "data": data}))
    answer = json.loads(await socket.recv())
    if answer["type"] != "result":
        raise AssertionError(answer)
    return dict(answer["data"])


async def ours_per_second(ours: Daemon, subscribers: int, events: int) -> tuple[float, float]:
    """Events a second for each subscriber, from the first command until the last subscriber has the last event; and KiB
    for each subscriber.
    """
    async with AsyncExitStack() as stack:
        (giver,) = await everybody(stack, ours.websocket, ours.headers, 1)
        asked = {"request_id": f"{time.monotonic_ns()}", "username": "Areg", "character": "Opal Fever", "quantity": 1}
        batch = (await ask(giver, "submit_batch", **asked))["batch_id"]
        info = await ask(giver, "server_info")
        before, made = ours.rss_bytes(), subscribers == 1
        if made:
            await asyncio.gather(give(giver, batch, events), heard([giver], events))
        sockets = await everybody(stack, ours.websocket, ours.headers, subscribers)
        for socket in sockets:
            await ask(socket, "subscribe", batch_id=batch, after=info["position"], epoch=info["epoch"])
        start = time.perf_counter()
        giving = () if made else (give(giver, batch, events), heard([giver], events))
        await asyncio.gather(heard(sockets, events), *giving)
        took = time.perf_counter() - start
        return events / took, (ours.rss_bytes() - before) / subscribers / KIB


async def give(giver: ClientConnection, batch: str, events: int) -> None:
    for number in range(events):
        kind, data = "resume" if number % 2 else "pause", {"scope": f"batch:{batch}"}
        await giver.send(json.dumps({"type": kind, "id": 1, "data": data}))


async def peers_per_second(url: str, subscribers: int, events: int) -> float:
    async with AsyncExitStack() as stack:
        sockets = await everybody(stack, url, {}, subscribers)
        start = time.perf_counter()
        await sockets[0].send("go")
        await heard(sockets, events)
        return events / (time.perf_counter() - start)


def frames_of(folder: Path, events: int) -> Path:
    """Frames as long as ours."""
    data = {"subscription": "s1", "epoch": "01JD0000000000000000ABCDEF", "position": 1_000, "kind": "batch_held"}
    data |= {"at_ms": 1_795_377_407_847, "stream": "01JD0000000000000000ABCDEF"}
    data |= {"data": {"batch_id": "01JD0000000000000000ABCDEF", "reason": "person", "by": "default"}}  # type: ignore[dict-item]
    path = folder / f"{events}.frames"
    path.write_text((json.dumps({"type": "event", "id": None, "data": data}) + "\n") * events)
    return path


def measure(folder: Path, rounds: int) -> None:
    with daemon(folder, door="connections_max = 2_000") as ours:
        for subscribers, events in EVENTS.items():
            with peer("subscribers_peer.py", str(frames_of(folder, events)), folder=folder) as url:
                mine, theirs, kib = [], [], []
                for _ in range(rounds):
                    rate, memory = asyncio.run(ours_per_second(ours, subscribers, events))
                    mine.append(rate * subscribers)
                    kib.append(memory)
                    theirs.append(subscribers * asyncio.run(peers_per_second(url, subscribers, events)))
            said = f"a bare broadcast: {median(theirs):.0f}/s"
            say(line(f"subscribers.{subscribers}", median(mine), median(theirs), "frames/s", floor=said))
        say(line(f"subscribers.memory.{subscribers}", kib[0], 30.0, "KiB each", peer="30 KiB each"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="comfyledger-bench-") as name:
        measure(Path(name), rounds)


if __name__ == "__main__":
    main()
