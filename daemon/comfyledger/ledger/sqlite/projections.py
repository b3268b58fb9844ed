"""The rows of the state in their tables: loading them by their keys, and writing what changed.

Rows are written in the transaction of the event that changes them. A row is stored as JSON, beside the few columns that
queries use. The UNIQUE table of names is the second lock on the promise that no name is given twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from comfyledger.core.backends import BackendRow
from comfyledger.core.boxes import BoxRow
from comfyledger.core.events import Event
from comfyledger.core.inputs import InputRow
from comfyledger.core.keys import (
    BackendKey,
    BatchImages,
    BatchInputs,
    BatchKey,
    BatchPrompts,
    BatchTexts,
    BoxKey,
    ImageKey,
    InputKey,
    InputUses,
    Key,
    LaneKey,
    ManyKey,
    OneKey,
    PresentBackends,
    PresentBoxes,
    PresentWebhooks,
    PromptKey,
    RequestKey,
    SeriesKey,
    TemplateKey,
    WebhookKey,
    gathered,
)
from comfyledger.core.rows import (
    BatchRow,
    ImageRow,
    LaneRow,
    PromptRow,
    RequestRow,
    Row,
    RowId,
    SeriesRow,
    Slice,
    TemplateRow,
    row_id,
)
from comfyledger.core.webhooks import WebhookProgress, WebhookRow
from comfyledger.errors import Refused
from comfyledger.ledger.names_given import names_given
from comfyledger.ledger.sqlite import blobs, input_uses

_encoder = msgspec.json.Encoder()
_series = msgspec.json.Decoder(SeriesRow)
_request = msgspec.json.Decoder(RequestRow)
_batch = msgspec.json.Decoder(BatchRow)
_prompt = msgspec.json.Decoder(PromptRow)
_image = msgspec.json.Decoder(ImageRow)
_lane = msgspec.json.Decoder(LaneRow)
_input = msgspec.json.Decoder(InputRow)
_backend = msgspec.json.Decoder(BackendRow)
_webhook = msgspec.json.Decoder(WebhookRow)
_box = msgspec.json.Decoder(BoxRow)
_progress = msgspec.json.Decoder(WebhookProgress)

decode_batch = _batch.decode
decode_image = _image.decode
decode_prompt = _prompt.decode
decode_lane = _lane.decode
decode_request = _request.decode
decode_input = _input.decode

_ONE: Final[dict[type[OneKey], tuple[msgspec.json.Decoder[Any], str]]] = {
    SeriesKey: (_series, "SELECT row FROM series WHERE key = ?"),
    RequestKey: (_request, "SELECT row FROM requests WHERE label = ? AND request_id = ?"),
    BatchKey: (_batch, "SELECT row FROM batches WHERE batch_id = ?"),
    PromptKey: (_prompt, "SELECT row FROM prompts WHERE batch_id = ? AND prompt = ?"),
    ImageKey: (_image, "SELECT row FROM images WHERE batch_id = ? AND image = ?"),
    LaneKey: (_lane, "SELECT row FROM lanes WHERE name = ?"),
    InputKey: (_input, "SELECT row FROM inputs WHERE sha256 = ?"),
    BackendKey: (_backend, "SELECT row FROM backends WHERE name = ?"),
    WebhookKey: (_webhook, "SELECT row FROM webhooks WHERE name = ?"),
    BoxKey: (_box, "SELECT row FROM boxes WHERE name = ?"),
}
"""Decoder and statement by the type of key. The fields of the key are the parameters, in their order."""
_MANY: Final[dict[type[ManyKey], tuple[msgspec.json.Decoder[Any], str]]] = {
    BatchPrompts: (_prompt, "SELECT row FROM prompts WHERE batch_id = ?"),
    BatchImages: (_image, "SELECT row FROM images WHERE batch_id = ?"),
}
THESE_MAX: Final = 64
"""Rows that one statement looks for. It always names as many, so that it is prepared once."""
_MARKS: Final = ", ".join("?" * THESE_MAX)
_THESE: Final[dict[type[OneKey], tuple[msgspec.json.Decoder[Any], str]]] = {
    SeriesKey: (_series, f"SELECT row FROM series WHERE key IN ({_MARKS})"),  # noqa: S608
    RequestKey: (_request, f"SELECT row FROM requests WHERE label = ? AND request_id IN ({_MARKS})"),  # noqa: S608
}
"""As _ONE, for keys that differ in their last field."""


def load(connection: sqlite3.Connection, keys: Iterable[Key]) -> Slice:
    """The rows under the keys. Missing rows are absent. Raises sqlite3.Error."""
    return gathered(keys, partial(load_one, connection), partial(load_many, connection))


def load_one(connection: sqlite3.Connection, key: OneKey) -> Row | None:
    """The row under a key; None if there is none. Raises sqlite3.Error."""
    if isinstance(key, TemplateKey):
        found = connection.execute("SELECT key, digest FROM blobs WHERE key = ? AND key <> ''", (key.key,)).fetchone()
        return TemplateRow(*found) if found else None
    decoder, sql = _ONE[type(key)]
    found = connection.execute(sql, astuple(key)).fetchone()
    return decoder.decode(found[0]) if found else None


def load_these(connection: sqlite3.Connection, keys: Iterable[SeriesKey | RequestKey]) -> dict[RowId, Row | None]:
    """The row under each key, by the id of the row; None where there is none. Raises sqlite3.Error."""
    found: dict[RowId, Row | None] = {}
    alike: dict[tuple[Any, ...], list[str]] = {}
    for key in keys:
        *shared, own = astuple(key)
        found[key.row_id] = None
        alike.setdefault((type(key), *shared), []).append(own)
    for (kind, *shared), names in alike.items():
        decoder, sql = _THESE[kind]
        for at in range(0, len(names), THESE_MAX):
            some = names[at : at + THESE_MAX]
            some += some[:1] * (THESE_MAX - len(some))
            rows: list[Row] = [decoder.decode(raw) for (raw,) in connection.execute(sql, (*shared, *some))]
            found |= {row_id(row): row for row in rows}
    return found


def load_many(connection: sqlite3.Connection, key: ManyKey) -> Iterable[Row]:
    """The rows that belong together: prompts, images, texts and inputs of a batch, who uses an input, and the
    backends and webhooks that were added, and the boxes of the fleet. Raises sqlite3.Error."""
    match key:
        case BatchTexts(batch_id=batch_id):
            return blobs.texts_of(connection, batch_id)
        case BatchInputs(batch_id=batch_id):
            return input_uses.of_batch(connection, batch_id)
        case InputUses(sha256=sha256):
            return (input_uses.use_of(connection, sha256),)
        case PresentBackends():
            return backends(connection)
        case PresentWebhooks():
            return [row for row in webhooks(connection) if row.present]
        case PresentBoxes():
            return [row for row in boxes(connection) if row.present]
    decoder, sql = _MANY[type(key)]
    return [decoder.decode(raw) for (raw,) in connection.execute(sql, (key.batch_id,))]


def backends(connection: sqlite3.Connection) -> list[BackendRow]:
    """Those that were added and are present, by name. Raises sqlite3.Error."""
    sql = "SELECT row FROM backends INDEXED BY backends_present WHERE present ORDER BY name"
    return [_backend.decode(raw) for (raw,) in connection.execute(sql)]


def webhooks(connection: sqlite3.Connection) -> list[WebhookRow]:
    """What the log says about each, by name; those that were removed are among them. Raises sqlite3.Error."""
    return [_webhook.decode(raw) for (raw,) in connection.execute("SELECT row FROM webhooks ORDER BY name")]


def boxes(connection: sqlite3.Connection) -> list[BoxRow]:
    """Those that have joined the fleet, by name; those that left are among them. Raises sqlite3.Error."""
    return [_box.decode(raw) for (raw,) in connection.execute("SELECT row FROM boxes ORDER BY name")]


def webhook_progress(connection: sqlite3.Connection) -> list[WebhookProgress]:
    """How far each webhook has come, by name. Raises sqlite3.Error."""
    return [_progress.decode(raw) for (raw,) in connection.execute("SELECT row FROM webhook_progress ORDER BY name")]


_SAVED: Final[dict[type[Row], tuple[str, Callable[[Any, str], tuple[Any, ...]]]]] = {
    ImageRow: (
        "INSERT INTO images (batch_id, image, prompt, user_key, state, row) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (batch_id, image) DO UPDATE SET state = excluded.state, row = excluded.row",
        lambda row, raw: (row.batch_id, row.index, row.prompt, row.user_key, row.state, raw),
    ),
    PromptRow: (
        "INSERT INTO prompts (batch_id, prompt, state, row) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (batch_id, prompt) DO UPDATE SET state = excluded.state, row = excluded.row",
        lambda row, raw: (row.batch_id, row.index, row.open_state, raw),
    ),
    BatchRow: (
        "INSERT INTO batches (batch_id, user_key, status, position, row) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (batch_id) DO UPDATE SET status = excluded.status, row = excluded.row",
        lambda row, raw: (row.batch_id, row.user_key, row.status, row.position, raw),
    ),
    SeriesRow: (
        "INSERT INTO series (key, next, row) VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET next = excluded.next, row = excluded.row",
        lambda row, raw: (row.key, row.next, raw),
    ),
    RequestRow: (
        "INSERT INTO requests (label, request_id, batch_id, row) VALUES (?, ?, ?, ?)",
        lambda row, raw: (row.label, row.request_id, row.batch_id, raw),
    ),
    LaneRow: (
        "INSERT INTO lanes (name, row) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET row = excluded.row",
        lambda row, raw: (row.name, raw),
    ),
    InputRow: (
        "INSERT INTO inputs (sha256, here, added_ms, is_usable, is_ending, is_going, row) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sha256) DO UPDATE SET here = excluded.here, added_ms = excluded.added_ms,"
        " is_usable = excluded.is_usable, is_ending = excluded.is_ending, is_going = excluded.is_going,"
        " row = excluded.row",
        lambda row, raw: (row.sha256, row.here, row.added_ms, row.is_usable, row.is_ending, row.is_going, raw),
    ),
    BackendRow: (
        "INSERT INTO backends (name, present, row) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET present = excluded.present, row = excluded.row",
        lambda row, raw: (row.name, row.present, raw),
    ),
    WebhookRow: (
        "INSERT INTO webhooks (name, present, row) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET present = excluded.present, row = excluded.row",
        lambda row, raw: (row.name, row.present, raw),
    ),
    BoxRow: (
        "INSERT INTO boxes (name, present, row) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET present = excluded.present, row = excluded.row",
        lambda row, raw: (row.name, row.present, raw),
    ),
    WebhookProgress: (
        "INSERT INTO webhook_progress (name, row) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET row = excluded.row",
        lambda row, raw: (row.name, raw),
    ),
}
"""How a row of each type is written, and its columns. Templates and texts are found through their blobs instead."""


def save(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write rows, table by table. Raises sqlite3.IntegrityError for a request that is there already."""
    tables: dict[type[Row], list[Row]] = {}
    for row in rows:
        tables.setdefault(type(row), []).append(row)
    for table, its in tables.items():
        sql, _ = _SAVED[table]
        connection.executemany(sql, map(stored, its))


def stored(row: Row) -> tuple[Any, ...]:
    """The columns of a row in its table, in their order. The last one is the row itself as JSON."""
    _, columns = _SAVED[type(row)]
    return columns(row, _encoder.encode(row).decode())


def give_names(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Record the names that events give. Raises Refused(name_taken) if one was given before."""
    rows = [row for event in events for row in names_given(event)]
    if not rows:
        return
    try:
        connection.executemany("INSERT INTO names_given (name, batch_id, image) VALUES (?, ?, ?)", rows)
    except sqlite3.IntegrityError as error:
        raise Refused("name_taken", hint="Run `comfyledger audit`; a series and its names disagree.") from error


def open_rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """See `ports.Ledger.open_rows`. Raises sqlite3.Error.

    ComfyUI may still have a prompt of a batch that is cancelled, so batches are found by their prompts too.
    """
    yield from boxes(connection)  # first: who does what of all the others follows from them
    for (raw,) in connection.execute("SELECT row FROM lanes"):
        yield _lane.decode(raw)
    sql = (
        "SELECT row FROM batches WHERE status IN ('open', 'held')"
        " OR batch_id IN (SELECT batch_id FROM prompts WHERE state <> 'done')"
    )
    yield from (_batch.decode(raw) for (raw,) in connection.execute(sql))
    sql = "SELECT row FROM prompts WHERE state <> 'done' ORDER BY batch_id, prompt"
    yield from (_prompt.decode(raw) for (raw,) in connection.execute(sql))
    for state in ("kept", "forgetting"):  # `<>` lets SQLite use the partial index `images_unstored`
        sql = f"SELECT row FROM images WHERE state = '{state}' AND state <> 'stored' ORDER BY batch_id, image"  # noqa: S608
        yield from (_image.decode(raw) for (raw,) in connection.execute(sql))
    yield from (_input.decode(raw) for (raw,) in connection.execute("SELECT row FROM inputs WHERE is_going"))
