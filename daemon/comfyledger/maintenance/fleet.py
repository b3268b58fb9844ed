"""Begins a fleet from a ledger, and joins one: what `fleet init` and `fleet join` do. No daemon may run meanwhile.

Both may be killed anywhere and repeated. The database gets everything in one transaction; the ledger becomes a replica
after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import JoinBox, LeaveBox
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.keys import BoxKey
from comfyledger.core.results import BoxKnown
from comfyledger.core.values import Blob
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.shared import pooler, roles, rotation, schema, texts
from comfyledger.ledger.shared.connection import Connection, connected, meaning
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.shared.schema import Identity
from comfyledger.ledger.sqlite import replica
from comfyledger.ledger.sqlite.locking import hold
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.ledger.sqlite.opening import connect
from comfyledger.ledger.sqlite.schema import get_meta
from comfyledger.ledger.sqlite.writer import Ledger

INIT_S: Final = 24 * 3600.0
"""A ledger of millions of events takes a while to copy."""
ROWS: Final = 1_000
LABEL: Final = "cli"
"""Who begins a fleet, in the event about it."""
_SHARED_ALREADY: Final = "Run `comfyledger fleet join` on this box, with a state folder that has no ledger."

Progress = Callable[[str, int, int], None]


def init(address: str, path: Path, progress: Progress, founder: str = "", now_ms: int = 0, owner: str = "") -> Head:
    """Share the ledger at `path`; make an empty one first if there is none. Returns where its log ends.

    `founder`: the box whose ledger it is. What is under way in it stays with this box, which joins at `now_ms`.
    `owner`: the address for a role that shall own the tables, if it is another one than that of the boxes.

    Raises Refused if the database holds another fleet, LedgerUnusable, LogUnreachable, OSError, sqlite3.Error.
    """
    pooler.check(address, STANDING_S)
    if not path.exists() or (founder and not _is_replica(path)):
        with closing(Ledger.open(path)) as own_ledger:
            _name_founder(own_ledger, founder, now_ms)
    held = hold(path, create=False)
    with closing(held):
        if _is_replica(path):
            raise Refused("nothing_to_do", f"The ledger {path} is shared already.")
        with closing(connect(held)) as own:
            identity, head = _identity(own), read_head(own)
            with closing(connected(owner or address, INIT_S)) as there:
                _fill(there, own, identity, head, Keys.beside(path), progress)
                if owner:
                    roles.grant(there, _role(address))
            own.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            replica.become(own)
    return head


def _name_founder(ledger: Ledger, founder: str, now_ms: int) -> None:
    """Record once whose ledger it was. It is an event as any other, and means nothing as long as no log is shared."""
    row = ledger.load_one(BoxKey(founder))
    if founder and not isinstance(row, BoxRow):
        (outcome,), _ = decide_group(ledger, [JoinBox(LABEL, founder, founder=True)], Terms(now_ms, Policy(), None))
        if outcome.error is not None:
            raise outcome.error


def _role(address: str) -> str:
    """The role of the boxes, which can connect. Raises LogUnreachable, LedgerUnusable."""
    with closing(connected(address, STANDING_S)) as there, meaning():
        (name,) = there.execute("SELECT current_user").fetchone() or ("",)
        return str(name)


def _is_replica(path: Path) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return replica.is_replica(connection)


def _identity(own: sqlite3.Connection) -> Identity:
    return Identity(*(get_meta(own, key) or "" for key in ("ledger_id", "epoch")))


def _fill(
    there: Connection, own: sqlite3.Connection, identity: Identity, head: Head, keys: Keys, progress: Progress
) -> None:
    """Copy everything in one transaction; or find that an earlier call did, before it was killed."""
    with meaning():
        if schema.has_fleet(there):
            row = there.execute("SELECT position, hash FROM head").fetchone()
            if schema.read_identity(there) != identity or row is None or Head(row[0], bytes(row[1])) != head:
                raise Refused("invalid_field", "The database holds a fleet already.", hint=_SHARED_ALREADY)
            keys.follow(there)
            return
        with there.transaction():
            there.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            schema.create(there, identity)
            keys.found(there)
            for table, columns, sql in _COPIED:
                _copy(there, own, table, columns, sql, progress)
            _copy_texts(there, own, keys, progress)
            there.execute("UPDATE head SET position = %s, hash = %s", (head.position, head.hash))


_COPIED: Final = (
    ("events", "position, stream, kind, schema, at, data, hash", "SELECT {} FROM events ORDER BY position"),
    ("names_given", "name", "SELECT {} FROM names_given"),
    ("webhook_progress", "name, row", "SELECT {} FROM webhook_progress"),
)
"""Table, columns, and where they come from."""
_TEXTS: Final = "SELECT digest, salt, content, key FROM blobs WHERE digest NOT LIKE 'erased:%'"


def _copy(there: Connection, own: sqlite3.Connection, table: str, columns: str, sql: str, progress: Progress) -> None:
    (count,) = own.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    done = 0
    with there.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in own.execute(sql.format(columns)):
            copy.write_row(row)
            done += 1
            if done % ROWS == 0:
                progress(table, done, count)
    progress(table, done, max(done, count))


def _copy_texts(there: Connection, own: sqlite3.Connection, keys: Keys, progress: Progress) -> None:
    """Seal the ledger's secret, and all texts at position 0: whoever joins takes them in before the first line."""
    (count,) = own.execute("SELECT count(*) FROM blobs").fetchone()
    sealer = texts.sealer(there, keys, keys.newest)
    there.execute(*texts.kept_secret(get_meta(own, "secret") or "", sealer))
    rows, done = own.execute(_TEXTS), 0
    while page := rows.fetchmany(ROWS):
        there.execute(*texts.kept(0, [Blob(*row) for row in page], sealer))
        done += len(page)
        progress("blobs", done, count)
    progress("blobs", done, max(done, count))


def join(address: str, path: Path, progress: Progress, box: str = "", carried: tuple[int, bytes] | None = None) -> Head:
    """Make the replica of a box at `path`, up to the end of the log as it is now. Goes on where it was interrupted.

    `box`: its name, for the list of who has which keys. `carried`: generation and key, as another box printed them; a
    box that has been in this fleet needs none. Raises Refused if there is a ledger of its own, LedgerUnusable,
    LogUnreachable, OSError, sqlite3.Error.
    """
    pooler.check(address, STANDING_S)
    keys = Keys.beside(path)
    if carried is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(connected(address, STANDING_S)) as there, meaning():
            keys.begin_anew(there, *carried)
            rotation.note(there, box, keys.oldest)
    keys.check()
    with closing(SharedLog(address, keys)) as log:
        identity = log.identity()
        if not path.exists():
            replica.bear(path, identity.ledger_id, identity.epoch, log.secret())
        elif not _is_replica(path):
            hint = "Choose another --state-dir, or move the ledger away: a box cannot bring one along."
            raise Refused("invalid_field", f"There is a ledger of its own: {path}.", hint=hint)
        _take_first_texts(path, log)
        with closing(Ledger.open(path, replica=True)) as own, closing(SharedLedger.open(own, log)) as shared:
            upto = log.head().position
            while shared.catch_up().more:
                progress("log", own.head.position, upto)
            return own.head


def _take_first_texts(path: Path, log: SharedLog) -> None:
    """Texts from before the fleet began come before the first line."""
    with closing(hold(path, create=False)) as held, closing(connect(held, replica=True)) as own:
        if read_head(own).position == 0:
            for page in log.first_texts():
                replica.keep_texts(own, page)


def leave(address: str, path: Path, name: str, label: str, now_ms: int) -> BoxKnown:
    """Have a box take part no more. Its replica stays. `label`: who says so.

    Raises Refused(unknown_box), LedgerUnusable, LogUnreachable, OSError, sqlite3.Error.
    """
    with (
        closing(SharedLog(address, Keys.beside(path))) as log,
        closing(Ledger.open(path, replica=True)) as own,
        closing(SharedLedger.open(own, log)) as shared,
    ):
        while shared.catch_up().more:
            pass
        row = shared.load_one(BoxKey(name))
        term = row.term if isinstance(row, BoxRow) else 0
        (outcome,), _ = decide_group(shared, [LeaveBox(label, name, term, "person")], Terms(now_ms, Policy(), None))
    if outcome.error is not None:
        raise outcome.error
    assert isinstance(outcome.answer, BoxKnown)  # noqa: S101 (what the command is answered with)
    return outcome.answer


def put_aside(path: Path) -> Path:
    """Move a replica aside, for one that is made anew. Returns its new path.

    Raises Refused if there is none, LedgerUnusable, OSError, sqlite3.Error.
    """
    if not path.is_file() or not _is_replica(path):
        hint = "`comfyledger fleet join` without --anew makes one where there is none."
        raise Refused("invalid_field", f"There is no replica {path}.", hint=hint)
    with closing(hold(path, create=False)):
        aside = next(
            each for n in range(1, 1_000) if not (each := path.with_name(f"{path.name}.replaced-{n}")).exists()
        )
        for end in ("-wal", "-shm"):
            beside = path.with_name(path.name + end)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + end))
        path.rename(aside)
    return aside


# ---- looking at it


class BoxStanding(msgspec.Struct, frozen=True):
    """How a box is. `behind`: events of the log that its replica had not taken in when it was heard last. `age_s`: how
    long ago that was. `reason`: why it takes part no more. `key`: the oldest wrapping key that it still has; 0 if it
    never said so.
    """

    name: str
    url: str
    age_s: float
    behind: int
    term: int = 0
    present: bool = False
    reason: str = ""
    given_up: bool = False
    key: int = 0


class Standing(msgspec.Struct, frozen=True):
    """A fleet: where its log ends, and its boxes by name. `key`: the newest wrapping key. `forgetting`: whether a box
    has a key that opens forgotten texts in old copies of the database. `old_keys`: the boxes that have an older key.
    """

    ledger_id: str
    epoch: str
    position: int
    boxes: list[BoxStanding]
    key: int = 0
    forgetting: bool = False
    old_keys: list[str] = []


_SEEN: Final = "SELECT name, url, extract(epoch FROM now() - seen), position FROM boxes ORDER BY name"
_KEYS: Final = "SELECT box, generation FROM box_keys ORDER BY box"
_OF_BOXES: Final = "SELECT kind, data FROM events WHERE stream LIKE 'box/%' ORDER BY position"


def standing(address: str) -> Standing:
    """How a fleet is, from the database alone. Raises LogUnreachable, LedgerUnusable."""
    with closing(connected(address, STANDING_S)) as there, meaning():
        identity = schema.read_identity(there)
        row = there.execute("SELECT position FROM head").fetchone()
        position = row[0] if row else 0
        heard = {name: (url, float(age), at) for name, url, age, at in there.execute(_SEEN).fetchall()}
        boxes: dict[str, BoxStanding] = {}
        for kind, data in there.execute(_OF_BOXES).fetchall():
            one = _after(boxes, msgspec.json.decode(data), kind)
            boxes[one.name] = one
        keys: dict[str, int] = dict(there.execute(_KEYS).fetchall())
        newest = rotation.key_state(there)
    found = [replace(_heard(one, heard, position), key=keys.get(name, 0)) for name, one in sorted(boxes.items())]
    gone = {one.name for one in found if one.given_up}
    old = [name for name, generation in keys.items() if generation < newest.generation and name not in gone]
    forgetting = bool(old) or newest.is_due or newest.is_wanted
    return Standing(identity.ledger_id, identity.epoch, position, found, newest.generation, forgetting, old)


STANDING_S: Final = 10.0


def _after(boxes: Mapping[str, BoxStanding], event: dict[str, Any], kind: str) -> BoxStanding:
    one = boxes.get(event["box"]) or BoxStanding(event["box"], "", 0.0, 0)
    match kind:
        case "box_joined":
            return replace(one, present=True, term=event["term"], reason="", given_up=False)
        case "box_left":
            return replace(one, present=False, reason=event["reason"])
        case _:
            return replace(one, given_up=True)


def _heard(one: BoxStanding, heard: Mapping[str, tuple[str, float, int]], position: int) -> BoxStanding:
    url, age_s, at = heard.get(one.name, ("", 0.0, 0))
    return replace(one, url=url, age_s=round(age_s, 1), behind=position - at)
