"""Reads a file of rows, one row at a time: CSV with a header, or an object of JSON in each line.

The whole file is read once before anything is sent, so that a file that cannot be understood submits nothing. A row
that is wrong by itself is a row with a fault; the others stay usable.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from comfyledger.cli.rows.row_request import COLUMNS, from_texts
from comfyledger.cli.typed_values import without_double

STDIN: Final = "-"
LINE_CHARS_MAX: Final = 2**20
"""As much as a request has room for."""
PIPED_BYTES_MAX: Final = 2**30
"""Of standard input, which is kept on disk meanwhile."""
PIECE_BYTES: Final = 2**20
SEPARATORS: Final = ",;\t"
"""Spreadsheets write the second where the comma is the decimal sign."""
ENCODING_HINT: Final = "Save the file as UTF-8."


class Row(NamedTuple):
    """One row. `line`: where it begins, from 1. `cells`: what it has, by column, as JSON values."""

    line: int
    cells: dict[str, Any]
    fault: str = ""
    """Why it cannot be used; empty if it can."""


class RowFile:
    """A file whose rows can be read several times. Raises ValueError with a sentence if it cannot be understood."""

    def __init__(self, file: BinaryIO, is_csv: bool) -> None:
        self._file = file
        self._is_csv = is_csv
        self.total = 0
        """How many rows there are, once they are counted."""

    def __iter__(self) -> Iterator[Row]:
        with self._text() as text:
            yield from (csv_rows if self._is_csv else json_rows)(_lines(text))

    def columns(self) -> list[str] | None:
        """The columns of a CSV file. Lines of JSON have no header."""
        if not self._is_csv:
            return None
        with self._text() as text:
            return csv_header(_lines(text))

    @contextlib.contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, encoding="utf-8-sig", newline="")
        try:
            yield text
        finally:
            text.detach()

    def count(self) -> int:
        """Read the whole file."""
        return sum(1 for _ in self)

    def close(self) -> None:
        self._file.close()


def opened(path: str) -> BinaryIO:
    """A file that can be read again; `-` is standard input. Raises OSError, ValueError."""
    if path == STDIN:
        return _kept(sys.stdin.buffer)
    file = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:
        return _kept(file)


def _kept(piped: Any) -> BinaryIO:
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    left = PIPED_BYTES_MAX
    while piece := piped.read(PIECE_BYTES):
        left -= kept.write(piece)
        if left < 0:
            kept.close()
            raise ValueError(f"There are more than {PIPED_BYTES_MAX:,} bytes. Give the path of a file.")
    return kept


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    for number in itertools.count(1):
        try:
            line = text.readline(LINE_CHARS_MAX + 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"The text at line {number} or below is not UTF-8. {ENCODING_HINT}") from error
        if len(line) > LINE_CHARS_MAX:
            raise ValueError(f"Line {number} has more than {LINE_CHARS_MAX:,} characters.")
        if not line:
            return
        yield line


# ---- CSV


def csv_header(lines: Iterable[str]) -> list[str]:
    """The columns. Raises ValueError if there are none, and for one without a name or one that is there twice."""
    first, header = next(_records(iter(lines)), (1, list[str]()))
    return _names(first, header)


def csv_rows(lines: Iterable[str]) -> Iterator[Row]:
    """The rows below the header. Empty cells are left out, and rows of empty cells.

    Raises ValueError as `csv_header`, and where quotes do not match: what follows cannot be told apart.
    """
    records = _records(iter(lines))
    header = _names(*next(records, (1, list[str]())))
    for line, record in records:
        cells = {name: cell for name, cell in zip(header, record, strict=False) if cell}
        if any(record[len(header) :]):
            yield Row(line, {}, f"The row has {len(record)} cells, and the header {len(header)}.")
        elif any(cell.strip() for cell in cells.values()):
            yield Row(line, from_texts(cells))


def _names(line: int, header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    while names and not names[-1]:  # a spreadsheet's empty columns at the end
        names.pop()
    if not names:
        raise ValueError("The file has no header.")
    if "" in names:
        raise ValueError(f"Column {names.index('') + 1} of the header, line {line}, has no name.")
    double = next((name for name, count in Counter(names).items() if count > 1), None)
    if double is not None:
        raise ValueError(f"The header has the column {double[:100]!r} twice.")
    return names


def _records(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line at which it begins, without those of no cells."""
    lead = []
    for line in lines:
        lead.append(line)
        if line.strip():
            break
    reader = csv.reader(itertools.chain(lead, lines), delimiter=_separator(lead), strict=True)
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"The row that begins at line {begins} is not CSV: {error}.") from error


def _separator(lead: list[str]) -> str:
    """The one that gives the header the most columns that we know, or else the most columns."""

    def found(separator: str) -> tuple[int, int]:
        names = next(csv.reader(lead[-1:], delimiter=separator), [])
        return len(COLUMNS.keys() & {name.strip() for name in names}), len(names)

    return max(SEPARATORS, key=found)


# ---- JSON lines


def json_rows(lines: Iterable[str]) -> Iterator[Row]:
    """A row for each line that is not blank. A line that is no object is a row with a fault."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, object_pairs_hook=without_double, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            yield Row(number, {}, f"The line is not JSON: {str(error)[:200]}.")
            continue
        if isinstance(found, dict):
            yield Row(number, found)
        else:
            yield Row(number, {}, "The line is not a JSON object.")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
