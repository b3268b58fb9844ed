"""The faults of the stand-in for Cloudinary: rules that wait for a request, and what each one does to it.

`Faults` picks at most one rule for a request. The name of a fault says where it strikes: in the body, before anything
is stored, or after it is stored. In the last case the true answer is made and lost on its way.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from comfyledger.sim.cloudinary.answers import error_body
from comfyledger.sim.cloudinary.ledger import Entry, Ledger

Name = Literal[
    "reset_before_body",
    "reset_mid_body",
    "reset_after_body",
    "hang",
    "truncate",
    "html_502",
    "answer",
    "pending",
    "store_then_reset",
    "store_then_hang",
    "store_then_truncate",
    "store_then_html_502",
    "store_then_answer",
    "store_then_pending",
    "alter_etag",
    "rename",
    "latency",
]
_STORING: Final = "store_then_"
_WITHOUT_STORING: Final = frozenset({"reset_after_body", "hang", "truncate", "html_502", "answer", "pending"})
_RESET: Final = struct.pack("ii", 1, 0)
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_TEXTS: Final = {
    420: "Rate Limit Exceeded. Limit of 500 api operations reached. Try again on 2024-10-04 14:00:00 UTC",
    423: "Resource is locked",
    429: "Too many requests",
    499: "Client closed request",
    500: "General Error",
    503: "Service Unavailable",
}


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a rule waits for: every field that is set must fit."""

    public_id: str | None = None
    prefix: str | None = None
    """How the public id begins."""
    path: str | None = None
    """A part of the path."""
    method: str | None = None
    nth: int = 1
    """Strike from the n-th fitting request on: with a `public_id`, its n-th attempt."""

    @property
    def is_by_name(self) -> bool:
        """Whether the public id must be known first."""
        return self.public_id is not None or self.prefix is not None

    def fits(self, method: str, path: str, public_id: str | None) -> bool:
        """Whether a request is one of those."""
        name = public_id or ""
        return (
            self.public_id in (None, name)
            and name.startswith(self.prefix or "")
            and (self.path or "") in path
            and self.method in (None, method)
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault, the requests that it waits for, and its answer. `times` 0 means always."""

    fault: Name
    match: Match = Match()
    times: int = 1
    status: int = 500
    """Of `answer`."""
    message: str = ""
    """Of `answer`; if empty, the text that belongs to the status."""
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

    def take(self, method: str, path: str, public_id: str | None) -> Rule | None:
        """The rule for a request. Asked once without a public id, and once more when that is known."""
        fitting = [
            each
            for each in self._active
            if each.rule.match.is_by_name == (public_id is not None) and each.rule.match.fits(method, path, public_id)
        ]
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

    def __init__(self, request: web.Request, entry: Entry, faults: Faults, ledger: Ledger) -> None:
        self.request = request
        self.entry = entry
        self._faults = faults
        self._ledger = ledger
        self.rule: Rule | None = None
        self._meet(None)

    def learn(self, public_id: str) -> None:
        """Record the public id, and pick a rule that waits for it."""
        self.entry.public_id = public_id
        if self.rule is None:
            self._meet(public_id)
        self._ledger.save(self.entry)

    def has(self, fault: Name) -> bool:
        """Whether this fault is to strike the request."""
        return self.rule is not None and self.rule.fault == fault

    def cut_if(self, fault: Name) -> None:
        """Reset the connection if this fault is to strike. Raises Cut."""
        if self.has(fault):
            self.cut()

    def cut_early(self) -> None:
        """Apply the faults in the body, for a request without a body or at the end of one. Raises Cut."""
        self.cut_if("reset_before_body")
        self.cut_if("reset_mid_body")

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

    async def answer_with(self, true: web.Response) -> web.StreamResponse:
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
            case "answer":
                return _answered(rule) if rule else true
            case "pending":
                return json_response(200, {"status": "pending", "batch_id": "0" * 32, "type": "upload"}, {})
            case "latency":
                await asyncio.sleep(rule.seconds if rule else 0)
        return true

    def _meet(self, public_id: str | None) -> None:
        self.rule = self._faults.take(self.request.method, self.request.path, public_id)
        if self.rule is not None:
            self.entry.fault = self.rule.fault

    async def _truncated(self, true: web.Response) -> web.StreamResponse:
        whole = true.body if isinstance(true.body, bytes) else b""
        response = web.StreamResponse(status=true.status, headers={"Content-Type": true.headers["Content-Type"]})
        response.content_length = len(whole)
        await response.prepare(self.request)
        await response.write(whole[: len(whole) // 2])
        if self.request.transport is not None:
            self.request.transport.close()
        return response


def json_response(status: int, body: Any, headers: Mapping[str, str]) -> web.Response:
    """An answer in JSON."""
    text = msgspec.json.encode(body)
    return web.Response(body=text, status=status, headers=headers, content_type="application/json", charset="utf-8")


def _answered(rule: Rule) -> web.Response:
    message = rule.message or _TEXTS.get(rule.status, "General Error")
    return json_response(rule.status, error_body(message), {"X-Cld-Error": message, **rule.headers})
