"""A soak: images in random batches of several apps, with a fault every few seconds from a list that a seed makes.

    python tests/whole/soak.py --images 2000 --seed 7

At the end the store's folder and the stand-in's own ledger are counted, never the daemon's word alone: nothing lost,
nothing double, nothing foreign touched. The seed is printed and repeats the run: batches, faults and their order,
though not the millisecond at which each strikes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import signal
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from websockets.exceptions import WebSocketException

from whole_app import SMALL, App, Frame, Refusal
from whole_house import House, StandIn

APPS = 3
QUANTITY_MAX = 8
USERS = ("Areg", "areg", "Mina", "a_b")
CHARACTERS = ("Opal Fever", "opal fever", "b c")
FOREIGN = 5
SETTLE_S = 120.0
AWAY = (OSError, WebSocketException, AssertionError, KeyError)
"""What an app meets while the daemon is away."""


@dataclass(frozen=True)
class Batch:
    """A batch as it was made up before the run, one image for each colour."""

    request_id: str
    app: str
    username: str
    character: str
    colours: tuple[int, ...]

    @property
    def body(self) -> Frame:
        return {
            "username": self.username,
            "character": self.character,
            "inputs": SMALL,
            "images": [{"inputs": {"color": colour}} for colour in self.colours],
        }


@dataclass
class Run:
    """What is known while it goes on. `answers` are what apps were told, by request."""

    house: House
    random: random.Random
    batches: list[Batch]
    answers: dict[str, Frame] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    ran: list[Frame] = field(default_factory=list)
    """What stand-ins that were killed had run."""


def batches_of(images: int, rng: random.Random) -> list[Batch]:
    """Batches of so many images in all. No two images are of one colour, so that none comes from ComfyUI's cache."""
    colours = rng.sample(range(1, 2**24), images)
    batches = []
    while colours:
        quantity = min(rng.randint(1, QUANTITY_MAX), len(colours))
        mine, colours = tuple(colours[:quantity]), colours[quantity:]
        app = f"app-{rng.randrange(APPS)}"
        batches.append(Batch(f"r{len(batches)}", app, rng.choice(USERS), rng.choice(CHARACTERS), mine))
    return batches


# ---- faults


async def kill_daemon(run: Run) -> None:
    run.house.daemon.signal(signal.SIGKILL)
    await asyncio.sleep(run.random.uniform(0.0, 0.3))
    await run.house.daemon.begin()


async def restart_daemon(run: Run) -> None:
    assert run.house.daemon.signal(signal.SIGTERM) == 0
    await run.house.daemon.begin()


async def kill_comfyui(run: Run) -> None:
    run.ran += run.house.comfyui.ledger()["prompts"]
    await run.house.comfyui.restart()


async def drop_sockets(run: Run) -> None:
    run.house.comfyui.control(drop_sockets=True)


async def deaf_for_a_while(run: Run) -> None:
    run.house.comfyui.control(deaf=True)
    await asyncio.sleep(run.random.uniform(0.5, 2.0))
    run.house.comfyui.control(deaf=False)


async def lose_an_answer(run: Run) -> None:
    run.house.comfyui.control(answer_lost_next=1)


async def fail_once(run: Run) -> None:
    run.house.comfyui.control(fail_next=1)


async def double_a_run(run: Run) -> None:
    run.house.comfyui.control(double_next=[run.random.choice(["at_once", "later"])])


async def break_a_file(run: Run) -> None:
    run.house.comfyui.control(view_next=[run.random.choice(["cut_4", "trailing", "empty", "html", "short_transfer"])])


async def store_away(run: Run) -> None:
    """The disk of the store is unmounted: its folder is there, and nothing is in it."""
    away = run.house.images.with_name("images-away")
    run.house.images.rename(away)
    run.house.images.mkdir()
    await asyncio.sleep(run.random.uniform(0.3, 1.5))
    strays = [path for path in run.house.images.rglob("*") if path.is_file()]
    assert not strays, f"written into an unmounted store: {strays}"
    run.house.images.rmdir()
    away.rename(run.house.images)


async def cancel_a_batch(run: Run) -> None:
    if run.answers:
        request_id = list(run.answers)[-1]
        run.cancelled.add(request_id)
        await ask(run, "app-0", "cancel", batch_id=run.answers[request_id]["batch_id"])


async def pause_for_a_while(run: Run) -> None:
    await ask(run, "app-0", "pause")
    await asyncio.sleep(run.random.uniform(0.1, 0.5))
    await ask(run, "app-0", "resume")


async def clear_the_queue(run: Run) -> None:
    """Somebody at ComfyUI's own page; their batches are held until they are resumed at the end."""

    def clear() -> None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(run.house.comfyui.url + "/queue", b'{"clear": true}')
            urllib.request.urlopen(request, timeout=5.0).close()

    await asyncio.to_thread(clear)


FAULTS: tuple[Callable[[Run], Awaitable[None]], ...] = (
    kill_daemon,
    kill_comfyui,
    restart_daemon,
    drop_sockets,
    deaf_for_a_while,
    lose_an_answer,
    fail_once,
    double_a_run,
    break_a_file,
    store_away,
    cancel_a_batch,
    pause_for_a_while,
    clear_the_queue,
)


def faults_of(rng: random.Random, count: int) -> list[Callable[[Run], Awaitable[None]]]:
    """So many faults; each comes once before any comes again."""
    chosen: list[Callable[[Run], Awaitable[None]]] = []
    while len(chosen) < count:
        chosen += rng.sample(FAULTS, len(FAULTS))
    return chosen[:count]


# ---- apps


async def ask(run: Run, label: str, kind: str, **data: Any) -> Frame:
    """Ask until there is an answer, as an app does: with the same words. A refusal that is final is an answer."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
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
        await asyncio.sleep(0.1)


async def submit_all(run: Run, label: str, pause_s: float) -> None:
    for batch in [batch for batch in run.batches if batch.app == label]:
        answer = await ask(run, label, "submit_batch", request_id=batch.request_id, **batch.body)
        assert "batch_id" in answer, answer
        run.answers[batch.request_id] = answer
        await asyncio.sleep(pause_s)


async def strike(run: Run, faults: Sequence[Callable[[Run], Awaitable[None]]], every_s: float) -> None:
    for fault in faults:
        await asyncio.sleep(every_s)
        await fault(run)
        run.counts[fault.__name__] += 1


async def settle(run: Run) -> list[Frame]:
    """Take up what people stopped and faults failed, until every batch is settled. How each ended."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    async with run.house.app("app-0") as app:
        left = [answer["batch_id"] for answer in run.answers.values()]
        ended: list[Frame] = []
        while left:
            assert asyncio.get_running_loop().time() < deadline, (
                f"not settled: {[await app.batch(one) for one in left]}"
            )
            await asyncio.sleep(0.1)
            for batch_id in list(left):
                batch = await _taken_up(app, batch_id)
                if batch is not None:
                    ended.append(batch)
                    left.remove(batch_id)
        return ended


async def _taken_up(app: App, batch_id: str) -> Frame | None:
    """The batch, if all of it is stored or cancelled; else what is held or failed is taken up again."""
    batch = await app.batch(batch_id)
    if batch["stored"] + batch["cancelled"] == len(batch["images"]):
        return batch
    with contextlib.suppress(Refusal):
        if batch["status"] == "held":
            await app.ask("resume", scope=f"batch:{batch_id}")
        elif batch["failed"] + batch["parked"]:
            await app.ask("retry", batch_id=batch_id)
    return None


# ---- what must be true


def plant(root: Path) -> dict[Path, tuple[bytes, int]]:
    """Files of somebody else in the store, beside ours and in their way."""
    for number in range(1, FOREIGN + 1):
        path = root / f"Areg/characters/opal-fever/images/Areg_opal-fever_image_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"somebody's %d" % number)
    (root / "notes.txt").write_bytes(b"mine")
    return foreign(root, [path for path in root.rglob("*") if path.is_file()])


def foreign(root: Path, paths: Sequence[Path]) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def check_nothing_lost(run: Run, ended: Sequence[Frame], theirs: Sequence[Path]) -> None:
    """Each image that was promised and not cancelled is one whole file, drawn for its own prompt, and no file more."""
    files = run.house.stored()
    for batch in ended:
        rendered = run.house.rendered(batch["batch_id"]) if kept_of(batch) else {}
        for image in kept_of(batch):
            name = re.compile(rf"{image['number']}-a\d+_\d{{5}}_\.png")
            own = {drawn for file, drawn in rendered.items() if name.fullmatch(file)}
            assert image["state"] == "stored"
            assert run.house.drawn(files[image["public_id"]]) in own, image["public_id"]
    wanted = sorted(image["public_id"] for batch in ended for image in kept_of(batch))
    stems = {str(path.relative_to(run.house.images).with_suffix("")) for path in theirs}
    assert sorted(set(run.house.stored()) - stems) == wanted
    cancelled = {batch["batch_id"] for batch in ended if batch["cancelled"]}
    assert cancelled <= {run.answers[request_id]["batch_id"] for request_id in run.cancelled}


def kept_of(batch: Frame) -> list[Frame]:
    return [image for image in batch["images"] if image["state"] != "cancelled"]


def check_nothing_double(run: Run) -> None:
    """A name once given is nobody else's, and nothing was rendered twice to its end but where the fault was that."""
    names = [name.casefold() for answer in run.answers.values() for name in answer["public_ids"]]
    assert len(names) == len(set(names)) == sum(len(batch.colours) for batch in run.batches)
    ran = run.ran + run.house.comfyui.ledger()["prompts"]
    rendered = [one["prompt_id"] for one in ran if one["outcome"] == "execution_success"]
    assert len(rendered) - len(set(rendered)) <= run.counts["double_a_run"]
    asked = {(one["method"], one["path"]) for one in run.house.comfyui.requests()}
    assert not {("GET", "/history"), ("GET", "/api/history")} & asked, "everybody's history was asked for"


async def check_same_answers(run: Run) -> None:
    """Every request, asked again, has the answer that it had."""
    for batch in run.batches:
        again = await ask(run, batch.app, "submit_batch", request_id=batch.request_id, **batch.body)
        first = run.answers[batch.request_id]
        assert (again["batch_id"], again["numbers"]) == (first["batch_id"], first["numbers"])
        assert again["repeated"]


# ---- the whole


async def begin(house: House, seconds_per_image: float) -> None:
    """Start both. An answer that never comes is given up soon, so that the fault costs seconds."""
    house.comfyui = StandIn(house.folder, seconds_per_image)
    await house.comfyui.begin()
    house.configure(comfyui="request_timeout_s = 3.0")
    await house.daemon.begin()


async def soak(folder: Path, images: int, seed: int, faults: int, every_s: float) -> Counter[str]:
    """Run, check, and say how often each fault struck. Raises AssertionError with what does not hold.

    Rendering takes about as long as all faults together, so that each of them meets work under way.
    """
    print(f"soak: seed {seed}, {images} images, {faults} faults; logs are in {folder}", flush=True)
    rng = random.Random(seed)
    run = Run(House(folder), rng, batches_of(images, rng))
    try:
        window_s = faults * every_s
        await begin(run.house, seconds_per_image=window_s / images)
        theirs = plant(run.house.images)
        chosen = faults_of(rng, faults)
        pause_s = APPS * window_s / len(run.batches) / 2
        async with asyncio.TaskGroup() as group:
            for number in range(APPS):
                group.create_task(submit_all(run, f"app-{number}", pause_s))
            group.create_task(strike(run, chosen, every_s))
        ended = await settle(run)
        check_nothing_lost(run, ended, list(theirs))
        check_nothing_double(run)
        await check_same_answers(run)
        assert foreign(run.house.images, list(theirs)) == theirs, "something foreign was touched"
        run.counts["prompts rendered"] = len(run.ran) + len(run.house.comfyui.ended())
        run.counts["errors in the daemon's log"] = len(run.house.daemon.errors())
        run.counts["images stored"] = sum(batch["stored"] for batch in ended)
        run.counts["images cancelled"] = sum(batch["cancelled"] for batch in ended)
        return run.counts
    finally:
        run.house.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--every-s", type=float, default=2.0, help="seconds between two faults")
    asked = parser.parse_args()
    faults = max(len(FAULTS), asked.images // 40)
    folder = Path(tempfile.mkdtemp(prefix="comfyledger-soak-"))
    counts = asyncio.run(soak(folder, asked.images, asked.seed, faults, asked.every_s))
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    print("nothing lost, nothing double, nothing foreign touched")


if __name__ == "__main__":
    main()
