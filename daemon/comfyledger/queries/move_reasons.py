"""What becomes of a prompt that is at a ComfyUI which does not work, and of what was left behind elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from comfyledger import wire
from comfyledger.core.rows import BatchRow, LaneRow, PromptRow
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.values import EVERYTHING, backend_lane, user_lane

STRAY = "stray"


class Places(msgspec.Struct, frozen=True):
    """Where prompts of a batch may go. `move_after_ms`: by backend, 0 or no value for never."""

    batch: BatchRow
    lanes: Mapping[str, LaneRow]
    fit: Fit
    move_after_ms: Mapping[str, int]

    def works(self, backend: str) -> bool:
        """Whether a backend gets prompts now."""
        rows = (self.lanes.get(lane) for lane in (EVERYTHING, backend_lane(backend)))
        return not any(row is not None and (row.person or row.code) for row in rows)

    @property
    def is_stopped(self) -> bool:
        """Whether the batch is held or its user paused, so that nothing of it moves by itself."""
        user = self.lanes.get(user_lane(self.batch.user_key))
        return bool(self.batch.held) or (user is not None and user.person)


def waits_there(prompt: PromptRow, places: Places) -> tuple[str, str]:
    """What becomes of a prompt while its backend does not work: a sentence, and the command that helps. Empty where
    there is no choice.
    """
    name, batch = prompt.backend, places.batch
    if prompt.state == "cancelling" or len(places.fit) <= 1:
        return "", ""
    if prompt.strikes:
        return "It was running when a ComfyUI went away, so it goes to no other.", ""
    if batch.backend:
        return "The request names this ComfyUI, so it waits for it.", ""
    if not any(map(places.works, places.fit.elsewhere(batch, prompt, name))):
        return "No other ComfyUI that works may take it.", ""
    command, after_ms = f"comfyledger move backend:{name}", places.move_after_ms.get(name, 0)
    if after_ms and places.is_stopped:
        return f"It waits for it, because its batch or its user is paused; `{command}` moves it.", command
    if after_ms:
        return f"It moves to another ComfyUI once that has lasted {after_ms / 1000:g} s.", ""
    return f"With move_after_s = 0 what was sent there waits for it; `{command}` moves it.", command


def left_behind(prompt: PromptRow, places: Places) -> Iterator[wire.OwedInfo]:
    """The attempts of a prompt that were left behind and may still be used."""
    for one in prompt.strays:
        lane = backend_lane(one.backend)
        when = "" if places.works(one.backend) else f" once {one.backend} works"
        left = f"Attempt {one.attempt} was left behind at ComfyUI {one.backend}."
        row = places.lanes.get(lane)
        since_ms = row.since_ms if row is not None else 0
        said = f"{left} It is removed there{when}, or used if it has finished by then and no other has."
        yield wire.OwedInfo("render", STRAY, said, "", lane, since_ms)
