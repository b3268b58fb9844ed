"""Two ledgers' tables row by row: the live one against the fold of its log.

Both are read in the order of their primary keys, so memory stays flat. Everything is compared as bytes, because a table
that somebody changed may contain text that is not UTF-8.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import msgspec

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, RequestRow, SeriesRow
from comfyledger.core.webhooks import WebhookRow
from comfyledger.ledger.sqlite.blobs import HUSK
from comfyledger.ledger.sqlite.schema import USER_VERSION
from comfyledger.maintenance.audit.findings import Progress, Tally

TABLES: Final[dict[str, tuple[tuple[str, ...], type | None]]] = {
    "series": (("key",), SeriesRow),
    "names_given": (("name",), None),
    "requests": (("label", "request_id"), RequestRow),
    "batches": (("batch_id",), BatchRow),
    "prompts": (("batch_id", "prompt"), PromptRow),
    "images": (("batch_id", "image"), ImageRow),
    "lanes": (("name",), LaneRow),
    "events_by_user": (("user", "position"), None),
    "template_uses": (("template", "batch_id"), None),
    "inputs": (("sha256",), InputRow),
    "input_labels": (("sha256", "label"), None),
    "input_uses": (("sha256", "label", "batch_id"), None),
    "backends": (("name",), BackendRow),
    "webhooks": (("name",), WebhookRow),
    "boxes": (("name",), BoxRow),
    "reviews": (("batch_id", "image"), None),
    "facets": (("batch_id",), None),
    "image_uses": (("batch_id", "image", "kind", "label", "by_batch"), None),
}
"""Every projection with its primary key, and the type of the JSON in its last column if it has one. `webhook_progress`
is none: no event says how far a webhook has come."""

_ROWS_A_WORD: Final = 10_000

Values = tuple[Any, ...]


def compare_tables(live: sqlite3.Connection, right: sqlite3.Connection, tally: Tally, progress: Progress) -> None:
    """Name every row that is missing, foreign or changed. To be called within one transaction of the live ledger."""
    tables = [table for table in TABLES if not comes_later(live, table)]
    with as_bytes(live), as_bytes(right):
        for table in tables:
            try:
                compare_table(live, right, table, tally, progress)
            except (sqlite3.Error, TypeError) as error:
                tally.add("file_damaged", table, f"The table {table} cannot be read: {error}.")


def comes_later(live: sqlite3.Connection, table: str) -> bool:
    """Whether the ledger is from an older version without this table: the next start of the daemon adds it."""
    is_old = live.execute("PRAGMA user_version").fetchone()[0] < USER_VERSION
    return is_old and live.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is None


@contextmanager
def as_bytes(connection: sqlite3.Connection) -> Iterator[None]:
    connection.text_factory = bytes
    try:
        yield
    finally:
        connection.text_factory = str


def compare_table(
    live: sqlite3.Connection, right: sqlite3.Connection, table: str, tally: Tally, progress: Progress
) -> None:
    keys, kind = TABLES[table]
    order = ", ".join(keys)
    cursors = [c.execute(f"SELECT * FROM {table} ORDER BY {order}") for c in (live, right)]  # noqa: S608
    names = [name for name, *_ in cursors[1].description]
    places = [names.index(key) for key in keys]
    for number, (found, wanted) in enumerate(side_by_side(cursors[0], cursors[1], places), 1):
        if number % _ROWS_A_WORD == 0:
            progress(f"table {table}", number, 0)
        if found == wanted:
            continue
        where = f"{table} {_shown([(found or wanted)[place] for place in places])}"  # type: ignore[index]
        if found is None:
            tally.add("row_missing", where, f"The log says that {table} has this row, but it does not.")
        elif wanted is None:
            tally.add("row_foreign", where, f"The log says that {table} does not have this row, but it does.")
        elif difference := _difference(names, found, wanted, kind):
            tally.add("row_changed", where, difference)


def side_by_side(
    left: Iterator[Values], right: Iterator[Values], places: Sequence[int]
) -> Iterator[tuple[Values | None, Values | None]]:
    """Rows of two sorted sides paired by their keys; None where one side has none."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if a == b:
            yield a, b
            a, b = next(left, None), next(right, None)
            continue
        key_a = None if a is None else [a[place] for place in places]
        key_b = None if b is None else [b[place] for place in places]
        if key_a is not None and (key_b is None or key_a < key_b):
            yield a, None
            a = next(left, None)
        elif key_b is not None and (key_a is None or key_b < key_a):
            yield None, b
            b = next(right, None)
        else:
            yield a, b
            a, b = next(left, None), next(right, None)


def same_row(found: Values, wanted: Values, kind: type) -> bool:
    """Whether two rows with JSON in the last column mean the same: an older version may have written it differently."""
    return found[:-1] == wanted[:-1] and not _json_difference(found[-1], wanted[-1], kind)


def _difference(names: list[str], found: Values, wanted: Values, kind: type | None) -> str:
    """What differs, as a sentence; empty if both mean the same (an older version may have written it differently)."""
    for name, left, right in zip(names, found, wanted, strict=True):
        if name == "row" and kind is not None:
            if left != right and (words := _json_difference(left, right, kind)):
                return words
        elif left != right:
            return f"`{name}` is {_shown([left])}, should be {_shown([right])}."
    return ""


def _json_difference(found: Any, wanted: str | bytes, kind: type) -> str:
    """A field that an older version did not write counts as its default."""
    try:
        plain = msgspec.json.decode(found)
        typed: Any = msgspec.json.decode(found, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        return f"The row cannot be read: {error}."
    right = msgspec.json.decode(wanted)
    for name in right:
        left = plain.get(name, right[name])
        if not _is_within(left, right[name]):
            return f"`{name}` in the row is {_shown([left])}, should be {_shown([right[name]])}."
    if unknown := plain.keys() - right.keys():
        return f"The row has an unknown field {_shown([min(unknown)])}."
    if typed != msgspec.json.decode(wanted, type=kind):
        return "The row does not agree with the log."
    return ""


def _is_within(left: Any, right: Any) -> bool:
    """Whether everything on the left is on the right too."""
    if isinstance(left, dict) and isinstance(right, dict):
        return all(name in right and _is_within(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_within, left, right))
    return type(left) is type(right) and bool(left == right)


def _shown(values: Sequence[Any]) -> str:
    return "/".join(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values)[:200]


# ---- texts


def compare_texts(live: sqlite3.Connection, right: sqlite3.Connection, tally: Tally) -> None:
    """Whether the ledger has every text that an event names, and no other. Within one transaction of the live
    ledger."""
    with as_bytes(live), as_bytes(right):
        there = live.execute(f"SELECT digest, key FROM blobs WHERE {HELD} ORDER BY digest")  # noqa: S608
        named = right.execute("SELECT digest, position, kind FROM temp.referred ORDER BY digest")
        for found, wanted in side_by_side(there, named, [0]):
            if found is None and wanted is not None:
                _, position, kind = wanted
                sentence = f"The {_shown([kind])} that the event at position {position} names is not there."
                tally.add("blob_missing", f"blob {_shown(wanted[:1])}", sentence)
            elif wanted is None and found is not None:
                tally.add("blob_foreign", f"blob {_shown(found[:1])}", "No event names this text.")
            elif found is not None and wanted is not None and bool(found[1]) != (wanted[2] == b"template"):
                tally.add("blob_changed", f"blob {_shown(found[:1])}", "A graph has no `key`, or another text has one.")


def check_texts(live: sqlite3.Connection, tally: Tally, progress: Progress) -> None:
    """Check that every text hashes to its digest. In short transactions: a new text may be seen or not."""
    total = live.execute("SELECT count(*) FROM blobs").fetchone()[0]
    rowid = done = 0
    with as_bytes(live):
        while page := live.execute(_TEXTS, (rowid, _TEXTS_A_PAGE)).fetchall():
            for _, digest, salt, content, key in page:
                (_check_husk if digest.startswith(HUSK.encode()) else _check_text)(digest, salt, content, key, tally)
            rowid, done = page[-1][0], done + len(page)
            progress("texts", done, total)


_TEXTS_A_PAGE: Final = 16
HELD: Final = f"substr(digest, 1, {len(HUSK)}) <> '{HUSK}'"
"""An erased text leaves a husk, which is no text."""
_TEXTS: Final = "SELECT rowid, digest, salt, content, key FROM blobs WHERE rowid > ? ORDER BY rowid LIMIT ?"


def _check_husk(digest: bytes, salt: bytes, content: bytes, _: bytes, tally: Tally) -> None:
    if (salt + content).strip(b"\0"):
        tally.add("blob_changed", f"blob {_shown([digest])}", "An erased text has content again.")


def _check_text(digest: bytes, salt: bytes, content: bytes, key: bytes, tally: Tally) -> None:
    where = f"blob {_shown([digest])}"
    if sha256(salt + content).hexdigest().encode() != digest:
        tally.add("blob_changed", where, "The hash of salt and content is not the digest.")
    elif key and sha256(content).hexdigest().encode() != key:
        tally.add("blob_changed", where, "`key` is not the hash of the content.")
