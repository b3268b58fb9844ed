"""The faults of the soak: each is a function that strikes once, on a run that goes on meanwhile.

What a run knows of itself lives here as well, and the way in which its apps ask. How long a fault lasts comes from the
seed. Apps and the counting at the end are in `soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException

from support.processes import House, StandIn
from support.waiting import pause
from support.wire_app import SMALL, Frame, Refusal

USERS = ("Areg", "areg", "Mina", "a_b")
ASK_S = 120.0
PEAK_BYTES_MAX = 250_000_000
AWAY = (OSError, WebSocketException, AssertionError, KeyError)
"""What an app meets while the daemon is away."""


@dataclass(frozen=True)
class Batch:
    """A batch as it was made up before the run: a colour for each image, or one colour for runs of several images."""

    request_id: str
    app: str
    username: str
    character: str
    colours: tuple[int, ...]
    images_per_prompt: int

    @property
    def body(self) -> Frame:
        asked = {"username": self.username, "character": self.character}
        if self.images_per_prompt == 1:
            return asked | {"inputs": SMALL, "images": [{"inputs": {"color": colour}} for colour in self.colours]}
        shared = {"images_per_prompt": self.images_per_prompt, "quantity": len(self.colours)}
        return asked | shared | {"inputs": SMALL | {"color": self.colours[0]}}


@dataclass
class Run:
    """What is known while it goes on. `answers` are what apps were told, by request; `pace` shortens every fault."""

    house: House
    random: random.Random
    pace: float
    batches: list[Batch]
    answers: dict[str, Frame] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    ran: list[Frame] = field(default_factory=list)
    """What stand-ins that were killed had run."""
    taken_out: set[str] = field(default_factory=set)
    """Prompts that people took out of stand-ins that were killed."""

    @property
    def roots(self) -> tuple[Path, Path]:
        """Where the two stores are."""
        return self.house.images, self.house.folder / "second"

    def remember(self, standin: StandIn | None = None) -> None:
        """Take down what a stand-in remembers, before it is killed or asked for the last time."""
        ledger = (standin or self.house.comfyui).ledger()
        self.ran += ledger["prompts"]
        self.taken_out |= set(ledger["taken_out"])

    async def lasts(self, least_s: float, most_s: float) -> None:
        await pause(self.random.uniform(least_s, most_s) * self.pace)


async def ask(run: Run, label: str, kind: str, **data: Any) -> Frame:
    """Ask until there is an answer, as an app does: with the same words. A refusal that is final is an answer."""
    deadline = asyncio.get_running_loop().time() + ASK_S
    while True:
        try:
            async with run.house.app(label) as app:
                return await app.ask(kind, **data)
        except Refusal as refusal:
            if refusal.code not in {"busy", "not_running", "storage_full", "series_unanswered"}:
                return refusal.data
        except AWAY:
            run.counts["times that an app had to ask again"] += 1
        assert asyncio.get_running_loop().time() < deadline, f"no answer to {kind}"
        await pause(0.1)


# ---- processes


async def kill_daemon(run: Run) -> None:
    run.house.daemon.signal(signal.SIGKILL)
    await run.lasts(0.0, 0.5)
    await run.house.daemon.begin()


async def restart_daemon(run: Run) -> None:
    assert run.house.daemon.signal(signal.SIGTERM) == 0
    await run.house.daemon.begin()


async def kill_comfyui(run: Run) -> None:
    run.remember()
    await run.house.comfyui.restart()


async def stop_comfyui_for_a_while(run: Run) -> None:
    run.remember()
    await run.house.comfyui.restart(away_s=run.random.uniform(1.0, 4.0) * run.pace)


async def hang_comfyui(run: Run) -> None:
    await hung(run, 0.5, 5.0)


async def hung(run: Run, least_s: float, most_s: float) -> None:
    """Its process stands still: connections are taken by the system, and nobody answers."""
    os.kill(run.house.comfyui.pid, signal.SIGSTOP)
    try:
        await run.lasts(least_s, most_s)
    finally:
        os.kill(run.house.comfyui.pid, signal.SIGCONT)


# ---- sockets


async def drop_sockets(run: Run) -> None:
    run.house.comfyui.control(drop_sockets=True)


async def close_sockets_as_too_big(run: Run) -> None:
    run.house.comfyui.control(break_sockets="too_big")


async def reset_sockets_in_mid_frame(run: Run) -> None:
    run.house.comfyui.control(break_sockets="mid_frame")


async def leave_sockets_half_open(run: Run) -> None:
    run.house.comfyui.control(break_sockets="half_open")
    await run.lasts(0.5, 3.0)
    run.house.comfyui.control(mend_sockets=True)


async def restart_behind_half_open_sockets(run: Run) -> None:
    run.house.comfyui.control(break_sockets="half_open", forget=True)


async def make_sockets_zombies(run: Run) -> None:
    run.house.comfyui.control(break_sockets="zombie")
    await run.lasts(2.0, 6.0)
    run.counts["zombies that were found out"] += run.house.comfyui.control()["listening"]


async def deaf_for_a_while(run: Run) -> None:
    run.house.comfyui.control(deaf=True)
    await run.lasts(0.5, 6.0)
    run.house.comfyui.control(deaf=False)


async def flood(run: Run) -> None:
    run.house.comfyui.control(flood_per_s=run.random.choice([500, 5_000]), big_frame_bytes=50_000_000)
    await run.lasts(0.5, 2.0)
    run.house.comfyui.control(flood_per_s=0)
    peak = run.house.daemon.peak_bytes()
    run.counts |= Counter({"megabytes that the daemon held at most": peak // 1_000_000})
    assert peak < PEAK_BYTES_MAX


# ---- calls, runs and files


async def slow_answers(run: Run) -> None:
    """Some are slower than the daemon waits: what it sent lands all the same, later."""
    path = run.random.choice(["/prompt", "/view", "/history", "/api/jobs"])
    run.house.comfyui.control(slow={path: run.random.uniform(0.5, 4.0) * run.pace})
    await run.lasts(0.5, 2.0)
    run.house.comfyui.control(slow={})


async def refuse(run: Run) -> None:
    path = run.random.choice(["/prompt", "/view", "/history", "/api/jobs", "/ws"])
    status = run.random.choice([500, 502, 503, 504] if path == "/view" else [429, 502, 503, 504])
    run.house.comfyui.control(
        refuse={path: {"status": status, "next": run.random.randint(1, 4)}}, drop_sockets=path == "/ws"
    )


async def lose_an_answer(run: Run) -> None:
    """Until the daemon has given up waiting, the prompt has run, or waits still: both must be found."""
    run.house.comfyui.control(answer_lost_next=1, hold=["queue"])
    await run.lasts(0.0, 6.0)
    run.house.comfyui.control(hold=[])


async def fail_once(run: Run) -> None:
    run.house.comfyui.control(fail_next=1)


async def double_a_run(run: Run) -> None:
    run.house.comfyui.control(double_next=[run.random.choice(["at_once", "later"])])


async def miscount(run: Run) -> None:
    run.house.comfyui.control(miscount_next=[run.random.choice([-1, 1])])


async def break_a_file(run: Run) -> None:
    how = ["cut_1", "cut_4", "cut_20", "cut_1000", "trailing", "empty", "html", "short_transfer", "missing"]
    run.house.comfyui.control(view_next=run.random.sample(how, 2))


# ---- stores


async def store_away(run: Run) -> None:
    await _away(run, run.roots[0])


async def second_store_away(run: Run) -> None:
    await _away(run, run.roots[1])


async def _away(run: Run, root: Path) -> None:
    """The disk of a store is unmounted: its folder is there, and nothing is in it."""
    away = root.with_name(f"{root.name}-away")
    root.rename(away)
    root.mkdir()
    await run.lasts(0.3, 3.0)
    strays = [path for path in root.rglob("*") if path.is_file()]
    assert not strays, f"written into an unmounted store: {strays}"
    root.rmdir()
    away.rename(root)


# ---- people


async def cancel_a_batch(run: Run) -> None:
    if run.answers:
        request_id = list(run.answers)[-1]
        run.cancelled.add(request_id)
        await ask(run, "app-0", "cancel", batch_id=run.answers[request_id]["batch_id"])


async def pause_for_a_while(run: Run) -> None:
    await _paused(run, "everything")


async def pause_a_part_for_a_while(run: Run) -> None:
    last = [f"batch:{answer['batch_id']}" for answer in list(run.answers.values())[-1:]]
    scopes = [
        f"backend:{run.house.backend}",
        "store:folder",
        "store:second",
        f"user:{run.random.choice(USERS)}",
        *last,
        *last,
    ]
    await _paused(run, run.random.choice(scopes))


async def _paused(run: Run, scope: str) -> None:
    await ask(run, "app-0", "pause", scope=scope)
    await run.lasts(0.3, 3.0)
    await ask(run, "app-0", "resume", scope=scope)


async def clear_the_queue(run: Run) -> None:
    """Somebody at ComfyUI's own page; their batches are held until they are resumed at the end."""
    await _pressed(run, "/queue", b'{"clear": true}')


async def interrupt(run: Run) -> None:
    await _pressed(run, "/interrupt", b"{}")


async def _pressed(run: Run, path: str, body: bytes) -> None:
    def send() -> None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(run.house.comfyui.url + path, body)
            urllib.request.urlopen(request, timeout=30.0).close()

    await asyncio.to_thread(send)


Fault = Callable[[Run], Awaitable[None]]

FAULTS: tuple[Fault, ...] = (
    kill_daemon,
    restart_daemon,
    kill_comfyui,
    stop_comfyui_for_a_while,
    hang_comfyui,
    drop_sockets,
    close_sockets_as_too_big,
    reset_sockets_in_mid_frame,
    leave_sockets_half_open,
    restart_behind_half_open_sockets,
    make_sockets_zombies,
    deaf_for_a_while,
    flood,
    slow_answers,
    refuse,
    lose_an_answer,
    fail_once,
    double_a_run,
    miscount,
    break_a_file,
    store_away,
    second_store_away,
    cancel_a_batch,
    pause_for_a_while,
    pause_a_part_for_a_while,
    clear_the_queue,
    interrupt,
)


def faults_of(rng: random.Random, count: int, faults: Sequence[Fault] = FAULTS) -> list[Fault]:
    """So many faults; each comes once before any comes again."""
    chosen: list[Fault] = []
    while len(chosen) < count:
        chosen += rng.sample(faults, len(faults))
    return chosen[:count]
