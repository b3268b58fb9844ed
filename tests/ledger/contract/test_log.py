"""The log read back through the protocol `LogReader`: every line, the chain, the end."""

from __future__ import annotations

from comfyledger.core.commands import CancelBatch, PauseLane
from comfyledger.ledger.eventlog import GENESIS, Head, Line, chained, linked
from comfyledger.ledger.log_reader import Link, LogEnd, LogReader
from comfyledger.ledger.ports import Ledger
from support.ledger_builders import submission, take, take_one
from support.ledger_kinds import TERMS, Kind, beside, together


def fill(ledger: Ledger) -> None:
    together(ledger, [submission("r1", user="Zoë"), submission("r2"), PauseLane("app", "store/folder")])
    together(ledger, [CancelBatch("app", "batch-app-r1"), PauseLane("app", "user/ann")])


def everything(log: LogReader) -> list[Line]:
    return log.page(after=0, limit=1_000)


def head_of(line: Line) -> Head:
    return Head(line.position, line.hash)


def as_stored(line: Line) -> Link:
    stream, kind, data = line.stream.encode(), line.kind.encode(), line.data.encode()
    return (line.position, stream, kind, line.schema, line.at_ms, data, line.hash)


def test_an_empty_log_has_an_end_and_no_line(kind: Kind, ledger: Ledger) -> None:
    with kind.log() as log:
        assert log.end() == LogEnd(Head(), 0)
        assert log.head_at(0) == Head(0, GENESIS)
        assert log.head_at(1) is None
        assert everything(log) == list(log.links(after=0, upto=10)) == []
    assert ledger.head == Head()


def test_every_line_is_chained_to_the_one_before(kind: Kind, ledger: Ledger) -> None:
    fill(ledger)
    with kind.log() as log:
        lines, end = everything(log), log.end()
        heads = [log.head_at(position) for position in range(len(lines) + 2)]
    assert end == LogEnd(ledger.head, ledger.head.position)
    previous = GENESIS
    for position, line in enumerate(lines, 1):
        previous = chained(previous, line)
        assert (line.position, line.hash) == (position, previous)
        assert line.at_ms == TERMS.now_ms
    assert heads == [Head(), *map(head_of, lines), None]


def test_links_are_the_lines_as_stored(kind: Kind, ledger: Ledger) -> None:
    fill(ledger)
    with kind.log() as log:
        lines, links, some = everything(log), list(log.links(after=0, upto=1_000)), list(log.links(after=2, upto=4))
        again = everything(log)
    texts = [as_stored(line) for line in lines]
    assert links == texts
    assert some == texts[2:4]
    assert again == lines, "links leave the reader as it was"
    previous = GENESIS
    for *columns, stored in links:
        previous = linked(previous, *columns)  # type: ignore[arg-type]
        assert stored == previous


def test_pages_follow_each_other_without_gap_or_double(kind: Kind, ledger: Ledger) -> None:
    fill(ledger)
    with kind.log() as log:
        lines = everything(log)
        for limit in (1, 2, 3, 99):
            found: list[Line] = []
            while page := log.page(after=len(found), limit=limit):
                assert len(page) <= limit
                found += page
            assert found == lines
        assert log.page(after=2, limit=99, upto=4) == lines[2:4]
        assert log.page(after=2, limit=1, upto=4) == lines[2:3]
        assert log.page(after=len(lines), limit=99) == []


def test_what_is_not_committed_is_not_in_the_log(kind: Kind, ledger: Ledger) -> None:
    fill(ledger)
    with kind.log() as log:
        before, end = everything(log), log.end()
        with ledger.group() as written:
            take_one(ledger, submission("r3"))
            assert (everything(log), log.end()) == (before, end)
        assert [line.hash for line in everything(log)[len(before) :]] == [line.hash for line in written]


def test_while_a_writer_appends_the_log_is_whole_at_any_moment(kind: Kind, ledger: Ledger) -> None:
    def write() -> None:
        for number in range(40):
            take(ledger, submission(f"r{number}"))

    positions = [0]
    with beside(write) as is_writing:
        while is_writing():
            with kind.log() as log:
                end, lines = log.end(), everything(log)
            assert end.given == end.head.position <= len(lines)
            assert [line.position for line in lines] == list(range(1, len(lines) + 1))
            assert end.head == (head_of(lines[end.given - 1]) if end.given else Head())
            positions.append(len(lines))
    assert positions == sorted(positions)
    with kind.log() as log:
        assert log.end().head == ledger.head == head_of(everything(log)[-1])
