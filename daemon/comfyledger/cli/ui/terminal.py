"""What goes to the screen: text that cannot steer a terminal, columns, JSON lines, refusals.

Names, inputs and error texts come from users and foreign servers. Everything printed here passes `clean`, or is JSON
with all but ASCII escaped. Where standard output is not a terminal there are plain lines without colours, and nothing
is ever cut or wrapped: a pipe wants whole lines. On a terminal lines are wrapped between words.
"""

from __future__ import annotations

import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from comfyledger.errors import Refused
from comfyledger.wire import error_of

_STEERING: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal may obey instead of showing, or that hide or turn round what is shown."""
HANG: Final = 4
"""Cells by which what does not fit into a line is set in below it."""
WORD_CELLS: Final = 24
"""Of a column that is worth wrapping in."""
_JOINERS: Final = {"\u200c", "\u200d"}
"""Needed inside Persian words and emoji; harmless."""


def clean(text: str) -> str:
    """The text with control signs, escape sequences and changes of direction made visible."""
    if text.isprintable():  # so are most, and none of the signs below is
        return text
    return "".join(_visible(sign) if unicodedata.category(sign) in _STEERING else sign for sign in text)


def _visible(sign: str) -> str:
    return sign if sign in _JOINERS else sign.encode("unicode_escape").decode("ascii")


def escaped_json(document: str) -> str:
    """The same JSON document, with what a terminal may obey escaped in its strings."""
    if document.isprintable():
        return document
    return "".join(_in_json(sign) if unicodedata.category(sign) in _STEERING else sign for sign in document)


def _in_json(sign: str) -> str:
    return sign if sign in _JOINERS else json.dumps(sign)[1:-1]


def console() -> Console:
    """Standard output as it is now: colours and live bars only on a terminal."""
    terminal = sys.stdout.isatty()
    return Console(force_terminal=terminal, markup=False, highlight=False, emoji=False)


def say(text: str, style: str = "", *, whole: bool = False) -> None:
    """One line, cleaned, and on a terminal wrapped between words. `whole`: what is to be copied stays one line."""
    line = Text(clean(text), style=style)
    screen = console()
    if whole:
        screen.print(line, soft_wrap=True)
    else:
        show(screen, line)


def show(screen: Console, text: Text, hang: int = HANG) -> None:
    """A line; a terminal narrower than it has what does not fit below it, `hang` cells further in.

    A word is never broken here: an address or a path that is longer than a line is for the terminal to break.
    """
    if not screen.is_terminal or text.cell_len <= screen.width or screen.width < hang + WORD_CELLS:
        screen.print(text, soft_wrap=True)
        return
    lead = len(text.plain) - len(text.plain.lstrip(" "))
    first, *rest = text.divide(_breaks(text.plain, screen.width, screen.width - lead - hang))
    for indent, line in ((0, first), *((lead + hang, line) for line in rest)):
        line.rstrip()
        screen.print(Text(" " * indent) + line, soft_wrap=True)


def _breaks(plain: str, first: int, rest: int) -> list[int]:
    """Where lines after the first begin, if that has so many cells and the others so many."""
    found: list[int] = []
    used, room = 0, first
    for word in re.finditer(r"\s*\S+\s*", plain):
        if used and used + cell_len(word[0].rstrip()) > room:
            found.append(word.start())
            used, room = 0, rest
        used += cell_len(word[0])
    return found


def say_aside(text: str) -> None:
    """One line beside the output, on standard error, and on a terminal wrapped between words."""
    with suppress(OSError):  # whoever closed it wants none
        if sys.stderr.isatty():
            show(Console(stderr=True, markup=False, highlight=False, emoji=False), Text(clean(text)))
        else:
            click.echo(clean(text), err=True)


def say_table(heads: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Columns as wide as they need to be; the last one runs free, wrapped between words on a terminal.

    Where the terminal has no room for them, the cells of a row stand behind each other.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    screen = console()
    offset = sum(width + 2 for width in widths[:-1])
    longest = max((cell_len(word) for row in cells for word in row[-1].split()), default=0)
    is_wide = len(indent) + offset + min(widths[-1], max(WORD_CELLS, longest)) <= screen.width
    for row, style in ((list(heads), "bold"), *((row, "") for row in cells)):
        if is_wide or not screen.is_terminal:
            padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row[:-1], widths, strict=False))
            show(screen, Text(indent + "  ".join((*padded, row[-1])), style=style), offset)
        else:
            show(screen, Text(indent + "  ".join(filter(None, row)), style=style))


def say_json(value: Any) -> None:
    """One JSON document on one line, as it is on the wire."""
    click.echo(json.dumps(plain(value)))


def plain(value: Any) -> Any:
    """Structs of the wire as plain values; fields that have their default are left out, as on the wire."""
    return json.loads(msgspec.json.encode(value))


def say_refusal(refusal: Refused, as_json: bool) -> None:
    if as_json:
        say_json({"error": error_of(refusal)})
        return
    place = f" at {refusal.path}" if refusal.path else ""
    say_aside(f"{refusal.code}{place}: {refusal.message}")
    if refusal.hint:
        say_aside(f"  {refusal.hint}")


def clock(at_ms: int) -> str:
    """A time of the ledger on this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def several(count: int, what: str) -> str:
    """A count of things that take an s or es: "1 image", "2,000 images", "2 batches"."""
    ending = "" if count == 1 else "es" if what.endswith("ch") else "s"
    return f"{count:,} {what}{ending}"


def duration(seconds: float) -> str:
    """Like "2 d 3 h", "3 h 5 min", "12 s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return " ".join(parts[:2]) or "0 s"


def short(batch_id: str) -> str:
    """The end of a batch id: enough to tell batches apart, and accepted wherever one is asked for."""
    return batch_id[-8:]
