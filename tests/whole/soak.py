"""A soak: images in random batches of several apps, with a fault every few seconds from a list that a seed makes.

    python tests/whole/soak.py --images 2000 --seed 7

At the end the stores' folders and the stand-in's own ledger are counted, never the daemon's word alone: nothing lost,
nothing double, nothing foreign touched. The seed is printed and repeats the run: batches, faults and their order,
though not the millisecond at which each strikes. The faults are in `soak_faults`.
With `--backends` there are several stand-ins, between which prompts move: see `soak_moves`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.processes import House, StandIn
from support.waiting import pause
from support.wire_app import App, Frame, Refusal, of_kind
from whole.soak_faults import FAULTS, USERS, Batch, Fault, Run, ask, faults_of
from whole.soak_moves import MOVE_AFTER_S, MOVES, SoakFleet, check_attempts, check_strays_end

APPS = 3
QUANTITY_MAX = 8
IMAGES_PER_PROMPT = (1, 1, 1, 2, 3, 4)
CHARACTERS = ("Opal Fever", "opal fever", "b c")
FOREIGN = 5
SETTLE_S = 300.0
LOGGED = ("comfyui.socket_closed", "comfyui.socket_deaf")

Left = dict[Path, tuple[bytes, int]]
"""Files of somebody else, with their bytes and the time of their last change."""


def batches_of(images: int, rng: random.Random) -> list[Batch]:
    """Batches of so many images in all. No two runs are of one colour and prefix, so that none comes from a cache."""
    colours = rng.sample(range(1, 2**24), images)
    batches = []
    while colours:
        quantity, shared = min(rng.randint(1, QUANTITY_MAX), len(colours)), rng.choice(IMAGES_PER_PROMPT)
        mine, colours = tuple(colours[:quantity]), colours[quantity:]
        mine = mine if shared == 1 else mine[:1] * quantity
        app = f"app-{rng.randrange(APPS)}"
        batches.append(Batch(f"r{len(batches)}", app, rng.choice(USERS), rng.choice(CHARACTERS), mine, shared))
    return batches


# ---- apps


async def submit_all(run: Run, label: str, pause_s: float) -> None:
    for batch in [batch for batch in run.batches if batch.app == label]:
        answer = await ask(run, label, "submit_batch", request_id=batch.request_id, **batch.body)
        assert "batch_id" in answer, answer
        run.answers[batch.request_id] = answer
        await pause(pause_s)


async def strike(run: Run, faults: Sequence[Fault], every_s: float) -> None:
    for fault in faults:
        await pause(every_s)
        await fault(run)
        run.counts[fault.__name__] += 1
        if isinstance(run.house, SoakFleet):
            run.house.strike_next()


async def settle(run: Run) -> dict[str, Frame]:
    """Take up what people stopped and faults failed, until every batch is settled. How each request ended."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    async with run.house.app("app-0") as app:
        left = {request_id: answer["batch_id"] for request_id, answer in run.answers.items()}
        ended: dict[str, Frame] = {}
        while left:
            assert asyncio.get_running_loop().time() < deadline, (
                f"not settled: {[await app.batch(one) for one in left.values()]}"
            )
            await pause(0.1)
            for request_id, batch_id in list(left.items()):
                batch = await _taken_up(app, batch_id)
                if batch is not None:
                    ended[request_id] = batch
                    del left[request_id]
        return ended


async def _taken_up(app: App, batch_id: str) -> Frame | None:
    """The batch, if all of it is stored or cancelled; else what is held or failed is taken up again."""
    batch = await app.batch(batch_id)
    if batch["stored"] + batch["cancelled"] == len(batch["images"]):
        return batch
    with contextlib.suppress(Refusal):
        if batch["status"] == "held":
            await app.ask("resume", scope=f"batch:{batch_id}")
        elif any(image.get("code") == "wrong_count" and image["state"] == "parked" for image in batch["images"]):
            await app.ask("retry", batch_id=batch_id, take="first")
        elif batch["failed"] + batch["parked"]:
            await app.ask("retry", batch_id=batch_id)
    return None


# ---- what must be true


def plant(root: Path, count: int) -> Left:
    """Files of somebody else in a store, beside ours and in their way."""
    for number in range(1, count + 1):
        path = root / f"Areg/characters/opal-fever/images/Areg_opal-fever_image_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"somebody's %d" % number)
    (root / "notes.txt").write_bytes(b"mine")
    return as_left([path for path in root.rglob("*") if path.is_file()])


def as_left(paths: Iterable[Path]) -> Left:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def check_nothing_lost(run: Run, ended: dict[str, Frame]) -> None:
    """Each image that was promised and not cancelled is one whole file, of the colour and number that was asked for."""
    files = run.house.stored()
    asked = {batch.request_id: batch for batch in run.batches}
    for request_id, batch in ended.items():
        drawn = drawn_of(run, batch)
        for image, colour in zip(batch["images"], asked[request_id].colours, strict=True):
            if image["state"] != "cancelled":
                assert image["state"] == "stored"
                pixels = run.house.drawn(files[image["public_id"]])
                assert drawn.get(pixels) == image["number"], image["public_id"]
                assert pixels[:3] == colour.to_bytes(3, "big"), image["public_id"]
    cancelled = {request_id for request_id, batch in ended.items() if batch["cancelled"]}
    assert cancelled <= run.cancelled


def drawn_of(run: Run, batch: Frame) -> dict[bytes, int]:
    """The pixels that the stand-in drew for a batch, with the number of the image that they were drawn for.

    A second run under one prefix counts on: of four images, the fifth file is the first image again.
    """
    if not kept_of(batch):
        return {}
    prompts: dict[int, list[int]] = {}
    for image in batch["images"]:
        prompts.setdefault(image["prompt"], []).append(image["number"])
    by_first = {numbers[0]: numbers for numbers in prompts.values()}
    drawn: dict[bytes, int] = {}
    for name, pixels in run.house.rendered(batch["batch_id"]).items():
        found = re.fullmatch(r"(\d+)-a\d+_(\d{5})_\.png", name)
        assert found, name
        numbers = by_first[int(found[1])]
        number = numbers[(int(found[2]) - 1) % len(numbers)]
        assert drawn.setdefault(pixels, number) == number, "two images cannot be told apart"
    return drawn


def kept_of(batch: Frame) -> list[Frame]:
    return [image for image in batch["images"] if image["state"] != "cancelled"]


def check_stores(run: Run, ended: dict[str, Frame], theirs: Left) -> None:
    """Both stores have the same files with the same bytes, and no file more; what is not ours is as it was."""
    wanted = {f"{image['public_id']}.png" for batch in ended.values() for image in kept_of(batch)}
    stores = []
    for root in run.roots:
        files = {path for path in root.rglob("*") if path.is_file()} - {root / ".comfyledger"}
        stores.append({str(path.relative_to(root)): path.read_bytes() for path in files - set(theirs)})
        assert set(stores[-1]) == wanted
    assert stores[0] == stores[1]
    assert as_left(theirs) == theirs, "something foreign was touched"


def check_nothing_double(run: Run) -> None:
    """A name once given is nobody else's, and nothing was run more often than it was sent, but where a fault did it."""
    names = [name.casefold() for answer in run.answers.values() for name in answer["public_ids"]]
    assert len(names) == len(set(names)) == sum(len(batch.colours) for batch in run.batches)
    succeeded = Counter(one["prompt_id"] for one in run.ran if one["outcome"] == "execution_success")
    more = succeeded - Counter(prompt_id for one in run.house.every_standin for prompt_id in one.posted())
    assert more.total() <= run.counts["double_a_run"]
    asked = {(one["method"], one["path"]) for standin in run.house.every_standin for one in standin.requests()}
    assert not {("GET", "/history"), ("GET", "/api/history")} & asked, "everybody's history was asked for"


def check_looked_before_sending_again(standin: StandIn) -> None:
    """Between two times that one prompt was sent it was looked for, whatever became of the first answer."""
    unsure: set[str] = set()
    for one in standin.requests():
        if (one["method"], one["path"]) == ("POST", "/prompt"):
            assert one["prompt_id"] not in unsure, f"sent again without a look: {one}"
            unsure.add(one["prompt_id"])
        elif one["method"] == "GET":
            unsure.discard(one["prompt_id"])


def check_people(run: Run, log: Sequence[Frame]) -> None:
    """What is said to have been taken out by a person was taken out by one: no restart passes for it."""
    sent = {_attempt(event): event["data"]["prompt_id"] for event in of_kind(log, "prompt_submitting")}
    removed = [event for event in of_kind(log, "prompt_removed") if event["data"]["by"] == "foreign"]
    assert {sent[_attempt(event)] for event in removed} <= run.taken_out


def _attempt(event: Frame) -> tuple[str, int, int]:
    return event["data"]["batch_id"], event["data"]["prompt"], event["data"]["attempt"]


async def check_same_answers(run: Run) -> None:
    """Every request, asked again, has the answer that it had."""
    for batch in run.batches:
        again = await ask(run, batch.app, "submit_batch", request_id=batch.request_id, **batch.body)
        first = run.answers[batch.request_id]
        assert (again["batch_id"], again["numbers"]) == (first["batch_id"], first["numbers"])
        assert again["repeated"]


# ---- the whole


async def begin(run: Run, seconds_per_image: float) -> None:
    """Start both. An answer that never comes is given up soon, so that the fault costs seconds."""
    house = run.house
    second = f'[stores.second]\nkind = "folder"\nroot = "{run.roots[1]}"\n'
    keys = f"request_timeout_s = {max(0.5, 3.0 * run.pace)}\nconnect_timeout_s = 1.0"
    if isinstance(house, SoakFleet):
        house.keys = f"{keys}\nmove_after_s = {MOVE_AFTER_S * run.pace}"
        await house.begin_all(config=second)
        return
    house.comfyui = StandIn(house.folder, seconds_per_image)
    await house.comfyui.begin()
    house.configure(second, comfyui=keys)
    await house.daemon.begin()


async def soak(
    folder: Path, images: int, seed: int, faults: int, every_s: float, pace: float = 1.0, backends: int = 1
) -> Counter[str]:
    """Run, check, and say how often each fault struck. Raises AssertionError with what does not hold.

    Rendering takes about as long as all faults together, so that each of them meets work under way.
    """
    about = f"{images} images, {faults} faults, {backends} ComfyUIs"
    print(f"soak: seed {seed}, {about}; logs are in {folder}", flush=True)
    rng, window_s = random.Random(seed), faults * (every_s + pace)
    house = House(folder) if backends == 1 else SoakFleet(folder, backends, backends * window_s / images)
    run = Run(house, rng, pace, batches_of(images, rng))
    try:
        await begin(run, seconds_per_image=window_s / images)
        theirs = plant(run.roots[0], FOREIGN) | plant(run.roots[1], FOREIGN + 2)
        chosen = faults_of(rng, faults, FAULTS if backends == 1 else (*FAULTS, *MOVES))
        pause_s = APPS * window_s / len(run.batches) / 2
        async with asyncio.TaskGroup() as group:
            for number in range(APPS):
                group.create_task(submit_all(run, f"app-{number}", pause_s))
            group.create_task(strike(run, chosen, every_s))
        ended = await settle(run)
        if backends > 1:
            await check_strays_end(run)
        for standin in run.house.every_standin:
            run.remember(standin)
            check_looked_before_sending_again(standin)
        async with run.house.app() as app:
            check_people(run, await app.log())
        check_nothing_lost(run, ended)
        check_stores(run, ended, theirs)
        check_nothing_double(run)
        if backends > 1:
            check_attempts(run, ended)
        await check_same_answers(run)
        return counted(run, ended)
    finally:
        run.house.end()


def counted(run: Run, ended: dict[str, Frame]) -> Counter[str]:
    """How often each fault struck, and what was seen of it."""
    said = Counter(fact["event"] for fact in run.house.daemon.facts())
    run.counts |= Counter({f"times {event} was logged": said[event] for event in LOGGED})
    run.counts["prompts run"] = len(run.ran)
    run.counts["errors in the daemon's log"] = len(run.house.daemon.errors())
    run.counts["images stored"] = sum(batch["stored"] for batch in ended.values())
    run.counts["images cancelled"] = sum(batch["cancelled"] for batch in ended.values())
    return run.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--backends", type=int, default=1, help="how many ComfyUIs there are")
    parser.add_argument("--every-s", type=float, default=2.0, help="seconds between two faults")
    asked = parser.parse_args()
    every = (*FAULTS, *MOVES) if asked.backends > 1 else FAULTS
    faults = max(len(every), asked.images // 20)
    folder, began = Path(tempfile.mkdtemp(prefix="comfyledger-soak-")), time.monotonic()
    counts = asyncio.run(soak(folder, asked.images, asked.seed, faults, asked.every_s, backends=asked.backends))
    assert counts["zombies that were found out"], "no socket was found to be deaf"
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    print(f"nothing lost, nothing double, nothing foreign touched, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
