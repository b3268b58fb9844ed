"""Lists and counts of images by filters: which side is read first, and what must hold of an image.

Filters of three kinds choose the side. Few images have a verdict or a rating, and few are in another state than
`stored`: both have an index of their own. Everything else is the same for a whole batch and stands in `facets`. With a
label its batches are read first, and nothing of others: the time of an answer does not show what others have.

A count reads no image of a batch of which all images fit. It is one statement that gives one row, so that the thread
that reads does not take turns with the event loop for each row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from comfyledger.core.batch_ids import first_at
from comfyledger.core.rows import ImageRow
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.ports import GROUPS_MAX, ImageCounts, ImageFilter
from comfyledger.ledger.sqlite import projections, queries
from comfyledger.ledger.sqlite.log_table import one_moment
from comfyledger.wire.requests.reading import CountBy

CURSORS_MAX: Final = 10_000
"""How many cursors an answer has. If there are more places, they are further apart than was asked."""

Side = Literal["batches", "unstored", "reviews"]
_SOURCES: Final[dict[tuple[Side, bool], tuple[str, str, str]]] = {
    ("batches", False): ("facets g CROSS JOIN images i ON i.batch_id = g.batch_id", "g.batch_id", "i.image"),
    ("unstored", False): (
        "images i INDEXED BY images_unstored CROSS JOIN facets g ON g.batch_id = i.batch_id",
        "i.batch_id",
        "i.image",
    ),
    ("reviews", False): (
        "reviews r CROSS JOIN facets g ON g.batch_id = r.batch_id"
        " CROSS JOIN images i ON i.batch_id = r.batch_id AND i.image = r.image",
        "r.batch_id",
        "r.image",
    ),
    ("batches", True): ("{} CROSS JOIN images i ON i.batch_id = g.batch_id", "g.batch_id", "i.image"),
    ("unstored", True): (
        "{} CROSS JOIN images i INDEXED BY images_unstored ON i.batch_id = g.batch_id",
        "g.batch_id",
        "i.image",
    ),
    ("reviews", True): (
        "{} CROSS JOIN reviews r ON r.batch_id = g.batch_id"
        " CROSS JOIN images i ON i.batch_id = r.batch_id AND i.image = r.image",
        "g.batch_id",
        "r.image",
    ),
}
"""By side, and whether a batch or a label is wanted, whose batches are read first: what is read, in this order, and
the columns by which it comes in order."""
_UNSTORED: Final = "i.state <> 'stored'"
"""Says to SQLite that `images_unstored` has the image."""
_CODED: Final = "i.state IN ('failed', 'parked', 'cancelled')"
"""Images that may have a code."""
_MEDIUM: Final = "coalesce(i.row ->> '$.medium', 'image')"
"""Rows of old releases do not say it."""
_EXCEPT: Final = {
    "stored": "g.batch_id IN (SELECT batch_id FROM images INDEXED BY images_unstored WHERE state <> 'stored')",
    "none": "g.batch_id IN (SELECT batch_id FROM reviews WHERE verdict <> '')",
    "medium": "g.medium = ''",
}
"""Batches of which not every image may be stored, have no verdict, or have the medium of the batch."""


# ---- pages


def images(connection: sqlite3.Connection, wanted: ImageFilter) -> list[ImageRow]:
    """See `ports.Reader.images`. Raises LedgerUnusable for filters that an older ledger cannot answer."""
    if wanted.is_simple and (wanted.batch_id is not None or _is_old(connection)):
        return _simple(connection, wanted)
    if _is_old(connection):
        text = "The ledger was written by an older release, which cannot filter images like this."
        raise LedgerUnusable(text, hint="Start the daemon with it once, or leave out the filters.")
    sql, values = page(wanted)
    return [projections.decode_image(raw) for (raw,) in connection.execute(sql, values)]


def _is_old(connection: sqlite3.Connection) -> bool:
    """Whether no daemon of this release has opened the ledger yet. A backup may be read as it is."""
    return not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'facets'").fetchone()


def page(wanted: ImageFilter) -> tuple[str, dict[str, Any]]:
    """The statement for a page, and its values. The large rows are read only of images that are on the page."""
    parts = _Parts(wanted)
    batch, image = parts.order
    where = [*parts.of_batch, *parts.of_image]
    if wanted.before is not None:  # so put, the index finds the place
        where.append(f"{batch} <= :before AND ({batch} < :before OR {image} > :before_image)")
    sql = (
        "SELECT x.row FROM"  # noqa: S608
        f" (SELECT {batch} AS batch_id, {image} AS image FROM {parts.source}{_where(where)}"
        f" ORDER BY {batch} DESC, {image} LIMIT :limit) k"
        " CROSS JOIN images x ON x.batch_id = k.batch_id AND x.image = k.image ORDER BY k.batch_id DESC, k.image"
    )
    before = wanted.before or ("", 0)
    return sql, {**parts.values, "limit": wanted.limit, "before": before[0], "before_image": before[1]}


def _simple(connection: sqlite3.Connection, wanted: ImageFilter) -> list[ImageRow]:
    """A page of one batch, or of a ledger without `facets`."""
    off = "" if wanted.label is None else "+"  # the batches of a label are looked up one by one
    where, values = list[str](), list[str | int]()
    for column, value in (("batch_id", wanted.batch_id), (f"{off}user_key", wanted.username_key)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    if wanted.state is not None:
        where.append("state = ?")
        values.append(wanted.state)
    if wanted.before is not None:
        where.append(f"{off}batch_id <= ? AND ({off}batch_id < ? OR image > ?)")
        values += [wanted.before[0], wanted.before[0], wanted.before[1]]
    if wanted.label is not None:
        where.append(queries.OF_LABEL)
        values.append(wanted.label)
    sql = f"SELECT row FROM images{_where(where)} ORDER BY batch_id DESC, image LIMIT ?"  # noqa: S608
    return [projections.decode_image(raw) for (raw,) in connection.execute(sql, (*values, wanted.limit))]


# ---- counts


def count(connection: sqlite3.Connection, wanted: ImageFilter, by: CountBy | None, every: int) -> ImageCounts:
    """See `ports.Reader.count_images`."""
    with one_moment(connection):
        total, step, cursors = connection.execute(*count_query(wanted, every)).fetchone()
        found = {} if by is None else _groups(connection, wanted, by, total)
    groups = sorted(((value, count) for value, count in found.items() if count), key=lambda one: (-one[1], one[0]))
    pages = ("", *msgspec.json.decode(cursors, type=tuple[str, ...])) if every else ()
    return ImageCounts(total, tuple(groups[:GROUPS_MAX]), len(groups) > GROUPS_MAX, pages, step if every else 0)


def count_query(wanted: ImageFilter, every: int) -> tuple[str, dict[str, Any]]:
    """The statement for the count, the distance of the cursors, and the cursors but the first, as a JSON list."""
    parts = _Parts(wanted)
    sql = f"""WITH RECURSIVE counts(batch_id, images, n, value) AS MATERIALIZED ({_counts(parts, "''")}),
        total(fit) AS MATERIALIZED (SELECT coalesce(sum(n), 0) FROM counts),
        step(width) AS MATERIALIZED (SELECT :every * (max(fit - 1, 0) / max(:every * {CURSORS_MAX}, 1) + 1) FROM total),
        run(batch_id, whole, n, upto) AS (SELECT batch_id, n = images, n,
            sum(n) OVER (ORDER BY batch_id DESC ROWS UNBOUNDED PRECEDING) FROM counts),
        places(batch_id, whole, n, before, place) AS MATERIALIZED (
            SELECT batch_id, whole, n, upto - n, ((upto - n) / width + 1) * width FROM step CROSS JOIN run
            WHERE width > 0 AND upto / width > (upto - n) / width
            UNION ALL SELECT batch_id, whole, n, before, place + width FROM places, step
            WHERE place + width <= before + n),
        numbered(batch_id, image, nth) AS MATERIALIZED ({_numbered(parts)}),
        ids(id) AS (SELECT p.batch_id || '/' || coalesce(k.image, p.place - p.before)
            FROM total CROSS JOIN places p LEFT JOIN numbered k
            ON k.batch_id = p.batch_id AND k.nth = p.place - p.before WHERE p.place < fit ORDER BY p.place)
        SELECT fit, width, (SELECT json_group_array(id) FROM ids) FROM total, step"""  # noqa: S608
    return sql, {**parts.values, "every": every}


def _counts(parts: _Parts, value: str) -> str:
    """For each batch: how many images it has, how many of them fit, and a value."""
    if parts.side != "batches":
        where = _where([*parts.of_batch, *parts.of_image])
        batch = parts.order[0]
        return f"SELECT g.batch_id, g.images, count(*), {value} FROM {parts.source}{where} GROUP BY {batch}"  # noqa: S608
    return f"SELECT g.batch_id, g.images, {_fitting(parts)}, {value} FROM {parts.batches}{_where(parts.of_batch)}"  # noqa: S608


def _fitting(parts: _Parts) -> str:
    """How many images of a batch fit: all of most batches, so that their images need not be read."""
    if not parts.of_image:
        return "g.images"
    counted = f"(SELECT count(*) FROM images i{_where(['i.batch_id = g.batch_id', *parts.of_image])})"  # noqa: S608
    if parts.is_narrow:
        return counted
    return f"CASE WHEN {' OR '.join(parts.exceptions)} THEN {counted} ELSE g.images END"


def _numbered(parts: _Parts) -> str:
    """The images of batches in which a place is and of which only some images fit, numbered from 1 within each batch.

    Each batch is read once, however many places are in it.
    """
    source = _SOURCES["batches", False][0]
    if parts.side == "reviews":
        source += " CROSS JOIN reviews r ON r.batch_id = i.batch_id AND r.image = i.image"
    return (
        "SELECT g.batch_id, i.image, row_number() OVER (PARTITION BY g.batch_id ORDER BY i.image)"  # noqa: S608
        f" FROM (SELECT DISTINCT batch_id FROM places WHERE NOT whole) o CROSS JOIN {source}"
        f"{_where(['g.batch_id = o.batch_id', *parts.of_image])}"
    )


# ---- groups


def _groups(connection: sqlite3.Connection, wanted: ImageFilter, by: CountBy, total: int) -> dict[str, int]:
    match by:
        case "username" | "character":
            return _named(connection, wanted, by)
        case "workflow":
            return dict(connection.execute(*_of_batches(wanted, "g.workflow")))
        case "medium":
            return _of_media(connection, wanted)
        case "state":
            rest, side, value, also = wanted.state or "stored", "unstored", "i.state", _UNSTORED
        case "code":
            rest, side, value, also = wanted.code or "", "unstored", "i.row ->> '$.code'", f"{_CODED} AND {_UNSTORED}"
        case "verdict":
            rest, side, value, also = wanted.verdict or "none", "reviews", "r.verdict", "r.verdict <> ''"
    parts = _Parts(wanted, side)  # type: ignore[arg-type]
    where = _where([*parts.of_batch, *parts.of_image, also])
    sql = f"SELECT {value}, count(*) FROM {parts.source}{where} GROUP BY 1"  # noqa: S608
    found: dict[str, int] = dict(connection.execute(sql, parts.values))
    return {**found, rest: total - sum(found.values()) + found.get(rest, 0)}


def _of_batches(wanted: ImageFilter, value: str) -> tuple[str, dict[str, Any]]:
    parts = _Parts(wanted)
    sql = f"WITH counts(batch_id, images, n, value) AS ({_counts(parts, value)}) SELECT value, sum(n) FROM counts"  # noqa: S608
    return f"{sql} GROUP BY value", parts.values


def _named(connection: sqlite3.Connection, wanted: ImageFilter, by: str) -> dict[str, int]:
    """By name without case, each as its newest batch writes it."""
    key = "user_key" if by == "username" else "character_key"
    parts = _Parts(wanted)
    sql = f"""WITH counts(batch_id, images, n, value) AS ({_counts(parts, f"g.{key}")}),
        groups(n, newest) AS (SELECT sum(n), max(batch_id) FROM counts WHERE n > 0 GROUP BY value)
        SELECT b.row ->> '$.{by}', groups.n FROM groups JOIN batches b ON b.batch_id = groups.newest"""  # noqa: S608
    return dict(connection.execute(sql, parts.values))


def _of_media(connection: sqlite3.Connection, wanted: ImageFilter) -> dict[str, int]:
    """Of batches with several media the images are looked at."""
    found: dict[str, int] = dict(connection.execute(*_of_batches(wanted, "g.medium")))
    if found.pop("", 0):
        parts = _Parts(wanted)
        where = _where([*parts.of_batch, *parts.of_image, "g.medium = ''"])
        sql = f"SELECT {_MEDIUM}, count(*) FROM {parts.source}{where} GROUP BY 1"  # noqa: S608
        for medium, images in connection.execute(sql, parts.values):
            found[medium] = found.get(medium, 0) + images
    return found


# ---- filters


class _Parts:
    """A filter as parts of a statement.

    `batches`: the table of batches alone. `of_batch` and `of_image`: what must hold. `exceptions`: see `_EXCEPT`.
    """

    def __init__(self, wanted: ImageFilter, side: Side | None = None) -> None:
        self.side: Side = _side(wanted) if side is None or _side(wanted) == "reviews" else side
        self.is_narrow = wanted.batch_id is not None or wanted.label is not None
        by_label = wanted.label is not None and wanted.batch_id is None
        self.batches = f"facets g{' INDEXED BY facets_by_label' if by_label else ''}"
        source, *order = _SOURCES[self.side, self.is_narrow]
        self.source, self.order = source.format(self.batches), order
        self.of_batch = [text for name, text in _of_batch(self.order[0]) if _is_given(wanted, name)]
        self.of_image, self.exceptions = self._of_image(wanted)
        self.values = _values(wanted)

    def _of_image(self, wanted: ImageFilter) -> tuple[list[str], list[str]]:
        where, exceptions = list[str](), list[str]()
        if self.side == "unstored":
            where.append(_UNSTORED)
        if wanted.state is not None:
            where.append("i.state = :state")
            exceptions.append(_EXCEPT["stored"])
        if wanted.code is not None:
            where.append(f"{_CODED} AND i.row ->> '$.code' = :code")
        if wanted.medium is not None:
            where.append(f"(g.medium <> '' OR {_MEDIUM} = :medium)")
            exceptions.append(_EXCEPT["medium"])
        if wanted.verdict == "none":
            where.append(_reviewed("r.verdict <> ''", is_there=False))
            exceptions.append(_EXCEPT["none"])
        reviewed = ["r.verdict = :verdict"] if wanted.verdict in {"approved", "rejected"} else []
        reviewed += ["r.rating >= :rating"] if wanted.rating_min else []
        where += reviewed if self.side == "reviews" else [_reviewed(one) for one in reviewed]
        return where, exceptions


def _side(wanted: ImageFilter) -> Side:
    if wanted.verdict in {"approved", "rejected"} or wanted.rating_min:
        return "reviews"
    return "unstored" if wanted.state not in {None, "stored"} or wanted.code is not None else "batches"


def _reviewed(condition: str, *, is_there: bool = True) -> str:
    sql = f"EXISTS (SELECT 1 FROM reviews r WHERE r.batch_id = i.batch_id AND r.image = i.image AND {condition})"  # noqa: S608
    return sql if is_there else f"NOT {sql}"


def _of_batch(batch_id: str) -> Iterable[tuple[str, str]]:
    """By field of the filter: what must hold of a batch."""
    return (
        ("batch_id", f"{batch_id} = :batch_id"),
        ("since_ms", f"{batch_id} >= :since"),
        ("until_ms", f"{batch_id} < :until"),
        ("label", "g.label = :label"),
        ("username_key", "g.user_key = :user"),
        ("character_key", "g.character_key = :character"),
        ("workflow", "g.workflow = :workflow"),
        ("medium", "g.medium IN (:medium, '')"),
    )


def _is_given(wanted: ImageFilter, name: str) -> bool:
    return getattr(wanted, name) is not None


def _values(wanted: ImageFilter) -> dict[str, Any]:
    return {
        "batch_id": wanted.batch_id,
        "since": first_at(wanted.since_ms or 0),
        "until": first_at((wanted.until_ms or 0) + 1),
        "label": wanted.label,
        "user": wanted.username_key,
        "character": wanted.character_key,
        "workflow": wanted.workflow,
        "medium": wanted.medium,
        "state": wanted.state,
        "code": wanted.code,
        "verdict": wanted.verdict,
        "rating": wanted.rating_min,
    }


def _where(terms: list[str]) -> str:
    return f" WHERE {' AND '.join(terms)}" if terms else ""
