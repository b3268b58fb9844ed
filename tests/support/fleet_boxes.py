"""Boxes of a fleet without daemons: each has a replica and keys in a folder of its own, over a real database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from msgspec.structs import replace

from comfyledger.core.commands import Forget
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.eventlog import Line, chained
from comfyledger.ledger.shared.key_file import KeyFile
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import Entry, SharedLog
from comfyledger.ledger.shared.rotation import Rotation
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from support.ledger_builders import submission
from support.ledger_kinds import TERMS, slow_machine


class Box:
    """One box of a fleet, without a daemon: its replica, and its keys as a process has them."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        folder.mkdir(exist_ok=True)

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    def in_file(self) -> dict[int, bytes]:
        return KeyFile(self.folder / "fleet.keys").read()

    def init(self) -> Box:
        fleet.init(self.address, self.path, lambda *_: None)
        return self

    def join(self, other: Box) -> None:
        carried = Keys.beside(other.path).oldest_key()
        fleet.join(self.address, self.path, lambda *_: None, self.folder.name, carried)

    @contextmanager
    def ledger(self) -> Iterator[SharedLedger]:
        with (
            slow_machine(),
            closing(Ledger.open(self.path, replica=True)) as replica,
            closing(SharedLedger.open(replica, SharedLog(self.address, Keys.beside(self.path)))) as ledger,
        ):
            yield ledger

    def submit(self, request_id: str, prompt: str) -> str:
        asked = submission(request_id, prompt=prompt)
        with self.ledger() as ledger:
            decide_group(ledger, [asked], TERMS)
        return asked.batch_id

    def catch_up(self) -> None:
        """As the daemon does when it is told of events: what was erased leaves the write-ahead log too."""
        with self.ledger() as ledger:
            while ledger.catch_up().more:
                pass
            assert ledger.scrub()

    def forget(self, batch_id: str) -> None:
        with self.ledger() as ledger:
            (outcome,), _ = decide_group(ledger, [Forget("cli", batch_id, (), False)], TERMS)
            assert outcome.error is None
            assert ledger.scrub()

    def tend(self) -> None:
        """As the daemon does, in a process of its own, until there is no more to do."""
        one = Rotation(self.address, Keys.beside(self.path), self.folder.name)
        while one.tend():
            pass

    def texts(self) -> set[str]:
        """What a replica has that is made now, from nothing but the database and this box's keys."""
        anew = Box(self.folder / f"anew-{len(list(self.folder.iterdir()))}", self.address)
        anew.join(self)
        with closing(Ledger.open(anew.path, replica=True)) as made:
            rows = made._connection.execute("SELECT content FROM blobs WHERE digest NOT LIKE 'erased:%'").fetchall()
        return {row[0].decode() for row in rows}


def rows_of(address: str, sql: str) -> list[tuple[object, ...]]:
    """Of one statement in the database."""
    with psycopg.connect(address, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def newer_event(box: Box, kind: str, schema: int) -> None:
    """Append an event as a box of a newer release does."""
    with slow_machine(), closing(SharedLog(box.address, Keys.beside(box.path))) as shared:
        after = shared.head()
        line = Line(after.position + 1, "fleet", kind, schema, 1_700_000_000_000, '{"batch_id":"b","more":1}', b"")
        line = replace(line, hash=chained(after.hash, line))
        with shared.turn(after.position) as turn:
            turn.write(Entry(lines=[line]))
