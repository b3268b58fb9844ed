"""The faults of the stand-in for object stores: rules that wait for a request, and what each one does to it.

`Faults` picks at most one rule for a request. The name of a fault says where it strikes: in the body, before anything
is stored, or after it is stored. In the last case the true answer is made and lost on its way.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from comfyledger.sim.objects.answers import Refused, error_response
from comfyledger.sim.objects.ledger import Entry

Name = Literal[
    "reset_before_body",
    "reset_mid_body",
    "reset_after_body",
    "hang",
    "truncate",
    "html_502",
    "answer",
    "store_then_reset",
    "store_then_hang",
    "store_then_truncate",
    "store_then_html_502",
    "store_then_answer",
    "alter",
    "latency",
]
_STORING: Final = "store_then_"
_WITHOUT_STORING: Final = frozenset({"reset_after_body", "hang", "html_502", "answer"})
_RESET: Final = struct.pack("ii", 1, 0)
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a rule waits for: every field that is set must fit."""

    key: str | None = None
    prefix: str | None = None
    """How the key begins."""
    method: str | None = None
    query: str | None = None
    """A parameter that the query must have: `uploads`, `partNumber`, `uploadId`, `list-type`; empty for no query."""
    nth: int = 1
    """Strike from the n-th fitting request on."""

    def fits(self, method: str, key: str, query: dict[str, str]) -> bool:
        """Whether a request is one of those."""
        return (
            self.key in (None, key)
            and key.startswith(self.prefix or "")
            and self.method in (None, method)
            and (self.query is None or (self.query in query if self.query else not query))
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault, the requests that it waits for, and its answer. `times` 0 means always."""

    fault: Name
    match: Match = Match()
    times: int = 1
    code: str = "InternalError"
    """Of `answer`: an error of S3. Status, text and headers follow from it if they are not given."""
    status: int = 0
    message: str = ""
    headers: dict[str, str] = {}
    seconds: float = 0.0
    """Of `latency`."""


class Cut(Exception):
    """The connection is gone; there is no answer to send."""


class Withheld(Exception):
    """The request ends here without having been served."""


class _Active(msgspec.Struct):
    rule: Rule
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        """Count a request that fits. True if the fault strikes it."""
        self.seen += 1
        if self.seen < self.rule.match.nth or (self.rule.times and self.struck >= self.rule.times):
            return False
        self.struck += 1
        return True


class Faults:
    """The active rules, and the requests that hang."""

    def __init__(self) -> None:
        self._active: list[_Active] = []
        self._released = asyncio.Event()
        self.hanging = 0

    def add(self, rules: list[Rule]) -> None:
        """Append rules to the active ones."""
        self._active.extend(_Active(rule) for rule in rules)

    def clear(self) -> None:
        """Forget all rules and end the requests that hang."""
        self._active.clear()
        self._released.set()
        self._released = asyncio.Event()

    def state(self) -> list[dict[str, Any]]:
        """The rules, each with the number of requests that fitted and that it struck."""
        return [msgspec.to_builtins(each) for each in self._active]

    def take(self, method: str, key: str, query: dict[str, str]) -> Rule | None:
        """The rule for a request: the first that strikes. Every rule counts the requests that fit it."""
        fitting = [each for each in self._active if each.rule.match.fits(method, key, query)]
        struck = [each.rule for each in fitting if each.strikes()]
        return struck[0] if struck else None

    async def hang(self) -> None:
        """Wait until the rules are cleared or the stand-in ends."""
        self.hanging += 1
        try:
            await self._released.wait()
        finally:
            self.hanging -= 1


class Visit:
    """One request on its way through the stand-in, with its entry in the ledger and the fault that waits for it."""

    def __init__(self, request: web.Request, entry: Entry, faults: Faults) -> None:
        self.request = request
        self.entry = entry
        self._faults = faults
        self.rule = faults.take(entry.method, entry.key, entry.query)
        entry.fault = self.rule.fault if self.rule else None

    def header(self, name: str) -> str:
        """A header of the request, or an empty text."""
        return self.request.headers.get(name, "")

    def has(self, fault: Name) -> bool:
        """Whether this fault is to strike the request."""
        return self.rule is not None and self.rule.fault == fault

    def cut_if(self, fault: Name) -> None:
        """Reset the connection if this fault is to strike. Raises Cut."""
        if self.has(fault):
            self.cut()

    def cut(self) -> None:
        """Reset the connection. Raises Cut."""
        transport = self.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        raise Cut

    def withhold(self) -> None:
        """Raises Withheld if the fault prevents the request from being served."""
        if self.rule is not None and self.rule.fault in _WITHOUT_STORING:
            raise Withheld

    async def answer_with(self, true: web.StreamResponse) -> web.StreamResponse:
        """The true answer, or what the fault makes of it. Raises Cut if nothing is to be sent."""
        rule = self.rule
        match rule.fault.removeprefix(_STORING) if rule else "":
            case "reset" | "reset_after_body":
                self.cut()
            case "hang":
                await self._faults.hang()
                self.cut()
            case "truncate":
                return await self._truncated(true)
            case "html_502":
                return web.Response(status=502, text=_HTML, content_type="text/html")
            case "answer" if rule:
                refused = Refused(rule.code, rule.message, rule.status, rule.headers)
                return error_response(refused, self.request.path, self.entry.number)
            case "latency":
                await asyncio.sleep(rule.seconds if rule else 0)
        return true

    async def _truncated(self, true: web.StreamResponse) -> web.StreamResponse:
        whole = true.body if isinstance(true, web.Response) and isinstance(true.body, bytes) else b""
        if not whole:
            self.cut()
        response = web.StreamResponse(status=true.status, headers=true.headers)
        response.content_length = len(whole)
        await response.prepare(self.request)
        await response.write(whole[: len(whole) // 2])
        if self.request.transport is not None:
            self.request.transport.close()
        return response
