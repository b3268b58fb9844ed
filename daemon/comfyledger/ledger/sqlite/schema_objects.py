"""Compares the objects in a ledger file with those that the migrations of this code create.

Statistics, indexes, tables and views of other programs are tolerated and named. Objects of ours that are missing or
changed are named and refused. So is every foreign object on our tables that can change or refuse what we write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from comfyledger.errors import LedgerUnusable

NOT_MADE_ANEW: Final = frozenset({"meta", "events", "blobs"})
"""Tables that the log cannot restore; all others are projections."""
NAMES_MAX: Final = 10
"""How many names a sentence has."""
REBUILD: Final = "Stop the daemon, then `comfyledger replay --rebuild`."
RESTORE: Final = "Restore a backup: `comfyledger restore FILE --replace`."

_BOOKKEEPING: Final = "_sqlite_migrations"
"""The list of migrations. Its columns are those of sqlite-utils and differ between its versions."""
_INTERNAL: Final = ("sqlite_autoindex_", "sqlite_sequence")

Place = tuple[str, str]
"""Type and name in lower case, because SQLite's names have no case."""


class Object(msgspec.Struct, frozen=True, order=True):
    """A table, index, trigger or view. `table`: the one that it belongs to; for a table its own name."""

    type: str
    name: str
    table: str
    sql: str = ""

    @property
    def place(self) -> Place:
        return self.type, self.name.casefold()

    @property
    def said(self) -> str:
        return f"{self.type} {self.name}" + (f" on {self.table}" if self.type in {"index", "trigger"} else "")


class Found(msgspec.Struct, frozen=True):
    """How a file differs from what it should have. `harmful`: not ours, and may change or refuse what we write.

    `foreign`: not ours, and harmless. `unlisted`: our tables exist, but the list of migrations lacks them.
    """

    missing: tuple[Object, ...] = ()
    changed: tuple[Object, ...] = ()
    harmful: tuple[Object, ...] = ()
    foreign: tuple[Object, ...] = ()
    unlisted: bool = False
    extra_columns: tuple[tuple[str, str], ...] = ()
    """Table and column of what was added to our tables."""

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the log can restore everything that is missing or changed."""
        return not any(one.type == "table" and one.name in NOT_MADE_ANEW for one in (*self.missing, *self.changed))


def stated(connection: sqlite3.Connection) -> dict[Place, Object]:
    """All objects of a file, with the statistics of ANALYZE, without those that SQLite makes by itself."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    objects = (Object(kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows)
    return {one.place: one for one in objects if not one.name.startswith(_INTERNAL)}


def examine(
    connection: sqlite3.Connection, expected: Mapping[Place, Object], later: Mapping[Place, Object] | None = None
) -> Found:
    """Compare a file with what it should have. `later`: what it should have after all migrations."""
    live = {place: one for place, one in stated(connection).items() if not _is_bookkeeping(one)}
    added = {place: one for place, one in (later or {}).items() if place not in expected}
    others = [one for place, one in live.items() if place not in expected]
    early = [one for one in others if one.place in added and added[one.place].sql == one.sql]
    taken = frozenset(name for kind, name in (*expected, *added) if kind != "trigger")
    ours = frozenset(name for kind, name in expected if kind == "table") | {_BOOKKEEPING}
    harmful = [one for one in others if one not in early and _is_harmful(connection, one, ours, taken)]
    changed = [live[place] for place, one in expected.items() if place in live and live[place].sql != one.sql]
    return Found(
        missing=_sorted(one for place, one in expected.items() if place not in live),
        changed=_sorted(changed),
        harmful=_sorted(harmful),
        foreign=_sorted(one for one in others if one not in early and one not in harmful),
        unlisted=bool(early),
        extra_columns=tuple(_extra_columns(connection, changed, expected)),
    )


def _sorted(objects: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(sorted(objects))


def _is_bookkeeping(one: Object) -> bool:
    return one.table.casefold() == _BOOKKEEPING and one.type in {"table", "index"}


def _is_harmful(connection: sqlite3.Connection, one: Object, ours: frozenset[str], taken: frozenset[str]) -> bool:
    """A trigger can do anything. A unique index can refuse a row, and one with an unknown function refuses every row.

    `taken`: our names. Tables, indexes and views share one set of names, triggers have their own.
    """
    if one.type != "trigger" and one.name.casefold() in taken:
        return True
    if one.table.casefold() not in ours:
        return False
    return one.type == "trigger" or _is_unique(connection, one) or not _can_be_written(connection, one)


def _is_unique(connection: sqlite3.Connection, index: Object) -> bool:
    sql = 'SELECT "unique" FROM pragma_index_list(?) WHERE name = ?'
    row = connection.execute(sql, (index.table, index.name)).fetchone()
    return row is not None and bool(row[0])


def _can_be_written(connection: sqlite3.Connection, index: Object) -> bool:
    """Whether SQLite knows all functions and collations that an index needs, so that its table accepts rows."""
    table = _quoted(index.table)
    try:
        connection.execute(f"EXPLAIN INSERT INTO {table} SELECT * FROM {table}").close()  # noqa: S608
    except sqlite3.OperationalError as error:
        if not must_trust(error):
            return False
        trust(connection)
        return _can_be_written(connection, index)
    return True


def _extra_columns(
    connection: sqlite3.Connection, changed: Iterable[Object], expected: Mapping[Place, Object]
) -> Iterator[tuple[str, str]]:
    """Columns that the statements of our migrations do not name."""
    for one in changed:
        if one.type == "table":
            words = expected[one.place].sql.replace("(", " ").split()
            columns = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (one.name,)).fetchall()
            yield from ((one.name, column) for (column,) in columns if column not in words)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ---- files that SQLite refuses to read


def must_trust(error: sqlite3.Error) -> bool:
    """Whether SQLite refuses to read the file because of a harmless index or column of another program.

    Some versions count their own JSON functions as unsafe there, and then `trusted_schema=OFF` closes all tables.
    """
    return "unsafe use of" in str(error)


def trust(connection: sqlite3.Connection) -> None:
    """Let SQLite read the file. Its schema can use only SQLite's own functions, because we never add any."""
    connection.execute("PRAGMA trusted_schema=ON")


# ---- in words


def trouble_of(found: Found) -> LedgerUnusable | None:
    """Why a ledger cannot be used as it is, with the command that repairs it; None if it can."""
    texts, hints = [], []
    if found.harmful:
        said = listed([f"the {one.said}" for one in found.harmful])
        texts.append(f"Another program put into the ledger what can change or refuse its writes: {said}.")
        hints.append(f"Stop the daemon and remove it with any SQLite tool: {' '.join(map(_drop, found.harmful))}")
    wrong = [f"the {one.said} is missing" for one in found.missing]
    wrong += [f"the {one.said} was changed" for one in found.changed]
    if found.unlisted:
        wrong.append("the list of migrations is not whole")
    if wrong:
        texts.append(f"The tables of the ledger are not as comfyledger left them: {listed(wrong)}.")
        hints.append(_mend(found))
    return LedgerUnusable(" ".join(texts), hint=" ".join(hints)) if texts else None


def _mend(found: Found) -> str:
    """The command that repairs the tables: drop an added column, rebuild from the log, or restore a backup."""
    if found.extra_columns and not found.missing and len(found.changed) == len({t for t, _ in found.extra_columns}):
        drops = " ".join(f"ALTER TABLE {_quoted(t)} DROP COLUMN {_quoted(c)};" for t, c in found.extra_columns)
        return f"Stop the daemon and take the column out with any SQLite tool: {drops}"
    return REBUILD if found.can_be_rebuilt else RESTORE


def _drop(one: Object) -> str:
    """The statement that removes an object. A table is renamed instead, because somebody may need its rows."""
    if one.type == "table":
        return f"ALTER TABLE {_quoted(one.name)} RENAME TO {_quoted(one.name + '_of_others')};"
    return f"DROP {one.type.upper()} {_quoted(one.name)};"


def listed(said: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f", and {len(said) - NAMES_MAX} more" if len(said) > NAMES_MAX else ""
    return ", ".join(said[:NAMES_MAX]) + more


# ---- mending


def remake(connection: sqlite3.Connection, found: Found, expected: Mapping[Place, Object]) -> None:
    """Create missing and changed objects again, with empty tables. To be called in the transaction that fills them.

    Raises LedgerUnusable if the log cannot restore them.
    """
    trouble = trouble_of(found)
    if trouble is not None and (found.harmful or not found.can_be_rebuilt):
        raise trouble
    wrong = {one.place for one in (*found.missing, *found.changed)}
    tables = {name for kind, name in wrong if kind == "table"}
    for one in found.changed:
        connection.execute(f"DROP {one.type.upper()} IF EXISTS {_quoted(one.name)}")
    for place, one in expected.items():
        if place in wrong or one.table.casefold() in tables:  # an index goes with its table
            connection.execute(one.sql)
