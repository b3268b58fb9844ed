"""`export`: events or images as JSON lines or CSV, for other programs, in constant memory."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, get_args

import click
import msgspec

from comfyledger.cli.base import json_option, refusing
from comfyledger.cli.commands.log import typed_moment
from comfyledger.cli.configuration import running_config_option, settings_of
from comfyledger.cli.ui.bars import bars
from comfyledger.cli.ui.terminal import clean, escaped_json, say, say_json
from comfyledger.core.media import Medium
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.settings import Settings

EVERY: Final = 1_000
"""Lines between two steps of the bar."""
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters at the beginning of a cell that a spreadsheet takes for a formula, the full-width ones included."""

_encode = msgspec.json.Encoder().encode


@click.command()
@running_config_option
@click.option("--images", "of_images", is_flag=True, help="Images as they are now, instead of events.")
@click.option("--csv", "as_csv", is_flag=True, help="With --images: CSV instead of JSON lines.")
@click.option(
    "--medium", type=click.Choice(get_args(Medium)), help="With --images: only files of this kind, as they turned out."
)
@click.option("--user", help="Only what belongs to this user.")
@click.option(
    "--since", callback=typed_moment, help="Not before this time: 2026-11-22T03:00, or 7d for seven days ago."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file. Default: standard output.")
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    config_path: Path | None,
    of_images: bool,
    as_csv: bool,
    medium: Medium | None,
    user: str | None,
    since: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write events with their texts, or images, for other programs. The daemon may run.

    Each line is one JSON document. Control characters are escaped, in CSV as \\x1b. With --out, standard output says
    how many lines were written.
    """

    if as_csv and not of_images:
        raise click.UsageError("--csv needs --images.")
    if medium and not of_images:
        raise click.UsageError("--medium needs --images.")
    found = settings_of(ctx, config_path)
    with _opened(out) as file:
        write = _csv_writer(file) if as_csv else _line_writer(file)
        lines = _export(found, of_images, write, user=user, since_ms=since, medium=medium)
    if out is not None and as_json:
        say_json({"file": str(out), "lines": lines})
    elif out is not None:
        say(f"{out}: {lines:,} lines")


def _export(found: Settings, of_images: bool, write: Callable[[Any], None], **chosen: Any) -> int:
    from comfyledger.maintenance.export import Chosen, events, images
    from comfyledger.maintenance.open_read_only import open_read_only

    lines = 0
    with refusing(), bars() as progress, open_read_only(found.ledger_path) as connection:
        for one in (images if of_images else events)(connection, Chosen(**chosen)):
            write(one)
            lines += 1
            if lines % EVERY == 0:
                progress("lines", lines, 0)
    return lines


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that only its owner may read. An incomplete file is removed."""
    if out is None:
        yield sys.stdout
        return
    try:
        fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused("invalid_field", f"{out} cannot be made: {error.strerror}.", hint="Name a new file.") from error
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            yield file
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _line_writer(file: TextIO) -> Callable[[Any], None]:
    return lambda one: print(escaped_json(_encode(one).decode()), file=file)


def _csv_writer(file: TextIO) -> Callable[[Any], None]:
    from comfyledger.maintenance.export import ExportedImage

    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(ExportedImage.__struct_fields__)
    return lambda one: rows.writerow([_cell(value) for value in msgspec.structs.astuple(one)])


def _cell(value: Any) -> Any:
    """A quote before a text that begins like a formula makes a spreadsheet show it as text."""
    if isinstance(value, dict):
        value = " ".join(value.values())
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
