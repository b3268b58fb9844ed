"""How far long work is: bars and lines that are redrawn in place on a terminal, lines on standard error elsewhere."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from comfyledger.cli.ui.terminal import clean, console, say_aside

if TYPE_CHECKING:
    from comfyledger.maintenance.audit import findings


@contextmanager
def bars() -> Iterator[findings.Progress]:
    """A bar on standard error for each part of the work. Shows nothing if that is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(clean(what), total=None)
            shown.update(tasks[what], completed=done, total=of or None)

        yield progress


def live_line(as_json: bool) -> Progress:
    """One line on a terminal that disappears at the end. Shows nothing elsewhere."""
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console(), disable=as_json or not sys.stdout.isatty(), transient=True)


class Meter:
    """How far work in pages is. Without a terminal it is a line on standard error for every `line_every` things."""

    def __init__(self, shown: Progress, line_every: int) -> None:
        self._shown = shown
        self._line_every = line_every
        self._task = shown.add_task("", total=None)
        self._counted = 0

    @property
    def is_live(self) -> bool:
        """Whether lines are redrawn in place."""
        return not self._shown.disable

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._shown.disable:
            say_aside(text)
        else:
            self._shown.console.print(Text(clean(text)), soft_wrap=True)

    def wait(self, text: str) -> None:
        """Show why the work waits; on a terminal until it continues."""
        if self._shown.disable:
            say_aside(text)
        else:
            self._shown.update(self._task, description=text)

    def count(self, done: int, text: str) -> None:
        """`text` says what `done` counts."""
        self._shown.update(self._task, description=text)
        if self._shown.disable and done - self._counted >= self._line_every:
            self._counted = done
            say_aside(text)

    def progress(self, done: int, total: int, text: str) -> None:
        """Where the end is known. Without a terminal nothing is shown: the result follows at once."""
        self._shown.update(self._task, description=text, completed=done, total=total)


@contextmanager
def meter(as_json: bool, line_every: int) -> Iterator[Meter]:
    with live_line(as_json) as shown:
        yield Meter(shown, line_every)


@contextmanager
def keys_unseen(fd: int) -> Iterator[None]:
    """While bars are redrawn in place, a terminal shows no ^C: it would move them, and leave a frame behind."""
    try:
        before = termios.tcgetattr(fd)
    except termios.error:  # no terminal
        yield
        return
    termios.tcsetattr(fd, termios.TCSANOW, [*before[:3], before[3] & ~termios.ECHOCTL, *before[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)
