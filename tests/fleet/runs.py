"""Runs of a few boxes on one shared log while something dies. Each gives the history that is to be judged.

A run waits for what has happened and never for a time, so it is the same on any machine.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance import fleet
from fleet.box import GAVE_UP, Given
from fleet.history import End, History, Refusal, Row
from support.postgres import Cluster, is_stopped, running
from support.processes import Process
from support.tcp_proxy import Proxy
from support.waiting import DEADLINE_S, until_without_a_loop

FEW: Final = 6
"""So many answers show that boxes work."""
LAZY: Final = {"wal_writer_delay": "10s", "bgwriter_lru_maxpages": "0", "max_wal_senders": "4"}
"""A database that writes to its disk only when it must."""


class Boxes:
    """The boxes `a`, `b`, ... of a fleet whose database is at an address."""

    def __init__(self, folder: Path, address: str, count: int, broken: str = "") -> None:
        self._given = {name: Given(name, address, str(folder), broken=broken) for name in "abcdefgh"[:count]}
        self._processes: dict[str, Process] = {}
        self._folder = folder
        first, *others = self._given.values()
        fleet.init(address, first.replica, lambda *_: None)
        for given in others:
            fleet.join(address, given.replica, lambda *_: None)

    @property
    def names(self) -> list[str]:
        return list(self._given)

    def begin(
        self, *names: str, groups: int = 1_000_000, dies_at: str = "", broken: str = "", together: bool = False
    ) -> None:
        """Start the processes of some boxes, or of all. `dies_at`: a crash point. `together`: they wait for each other,
        and for the lock as long as a busy machine needs.
        """
        for name in names or self.names:
            given = msgspec.structs.replace(
                self._given[name],
                groups=groups,
                broken=broken or self._given[name].broken,
                after=self.names if together else [],
            )
            process = Process(name, self._folder, ["fleet.box", msgspec.json.encode(given).decode()])
            process.environment = {"COMFYLEDGER_CRASH_AT": dies_at} if dies_at else {}
            process.start()
            self._processes[name] = process

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].signal(number)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def wait(self, *names: str) -> None:
        """Until the processes of some boxes have ended, or of all."""
        for name in names or list(self._processes):
            process = self._processes[name]
            until_without_a_loop(lambda process=process: process.exit_code() is not None, f"box {name} ends")

    def stop(self) -> None:
        """Let every box that still runs answer what it has taken."""
        for process in self._processes.values():
            process.signal(signal.SIGTERM)

    def end(self) -> None:
        for process in self._processes.values():
            process.end()

    # ---- what was seen

    def answers(self, *names: str) -> int:
        """How many some boxes gave, or all."""
        return sum(self._given[name].journal.count("told") for name in names or self._given)

    def refusals(self) -> int:
        return sum(given.journal.count("refused") for given in self._given.values())

    def go_on(self, more: int = FEW) -> None:
        """Until so many more requests are answered, or no box is left."""
        before = self.answers()
        until_without_a_loop(lambda: self._all_ended() or self.answers() >= before + more, "requests are answered")

    def wait_for_refusals(self) -> None:
        """Until every box that runs has said that it cannot reach the log."""
        before = {name: given.journal.count("refused") for name, given in self._given.items()}
        for name, count in before.items():
            journal = self._given[name].journal
            until_without_a_loop(lambda j=journal, n=count: j.count("refused") > n, f"box {name} refuses")

    def _all_ended(self) -> bool:
        return all(process.exit_code() is not None for process in self._processes.values())

    def history(self, address: str) -> History:
        """Once all boxes have ended: each takes in what it lacks, as it would when it starts."""
        for process in self._processes.values():
            assert process.exit_code() in {0, GAVE_UP, -signal.SIGKILL, -signal.SIGTERM}, process.last_words()
        ended = [one for given in self._given.values() for one in given.journal.said("ended")]
        refused = [one for given in self._given.values() for one in given.journal.said("refused")]
        replicas = {}
        for name, given in self._given.items():
            try:
                _catch_up(given.replica, address)
            except LedgerUnusable as error:
                ended.append(Refusal(name, str(error)))
            replicas[name] = _end_of(given.replica)
        told = [told for given in self._given.values() for told in given.journal.told()]
        return History(told, *_log(address), replicas, refused, ended)


def _catch_up(replica: Path, address: str) -> None:
    with (
        closing(Ledger.open(replica, replica=True)) as own,
        closing(SharedLedger.open(own, SharedLog(address, Keys.beside(replica)))) as ledger,
    ):
        while ledger.catch_up().more:
            pass


def _end_of(replica: Path) -> End:
    with closing(sqlite3.connect(f"file:{replica}?mode=ro", uri=True)) as connection:
        head = read_head(connection)
    return End(head.position, head.hash)


def _log(address: str) -> tuple[list[Row], End]:
    with psycopg.connect(address) as connection:
        rows = connection.execute(
            "SELECT position, stream, kind, schema, at, data, hash FROM events ORDER BY position"
        ).fetchall()
        (head,) = connection.execute("SELECT position, hash FROM head").fetchall()
    return [Row(*row) for row in rows], End(*head)


@contextmanager
def _boxes(folder: Path, address: str, count: int, broken: str) -> Iterator[Boxes]:
    boxes = Boxes(folder, address, count, broken)
    try:
        yield boxes
    finally:
        boxes.end()


# ---- runs


def at_once(folder: Path, broken: str = "", keys: bool = True) -> History:
    """Three boxes at once, and nothing is harmed. Without `keys` the tables would take a number twice."""
    with running(Cluster().begin()) as (cluster,):
        address = cluster.database()
        with _boxes(folder, address, 3, broken) as boxes:
            if not keys:
                _drop_keys(address)
            boxes.begin(groups=20, together=True)
            boxes.wait()
            return boxes.history(address)


def _drop_keys(address: str) -> None:
    with psycopg.connect(address) as connection:
        connection.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
        connection.execute("ALTER TABLE names_given DROP CONSTRAINT names_given_pkey")


def database_killed(folder: Path, broken: str = "", times: int = 2, answers: int = FEW) -> History:
    """The machine of the database dies, and comes back with what is on its disk."""
    with running(Cluster(settings=LAZY).begin()) as (cluster,):
        address = cluster.database()
        with _boxes(folder, address, 2, broken) as boxes:
            boxes.begin()
            for _ in range(times):
                boxes.go_on(answers)
                cluster.restart()
            boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def standby_promoted(folder: Path, broken: str = "", synchronous: bool = True) -> History:
    """The standby is away for a while, then the first server dies, and the standby takes over."""
    with running(Cluster().begin()) as (first,), running(first.standby()) as (second,):
        if synchronous:
            first.wait_for_standby()
        address = _of_both(first.database(), second)
        with _boxes(folder, address, 2, broken) as boxes:
            boxes.begin()
            boxes.go_on()
            second.kill()
            answers, refusals = boxes.answers(), boxes.refusals()
            until_without_a_loop(
                lambda: boxes.answers() >= answers + FEW or boxes.refusals() > refusals, "boxes answer or refuse"
            )
            first.kill()
            second.begin()
            second.promote()
            boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def _of_both(address: str, second: Cluster) -> str:
    server, _, database = address.rpartition("/")
    return f"{server},127.0.0.1:{second.port}/{database}?target_session_attrs=read-write"


POINTS: Final = ("log.decided", "log.sending", "log.committed", "group.written", "group.committed")


def box_killed(folder: Path, broken: str = "", points: tuple[str, ...] = POINTS) -> History:
    """One of two boxes dies at each point of a group, and comes back."""
    with running(Cluster().begin()) as (cluster,):
        address = cluster.database()
        with _boxes(folder, address, 2, broken) as boxes:
            boxes.begin("b")
            for point in points:
                boxes.begin("a", dies_at=f"{point}:3")
                boxes.wait("a")
                boxes.go_on()
            boxes.begin("a")
            boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def database_hangs(folder: Path, broken: str = "") -> History:
    """The database answers nobody for a while, and keeps its connections."""
    with running(Cluster().begin()) as (cluster,):
        address = cluster.database()
        with _boxes(folder, address, 2, broken) as boxes:
            boxes.begin()
            boxes.go_on()
            cluster.freeze()
            boxes.wait_for_refusals()
            cluster.thaw()
            boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def network_cut(folder: Path, broken: str = "") -> History:
    """No byte passes between the boxes and the database for a while, and nobody is told so."""
    with running(Cluster().begin()) as (cluster,), closing(Proxy(cluster.port)) as proxy:
        address = cluster.database()
        with _boxes(folder, proxy.address(address), 2, broken) as boxes:
            boxes.begin()
            boxes.go_on()
            proxy.hold()
            boxes.wait_for_refusals()
            proxy.pass_on()
            boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def answers_lost(folder: Path, broken: str = "", times: int = 4) -> History:
    """The network loses the answer of a commit, is cut off, and comes back."""
    with running(Cluster().begin()) as (cluster,), closing(Proxy(cluster.port)) as proxy:
        address = cluster.database()
        with _boxes(folder, proxy.address(address), 2, broken) as boxes:
            boxes.begin()
            for _ in range(times):
                proxy.lose_next_commit()
                assert proxy.cut.wait(DEADLINE_S), "no answer was lost"
                proxy.refuse()
                proxy.pass_on()
                boxes.go_on()
            boxes.stop()
            return boxes.history(address)


def box_sleeps(folder: Path, broken: str = "") -> History:
    """A box sleeps while it holds the lock of the log, as a laptop does. The others go on, and it does once awake."""
    with running(Cluster().begin()) as (cluster,):
        address = cluster.database()
        with _boxes(folder, address, 2, broken) as boxes:
            boxes.begin("a", broken="stops_once")
            until_without_a_loop(lambda: is_stopped(boxes.pid("a")), "the box sleeps")
            boxes.begin("b")
            boxes.go_on()
            os.kill(boxes.pid("a"), signal.SIGCONT)
            before = boxes.answers("a")
            until_without_a_loop(lambda: boxes.answers("a") > before, "the box that slept goes on")
            boxes.stop()
            return boxes.history(address)


RUNS: Final[dict[str, Callable[[Path], History]]] = {
    run.__name__: run
    for run in (
        *(at_once, database_killed, database_hangs, standby_promoted),
        *(box_killed, box_sleeps, network_cut, answers_lost),
    )
}
HARMLESS: Final = "at_once"
