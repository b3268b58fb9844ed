"""What the events of a batch say so far: counts, names, the current step, the rate. Has no screen and no clock.

Events and progress go in, news for people come out: an image is stored, parked, failed or cancelled, a batch is held.
Times are those of the events, so that a batch that is followed later shows the rate that it had.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from comfyledger import wire
from comfyledger.client import Pushed


class News(NamedTuple):
    """One line for people. `where` is a URL, or the reason why there is none."""

    what: str
    name: str = ""
    where: str = ""


class BatchProgress:
    """One batch, from its events. Fields that a later version adds to events are ignored."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.title = ""
        self.names: dict[int, str] = {}
        self.states: dict[int, str] = {}
        self.step = ""
        self._stores = 0
        self._has: dict[int, set[str]] = {}
        self._asked_ms = 0
        self._stored_ms = 0

    @property
    def total(self) -> int:
        return len(self.names)

    @property
    def stored(self) -> int:
        return sum(state == "stored" for state in self.states.values())

    @property
    def rate(self) -> str:
        """Images per second, or per minute if they are slow; empty before the first."""
        passed_ms = self._stored_ms - self._asked_ms
        if not self.stored or passed_ms <= 0:
            return ""
        a_second = self.stored * 1000 / passed_ms
        return f"{a_second:.1f}/s" if a_second >= 0.5 else f"{a_second * 60:.1f}/min"

    def see(self, push: Pushed) -> list[News]:
        """Add an event or progress; returns its news."""
        match push:
            case wire.LoggedEvent():
                return self._see_event(push, msgspec.json.decode(push.raw))
            case wire.Progress(value=value, max=most):
                self.step = f"{value:g}/{most:g}"
        return []

    def _see_event(self, event: wire.LoggedEvent, data: dict[str, Any]) -> list[News]:
        match event.kind:
            case "batch_requested":
                self._begin(event, data)
            case "image_kept":
                return self._kept(event, data)
            case "image_uploaded":
                return self._uploaded(event, data)
            case "image_parked":
                return [self._lost(data["image"], "parked", _why(event, data))]
            case "image_failed":
                return [self._lost(image, "failed", _why(event, data)) for image in data["images"]]
            case "image_cancelled" | "image_forgotten" as kind:
                return [self._lost(image, kind.removeprefix("image_"), "") for image in data["images"]]
            case "batch_held":
                why = _why(event, {"code": data["reason"]})
                return [News("held", where=f"{why}; continue with: comfyledger resume batch:{self.batch_id}")]
            case "batch_resumed":
                return [News("resumed")]
            case "batch_reopened":
                return self._reopened(data)
        return []

    def _begin(self, event: wire.LoggedEvent, data: dict[str, Any]) -> None:
        self.title = f"{data['username']} · {data['character']}"
        self.names = {image["index"]: image["file"] for image in data["images"]}
        self._stores = len(data["stores"])
        self._asked_ms = event.at_ms

    def _kept(self, event: wire.LoggedEvent, data: dict[str, Any]) -> list[News]:
        """Without a store, an image in the spool is finished."""
        self.step = ""
        return [] if self._stores else [self._stored(event, data["image"], "")]

    def _uploaded(self, event: wire.LoggedEvent, data: dict[str, Any]) -> list[News]:
        has = self._has.setdefault(data["image"], set())
        has.add(data["store"])
        return [self._stored(event, data["image"], data["url"])] if len(has) >= self._stores else []

    def _stored(self, event: wire.LoggedEvent, image: int, url: str) -> News:
        self.states[image] = "stored"
        self._stored_ms = event.at_ms
        return News("stored", self._name(image), url)

    def _lost(self, image: int, state: str, why: str) -> News:
        self.states[image] = state
        return News(state, self._name(image), why)

    def _reopened(self, data: dict[str, Any]) -> list[News]:
        again = [*data.get("images", []), *data.get("upload", [])]
        for image in again:
            self.states.pop(image, None)
        return [News("retried", where=f"{len(again)} images")]

    def _name(self, image: int) -> str:
        return self.names.get(image, f"image {image}")


def _why(event: wire.LoggedEvent, data: dict[str, Any]) -> str:
    words = " ".join(event.texts.values())
    return f"{data['code']}: {words}" if words else str(data["code"])
