"""Why something waits for a box that has left the fleet: only that box has a file. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfyledger import wire
from comfyledger.core.boxes import BoxRow
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import ImageRow, PromptRow

BOX_AWAY = "box_away"

Gone = Mapping[str, BoxRow]
"""The boxes that have left, by name."""


def only_at(image: ImageRow, gone: Gone) -> wire.OwedInfo | None:
    """What is to become of an image that only a box keeps which has left; None if it does not wait for one."""
    box = gone.get(image.box)
    if box is None:
        return None
    there = f"Only the box {box.name} has its file, and that box has left the fleet."
    if box.given_up:
        return wire.OwedInfo("upload", BOX_AWAY, f"{there} It was given up, so another box takes the image up.")
    said = f"{there} It waits for it, and is taken up by another box once that has lasted [box] orphan_after_s."
    return wire.OwedInfo("upload", BOX_AWAY, said, f"comfyledger fleet give-up {box.name}", "", box.since_ms)


def inputs_at(prompt: PromptRow, inputs: Mapping[str, InputRow], gone: Gone) -> Iterator[wire.OwedInfo]:
    """The inputs of a prompt that waits, as far as boxes keep them which have left."""
    loaded = dict.fromkeys(load.sha256 for load in prompt.loads if load.source is None)
    for sha256 in loaded:
        row = inputs.get(sha256)
        box = gone.get(row.box) if row is not None else None
        if box is not None and not box.given_up:
            text = f"The box {box.name}, which keeps the input sha256:{sha256} that it loads, has left the fleet. "
            text += "It waits unless another box has a copy."
            yield wire.OwedInfo("render", BOX_AWAY, text, since_ms=box.since_ms)
