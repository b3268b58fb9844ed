"""What `audit` and `replay` share: which ledger is meant, how refusals of the disk are told, and bars on long work."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from comfyledger.cli.ui.terminal import clean
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.maintenance.audit import findings


@contextmanager
def bars() -> Iterator[findings.Progress]:
    """A bar for each part of the work on standard error; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield findings.silent
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(clean(what), total=None)
            shown.update(tasks[what], completed=done, total=of or None)

        yield progress


@contextmanager
def refusing() -> Iterator[None]:
    """What cannot be read is a refusal with its hint, as everywhere on the command line."""
    try:
        yield
    except LedgerUnusable as error:
        raise Refused("ledger_unusable", error.message, hint=error.hint) from error
    except BrokenPipeError:  # Whoever read the output has seen enough.
        raise
    except (OSError, sqlite3.Error) as error:
        raise Refused("ledger_unusable", f"{error}.", hint="Check folder, permissions and disk.") from error
