"""The `eventsourcing` package on SQLite, set up as its documentation says, with the same durability: WAL and FULL."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

NAME: Final = f"eventsourcing {version('eventsourcing')}"
FULL: Final = 2


class Batch(Aggregate):  # type: ignore[misc]
    """The content of a request: user, character, and the images with their names."""

    @event("Requested")
    def __init__(self, request_id: str, username: str, character: str, images: list[dict[str, Any]]) -> None:
        self.request_id, self.username, self.character, self.images = request_id, username, character, images


def opened(path: Path) -> Application[Any]:
    """An application of the package. Raises AssertionError if it would write less durably than ours."""
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(path),
        "SQLITE_LOCK_TIMEOUT": "60",
        "SQLITE_POOL_SIZE": "16",
    }
    app: Application[Any] = Application(env=environment)
    app.save(_batch("first", 0))
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if (mode, synchronous) != ("wal", FULL):
        raise AssertionError(f"{NAME} is not as durable: {mode}, synchronous {synchronous}")
    return app


def _batch(name: str, number: int) -> Batch:
    image = {"index": 1, "number": number, "folder": "Areg/premade_characters/opal-fever/images", "file": f"n_{number}"}
    return Batch(f"{name}-{number}", "Areg", "Opal Fever", [image])


def saves_per_second(folder: Path, callers: int, saves: int) -> float:
    """Events a second of `callers` threads. Each save is of one aggregate with one event."""
    path = folder / f"peer-{time.monotonic_ns()}.db"
    app = opened(path)
    with ThreadPoolExecutor(callers) as threads:
        start = time.perf_counter()
        for done in [threads.submit(app.save, _batch("r", number)) for number in range(saves)]:
            done.result()
        took = time.perf_counter() - start
    app.close()
    return saves / took


def filled(folder: Path, events: int) -> Application[Any]:
    """A log of `events` events, to be read."""
    app = opened(folder / "peer-replay.db")
    for number in range(1, events):
        app.save(_batch("r", number))
    return app


def replayed_per_second(app: Application[Any], events: int) -> float:
    """Events a second, decoded and made into aggregates, from the beginning of the log to its end."""
    start, seen = time.perf_counter(), 0
    for notification in app.recorder.select_notifications(start=1, limit=events):
        made = app.mapper.to_domain_event(notification)
        made.mutate(None)
        seen += 1
    return seen / (time.perf_counter() - start)
