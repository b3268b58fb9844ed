"""Who answers `workflow check` and its like: a daemon that runs, or this process with a saved answer of ComfyUI.

Both give the same report, from `admission.check`. Files are read one after the other, and a bad one is a refusal in
its report.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Protocol

import click
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli.base import Reach
from comfyledger.client.workflow_files import WORKFLOW_BYTES_MAX, workflow_in, workflow_text
from comfyledger.errors import Refused

if TYPE_CHECKING:
    from comfyledger.client import Client
    from comfyledger.comfyui.object_info import ObjectInfo

INFO_BYTES_MAX: Final = 64 * 2**20
"""A saved answer of `/object_info`. Servers with hundreds of custom nodes have 10 MB."""
PIECE_BYTES: Final = 2**20
GZIP: Final = b"\x1f\x8b"


class Saved(NamedTuple):
    """A saved answer of `/object_info`, and the classes in it."""

    body: bytes
    info: ObjectInfo


class Checks(Protocol):
    """Says what would be done with the workflow in a file. Raises Refused only if nobody can be asked."""

    async def report(self, path: str, *, strict: bool = False, convert: bool = False) -> wire.WorkflowReport: ...


@asynccontextmanager
async def checks(reach: Reach, saved: Saved | None) -> AsyncIterator[tuple[Checks, bool]]:
    """Who answers, and whether it knows the node classes. Without a saved answer a daemon is asked, if one runs.

    Raises Refused (not_running) if a person named the address of a daemon that does not answer.
    """
    if saved is None:
        client = await _connected(reach)
        if client is not None:
            try:
                yield _Asked(client), True
            finally:
                await client.__aexit__(None, None, None)
            return
    async with _alone(saved) as alone:
        yield alone, saved is not None


async def _connected(reach: Reach) -> Client | None:
    try:
        return await reach.client().__aenter__()
    except Refused as refusal:
        if refusal.code != "not_running" or reach.url is not None:
            raise
        return None


class _Asked:
    """A daemon answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(self, path: str, *, strict: bool = False, convert: bool = False) -> wire.WorkflowReport:
        try:
            graph = workflow_in(workflow_text(path, WORKFLOW_BYTES_MAX))
        except Refused as refusal:
            return _unread(refusal)
        try:
            return await self._client.check_workflow(graph, strict=strict, convert=convert)
        except Refused as refusal:
            if refusal.code not in _OF_ONE_FILE:
                raise
            return _unread(refusal)


_OF_ONE_FILE: Final = frozenset({"frame_too_large", "workflow_invalid", "invalid_field", "not_json", "timeout"})
"""Refusals of the request itself that say nothing of the next file."""


@asynccontextmanager
async def _alone(saved: Saved | None) -> AsyncIterator[Checks]:
    from comfyledger.comfyui.ui_format.process import Converter
    from comfyledger.settings import Limits

    graph_bytes_max = Limits().graph_bytes_max
    async with Converter(graph_bytes_max) as converter:
        yield _Alone(graph_bytes_max, saved, converter.convert)


class _Alone:
    """This process answers."""

    def __init__(self, graph_bytes_max: int, saved: Saved | None, convert: Callable[..., Any]) -> None:
        self._graph_bytes_max = graph_bytes_max
        self._saved = saved
        self._convert = convert

    async def report(self, path: str, *, strict: bool = False, convert: bool = False) -> wire.WorkflowReport:
        from comfyledger.admission.check import Ground, check_any_form
        from comfyledger.comfyui.ui_format.convert import GRAPHS_A_DOCUMENT

        try:
            text = workflow_text(path, GRAPHS_A_DOCUMENT * self._graph_bytes_max)
        except Refused as refusal:
            return _unread(refusal)
        info = self._saved.info if self._saved is not None else None
        ground = Ground(self._graph_bytes_max, info, "full" if strict else None)
        report, graph = await check_any_form(text, ground, self._converted if self._saved is not None else None)
        return replace(report, graph=graph) if convert else report

    async def _converted(self, document: Any) -> dict[str, Any]:
        assert self._saved is not None  # noqa: S101 (it is only passed on if there is one)
        graph: dict[str, Any] = await self._convert(document, self._saved.body, self._saved.info.digest)
        return graph


def _unread(refusal: Refused) -> wire.WorkflowReport:
    return wire.WorkflowReport("refused", refusal.code, refusal.message, refusal.hint, refusal.path)


# ---- a saved answer of ComfyUI


def saved_info(path: Path | None) -> Saved | None:
    """The node classes in a file that holds the answer of `/object_info`, plain or compressed with gzip.

    None if no file is named. Raises click.BadParameter. No more than `INFO_BYTES_MAX` is ever held.
    """
    if path is None:
        return None
    from comfyledger.comfyui.fields import BadFrame
    from comfyledger.comfyui.object_info import read_object_info

    try:
        with path.open("rb") as file:
            body = _bounded(file)
        info = read_object_info(body, hashlib.sha256(body).hexdigest())
        if not any(info.get(name) for name in info):
            raise BadFrame("it names no node class")
    except (OSError, EOFError, zlib.error, BadFrame) as error:
        text = f"{str(path)!r} is no answer of ComfyUI's /object_info: {error}."
        raise click.BadParameter(text, param_hint="--object-info") from error
    return Saved(body, info)


def _bounded(file: BinaryIO) -> bytes:
    """The bytes in a file, inflated. Raises OSError, EOFError and zlib.error for a file that cannot be read."""
    is_packed = file.read(len(GZIP)) == GZIP
    if sum(map(len, _pieces(file, is_packed))) > INFO_BYTES_MAX:  # counted first, so that nothing large is held
        raise OSError(f"it has more than {INFO_BYTES_MAX:,} bytes")
    return b"".join(_pieces(file, is_packed))


def _pieces(file: BinaryIO, is_packed: bool) -> Iterator[bytes]:
    """The content piece by piece, up to one piece above the limit."""
    file.seek(0)
    content = gzip.GzipFile(fileobj=file) if is_packed else file
    left = INFO_BYTES_MAX + 1
    while left > 0 and (piece := content.read(PIECE_BYTES)):
        left -= len(piece)
        yield piece
