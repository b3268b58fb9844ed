"""Takes lines of the shared log into a replica: the same fold as everywhere else, and the check of the chain.

Each replica computes the hashes again. So a history that was rewritten in the database is noticed by every box, also if
whoever rewrote it computed its chain anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from comfyledger.core.events import Recorded
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.rows import Row, RowId
from comfyledger.core.values import Blob
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger.eventlog import Head, Line, chained, decode
from comfyledger.ledger.group_buffer import Together
from comfyledger.ledger.ports import Ledger

ANEW = "Find out what happened to the database. `comfyledger fleet join --anew` makes this box's replica again."


def fold(replica: Ledger, lines: Sequence[Line], texts: Iterable[Blob]) -> tuple[Row, ...]:
    """Write lines that follow the replica's head, and the texts that came with them, in its open group. Returns the
    rows that they changed.

    Raises LedgerUnusable for lines that do not follow, or that no daemon can have written, and what `put` raises.
    """
    group, changed = Together(replica), dict[RowId, Row]()
    for line in lines:
        check(replica.head, line)
        event = decode(line.kind, line.schema, line.data)
        keys = touches(event)
        group.prepare(keys)
        state = group.load(keys)
        recorded = Recorded(line.position, line.at_ms, event)
        state.put(evolve(state, recorded))
        batch = state.batch(line.stream)
        group.adopt(replace(line, user=batch.user_key if batch is not None else ""), recorded, state)
        changed |= state.changed
    group.keep(texts)
    group.flush()
    return tuple(changed.values())


def check(head: Head, line: Line) -> None:
    """Raises LedgerUnusable if a line does not follow a head."""
    if line.position != head.position + 1:
        text = f"The shared log lacks position {head.position + 1}: position {line.position} comes next."
        raise LedgerUnusable(text, hint=ANEW)
    if chained(head.hash, line) != line.hash:
        text = f"The shared log was changed: position {line.position} does not follow from what this box has."
        raise LedgerUnusable(text, hint=ANEW)
