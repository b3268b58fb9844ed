"""Why something is not done yet: sentences from the rows of an image, its prompt and the lanes, each with the command
that continues it. Pure.

Every obstacle is named, not only the first, so that a person who ends one pause does not then find another.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.core.backends import box_of
from comfyledger.core.evolve.inputs import INPUT_FAILED
from comfyledger.core.inputs import InputRow
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Upload
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.scheduling.fit_words import TOLD_MAX, of_each
from comfyledger.core.values import (
    EVERYTHING,
    SPOOL,
    backend_lane,
    has_secrets,
    lane_and_box,
    lane_at,
    store_lane,
    user_lane,
)
from comfyledger.ledger.ports import Turns
from comfyledger.queries.box_reasons import Gone, inputs_at, only_at
from comfyledger.queries.move_reasons import Places, left_behind, waits_there
from comfyledger.queries.source_reasons import SOURCE, Sources, by_source, cannot_be_had, waiting_for

_HELD: Final = {
    "person": "The batch was paused by a person",
    "removed": "Somebody removed one of its prompts from ComfyUI's queue, so the batch is held",
    "interrupted": "Somebody interrupted one of its prompts at ComfyUI, so the batch is held",
    "failing": "Its first prompts all failed in the same way, so the batch is held",
    "unfit": "ComfyUI would refuse its workflow, so the batch is held",
}
_LANES: Final = {"backend": "ComfyUI {}", "store": "The store {}", "user": "The user {}"}


class Situation(msgspec.Struct, frozen=True):
    """What an image of a batch depends on. `lanes` by name, `texts` by digest, `sources` that may be seen, which
    backends `fit`, and when what they have moves: `move_after_ms` as `Places` has it. `gone`: boxes of the fleet that
    have left. `inputs`: by sha256, those that the prompts load."""

    batch: BatchRow
    lanes: Mapping[str, LaneRow] = {}
    texts: Mapping[str, str] = {}
    turns: Turns = Turns()
    sources: Sources = {}
    fit: Fit = Fit({})
    move_after_ms: Mapping[str, int] = {}
    gone: Gone = {}
    inputs: Mapping[str, InputRow] = {}

    @property
    def places(self) -> Places:
        return Places(self.batch, self.lanes, self.fit, self.move_after_ms)


def lane_name(lane: str) -> str:
    """The name of a lane in a sentence."""
    lane, box = lane_and_box(lane)
    kind, _, name = lane.partition("/")
    called = _LANES[kind].format(name) if kind in _LANES and name else lane.capitalize()
    return f"{called} at box {box}" if box else called


def owed(image: ImageRow, prompt: PromptRow, there: Situation) -> list[wire.OwedInfo]:
    """What is still to do for an image, and why it is not done. Empty if the image is stored or given up."""
    match image.state:
        case "pending":
            return _rendering(image, prompt, there)
        case "parked" if image.awaits_choice:
            said = _said("ComfyUI returned more files than requested (wrong_count)", image.words, there)
            return [wire.OwedInfo("decide", image.code, said, _choice(image), images=[image.index])]
        case "kept" | "parked":
            return [one for upload in image.uploads for one in _uploading(image, upload, there)]
        case "forgetting":
            return [one for upload in image.uploads for one in _deleting(image, upload, there)]
        case "failed":
            return [_failed(image, prompt, there)]
        case _:
            return []


def _failed(image: ImageRow, prompt: PromptRow, there: Situation) -> wire.OwedInfo:
    said = _said(f"It could not be rendered ({image.code})", image.words, there)
    command = _retry(image)
    if prompt.waiting:
        said = f"{said} It can be retried once a choice is made among the other files of its run."
        command = _choice(image)
    elif image.code == INPUT_FAILED and (advice := cannot_be_had(prompt, there.sources)) is not None:
        said, command = f"{said} {advice[0]}", advice[1]
    return wire.OwedInfo("decide", image.code, said, command, images=[image.index])


def together(found: Iterable[wire.OwedInfo], batch_id: str) -> list[wire.OwedInfo]:
    """One entry for all images that wait for the same thing, with the sentence of the first."""
    merged: dict[tuple[str, ...], wire.OwedInfo] = {}
    for one in by_source(found):
        source = one.text if one.code in {SOURCE, INPUT_FAILED} else ""
        key = (one.what, one.code, one.lane, str(" --take " in one.command), source)
        before = merged.get(key)
        if before is None:
            merged[key] = one
        elif one.images[0] not in before.images:
            of_image = one.command.startswith(f"comfyledger retry {batch_id} --image ")
            command = f"comfyledger retry {batch_id}" if of_image else one.command
            merged[key] = msgspec.structs.replace(before, images=[*before.images, *one.images], command=command)
    return list(merged.values())


def _retry(image: ImageRow) -> str:
    return f"comfyledger retry {image.batch_id} --image {image.index}"


def _choice(image: ImageRow) -> str:
    return f"comfyledger retry {image.batch_id} --take first"


def _another_number(image: ImageRow) -> str:
    """A retry does not remove the file under its name, so the image needs another number."""
    return f"comfyledger recover --batch {image.batch_id} --code collision --new-number"


def _said(sentence: str, words: str | None, there: Situation) -> str:
    text = there.texts.get(words or "", "")
    return f"{sentence}: {text}" if text else f"{sentence}."


# ---- until it is rendered


def _rendering(image: ImageRow, prompt: PromptRow, there: Situation) -> list[wire.OwedInfo]:
    if prompt.state == "queued":
        lanes = (EVERYTHING, user_lane(there.batch.user_key))
        stops = [*(_pause(lane, there) for lane in lanes), *_stopped_backends(prompt, there), _no_spool(prompt, there)]
        why = [_held(there), *stops, _alone(prompt, there), *waiting_for(prompt, there.sources)]
        found = [one for one in why if one is not None] or [_turn(prompt, there)]
        found += [*_refused_by(prompt, there), *inputs_at(prompt, there.inputs, there.gone)]
    else:
        step = _after_fetching(prompt) if _has_no_file(image, prompt) else _at_comfyui(prompt)
        found = [one for one in (_trouble_there(prompt, there), step) if one is not None]
    found += left_behind(prompt, there.places)
    what = "fetch" if prompt.state == "finished" and not _has_no_file(image, prompt) else "render"
    return [msgspec.structs.replace(one, what=what, images=[image.index]) for one in found]


def _stopped_backends(prompt: PromptRow, there: Situation) -> list[wire.OwedInfo]:
    """What stops the backends that may take a prompt; empty if one of them may take it now."""
    lanes = [backend_lane(name) for name in there.fit.backends_of(there.batch, prompt)]
    if not lanes:
        return [_no_backend(there.batch)]
    stops = [[one for one in (_pause(lane, there), _trouble(lane, there)) if one is not None] for lane in lanes]
    return [one for stop in stops for one in stop] if all(stops) else []


def _has_no_file(image: ImageRow, prompt: PromptRow) -> bool:
    """Whether the run has ended without a file for the image's output."""
    return prompt.state == "finished" and all(file.output != image.output for file in prompt.files)


def _after_fetching(prompt: PromptRow) -> wire.OwedInfo:
    why = f" ({prompt.code})" if prompt.code else ""
    sentence = f"Its run gave it no file{why}. It is rendered again once the other files of the run are fetched."
    return wire.OwedInfo("render", "under_way", sentence)


def _held(there: Situation) -> wire.OwedInfo | None:
    batch = there.batch
    if not batch.held:
        return None
    codes = f" ({', '.join(dict.fromkeys(batch.failures))})" if batch.held == "failing" and batch.failures else ""
    why = _HELD.get(batch.held, f"The batch is held: {batch.held}")
    sentence = _said(f"{why}{codes}", batch.held_words, there)
    return wire.OwedInfo("render", "held", sentence, f"comfyledger resume batch:{batch.batch_id}")


def _alone(prompt: PromptRow, there: Situation) -> wire.OwedInfo | None:
    if not prompt.strikes:
        return None
    times = "once" if prompt.strikes == 1 else f"{prompt.strikes} times"
    sentence = f"ComfyUI stopped {times} while it ran this prompt, so it runs alone, after all others."
    if len(there.fit) > 1 and there.fit.backends_of(there.batch, prompt) == (prompt.backend,):
        sentence = f"{sentence} It goes to no other than {prompt.backend}."
    return wire.OwedInfo("render", "alone", sentence)


def _trouble_there(prompt: PromptRow, there: Situation) -> wire.OwedInfo | None:
    """The trouble of the backend that has the prompt, and what becomes of the prompt meanwhile."""
    trouble = _trouble(backend_lane(prompt.backend), there)
    if trouble is None:
        return None
    said, command = waits_there(prompt, there.places)
    return msgspec.structs.replace(trouble, text=f"{trouble.text} {said}".rstrip(), command=command)


def _no_backend(batch: BatchRow) -> wire.OwedInfo:
    """The configuration is another one than when the batch was accepted."""
    asked = [f"is {batch.backend}"] if batch.backend else []
    asked += [f"has the tags {', '.join(batch.needs)}"] if batch.needs else []
    asked += ["gets its secrets"] if has_secrets(batch.plan) else []
    sentence = f"No ComfyUI {' and '.join(asked)}. Configure or add one, or cancel the batch."
    return wire.OwedInfo("render", "no_backend", sentence, f"comfyledger cancel {batch.batch_id}")


def _refused_by(prompt: PromptRow, there: Situation) -> list[wire.OwedInfo]:
    """Which backends have refused a prompt that waits for others."""
    reasons = there.fit.reasons(there.batch, prompt)
    return [wire.OwedInfo("render", "unfit", f"Not every ComfyUI takes it. {of_each(reasons)}")] if reasons else []


def _turn(prompt: PromptRow, there: Situation) -> wire.OwedInfo:
    turns, names, every = there.turns, there.fit.backends_of(there.batch, prompt), there.fit.names
    others = f"{_count(max(0, turns.own - 1), 'other prompt')} of its batch and {_count(turns.batches, 'open batch')}"
    where = "" if names == every else f" at {'one of ' if len(names) > 1 else ''}{', '.join(names[:TOLD_MAX])}"
    return wire.OwedInfo("render", "turn", f"It waits for its turn{where}: {others} take turns with it.")


def _count(number: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{number} {what}{'' if number == 1 else plural}"


def _at_comfyui(prompt: PromptRow) -> wire.OwedInfo | None:
    attempt = f"attempt {prompt.attempt}, prompt id {prompt.prompt_id}"
    match prompt.state:
        case "submitting":
            return wire.OwedInfo("render", "submitting", f"It is being sent to ComfyUI {prompt.backend} ({attempt}).")
        case "accepted":
            return wire.OwedInfo(
                "render", "at_comfyui", f"It is queued or running at ComfyUI {prompt.backend} ({attempt})."
            )
        case "cancelling":
            return wire.OwedInfo(
                "render", "at_comfyui", f"It is being removed from ComfyUI {prompt.backend} ({attempt})."
            )
        case "finished":
            return wire.OwedInfo(
                "fetch", "under_way", f"It is rendered; its file is being fetched from ComfyUI {prompt.backend}."
            )
        case _:
            return None


# ---- until it is stored


def _uploading(image: ImageRow, upload: Upload, there: Situation) -> list[wire.OwedInfo]:
    lane = store_lane(upload.store)
    match upload.state:
        case "stored" | "dropped":
            return []
        case "parked":
            said = _said(f"The store {upload.store} does not accept it ({upload.code})", upload.words, there)
            command = _another_number(image) if upload.code == "collision" else _retry(image)
            return [wire.OwedInfo("decide", upload.code, said, command, lane, images=[image.index])]
        case _:
            why = (_pause(EVERYTHING, there), _pause(lane, there), _trouble(lane_at(lane, image.box), there))
            away = only_at(image, there.gone)
            turn = _upload_turn(upload, lane) if away is None else msgspec.structs.replace(away, lane=lane)
            found = [one for one in why if one is not None] or [turn]
            return [msgspec.structs.replace(one, what="upload", images=[image.index]) for one in found]


def _deleting(image: ImageRow, upload: Upload, there: Situation) -> list[wire.OwedInfo]:
    if upload.state != "deleting":
        return []
    lane = store_lane(upload.store)
    why = (_pause(EVERYTHING, there), _pause(lane, there), _trouble(lane_at(lane, image.box), there))
    turn = wire.OwedInfo("delete", "turn", f"It waits to be deleted from the store {upload.store}.", lane=lane)
    found = [one for one in why if one is not None] or [turn]
    return [msgspec.structs.replace(one, what="delete", images=[image.index]) for one in found]


def _upload_turn(upload: Upload, lane: str) -> wire.OwedInfo:
    if upload.state == "uploading":
        sentence = f"It is being uploaded to the store {upload.store} (attempt {upload.attempts})."
        return wire.OwedInfo("upload", "under_way", sentence, lane=lane)
    return wire.OwedInfo(
        "upload", "turn", f"It is in the spool and waits for its turn at the store {upload.store}.", lane=lane
    )


# ---- lanes


def _no_spool(prompt: PromptRow, there: Situation) -> wire.OwedInfo | None:
    """Of a fleet, only if the disk of every box that may take the prompt has no room."""
    boxes = {"", *map(box_of, there.fit.backends_of(there.batch, prompt))}
    troubles = [_trouble(lane_at(SPOOL, box), there) for box in sorted(boxes)]
    of_boxes = troubles[1:] if len(boxes) > 1 else troubles
    return troubles[0] or (of_boxes[0] if all(of_boxes) else None)


def _pause(lane: str, there: Situation) -> wire.OwedInfo | None:
    row = there.lanes.get(lane)
    if row is None or not row.person:
        return None
    command = f"comfyledger resume {shlex.quote(lane.replace('/', ':', 1))}"
    return wire.OwedInfo("", "paused", f"{lane_name(lane)} was paused by a person.", command, lane, row.since_ms)


def _trouble(lane: str, there: Situation) -> wire.OwedInfo | None:
    """A lane in trouble is tried again automatically, so there is no command. The text says what to repair."""
    row = there.lanes.get(lane)
    if row is None or not row.code:
        return None
    said = _said(f"{lane_name(lane)} does not work ({row.code})", row.words, there)
    return wire.OwedInfo("", row.code, f"{said} The daemon tries again automatically.", "", lane, row.since_ms)
