"""What must hold of a fleet's history, whatever died meanwhile: what clients were told, compared with the log in
PostgreSQL and with every replica.

A pure function over plain values. It shares no code with the daemon, and knows of an event only its JSON.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

GENESIS: Final = hashlib.sha256(b"comfyledger").digest()

# ---- what was seen


class Told(NamedTuple):
    """An answer that a client got: its batch, the position where the log ended, each image's number and public id."""

    request_id: str
    batch_id: str
    position: int
    images: tuple[tuple[int, str], ...]


class Refusal(NamedTuple):
    """What a box said when a client had to repeat a request, or when it ended by itself."""

    box: str
    text: str


class Row(NamedTuple):
    """One line of the log."""

    position: int
    stream: str
    kind: str
    schema: int
    at_ms: int
    data: str
    hash: bytes


class End(NamedTuple):
    """The last position of a log, and its hash."""

    position: int
    hash: bytes


class History(NamedTuple):
    """`head`: where the log ends, by its own row. `replicas`: where that of each box ends. `ended`: who gave up."""

    told: Sequence[Told]
    log: Sequence[Row]
    head: End
    replicas: Mapping[str, End]
    refused: Sequence[Refusal] = ()
    ended: Sequence[Refusal] = ()


# ---- the laws


class Violation(NamedTuple):
    """`law`: one of LAWS."""

    law: str
    text: str


LAWS: Final = {
    "positions": "The positions of the log begin with 1 and have no gap.",
    "chain": "Each line's hash follows from the line before it.",
    "head": "The log ends where its head says.",
    "replica": "Each replica ends where the log ends.",
    "lost": "A batch that a client was told is in the log, at or before the position that the client was told.",
    "answer": "A client is told what the log has, and the same each time.",
    "request": "A request is in the log once.",
    "twice": "No number is given twice.",
    "gap": "A series gives its numbers without a gap, unless an event says why.",
    "name": "No name is given twice.",
    "ended": "No box gives up by itself.",
    "refused": "While nothing is harmed, nothing is refused.",
}


def violations(history: History, harmed: bool = True) -> list[Violation]:
    """All that does not hold, in the order of LAWS. `harmed`: something was killed or cut off, so it may refuse."""
    found = [
        *_positions(history.log),
        *_chain(history.log),
        *_ends(history),
        *_answers(history),
        *_numbers(history.log),
        *(Violation("ended", f"{one.box}: {one.text}") for one in history.ended),
        *(() if harmed else (Violation("refused", f"{one.box}: {one.text}") for one in history.refused)),
    ]
    return sorted(found, key=lambda one: list(LAWS).index(one.law))


def _positions(log: Sequence[Row]) -> Iterator[Violation]:
    for expected, row in enumerate(log, 1):
        if row.position != expected:
            yield Violation("positions", f"{row.position} instead of {expected}")
            return


def _chain(log: Sequence[Row]) -> Iterator[Violation]:
    previous = GENESIS
    for row in log:
        if row.hash != hash_of(previous, row):
            yield Violation("chain", f"position {row.position}")
            return
        previous = row.hash


def hash_of(previous: bytes, row: Row) -> bytes:
    """SHA-256 of the hash before and of every column, each after its length in four bytes."""
    columns = (str(row.position), row.stream, row.kind, str(row.schema), str(row.at_ms), row.data)
    raw = [column.encode() for column in columns]
    return hashlib.sha256(previous + b"".join(len(one).to_bytes(4, "big") + one for one in raw)).digest()


def _ends(history: History) -> Iterator[Violation]:
    end = End(history.log[-1].position, history.log[-1].hash) if history.log else End(0, GENESIS)
    if history.head != end:
        yield Violation("head", f"says {history.head.position}, the last line is {end.position}")
    for box, own in history.replicas.items():
        if own != end:
            same = ", with another hash" if own.position == end.position else ""
            yield Violation("replica", f"{box} ends at {own.position}, the log at {end.position}{same}")


# ---- what was given


class Given(NamedTuple):
    """A number that an event gave."""

    series: str
    number: int
    name: str


def _batch(asked: Mapping[str, Any]) -> list[Given]:
    series = [output["series"] for output in asked.get("outputs", ())] or [asked["series"]]
    return [
        Given(series[image.get("output", 1) - 1], image["number"], f"{image['folder']}/{image['file']}")
        for image in asked["images"]
    ]


def _given(kind: str, event: Mapping[str, Any]) -> list[Given]:
    if kind == "batch_requested":
        return _batch(event)
    if kind in {"image_added", "image_renumbered"}:
        return [Given(event["series"], event["number"], f"{event['folder']}/{event['file']}")]
    return []


def _numbers(log: Sequence[Row]) -> Iterator[Violation]:
    following: dict[str, int] = {}
    names: set[str] = set()
    for row in log:
        event = json.loads(row.data)
        if row.kind in {"series_opened", "series_raised"}:
            following[event["series"]] = max(event["next"], following.get(event["series"], 0))
        for given in _given(row.kind, event):
            expected = following.get(given.series, 1)
            following[given.series] = max(given.number + 1, expected)
            if given.number != expected:
                law = "twice" if given.number < expected else "gap"
                yield Violation(law, f"{given.series}{given.number} at {row.position}, {expected} would follow")
            key = unicodedata.normalize("NFC", given.name).casefold()
            if key in names:
                yield Violation("name", f"{given.name} at {row.position}")
            names.add(key)


def _answers(history: History) -> Iterator[Violation]:
    asked = [(row.position, json.loads(row.data)) for row in history.log if row.kind == "batch_requested"]
    logged: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for position, event in asked:
        request = f"{event['label']}/{event['request_id']}"
        if request in logged:
            yield Violation("request", f"{request} at {logged[request][0]} and {position}")
        logged[request] = (position, event)
    yield from _told(history.told, logged)


def _told(told: Iterable[Told], logged: Mapping[str, tuple[int, Mapping[str, Any]]]) -> Iterator[Violation]:
    batches = {event["batch_id"]: (position, event) for position, event in logged.values()}
    before: dict[str, Told] = {}
    for one in told:
        first = before.setdefault(one.request_id, one)
        if (one.batch_id, one.images) != (first.batch_id, first.images):
            yield Violation("answer", f"{one.request_id} got {first.batch_id} and {one.batch_id}")
        position, event = batches.get(one.batch_id, (0, {}))
        if not 0 < position <= one.position:
            yield Violation("lost", f"{one.batch_id} of {one.request_id}, told at {one.position}")
        elif sorted(one.images) != sorted((given.number, given.name) for given in _batch(event)):
            yield Violation("answer", f"{one.batch_id} was told {one.images}")
