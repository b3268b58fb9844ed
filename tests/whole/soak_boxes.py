"""A soak of a fleet: apps ask all boxes for images of one series, and boxes and the database die in between.

    python tests/whole/soak_boxes.py --boxes 3 --images 600 --kills 20 --database-kills 5 --seed 7

At the end the files of the store, the log in PostgreSQL, every replica, and what the apps were told are compared; then
`audit --deep` and `replay --check` run on each box. The seed chooses who dies, and after how many images.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.box_houses import BoxHouses, check_boxes
from support.command_line import command
from support.postgres import Cluster, running
from support.waiting import until

EACH = 5
"""Images of one batch."""
NAMES = ("north", "south", "west", "east", "fifth", "sixth", "seventh", "eighth")


class Plan(NamedTuple):
    images: int
    kills: int
    database_kills: int
    seed: int
    seconds_per_image: float = 0.05


async def soak(boxes: BoxHouses, cluster: Cluster, plan: Plan) -> None:
    """Raises AssertionError if a number or an image is there twice or not at all, or if two boxes do not agree."""
    await boxes.begin(seconds_per_image=plan.seconds_per_image)
    killing = asyncio.create_task(_kill_in_turn(boxes, cluster, plan))
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_submit(boxes, number)) for number in range(plan.images // EACH)]
    batches = await boxes.settled("north", *(str(task.result()["batch_id"]) for task in asked))
    await killing
    await check_boxes(boxes, *batches)
    numbers = sorted(image["number"] for batch in batches for image in batch["images"])
    assert numbers == list(range(1, len(asked) * EACH + 1))
    await _check_replicas(boxes)


async def _submit(boxes: BoxHouses, number: int) -> dict[str, object]:
    """One box is asked first, and the others where it does not answer."""
    names = list(boxes.boxes)
    first = number % len(names)
    return await boxes.submit(f"r{number}", names[first:] + names[:first], quantity=EACH)


async def _kill_in_turn(boxes: BoxHouses, cluster: Cluster, plan: Plan) -> None:
    chance = random.Random(plan.seed)
    for after, victim in _deaths(plan, chance):
        await until(lambda after=after: len(boxes.stored()) >= after, f"{after} images are stored")
        if victim == "database":
            await asyncio.to_thread(cluster.restart)
        else:
            one = chance.choice(boxes.all)
            await asyncio.to_thread(one.kill)
            await one.daemon.begin()


def _deaths(plan: Plan, chance: random.Random) -> Sequence[tuple[int, str]]:
    """Who dies after how many stored images, in their order."""
    victims = ["box"] * plan.kills + ["database"] * plan.database_kills
    chance.shuffle(victims)
    return list(zip(sorted(chance.choices(range(plan.images), k=len(victims))), victims, strict=True))


async def _check_replicas(boxes: BoxHouses) -> None:
    """What a person runs on each box: each is whole in itself, and all are the same."""
    replayed = []
    for one in boxes.all:
        assert (await command(one, "audit", "--deep"))["findings"] == []
        replayed.append(await command(one, "replay", "--check"))
    assert all(one == replayed[0] for one in replayed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boxes", type=int, default=3)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--kills", type=int, default=20, help="of boxes")
    parser.add_argument("--database-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-boxes-") as folder, running(Cluster().begin()) as (cluster,):
        boxes = BoxHouses(Path(folder), cluster.database(), NAMES[: given.boxes])
        try:
            asyncio.run(soak(boxes, cluster, Plan(given.images, given.kills, given.database_kills, given.seed)))
        except BaseException:
            for one in boxes.all:
                print(f"{one.name}: {one.daemon.last_words()}", file=sys.stderr)
            raise
        finally:
            boxes.end()
    lines = f"{given.images} images, {given.kills} kills of boxes, {given.database_kills} of the database"
    print(f"{lines}: nothing lost, nothing twice, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
