"""The database of a fleet and its boxes: what is looked up there, and what it means.

`seen` asks the database and reads the replica; `of_fleet` is PURE.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.log_reader import LogReader
from comfyledger.ledger.ports import LogUnreachable
from comfyledger.ledger.sqlite.log_table import LogTable
from comfyledger.maintenance.doctor.judge import CLOCK_OFF_S, Diagnosis
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.settings import Settings, is_source, read_secret

if TYPE_CHECKING:
    from comfyledger.ledger.shared.connection import Connection
    from comfyledger.ledger.shared.roles import Role
    from comfyledger.maintenance.fleet import Standing

AREA: Final = "fleet"
KEY_FILE: Final = "fleet.keys"
CALL_S: Final = 5.0
BEHIND_MAX: Final = 1_000
"""Events. A box that follows lacks a handful."""
SILENT_S: Final = 20.0
"""A box says something every five seconds."""
_SETTINGS: Final = "SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names')"
_STANDBYS: Final = "SELECT count(*) FROM pg_stat_replication"
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())"
_ABOUT: Final = "SELECT name, about, extract(epoch FROM seen) FROM boxes ORDER BY name"
_HASH: Final = "SELECT hash FROM events WHERE position = %s"
_NOT_ACKNOWLEDGED: Final = frozenset({"off", "local", "remote_write"})


class About(msgspec.Struct, frozen=True):
    """What a box says about itself: its version, a digest of each part of its configuration, and the time of its clock
    in seconds since 1970. `ahead_s`: how far that was ahead of the database's; None if it was not said.
    """

    version: str = ""
    digests: dict[str, str] = {}
    at_s: float = 0.0
    ahead_s: float | None = None


class FleetSeen(msgspec.Struct, frozen=True):
    """`commit`, `standbys`: settings of PostgreSQL. `following`: how many standbys are connected. `ahead_s`: of the
    database's clock. `common`: the last position where replica and log are the same; `own`: where the replica ends.
    """

    server: str
    commit: str
    standbys: str
    following: int
    ahead_s: float
    role: Role | None
    standing: Standing
    about: dict[str, About]
    own: int
    common: int


def fleet(settings: Settings, environ: Mapping[str, str]) -> list[Diagnosis]:
    """Everything about the fleet of a box, and nothing without one. Blocks. Raises OSError."""
    if not settings.box_name:
        return []
    return [*of_key_file(settings.ledger_path.with_name(KEY_FILE)), *_of_database(settings, environ)]


def of_key_file(path: Path) -> Iterator[Diagnosis]:
    """The file of keys is there, for the account that the ledger belongs to alone. Raises OSError."""
    if not path.exists():
        mend = "comfyledger fleet join --key-file FILE, with what `comfyledger fleet key` prints on another box"
        yield _failure(f"The keys of the fleet's texts are missing: {path}.", mend)
        return
    found, folder = path.stat(), path.parent.stat()
    if found.st_mode & 0o077:
        yield _failure(f"Others may read the keys of the fleet's texts: {path}.", f"chmod 600 {path}")
    if found.st_uid != folder.st_uid:
        text = f"The keys of the fleet's texts belong to another account than their folder: {path}."
        yield _failure(text, f"chown {folder.st_uid} {path}")


def _of_database(settings: Settings, environ: Mapping[str, str]) -> list[Diagnosis]:
    if not settings.ledger_path.exists():
        return [_failure(f"This box has no replica {settings.ledger_path}.", "comfyledger fleet join")]
    try:
        return of_fleet(seen(_address(settings, environ), settings.ledger_path), settings.box_name)
    except ImportError:
        return [_failure("The extra `fleet` is not installed.", "pip install 'comfyledger[fleet]'")]
    except LogUnreachable as error:
        mend = "the database, or [ledger] shared; until then requests are refused with log_unreachable"
        return [_failure(str(error), mend)]
    except LedgerUnusable as error:
        return [_failure(error.message, error.hint)]
    except Refused as refusal:
        return [_failure(refusal.message, refusal.hint)]


def _address(settings: Settings, environ: Mapping[str, str]) -> str:
    shared = settings.ledger.shared
    return read_secret(shared, environ) if is_source(shared) else shared


# ---- looking


def seen(address: str, path: Path) -> FleetSeen:
    """Raises LogUnreachable, LedgerUnusable, OSError."""
    from comfyledger.ledger.shared import pooler, roles, schema
    from comfyledger.ledger.shared.connection import connected, meaning
    from comfyledger.maintenance.fleet import standing

    pooler.check(address, CALL_S)
    with closing(connected(address, CALL_S)) as there, meaning():
        schema.check_server(there)
        commit, standbys = _row(there, _SETTINGS)
        began = time.time()
        (now,) = _row(there, _NOW)
        ahead_s = float(now) - (began + time.time()) / 2
        own, common = _compared(there, path)
        return FleetSeen(
            str(there.info.parameter_status("server_version")),
            commit,
            standbys,
            _row(there, _STANDBYS)[0],
            ahead_s,
            roles.role_of(there),
            standing(address),
            {name: _about(text, float(at)) for name, text, at in there.execute(_ABOUT).fetchall()},
            own,
            common,
        )


def _row(there: Connection, sql: str) -> Any:
    return there.execute(sql.encode()).fetchone()


def _about(text: str, heard_s: float) -> About:
    """What a box said, at a time of the database's; nothing if a newer version said it in another form."""
    try:
        said = msgspec.json.decode(text, type=About)
        return replace(said, ahead_s=said.at_s - heard_s if said.at_s else None)
    except msgspec.MsgspecError:
        return About()


def _compared(there: Connection, path: Path) -> tuple[int, int]:
    """Where the replica ends, and the last position where it is the same as the log: found by halving."""
    with open_read_only(path) as connection:
        own = LogTable(connection)
        end, low = own.end().head.position, 0
        if _is_same(there, own, end):
            return end, end
        high = end
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _is_same(there, own, middle) else (low, middle)
        return end, low


def _is_same(there: Connection, own: LogReader, position: int) -> bool:
    row, head = there.execute(_HASH, (position,)).fetchone(), own.head_at(position)
    return position == 0 or (row is not None and head is not None and bytes(row[0]) == head.hash)


# ---- what it means


def of_fleet(one: FleetSeen, box: str) -> list[Diagnosis]:
    """`box`: the name of this one."""
    return [
        *_of_server(one),
        *_of_role(one.role),
        *_of_log(one),
        *_of_boxes(one.standing, box),
        *_of_keys(one.standing),
        *_of_clocks(one.about),
        *_of_configurations(one.about),
    ]


def _of_server(one: FleetSeen) -> Iterator[Diagnosis]:
    yield Diagnosis(AREA, "ok", f"PostgreSQL {one.server} has the log up to position {one.standing.position}.")
    if one.commit in _NOT_ACKNOWLEDGED:
        text = f"PostgreSQL has synchronous_commit={one.commit}, so it may lose acknowledged events."
        yield _failure(text, "ALTER SYSTEM SET synchronous_commit = on")
    if not one.standbys:
        text = "No standby is synchronous, so one machine holds the log. Only the replicas have it too."
        yield Diagnosis(AREA, "warning", text, "synchronous_standby_names = 'ANY 1 (...)', and a standby")
    elif not one.following:
        text = f"No standby follows, and commits wait for {one.standbys}."
        yield _failure(text, "start the standby, or change synchronous_standby_names")
    if abs(one.ahead_s) > CLOCK_OFF_S:
        text = f"The clock of the database is {one.ahead_s:+.0f} s off this machine's."
        yield Diagnosis(AREA, "warning", text, "time synchronization on both machines")


def _of_role(role: Role | None) -> Iterator[Diagnosis]:
    if role is None:
        return
    if role.lacks:
        yield _failure(f"The role {role.name} may not do what a box needs: {', '.join(role.lacks)}.", _GRANT)
    if role.can_rewrite:
        why = "is a superuser" if role.is_superuser else "owns the log" if role.owns else "may change lines of the log"
        text = f"The role {role.name} {why}, so whoever has this box can rewrite history in the database."
        yield Diagnosis(AREA, "warning", f"{text} Other boxes notice it.", _GRANT)


_GRANT: Final = "a role of its own for the boxes: docs/fleet.md#a-role-for-the-boxes has the statements"


def _of_log(one: FleetSeen) -> Iterator[Diagnosis]:
    end = one.standing.position
    if one.common == one.own:
        text = f"This box's replica is at position {one.own}, {end - one.own} behind the log."
        yield Diagnosis(AREA, "ok", text)
        return
    text = f"This box has {one.own - one.common} events after position {one.common} that the shared log has not."
    yield _failure(f"{text} The log ends at {end}.", "docs/fleet.md#if-the-database-lost-events; keep this replica")


def _of_boxes(standing: Standing, box: str) -> Iterator[Diagnosis]:
    if box not in {one.name for one in standing.boxes}:
        yield Diagnosis(AREA, "warning", f"The box {box} has never taken part.", "start its daemon")
    for one in standing.boxes:
        if one.present and one.age_s > SILENT_S:
            yield Diagnosis(AREA, "warning", f"The box {one.name} said nothing for {one.age_s:.0f} s.", "look at it")
        elif one.present and one.behind > BEHIND_MAX:
            text = f"The box {one.name} is {one.behind} events behind the log."
            yield Diagnosis(AREA, "warning", text, "look at its disk and processor")
        elif not one.present and not one.given_up:
            mend = f"start it, or comfyledger fleet give-up {one.name}"
            yield Diagnosis(AREA, "warning", f"The box {one.name} has left ({one.reason}).", mend)
    by_url: dict[str, list[str]] = defaultdict(list)
    for one in standing.boxes:
        if one.present and one.url:
            by_url[one.url].append(one.name)
    for url, names in by_url.items():
        if len(names) > 1:
            yield _failure(f"The boxes {', '.join(names)} have the same address {url}.", "[box] url of each")


def _of_keys(standing: Standing) -> Iterator[Diagnosis]:
    if standing.old_keys:
        text = "These boxes have older keys, which open forgotten texts in old copies of the database: {}."
        yield Diagnosis(AREA, "warning", text.format(", ".join(standing.old_keys)), "start their daemons")


def _of_clocks(about: Mapping[str, About]) -> Iterator[Diagnosis]:
    for name, one in sorted(about.items()):
        if one.ahead_s is not None and abs(one.ahead_s) > CLOCK_OFF_S:
            text = f"The clock of the box {name} was {one.ahead_s:+,.0f} s off the database's when it was heard last."
            yield Diagnosis(AREA, "warning", text, f"time synchronization on {name}")


def _of_configurations(about: Mapping[str, About]) -> Iterator[Diagnosis]:
    parts = sorted({part for one in about.values() for part in one.digests})
    said = {part: {name: one.digests[part] for name, one in about.items() if part in one.digests} for part in parts}
    said["version of comfyledger"] = {name: one.version for name, one in about.items() if one.version}
    for part, by_box in said.items():
        if len(set(by_box.values())) > 1:
            text = f"The boxes differ in {part}: {_groups(by_box)}."
            yield Diagnosis(AREA, "warning", text, "the same on all boxes, and restart the daemons")


def _groups(by_box: Mapping[str, str]) -> str:
    """Which boxes agree with each other."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, digest in sorted(by_box.items()):
        groups[digest].append(name)
    return " / ".join(", ".join(names) for names in groups.values())


def _failure(text: str, mend: str) -> Diagnosis:
    return Diagnosis(AREA, "failure", text, mend)
