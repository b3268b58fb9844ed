"""Sends the rows of a file: a few at a time, in the order of the file for each character, each row once.

A row that is refused does not stop the others. At a limit of the daemon, and while it restarts, the row waits and is
sent again under the same id. What no row can get past ends the command; run again, it continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import click

from comfyledger import wire
from comfyledger.cli.rows.row_file import Row, RowFile
from comfyledger.cli.rows.row_report import RowReport
from comfyledger.cli.rows.row_request import RequestIds, fields_of, filled
from comfyledger.cli.typed_values import workflow_or_graph
from comfyledger.client import Client
from comfyledger.core.backoff import backoff
from comfyledger.errors import Refused

AT_ONCE: Final = 8
"""Requests without an answer, so that neither side holds more than so many."""
WAIT_FIRST_S: Final = 1.0
WAIT_LAST_S: Final = 30.0
PATIENCE_S: Final = 60.0
"""How long a daemon may be away, as in the client."""
NOTHING_OPEN_MAX: Final = 2
"""The last batch may have ended between the refusal and the look."""
WORKFLOWS_KEPT: Final = 16
LIMITS: Final = frozenset({"busy", "storage_full"})
"""What ends by itself, or by the work of others."""
ENDS: Final = frozenset({"not_running", "timeout", "protocol_version", "internal", "unauthorized", "forbidden"})
"""What is not about one row."""


async def send_rows(
    client: Client, rows: RowFile, defaults: Mapping[str, Any], ids: RequestIds, report: RowReport
) -> None:
    """Send every row and report each. `defaults`: fields of `submit_batch` for rows that lack them.

    Raises Refused with a code of ENDS: the rows that were not reported may have been accepted or not.
    """
    sending = _Sending(client, report)
    room = asyncio.Semaphore(AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                await room.acquire()
                request = _request(row, defaults, ids, report)
                if request is None:
                    room.release()
                    continue
                task = group.create_task(sending.send(row, request))
                task.add_done_callback(lambda _: room.release())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _request(row: Row, defaults: Mapping[str, Any], ids: RequestIds, report: RowReport) -> dict[str, Any] | None:
    """What `client.submit` gets for a row; None if it is refused here."""
    try:
        if row.fault:
            raise Refused("invalid_field", row.fault)
        fields = fields_of(row.cells)
        asked = filled(fields, defaults)
        if "workflow" in fields:
            asked["workflow"] = _workflow(fields["workflow"])
    except Refused as refusal:
        report.refused(row, refusal)
        return None
    return {**asked, "request_id": ids.next(fields)}


@lru_cache(maxsize=WORKFLOWS_KEPT)
def _workflow(given: str) -> str | dict[str, Any]:
    try:
        return workflow_or_graph(given)
    except click.BadParameter as error:
        raise Refused("workflow_invalid", error.message, path="workflow") from error


def _passes(refusal: Refused, nothing_open: int, away_s: float) -> bool:
    """Whether the same request may succeed later. A batch that is too large by itself finds no room, ever.

    `nothing_open`: tries in a row at which no batch was open. A daemon that is stopping says at once that it is away.
    """
    match refusal.code:
        case "not_running":
            return away_s < PATIENCE_S
        case "too_many_open":
            return nothing_open < NOTHING_OPEN_MAX
        case code:
            return code in LIMITS or refusal.retry_after_s > 0


class _Sending:
    def __init__(self, client: Client, report: RowReport) -> None:
        self._client = client
        self._report = report
        self._last: dict[tuple[str, str], asyncio.Event] = {}

    async def send(self, row: Row, request: Mapping[str, Any]) -> None:
        """Send a row after those of the same character that came before it, so that its numbers follow theirs."""
        key = (request["username"].casefold(), request["character"].casefold())
        before, done = self._last.get(key), asyncio.Event()
        self._last[key] = done
        try:
            if before is not None:
                await before.wait()
            self._report.accepted(row, request["request_id"], await self._submitted(request))
        except Refused as refusal:
            if refusal.code in ENDS:
                raise
            self._report.refused(row, refusal)
        finally:
            done.set()
            if self._last.get(key) is done:
                del self._last[key]

    async def _submitted(self, request: Mapping[str, Any]) -> wire.BatchAccepted:
        """Send a row until it is accepted or refused for good."""
        tries, nothing_open, away_since = 0, 0, 0.0
        while True:
            try:
                return await self._client.submit(**request)
            except Refused as refusal:
                now = asyncio.get_running_loop().time()
                tries += 1
                away_since = (away_since or now) if refusal.code == "not_running" else 0.0
                if refusal.code == "too_many_open":
                    nothing_open = nothing_open + 1 if await self._is_nothing_open() else 0
                if not _passes(refusal, nothing_open, now - (away_since or now)):
                    raise
                self._report.waits(refusal)
                await asyncio.sleep(refusal.retry_after_s or backoff(tries, WAIT_FIRST_S, WAIT_LAST_S))

    async def _is_nothing_open(self) -> bool:
        """Whether no batch is open, so that waiting makes no room."""
        try:
            return not (await self._client.list_batches(open_only=True, limit=1)).batches
        except Refused:
            return False
