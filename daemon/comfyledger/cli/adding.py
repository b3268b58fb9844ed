"""Sending files to the daemon as input files, with a bar for large ones."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from comfyledger import wire
from comfyledger.cli.ui.terminal import clean
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.client import Client

LARGE_BYTES: Final = 8 * 1_048_576
"""A larger file gets a bar."""


class FileToAdd(NamedTuple):
    """A value of an input that is a file of this machine: it is sent to the daemon first."""

    path: Path


class _Counted(io.BufferedReader):
    """An open file that says how far it was read."""

    count: Callable[[int], None]

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.count(self.tell())
        return piece


def _bar(as_json: bool) -> Progress:
    """A bar on a terminal's standard error, which disappears at the end. Shows nothing elsewhere."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = as_json or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)


async def add_file(client: Client, path: Path, as_json: bool) -> wire.InputInfo:
    """Raises Refused, with `invalid_field` for a file that cannot be read."""
    try:
        size_bytes = os.stat(path).st_size
        if size_bytes <= LARGE_BYTES:
            return await client.add_input(path)
        with _bar(as_json) as shown, _Counted(io.FileIO(path)) as file:
            task = shown.add_task(clean(path.name), total=size_bytes)
            file.count = lambda done: shown.update(task, completed=done)
            return await client.add_input(cast(BinaryIO, file), name=path.name)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}."
        raise Refused("invalid_field", text, hint="Give the path of a file.") from error


async def with_files_added(client: Client, inputs: Mapping[str, Any], as_json: bool) -> dict[str, Any]:
    """Values of inputs with the files sent, each once, and their names in place of them. Raises Refused."""
    added: dict[Path, wire.FileAsked] = {}
    for value in inputs.values():
        if isinstance(value, FileToAdd) and value.path not in added:
            added[value.path] = wire.FileAsked(input=(await add_file(client, value.path, as_json)).input)
    return {name: added[value.path] if isinstance(value, FileToAdd) else value for name, value in inputs.items()}
