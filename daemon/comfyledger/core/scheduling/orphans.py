"""The images that a box alone keeps which has left, and from when on they are not left to it."""

from __future__ import annotations

from comfyledger.core.rows import ImageRow
from comfyledger.core.scheduling.ownership import Ownership

ImageId = tuple[str, int]
"""(batch_id, image)"""


class Orphans:
    """Kept images by their boxes. Without a fleet there is none."""

    def __init__(self, owners: Ownership) -> None:
        self._owners = owners
        self._kept: dict[str, dict[ImageId, ImageRow]] = {}

    def put(self, before: ImageRow | None, after: ImageRow) -> None:
        """An image has changed. `before`: if it was kept or being forgotten."""
        place = (after.batch_id, after.index)
        if before is not None and (rows := self._kept.get(was := self._owners.keeper_of(before))) is not None:
            rows.pop(place, None)
            if not rows:
                del self._kept[was]
        if not self._owners.is_alone and after.state == "kept":
            self._kept.setdefault(self._owners.keeper_of(after), {})[place] = after

    def due(self, after_ms: int, now_ms: int) -> list[ImageRow]:
        """Those that the caretaker takes up now: their box has been gone for so long, or was given up."""
        if not self._owners.is_caretaker or not self._kept:
            return []
        overdue = self._owners.overdue(after_ms, now_ms)
        return [row for box in overdue for row in self._kept.get(box, {}).values()]
