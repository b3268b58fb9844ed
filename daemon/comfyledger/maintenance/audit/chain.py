"""The hash chain from the first event to the last, in pages of short transactions and constant memory.

Each event is checked against the one before it, so the first that does not fit is where the log was changed. The
finding names the change as far as the hashes show it. If events were cut off at the end, the rest of the chain is
whole: SQLite's counter of given positions shows it, and an anchor that is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.core.events import KINDS, stream_of
from comfyledger.core.upcasts import schema_of
from comfyledger.durable import sync_file
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.ledger.eventlog import Head, Line, chained, decode, linked
from comfyledger.ledger.log_reader import LogReader, LogUnreadable
from comfyledger.maintenance.audit.findings import Progress, Tally
from comfyledger.maintenance.open_read_only import Identity

PAGE: Final = 4_096
_BEFORE_ALL: Final = -(2**63)
"""The first event has position 1; one may have been inserted before it."""
_GARBLED: Final = (AttributeError, TypeError, UnicodeEncodeError)
"""Raised while hashing a column of the wrong type or one that is not UTF-8."""


def fixed_head(log: LogReader, tally: Tally) -> Head:
    """The end of the log now, up to which everything is checked. Adds a finding if the log was cut off there.

    Raises LogUnreadable.
    """
    end = log.end()
    position = end.head.position
    if end.given != position:
        sentence = f"The log ends at {position}, but position {end.given} was given out."
        tally.add("chain_truncated", f"position {position + 1}", sentence)
    return end.head


def check_chain(log: LogReader, head: Head, tally: Tally, progress: Progress) -> bool:
    """Whether the chain holds up to a head. Adds one finding, for the first wrong position."""
    before = Head()
    for page in pages(log, head.position, after=_BEFORE_ALL):
        if isinstance(page, LogUnreadable):
            sentence = f"The events after position {before.position} cannot be read: {page}."
            tally.add("chain_unreadable", f"position {before.position + 1}", sentence)
            return False
        for line in page:
            if line.position != before.position + 1 or hash_of(before.hash, line) != line.hash:
                _add_finding(log, before, line, tally)
                return False
            before = Head(line.position, line.hash)
        progress("hash chain", before.position, head.position)
    if before == head:
        return True
    tally.add("chain_missing", f"position {before.position + 1}", f"The log ends before position {head.position}.")
    return False


def links_hold(log: LogReader, after: int, upto: int) -> bool:
    """Whether each event after one position and up to another fits the one before it. Fast, and names no position.

    If it begins with the first event, positions below 1 are checked too.
    """
    try:
        before = log.head_at(after)
        while before is not None and before.position < upto:
            before = _followed(log, before, min(upto, before.position + PAGE))
    except (LogUnreadable, *_GARBLED):
        return False
    return before is not None


def is_at(log: LogReader, head: Head) -> bool:
    """Whether an earlier head is still in the log."""
    try:
        return log.head_at(head.position) == head
    except (LogUnreadable, *_GARBLED):
        return False


def _followed(log: LogReader, before: Head, upto: int) -> Head | None:
    """The end of a page of links; None if one does not hold."""
    position, previous = before.position, before.hash
    after = _BEFORE_ALL if position == 0 else position
    for found, stream, kind, schema, at, data, stored in log.links(after=after, upto=upto):
        position += 1
        previous = linked(previous, position, stream, kind, schema, at, data)
        if found != position or stored != previous:
            return None
    return Head(position, previous) if position == upto else None


def pages(log: LogReader, upto: int, after: int = 0) -> Iterator[list[Line] | LogUnreadable]:
    """The log page by page, each as it is when it is read; an error at the end if it cannot be read further."""
    while after < upto:
        try:
            page = log.page(after=after, limit=PAGE, upto=upto)
        except LogUnreadable as error:
            yield error
            return
        if not page:
            return
        yield page
        after = max(after + 1, page[-1].position)


def hash_of(previous: bytes, line: Line) -> bytes:
    """The hash that a line should have; empty for a line that cannot be hashed."""
    try:
        return chained(previous, line)
    except _GARBLED:
        return b""


def _add_finding(log: LogReader, before: Head, line: Line, tally: Tally) -> None:
    expected = before.position + 1
    if line.position > expected:
        missing = line.position - expected
        sentence = f"{missing} event{'s are' if missing > 1 else ' is'} missing before position {line.position}."
        tally.add("chain_missing", f"position {expected}", sentence)
    elif line.position < expected:
        sentence = f"There is an event at position {line.position} where {expected} should be."
        tally.add("chain_doubled", f"position {line.position}", sentence)
    else:
        column = _changed_column(log, before.hash, line)
        sentence = f"The event at position {expected} is not what was written: {column}."
        tally.add("chain_changed", f"position {expected}", sentence)


def _changed_column(log: LogReader, previous: bytes, line: Line) -> str:
    """Which column was changed, as far as the hashes of this line and of the next show it."""
    following = log.page(after=line.position, limit=1)
    own = hash_of(previous, line)
    if own and following and hash_of(own, following[0]) == following[0].hash:
        return "its hash was changed, the rest is unchanged"
    for name, meant in _meant(line):
        if hash_of(previous, meant) == line.hash:
            return f"`{name}` is {getattr(line, name)!r}, but was {getattr(meant, name)!r}"
    return "`at` or `data` was changed, or the whole event was inserted"


def _meant(line: Line) -> Iterator[tuple[str, Line]]:
    """The same line with each other value that a column may have had."""
    try:
        yield (
            "stream",
            msgspec.structs.replace(line, stream=stream_of(decode(line.kind, schema_of(line.kind), line.data))),
        )
    except (LedgerUnusable, msgspec.MsgspecError, *_GARBLED):
        pass  # the data cannot be read, so it names no stream: the other columns may still be the changed ones
    for kind in KINDS:
        yield "kind", msgspec.structs.replace(line, kind=kind)
    for number in range(1, schema_of(line.kind) + 1):
        yield "schema", msgspec.structs.replace(line, schema=number)


# ---- anchors


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hash at one position of one ledger. Kept on another machine, it shows that the log was not rewritten."""

    ledger_id: str
    epoch: str
    position: int
    hash: str


def read_anchor(path: Path) -> Anchor | None:
    """None if there is no such file. Raises Refused(invalid_field) for a file that is no anchor."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Anchor)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(
            "invalid_field", f"{path} cannot be read as an anchor: {error}.", hint="Name a new file."
        ) from error


def check_anchor(log: LogReader, identity: Identity, anchor: Anchor, tally: Tally) -> bool:
    """Whether the log has the anchor's hash at the anchor's position. If not, adds a finding. Raises LogUnreadable."""
    where = f"position {anchor.position}"
    if anchor.ledger_id != identity.ledger_id:
        sentence = f"The anchor belongs to the ledger {anchor.ledger_id}; this is {identity.ledger_id}."
        tally.add("anchor_other_ledger", where, sentence)
        return False
    if anchor.epoch != identity.epoch:
        sentence = f"The anchor has the epoch {anchor.epoch}. The ledger was restored since and has {identity.epoch}."
        tally.add("anchor_other_epoch", where, sentence)
        return False
    head = log.head_at(anchor.position)
    found = head.hash.hex() if head is not None else "no event"
    if found == anchor.hash:
        return True
    tally.add("anchor_differs", where, f"The anchor says {anchor.hash}, the log has {found}.")
    return False


def write_anchor(path: Path, identity: Identity, head: Head) -> None:
    """Write the anchor by way of a temporary file. Raises OSError."""
    anchor = Anchor(identity.ledger_id, identity.epoch, head.position, head.hash.hex())
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(anchor) + b"\n")
        file.flush()
        sync_file(file.fileno())
    beside.replace(path)
