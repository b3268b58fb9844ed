"""A ledger with many settled images, made in seconds: for tests of what a gallery asks of it, and of the page itself.

Its log has the request and the end of each batch and nothing between, so that an audit names every image: the tables
alone are as a daemon would have left them. Nothing is in the spool or in a store: file and thumbnail of an image are
refused at once, as those of a lost file are. `draw` gives the newest images thumbnails. The same numbers give the same
ledger.

    PYTHONPATH=tests python -m support.large_ledger /tmp/state/ledger.db --images 200000
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from ulid import ULID

from comfyledger.core.events import BatchRequested, BatchSettled, Recorded
from comfyledger.core.evolve.batches import batch_requested
from comfyledger.core.evolve.transitions import moved
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series, Templates, name_of, series_of
from comfyledger.core.naming.slugs import fold
from comfyledger.core.rows import BatchRow, ImageRow, ImageState, PromptRow, Row, Slice
from comfyledger.core.values import Blob, ImageNamed, OutputNamed, PromptFixed, blob_of
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.workers.thumbnails.cache import Cache
from comfyledger.workers.thumbnails.sizes import SIDES

NOW_MS: Final = 1_795_377_407_000
DAYS: Final = 180
"""The batches are spread over so many days that end at `now_ms`."""
USERS: Final = ("Areg", "Ann", "Bob", "Chioma", "Dmitri", "Eun", "Fatima", "Gustavo")
"""The first has half of everything, each other one half of the one before."""
CHARACTERS: Final = ("Opal Fever", "Iron Lark", "Sea Glass", "Old Moth", "Paper Tiger", "Quiet Storm")
WORKFLOWS: Final = ("text-to-image", "portrait", "upscale", "")
LABELS: Final = ("app", "shop")
SIZES: Final = (1, 1, 2, 4, 4, 8, 8)
LONG: Final = 200
"""Images of a batch; one of `EVERY_LONG` batches is a long one."""
EVERY_LONG: Final = 400
EVERY_VIDEO: Final = 25
"""One of so many batches makes videos."""
A_GROUP: Final = 2_000
"""Batches in one transaction."""
_GRAPH: Final = b'{"9":{"class_type":"SaveImage"}}'
GRAPH: Final[Blob] = blob_of(_GRAPH, b"salt", hashlib.sha256(_GRAPH).hexdigest())
SHA256: Final = hashlib.sha256(b"a picture").hexdigest()
EXTENSIONS: Final[dict[Medium, str]] = {"image": "png", "video": "mp4"}
FATES: Final[tuple[tuple[float, ImageState, str], ...]] = (
    (0.02, "failed", "execution_error"),
    (0.03, "failed", "out_of_memory"),
    (0.035, "parked", "collision"),
    (0.04, "cancelled", "cancelled"),
    (0.045, "forgotten", ""),
    (1.0, "stored", ""),
)
"""What becomes of all images of a batch, with its code: up to which lot."""


class Written(NamedTuple):
    """What one batch writes. `rows` are as its end left them."""

    recorded: tuple[Recorded, ...]
    rows: tuple[Row, ...]
    batch: BatchRow


def fill(path: Path, images: int, *, now_ms: int = NOW_MS, seed: int = 1) -> int:
    """Make a ledger of at least so many images at a path that has none. Returns how many batches it has."""
    lots = random.Random(seed)
    counts = list(_counts(lots, images))
    step_ms = DAYS * 24 * 3_600_000 // len(counts)
    first_ms = now_ms - (len(counts) - 1) * step_ms
    numbers: Counter[str] = Counter()
    with closing(Ledger.open(path)) as ledger:
        for first in range(0, len(counts), A_GROUP):
            with ledger.group():
                group = enumerate(counts[first : first + A_GROUP], first)
                requests = [_request(lots, numbers, place, count, first_ms + place * step_ms) for place, count in group]
                _write(ledger, [_settled(lots, ledger, place, *one) for place, one in enumerate(requests)])
    return len(counts)


def _counts(lots: random.Random, images: int) -> Iterator[int]:
    made = place = 0
    while made < images:
        place += 1
        count = LONG if place % EVERY_LONG == 0 else lots.choice(SIZES)
        made += count
        yield count


@cache
def _series(user: str, character: str, medium: Medium) -> Series:
    return series_of(Templates(), user, character, True, medium)


def _request(
    lots: random.Random, numbers: Counter[str], place: int, count: int, at_ms: int
) -> tuple[BatchRequested, int]:
    """A request with its time."""
    medium: Medium = "video" if place % EVERY_VIDEO == 0 else "image"
    user = USERS[min(int(lots.expovariate(0.7)), len(USERS) - 1)]
    character = lots.choice(CHARACTERS)
    series = _series(user, character, medium)
    names = (name_of(series, numbers[series.key] + index) for index in range(1, count + 1))
    images = tuple(
        ImageNamed(index, numbers[series.key] + index, name.folder, name.file, 1) for index, name in enumerate(names, 1)
    )
    numbers[series.key] += count
    event = BatchRequested(
        batch_id=str(ULID.from_bytes(at_ms.to_bytes(6, "big") + lots.randbytes(10))),
        label=lots.choice(LABELS),
        request_id=f"large-{place}",
        request_digest="",
        username=user,
        user_key=fold(user),
        character=character,
        premade=True,
        series=series.key,
        workflow="image-to-video" if medium == "video" else lots.choice(WORKFLOWS),
        template=GRAPH.digest,
        plan={"output": "9"},
        images=images,
        prompts=(PromptFixed(1, tuple(range(1, count + 1)), place),),
        stores=(),
        outputs=(OutputNamed("9", medium, series.key),),
    )
    return event, at_ms


def _settled(lots: random.Random, ledger: Ledger, place: int, event: BatchRequested, at_ms: int) -> Written:
    """The rows of a batch at its end. `place`: among those of its group, two events each."""
    position = ledger.head.position + 2 * place + 1
    asked = Recorded(position, at_ms, event)
    rows = batch_requested(Slice(), event, asked)
    lot = lots.random()
    state, code = next((state, code) for upto, state, code in FATES if lot <= upto)
    before = [row for row in rows if isinstance(row, ImageRow)]
    after = [_ended(row, state, code) for row in before]
    (batch,) = (row for row in rows if isinstance(row, BatchRow))
    batch = msgspec.structs.replace(moved(batch, before, state), settled=True, cancelled=state == "cancelled")
    others = (_done(row) for row in rows if not isinstance(row, BatchRow | ImageRow))
    counts = (batch.stored, batch.parked, batch.failed, batch.images_cancelled, batch.forgotten)
    ended = Recorded(position + 1, at_ms + 60_000, BatchSettled(batch.batch_id, *counts))
    return Written((asked, ended), (*others, batch, *after), batch)


def _ended(row: ImageRow, state: ImageState, code: str) -> ImageRow:
    if state in {"failed", "cancelled"}:
        return msgspec.structs.replace(row, state=state, code=code)
    pinned = {"sha256": SHA256, "md5": SHA256[:32], "size_bytes": 1_500_000, "width": 832, "height": 1216}
    return msgspec.structs.replace(row, state=state, code=code, extension=EXTENSIONS[row.medium], attempt=1, **pinned)


def _done(row: Row) -> Row:
    return msgspec.structs.replace(row, state="done", attempt=1) if isinstance(row, PromptRow) else row


def _write(ledger: Ledger, batches: list[Written]) -> None:
    lines, noted = [], []
    for one in batches:
        lines += ledger.follow(one.recorded, Slice((one.batch,)))
        noted += [(entry.event, one.batch, entry.at_ms) for entry in one.recorded]
    ledger.put(lines, noted, (row for one in batches for row in one.rows), (GRAPH,))


def draw(path: Path, state_folder: Path, newest: int, webp: bytes) -> int:
    """Give the newest stored images this thumbnail, in the cache of a daemon that does not run yet. Returns how many
    got it.
    """
    kept = Cache(state_folder / "thumbnails", 2**40)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        sql = "SELECT batch_id, image FROM images WHERE state = 'stored' ORDER BY batch_id DESC, image LIMIT ?"
        places = connection.execute(sql, (newest,)).fetchall()
    for batch_id, index in places:
        for size in SIDES:
            kept.keep(batch_id, index, size, SHA256, webp)
    return len(places)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--images", type=int, default=200_000)
    given = parser.parse_args()
    began = time.perf_counter()
    batches = fill(given.path, given.images)
    print(f"{batches} batches in {time.perf_counter() - began:.1f} s")
