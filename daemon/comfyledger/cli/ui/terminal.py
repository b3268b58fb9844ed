"""Prints text that cannot control the terminal, tables, JSON lines and refusals.

Names, inputs and error texts come from users and other servers. Everything printed here passes `clean`, or is JSON with
all but ASCII escaped. If standard output is no terminal, lines are plain, without colours, and never cut or wrapped: a
program that reads them wants whole lines. On a terminal lines are wrapped between words.
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

from comfyledger.errors import CODES, Refused
from comfyledger.wire import error_of

_STEERING: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal may obey instead of showing, or that hide or reverse text."""
HANG: Final = 4
"""Indentation, in cells, of what does not fit into a line."""
WORD_CELLS: Final = 24
"""The width from which wrapping in a column is worth it."""
_JOINERS: Final = {"\u200c", "\u200d"}
"""Needed inside Persian words and emoji; harmless."""


def clean(text: str) -> str:
    """The text with control characters, escape sequences and changes of direction made visible."""
    if text.isprintable():  # most texts are, and none of the characters below is
        return text
    return "".join(_visible(char) if unicodedata.category(char) in _STEERING else char for char in text)


def _visible(char: str) -> str:
    return char if char in _JOINERS else char.encode("unicode_escape").decode("ascii")


def escaped_json(document: str) -> str:
    """The same JSON document, with what a terminal may obey escaped in its strings."""
    if document.isprintable():
        return document
    return "".join(_in_json(char) if unicodedata.category(char) in _STEERING else char for char in document)


def _in_json(char: str) -> str:
    return char if char in _JOINERS else json.dumps(char)[1:-1]


def console() -> Console:
    """Standard output; with colours and live bars only if it is a terminal now."""
    terminal = sys.stdout.isatty()
    return Console(force_terminal=terminal, markup=False, highlight=False, emoji=False)


def say(text: str, style: str = "", *, whole: bool = False) -> None:
    """Print a clean line; a terminal wraps it between words. `whole`: not wrapped, since it will be copied."""
    line = Text(clean(text), style=style)
    screen = console()
    if whole:
        screen.print(line, soft_wrap=True)
    else:
        show(screen, line)


def show(screen: Console, text: Text, hang: int = HANG) -> None:
    """Print a line. On a narrower terminal the rest goes below it, indented by `hang` cells.

    Words are never broken: the terminal itself breaks an address or a path that is longer than a line.
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
    """The indexes at which further lines begin. `first`, `rest`: cells of the first line, of the others."""
    found: list[int] = []
    used, room = 0, first
    for word in re.finditer(r"\s*\S+\s*", plain):
        if used and used + cell_len(word[0].rstrip()) > room:
            found.append(word.start())
            used, room = 0, rest
        used += cell_len(word[0])
    return found


def say_aside(text: str) -> None:
    """Print a line on standard error; on a terminal it is wrapped between words."""
    with suppress(OSError):  # nobody reads it
        if sys.stderr.isatty():
            show(Console(stderr=True, markup=False, highlight=False, emoji=False), Text(clean(text)))
        else:
            click.echo(clean(text), err=True)


def say_table(heads: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Print columns as wide as their cells; on a terminal the last one is wrapped between words.

    If the terminal has no room for the columns, the cells of a row follow each other in one line.
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
    """Print a JSON document on one line, as on the wire."""
    click.echo(json.dumps(plain(value)))


def plain(value: Any) -> Any:
    """Structs of the wire as plain values, without the fields that have their default, as on the wire."""
    return json.loads(msgspec.json.encode(value))


def say_refusal(refusal: Refused, as_json: bool) -> None:
    if as_json:
        say_json({"error": error_of(refusal)})
        return
    place = f" at {refusal.path}" if refusal.path else ""
    several_at_once = len(refusal.mistakes) > 1
    say_aside(f"{refusal.code}{place}: {CODES[refusal.code] if several_at_once else refusal.message}")
    for mistake in refusal.mistakes if several_at_once else ():
        say_aside(f"  {mistake.message}")
    if refusal.hint:
        say_aside(f"  {refusal.hint}")


def clock(at_ms: int) -> str:
    """A time of the ledger, in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def several(count: int, what: str) -> str:
    """A count with its noun: "1 image", "2,000 images", "2 batches"."""
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
    """The end of a batch id: enough to tell batches apart, and accepted by every command."""
    return batch_id[-8:]
