"""What the faults of the stand-ins for stores have in common: rules that wait for requests, and what they do to them.

Each stand-in has rules of its own, with what they match and what they answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

_STORING: Final = "store_then_"
"""How the names of faults begin that strike after a file is stored."""
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_RESET: Final = struct.pack("ii", 1, 0)


class Match(Protocol):
    """Which requests a rule waits for."""

    @property
    def nth(self) -> int:
        """Strike from the n-th fitting request on."""


class Rule(Protocol):
    """A fault, and the requests that it waits for. `times` 0 means always."""

    @property
    def fault(self) -> str: ...
    @property
    def match(self) -> Match: ...
    @property
    def times(self) -> int: ...
    @property
    def seconds(self) -> float:
        """Of `latency`."""


R = TypeVar("R", bound=Rule)


class Cut(Exception):
    """The connection is gone; there is no answer to send."""


class Withheld(Exception):
    """The request ends here without having been served."""


class _Active(msgspec.Struct, Generic[R]):
    rule: R
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        """Count a request that fits. True if the fault strikes it."""
        self.seen += 1
        if self.seen < self.rule.match.nth or (self.rule.times and self.struck >= self.rule.times):
            return False
        self.struck += 1
        return True


class Faults(Generic[R]):
    """The active rules, and the requests that hang."""

    def __init__(self) -> None:
        self._active: list[_Active[R]] = []
        self._released = asyncio.Event()
        self.hanging = 0

    def add(self, rules: Iterable[R]) -> None:
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

    def first(self, fits: Callable[[R], bool]) -> R | None:
        """The first rule that strikes a request. Every rule that fits counts it."""
        fitting = [each for each in self._active if fits(each.rule)]
        struck = [each.rule for each in fitting if each.strikes()]
        return struck[0] if struck else None

    async def hang(self) -> None:
        """Wait until the rules are cleared or the stand-in ends."""
        self.hanging += 1
        try:
            await self._released.wait()
        finally:
            self.hanging -= 1


class Struck(Generic[R]):
    """One request, and the fault that waits for it. `withheld`: the faults that end it before it is served."""

    withheld: frozenset[str] = frozenset()

    def __init__(self, request: web.Request, faults: Faults[R]) -> None:
        self.request = request
        self.rule: R | None = None
        self._faults = faults

    def has(self, fault: str) -> bool:
        """Whether this fault is to strike the request."""
        return self.rule is not None and self.rule.fault == fault

    def cut_if(self, fault: str) -> None:
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
        if self.rule is not None and self.rule.fault in self.withheld:
            raise Withheld

    def said(self, kind: str, rule: R) -> web.Response | None:
        """What a fault of this stand-in's own answers; None if the true answer goes out."""
        raise NotImplementedError

    async def answer_with(self, true: web.StreamResponse) -> web.StreamResponse:
        """The true answer, or what the fault makes of it. Raises Cut if nothing is to be sent."""
        if self.rule is None:
            return true
        match self.rule.fault.removeprefix(_STORING):
            case "reset" | "reset_after_body":
                self.cut()
            case "hang":
                await self._faults.hang()
                self.cut()
            case "truncate":
                return await self._half(true)
            case "html_502":
                return web.Response(status=502, text=_HTML, content_type="text/html")
            case "latency":
                await asyncio.sleep(self.rule.seconds)
            case kind:
                return self.said(kind, self.rule) or true
        return true

    async def _half(self, true: web.StreamResponse) -> web.StreamResponse:
        """An answer that says how long it is and ends in the middle. Raises Cut for one without a body."""
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
