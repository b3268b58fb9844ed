"""Looks whether the images that a prompt is made from have their bytes, or came to an end without any.

It reads rows and reports; nothing is fetched here. What a read missed because a source changed meanwhile is looked up
again: the effect is owed once more after each change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from comfyledger import crash_points
from comfyledger.core.decide.sources import has_bytes, has_ended
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.reports import SourceEnded, SourcesFound
from comfyledger.core.rows import ImageRow
from comfyledger.core.scheduling.effects import FindSources
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.workers.reporting import Reporter
from comfyledger.workers.row_cache import RowCache

Images = Mapping[ImageAt, ImageRow | None]
_ENDED: Final = {"cancelled": "was cancelled", "forgetting": "was forgotten", "forgotten": "was forgotten"}


class SourceFinder:
    """Finds the sources of prompts that wait for them."""

    def __init__(self, rows: RowCache, reporter: Reporter) -> None:
        self._rows = rows
        self._reporter = reporter

    async def find(self, effect: FindSources) -> None:
        """Report the sources if all have their bytes, or one that has ended. Else report nothing: the prompt waits."""
        sources = dict.fromkeys(load.source for load in effect.loads if load.source is not None)
        images = {one: await self._rows.image(one.batch_id, one.image) for one in sources}
        loads = with_bytes(effect.loads, images)
        over = next((one for one, image in images.items() if has_ended(image)), None)
        if over is not None:
            words = self._reporter.error_text(await self._why(over, images[over]))
            await self._reporter.report(SourceEnded(effect.batch_id, effect.prompt, over, words))
        elif loads:
            crash_points.at("sources.found")
            await self._reporter.report(SourcesFound(effect.batch_id, effect.prompt, loads))

    async def _why(self, source: ImageAt, image: ImageRow | None) -> str:
        """Which image and how it ended. Of an image that failed because of another, also that one's name.

        The error text of a source is not repeated: it is erased when the source is forgotten.
        """
        if image is None:
            return f"There is no image {source.batch_id}/{source.image} any more."
        if image.state != "failed":
            return f"{image.file} {_ENDED[image.state]}."
        earlier = await self._rows.texts([image.words]) if image.code == INPUT_FAILED and image.words else {}
        why = next((text.decode() for text in earlier.values()), f"{image.code}.")
        return f"{image.file} failed: {why}"


def with_bytes(loads: tuple[LoadedFile, ...], images: Images) -> tuple[LoadedFile, ...]:
    """The files that a prompt loads, each with its bytes named; nothing if a source has none yet."""
    if not all(has_bytes(image) for image in images.values()):
        return ()
    return tuple(_with_bytes(load, images[load.source]) if load.source is not None else load for load in loads)


def _with_bytes(load: LoadedFile, image: ImageRow | None) -> LoadedFile:
    if image is None:
        return load
    return replace(load, sha256=image.sha256, extension=image.extension, size_bytes=image.size_bytes)
