"""What a webhook says about an event: the event, and its image and batch as they are now.

Texts that were forgotten are missing, as everywhere. Addresses of files are signed anew for each try.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import msgspec

from comfyledger import wire
from comfyledger.core.values import image_id
from comfyledger.engine import EngineView
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Reader
from comfyledger.queries import listings, serialize

IMAGES_MAX: Final = 100
"""Images of one event. More are not named: `batch` says how to ask for them."""

WithUrl = Callable[[wire.ImageInfo], wire.ImageInfo]
_encoder = msgspec.json.Encoder()


class _About(msgspec.Struct, frozen=True):
    """The images that an event names, and the digest of its text."""

    image: int = 0
    images: tuple[int | dict[str, object], ...] = ()
    words: str | None = None


class Payloads:
    """`with_url`: gives an image the address of its file, if it has one."""

    def __init__(self, view: EngineView, reader: Reader, with_url: WithUrl) -> None:
        self._view, self._reader, self._with_url = view, reader, with_url

    async def of(self, line: Line) -> bytes:
        """The body for an event of the log. Raises Refused(busy)."""
        about = msgspec.json.decode(line.data, type=_About)
        batch = await self._batch(line.stream)
        images = await self._images(line.stream, about) if batch is not None else []
        one = images[0] if about.image and images else None
        data = wire.WebhookData(
            event=await self._event(line, about),
            image=one,
            images=[] if one is not None else images,
            batch=batch,
            recipe=f"/v1/images/{quote(image_id(line.stream, one.index))}/recipe" if one is not None else "",
        )
        return _encoder.encode(wire.WebhookPayload(line.kind, _moment(line.at_ms), data))

    async def _event(self, line: Line, about: _About) -> wire.StreamedEvent:
        texts = await serialize.texts_of(self._reader, [about.words])
        return wire.StreamedEvent(
            epoch=self._view.epoch,
            position=line.position,
            kind=line.kind,
            at_ms=line.at_ms,
            stream=line.stream,
            raw=msgspec.Raw(line.data.encode()),
            texts=texts,
        )

    async def _batch(self, stream: str) -> wire.BatchInfo | None:
        row = await self._reader.batch(stream)
        if row is None:
            return None
        tagged = await serialize.tagged(self._reader, [row])
        return serialize.batch_info(row, tagged.get(row.batch_id, serialize.Tagged()))

    async def _images(self, batch_id: str, about: _About) -> list[wire.ImageInfo]:
        named = [one for one in about.images if isinstance(one, int)]
        indexes = (about.image,) if about.image else tuple(named[:IMAGES_MAX])
        rows = await self._reader.these_images(batch_id, indexes) if indexes else []
        return [self._with_url(one) for one in await listings.shown(self._reader, rows)]


def test_body(name: str, now_ms: int) -> bytes:
    """The body of a test request. Its type is that of no event."""
    return _encoder.encode({"type": "webhook.test", "timestamp": _moment(now_ms), "data": {"webhook": name}})


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
