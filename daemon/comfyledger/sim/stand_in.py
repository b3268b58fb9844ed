"""What the stand-ins for stores share: two ports, a clock that can be moved, and `/control` with its faults."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec
from aiohttp import web

from comfyledger.sim.faults import Faults, Rule
from comfyledger.sim.port import Port

R = TypeVar("R", bound=Rule)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /control` of each of them takes; None changes nothing."""

    clear_faults: bool = False
    listening: bool | None = None
    clock_offset_s: float | None = None
    reset_counters: bool = False


C = TypeVar("C", bound=Asked)


class StandIn(ABC, Generic[R, C]):
    """A running stand-in. An async context manager that stops it at its end. `control`: what `POST /control` takes."""

    control: ClassVar[type[Any]]

    def __init__(self, database: sqlite3.Connection, now: Callable[[], float]) -> None:
        self._database, self._now = database, now
        self._clock_offset_s = 0.0
        self._faults = Faults[R]()
        self._received_bytes = 0

    def _add_ports(self, api: web.Application, port: int, control: web.Application, control_port: int) -> None:
        control.router.add_get("/control", self._get_control)
        control.router.add_post("/control", self._post_control)
        self._api, self._control = Port(api, port), Port(control, control_port)

    @property
    def url(self) -> str:
        """The address of the store."""
        return self._api.url

    @property
    def control_url(self) -> str:
        """The address for tests."""
        return self._control.url

    async def start(self) -> None:
        """Listen. Raises OSError when a port is taken."""
        await self._api.open()
        await self._control.open()

    async def stop(self) -> None:
        """End like a killed process: cut the requests that hang, keep what is stored."""
        self._faults.clear()
        await self._api.close()
        await self._control.close()
        self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    def _rules(self, asked: C) -> tuple[R, ...]:
        """The faults that are to be added."""

    @abstractmethod
    def _set(self, asked: C) -> None:
        """Set what only this stand-in has."""

    @abstractmethod
    def _switches(self) -> dict[str, Any]:
        """The state of what only this stand-in has."""

    def _time(self) -> float:
        return self._now() + self._clock_offset_s

    async def _get_control(self, _: web.Request) -> web.Response:
        return json_response(200, self._state())

    async def _post_control(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=self.control)
        except msgspec.DecodeError as error:
            return json_response(400, {"error": str(error)})
        await self._apply(asked)
        return json_response(200, self._state())

    async def _apply(self, asked: C) -> None:
        if asked.clear_faults:
            self._faults.clear()
        self._faults.add(self._rules(asked))
        if asked.clock_offset_s is not None:
            self._clock_offset_s = asked.clock_offset_s
        self._set(asked)
        if asked.reset_counters:
            self._api.reset_counters()
            self._received_bytes = 0
        if asked.listening is not None:
            await (self._api.listen() if asked.listening else self._api.refuse())

    def _state(self) -> dict[str, Any]:
        return {
            "faults": self._faults.state(),
            "hanging": self._faults.hanging,
            "clock_offset_s": self._clock_offset_s,
            "received_bytes": self._received_bytes,
            **self._switches(),
            **self._api.state(),
        }


def json_response(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    text = msgspec.json.encode(body)
    return web.Response(body=text, status=status, headers=headers, content_type="application/json", charset="utf-8")
