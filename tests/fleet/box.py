"""A box without a daemon: a process that decides groups on a shared ledger, and writes down what its clients are told.

    python -m fleet.box '{"name": "a", "address": "postgresql://...", "folder": "/tmp/a", "groups": 20}'

Each group has the requests of a few clients. What is not answered is asked again, also by the process that comes after
one that was killed. It ends after its last group, or after the group in which it gets SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from comfyledger.core.commands import SubmitBatch
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.results import Accepted
from comfyledger.errors import ComfyledgerError
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.ports import LedgerLocked
from comfyledger.ledger.shared.keys import Keys
from comfyledger.ledger.shared.ledger import SharedLedger
from comfyledger.ledger.shared.log import SharedLog
from comfyledger.ledger.sqlite.writer import Ledger
from fleet import breaking
from fleet.history import Refusal, Told
from support.ledger_builders import submission
from support.ledger_kinds import slow_machine
from support.waiting import until_without_a_loop

GAVE_UP: Final = 3
"""The exit code of a box that cannot go on, by its own judgement."""
USERS: Final = ("Areg", "Ann", "ann")
"""All boxes give numbers of the same few series."""


class Given(msgspec.Struct):
    """What a box is told. `groups`: after how many it ends. `clients`: requests of one group. `broken`: see
    `breaking`. `after`: boxes that must have begun before this one asks for anything; then
    nothing is refused because the machine is busy."""

    name: str
    address: str
    folder: str
    groups: int = 1_000_000
    clients: int = 3
    broken: str = ""
    after: list[str] = []

    def is_time(self) -> bool:
        return all(replace(self, name=name).journal.count("life") for name in self.after)

    @property
    def journal(self) -> Journal:
        return Journal(Path(self.folder) / f"{self.name}.journal", self.name)

    @property
    def replica(self) -> Path:
        return Path(self.folder) / f"{self.name}.db"


class Journal:
    """What clients of a box have asked and were told, line by line. It outlives the box."""

    def __init__(self, path: Path, box: str) -> None:
        self._path, self._box = path, box

    def add(self, kind: str, value: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps([kind, value]) + "\n")

    def _all(self, kind: str) -> Iterator[Any]:
        """A kill may have cut the last line: what it said was told to nobody."""
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                with suppress(ValueError):
                    found, value = json.loads(line)
                    if found == kind:
                        yield value

    def count(self, kind: str) -> int:
        return sum(1 for _ in self._all(kind))

    def told(self) -> list[Told]:
        return [
            Told(a, b, c, tuple((number, name) for number, name in images)) for a, b, c, images in self._all("told")
        ]

    def said(self, kind: str) -> list[Refusal]:
        """`kind`: `refused` or `ended`."""
        return [Refusal(self._box, text) for text in self._all(kind)]

    def unanswered(self) -> list[str]:
        answered = {told.request_id for told in self.told()}
        return [request for request in self._all("asked") if request not in answered]


class Box:
    """`life`: how many processes were this box before."""

    def __init__(self, ledger: SharedLedger, given: Given) -> None:
        self._ledger, self._given, self._journal = ledger, given, given.journal
        self._life = self._journal.count("life")
        self._journal.add("life", self._life)
        self._waiting = self._journal.unanswered()
        self._is_ending = False

    def end_soon(self, *_: object) -> None:
        self._is_ending = True

    def work(self) -> None:
        for number in range(self._given.groups):
            new = [f"{self._given.name}-{self._life}-{number}-{client}" for client in range(self._given.clients)]
            for request in new:
                self._journal.add("asked", request)
            self._waiting += new
            until_without_a_loop(self._group, "the shared log can be reached")
            if self._is_ending:
                return

    def _group(self) -> bool:
        """Have a group decided. False if it must be tried again, unless the box is to end."""
        requests = [self._request(name) for name in self._waiting]
        terms = Terms(time.time_ns() // 1_000_000, Policy(), None)
        try:
            outcomes, _ = decide_group(self._ledger, list(requests), terms)
        except LedgerLocked as error:
            self._journal.add("refused", f"{error} {error.__cause__!r}")
            return self._is_ending
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome.answer, Accepted):
                self._tell(request.request_id, outcome.answer)
            else:
                self._journal.add("refused", repr(outcome.error or outcome.answer))
        self._waiting = []
        return True

    def _tell(self, request_id: str, answer: Accepted) -> None:
        images = [(image.number, image.public_id) for image in answer.images]
        self._journal.add("told", (request_id, answer.batch_id, answer.position, images))

    def _request(self, name: str) -> SubmitBatch:
        """The same request has the same name, and another batch in each life: the ledger knows the first one."""
        size = sum(name.encode())
        made = submission(name, user=USERS[size % len(USERS)], quantity=1 + size % 3, label=self._given.name)
        return replace(made, request_id=name, batch_id=f"{made.batch_id}-{self._life}")


def main() -> None:
    given = msgspec.json.decode(sys.argv[1], type=Given)
    breaking.BROKEN[given.broken]()
    try:
        with (
            slow_machine() if given.after else nullcontext(),
            closing(Ledger.open(given.replica, replica=True)) as replica,
            closing(SharedLedger.open(replica, SharedLog(given.address, Keys.beside(given.replica)))) as ledger,
        ):
            box = Box(ledger, given)
            signal.signal(signal.SIGTERM, box.end_soon)
            until_without_a_loop(given.is_time, "the others have begun")
            box.work()
    except ComfyledgerError as error:
        given.journal.add("ended", str(error))
        raise SystemExit(GAVE_UP) from error


if __name__ == "__main__":
    main()
