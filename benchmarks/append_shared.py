"""The same commands on a ledger whose log is shared in PostgreSQL, for `append.py --shared`: one box, and a cluster of
its own beside it, with its files on the same disk and as safe as in production."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.postgres import Cluster


class Shared:
    """A cluster, and ledgers in it. `end` removes everything."""

    def __init__(self) -> None:
        self._cluster = Cluster().begin()

    def end(self) -> None:
        self._cluster.end()

    def founded(self, path: Path) -> str:
        """A new ledger in a database of its own, with its replica at `path`. Returns the address."""
        address = self._cluster.database()
        fleet.init(address, path, lambda *_: None)
        return address

    @contextmanager
    def opened(self, path: Path) -> Iterator[SharedLedger]:
        """The same, opened."""
        address = self.founded(path)
        with (
            closing(Ledger.open(path, replica=True)) as replica,
            closing(SharedLedger.open(replica, SharedLog(address, Keys.beside(path)))) as ledger,
        ):
            yield ledger
