"""Compares the objects in a ledger file with those that the migrations of this code create.

Statistics, indexes, tables and views of other programs are tolerated and named. What is ours and missing or changed is
refused by its name. So is every foreign object on our tables that can change or refuse what we write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from comfyledger.errors import LedgerUnusable

NOT_MADE_ANEW: Final = frozenset({"meta", "events", "blobs"})
"""Tables that no log can give back; all others are projections."""
NAMES_MAX: Final = 10
"""Of one sentence."""
REBUILD: Final = "Stop the daemon, then `comfyledger replay --rebuild`."
RESTORE: Final = "Restore a backup: `comfyledger restore FILE`."

_BOOKKEEPING: Final = "_sqlite_migrations"
"""The list of migrations, whose form is sqlite-utils' own and not the same in all its versions."""
_INTERNAL: Final = ("sqlite_autoindex_", "sqlite_sequence")

Place = tuple[str, str]
"""Type and folded name: SQLite's names have no case."""


class Object(msgspec.Struct, frozen=True, order=True):
    """A table, index, trigger or view. `table`: the one that it belongs to; its own name if it is one."""

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
    """How a file differs from what it should hold. `harmful`: not ours, and in the way of what we write.

    `foreign`: not ours, and of no harm. `unlisted`: our tables are there, but not in the list of migrations.
    """

    missing: tuple[Object, ...] = ()
    changed: tuple[Object, ...] = ()
    harmful: tuple[Object, ...] = ()
    foreign: tuple[Object, ...] = ()
    unlisted: bool = False
    extra_columns: tuple[tuple[str, str], ...] = ()
    """Table and column, of our tables that were changed."""

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the log can give back all that is missing or changed."""
        return not any(one.type == "table" and one.name in NOT_MADE_ANEW for one in (*self.missing, *self.changed))


def stated(connection: sqlite3.Connection) -> dict[Place, Object]:
    """All objects of a file but those that SQLite makes by itself. Statistics of ANALYZE are among them."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    objects = (Object(kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows)
    return {one.place: one for one in objects if not one.name.startswith(_INTERNAL)}


def examine(
    connection: sqlite3.Connection, expected: Mapping[Place, Object], later: Mapping[Place, Object] | None = None
) -> Found:
    """Compare a file with what it should hold now; `later`: with what migrations are still to add, too."""
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
    """A trigger can do anything; a unique index can refuse a row, one of an unknown function every row.

    `taken`: names of ours. Tables, indexes and views share one set of names, triggers have another.
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
    """Whether SQLite knows all functions and orders that an index needs, and so would take a row of its table."""
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
    """Columns that are not named in what we made."""
    for one in changed:
        if one.type == "table":
            words = expected[one.place].sql.replace("(", " ").split()
            columns = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (one.name,)).fetchall()
            yield from ((one.name, column) for (column,) in columns if column not in words)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ---- reading at all


def must_trust(error: sqlite3.Error) -> bool:
    """Whether an index or a column of others keeps SQLite from reading the file, harmless as it is.

    Some versions take their own JSON functions for unsafe there, and then `trusted_schema=OFF` closes all tables.
    """
    return "unsafe use of" in str(error)


def trust(connection: sqlite3.Connection) -> None:
    """Read a file all the same. The functions that its schema may use are SQLite's own: none is ever added to it."""
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
    """A column that was added goes with one statement; the rest is made anew, or comes from a backup."""
    if found.extra_columns and not found.missing and len(found.changed) == len({t for t, _ in found.extra_columns}):
        drops = " ".join(f"ALTER TABLE {_quoted(t)} DROP COLUMN {_quoted(c)};" for t, c in found.extra_columns)
        return f"Stop the daemon and take the column out with any SQLite tool: {drops}"
    return REBUILD if found.can_be_rebuilt else RESTORE


def _drop(one: Object) -> str:
    """A table may hold what somebody needs: it is given another name."""
    if one.type == "table":
        return f"ALTER TABLE {_quoted(one.name)} RENAME TO {_quoted(one.name + '_of_others')};"
    return f"DROP {one.type.upper()} {_quoted(one.name)};"


def listed(said: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f", and {len(said) - NAMES_MAX} more" if len(said) > NAMES_MAX else ""
    return ", ".join(said[:NAMES_MAX]) + more


# ---- mending


def remake(connection: sqlite3.Connection, found: Found, expected: Mapping[Place, Object]) -> None:
    """Make what is missing or changed anew, empty. To be called within the transaction that fills it again.

    Raises LedgerUnusable if the log cannot give it back.
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
