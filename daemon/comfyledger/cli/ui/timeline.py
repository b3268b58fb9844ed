"""Events as sentences, and as a timeline: what happened, when, and how long after the step before.

The sentence of each kind of event is here and nowhere else. Plain values in and out: no screen, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from comfyledger import wire
from comfyledger.cli.ui.terminal import duration
from comfyledger.core.media import medium_of
from comfyledger.core.values import RATING_MAX, lane_and_box

Fields = dict[str, Any]
NUMBERS_MAX: Final = 12
"""Up to this many indexes are listed one by one."""

_HELD: Final = {
    "person": "a person paused the batch",
    "removed": "held: somebody took a prompt of the batch out of ComfyUI's queue",
    "interrupted": "held: somebody interrupted a prompt of the batch at ComfyUI",
    "failing": "held: the first prompts of the batch all failed alike",
    "unfit": "held: ComfyUI would refuse the workflow",
}


class Step(NamedTuple):
    """One line of a timeline. `after`: the time since the step before it; empty for the first."""

    at_ms: int
    after: str
    words: str


SAME_MS: Final = 1_000
"""Clocks that differ by less are taken for the same one."""


def timeline(events: Sequence[wire.PastEvent], *, whole: bool = False) -> list[Step]:
    """The events as steps. With `whole`, for a whole batch, each step names its image or prompt."""
    before = [None, *(event.at_ms for event in events)]
    return [
        Step(event.at_ms, passed(event.at_ms - earlier) if earlier is not None else "", sentence(event, whole=whole))
        for event, earlier in zip(events, before, strict=False)
    ]


def passed(ms: int) -> str:
    """The time between two steps. The clock may have been set back between them, or is that of another box of a fleet:
    boxes read their clocks before they wait for their turn at the log.
    """
    if ms <= -SAME_MS:
        return "by an earlier clock"
    return f"+{max(ms, 0)} ms" if ms < 1000 else f"+{duration(ms / 1000)}"


def sentence(event: wire.PastEvent, *, whole: bool = False) -> str:
    """An event in words. An unknown kind, which a newer daemon writes, is shown by its name."""
    data: Fields = msgspec.json.decode(event.raw)
    words = WORDS[event.kind](data) if event.kind in WORDS else event.kind.replace("_", " ")
    said = " ".join(event.texts.values())
    about = _about(event.kind, data) if whole else ""
    return f"{about}{words}: {said}" if said else f"{about}{words}"


def took(events: Iterable[wire.PastEvent]) -> str:
    """How long an image took until it was sent, rendered and stored, as far as it got."""
    at: dict[str, int] = {}
    for event in events:
        kind = "prompt_finished" if _is_used(event) else event.kind
        if kind not in {"batch_requested", "prompt_submitting"} or kind not in at:
            at[kind] = event.at_ms
    marks = ("batch_requested", "prompt_submitting", "prompt_finished", "image_uploaded")
    names = ("until it went to ComfyUI", "until it was rendered", "until it was stored")
    parts = [
        f"{passed(at[end] - at[begin]).removeprefix('+')} {name}"
        for begin, end, name in zip(marks, marks[1:], names, strict=False)
        if begin in at and end in at
    ]
    return ", ".join(parts)


def _is_used(event: wire.PastEvent) -> bool:
    """Whether an attempt that was left behind had finished, and its files are the prompt's."""
    return event.kind == "stray_ended" and msgspec.json.decode(event.raw)["outcome"] == "used"


_ENDED: Final = {"image_failed", "image_cancelled", "image_forgotten", "image_lost"}
_OF_IMAGES: Final = _ENDED | {"image_reviewed", "store_dropped", "store_owed"}
"""Events that name their images in `images`."""


def _about(kind: str, data: Fields) -> str:
    if "image" in data:
        return f"image {data['image']}: "
    if kind in _OF_IMAGES:
        return f"{'image' if len(data['images']) == 1 else 'images'} {_indexes(data['images'])}: "
    return f"prompt {data['prompt']}: " if "prompt" in data else ""


def _indexes(numbers: Sequence[int]) -> str:
    if len(numbers) <= NUMBERS_MAX:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]} to {numbers[-1]} ({len(numbers)})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# ---- the words


def _by(data: Fields) -> str:
    """Who did it. Earlier versions did not record that in every event."""
    return f" by {data['by']}" if data.get("by") else ""


def _batch_held(data: Fields) -> str:
    if data["reason"] == "person" and data.get("by"):
        return f"the batch was paused{_by(data)}"
    return _HELD.get(data["reason"], f"held: {data['reason']}")


def _held_by_stores(data: Fields) -> str:
    held = ((one["store"], one["highest"]) for one in data.get("evidence", ()))
    return ", ".join(f"{store} held " + (f"numbers up to {highest}" if highest else "none") for store, highest in held)


def _series_opened(data: Fields) -> str:
    found = (
        "the stores were not asked" if data.get("asked") is False else _held_by_stores(data) or "there are no stores"
    )
    return f"the series was opened{_by(data)}: {found}; its first number is {data['next']}"


def _series_raised(data: Fields) -> str:
    found = _held_by_stores(data)
    why = f"{data['reason']} by {data['by']}" + (f", {found}" if found else "")
    return f"the series was raised: its next number is {data['next']} ({why})"


def _ledger_restored(data: Fields) -> str:
    found = ", ".join(f"{one['store']} showed numbers up to {one['highest']}" for one in data["evidence"])
    since = f"the ledger was restored from a backup at position {data['position_before']} by {data['by']}"
    return f"{since}: epoch {data['epoch']}, margin {data['margin']}" + (f", {found}" if found else "")


def _numbers_given(data: Fields) -> Iterator[str]:
    """The numbers of each series of a batch; of several, with the medium."""
    outputs = data.get("outputs") or [{"series": "", "medium": "image"}]
    numbers: dict[str, list[int]] = {}
    for image in data["images"]:
        numbers.setdefault(outputs[image.get("output", 1) - 1]["series"], []).append(image["number"])
    media = {output["series"]: output["medium"] for output in outputs}
    for series, given in numbers.items():
        span = f"number {given[0]}" if len(given) == 1 else f"numbers {min(given)} to {max(given)}"
        yield span if len(numbers) == 1 else f"{media[series]} {span}"


def _batch_requested(data: Fields) -> str:
    span = ", ".join(_numbers_given(data))
    stores = ", ".join(store["name"] for store in data["stores"]) or "no store"
    images, prompts = _count(len(data["images"]), "image"), _count(len(data["prompts"]), "prompt")
    who = f"{data['username']} · {data['character']}"
    return f"asked for by {data['label']}: {images} for {who}, {span}, in {prompts}, for {stores}"


def _batch_settled(data: Fields) -> str:
    states = ("stored", "parked", "failed", "cancelled", "forgotten")
    counts = [f"{data[state]} {state}" for state in states if data.get(state)]
    return f"the batch is settled: {', '.join(counts) or 'nothing was left'}"


def _batch_reopened(data: Fields) -> str:
    parts = (("to be rendered again", data.get("images", ())), ("to be stored again", data.get("upload", ())))
    said = "; ".join(f"images {_indexes(images)} {what}" for what, images in parts if images)
    source = data.get("source")
    of = f" with {source['batch_id']}/{source['image']}, which they are made from" if source else ""
    return f"retried by {data['by']}{of}" + (f": {said}" if said else "")


def _prompt_submitting(data: Fields) -> str:
    only = f" for output {_indexes(data['outputs'])} alone" if data.get("outputs") else ""
    return f"attempt {data['attempt']} goes to ComfyUI {data['backend']}{only} (prompt id {data['prompt_id']})"


def _prompt_finished(data: Fields) -> str:
    names = ", ".join(file["filename"] for file in data["files"])
    return (
        f"ComfyUI rendered {names}, then the run failed ({data['code']})"
        if data.get("code")
        else f"ComfyUI rendered it: {names}"
    )


def _files_waiting(data: Fields) -> str:
    files, images = _count(len(data["files"]), "file"), _count(len(data["images"]), "image")
    return f"{files} came for {images}: they are in the spool until `retry --take`"


def _files_taken(data: Fields) -> str:
    return f"{data['by']} took {data['take']} of the waiting files: {_indexes(data['files'])}"


def _image_added(data: Fields) -> str:
    return f"{data['by']} took one more file: number {data['number']}, {data['folder']}/{data['file']}"


def _prompt_refused(data: Fields) -> str:
    then = ", it goes to another one" if data.get("again") else ""
    return f"ComfyUI refused attempt {data['attempt']} ({data['code']}){then}"


def _prompt_failed(data: Fields) -> str:
    then = "another attempt follows" if data["again"] else "there is no further attempt"
    return f"attempt {data['attempt']} failed ({data['code']}), {then}"


def _prompt_lost(data: Fields) -> str:
    running = "while it ran" if data.get("running") else "while it waited"
    return f"ComfyUI stopped {running} and no longer knows attempt {data['attempt']}: another one follows"


def _prompt_removed(data: Fields) -> str:
    if data["by"] == "cancel":
        return f"attempt {data['attempt']} was taken out of ComfyUI"
    return f"somebody took attempt {data['attempt']} out of ComfyUI, at its own page"


_LEFT_BECAUSE: Final = {
    "away": "which does not work",
    "person": "by a person",
    "removed": "which is not configured any more",
    "replaced": "whose name another server has now",
    "overtaken": "because an earlier attempt has finished",
}
_STRAYS: Final = {
    "used": "had finished: its files are used",
    "late": "finished too late: its files are not used",
    "gone": "is not there any more",
    "given_up": "cannot be asked for any more",
}


def _prompt_moved(data: Fields) -> str:
    reason = _LEFT_BECAUSE.get(data["reason"], data["reason"])
    return f"attempt {data['attempt']} was left at ComfyUI {data['backend']}, {reason}" + (
        " and had been running it" if data.get("running") else ""
    )


def _stray_ended(data: Fields) -> str:
    what = _STRAYS.get(data["outcome"], data["outcome"])
    return f"attempt {data['attempt']}, which was left at ComfyUI {data['backend']}, {what}"


def _image_kept(data: Fields) -> str:
    sides = f"{data['width']} x {data['height']} " if data["width"] else ""
    file = f"{sides}{data['extension']}, {data['size_bytes']:,} bytes"
    return f"kept in the spool: {file}, sha256 {data['sha256']}{_how_far_checked(data)}"


def _how_far_checked(data: Fields) -> str:
    checked = data.get("checked", "whole")
    if checked == "whole":
        return ""
    is_picture = checked == "structure" and medium_of(data["extension"]) == "image"
    return f", {'too large to be decoded: ' if is_picture else ''}only its {checked} was checked"


def _image_uploaded(data: Fields) -> str:
    already = ", which had it already" if data.get("replayed") else ""
    return f"stored in {data['store']}{already}: {data['url']}"


def _image_renumbered(data: Fields) -> str:
    name = f"{data['folder']}/{data['file']}"
    return f"{data['before']} is taken by something else: number {data['number']} by {data['by']}, now {name}"


def _image_forgotten(data: Fields) -> str:
    asked = "the stores are asked to delete it" if data["stores"] else "what stores have stays there"
    return f"forgotten by {data['by']}, its number stays used: {asked}"


def _image_deleted(data: Fields) -> str:
    return f"deleted from {data['store']}" + ("" if data.get("found", True) else ", which did not have it")


def _image_reviewed(data: Fields) -> str:
    verdict, rating = data.get("verdict"), data.get("rating")
    said = []
    if verdict is not None:
        said.append("the verdict was taken back" if verdict == "none" else verdict)
    if rating is not None:
        said.append(f"rated {rating} of {RATING_MAX}" if rating else "the rating was taken back")
    return f"{' and '.join(said)}{_by(data)}"


def _lane(data: Fields) -> str:
    lane, box = lane_and_box(data["lane"])
    kind, _, name = lane.partition("/")
    called = {"backend": f"ComfyUI {name}", "store": f"the store {name}", "user": f"the user {name}"}
    words = called.get(kind) or {"spool": "the spool"}.get(kind, kind)
    return f"{words} at box {box}" if box else words


def _lane_paused(data: Fields) -> str:
    return f"{_lane(data)} " + (
        f"was paused{_by(data) or ' by a person'}" if data["cause"] == "person" else f"stopped ({data['code']})"
    )


def _lane_resumed(data: Fields) -> str:
    return f"{_lane(data)} " + (
        f"was resumed{_by(data) or ' by a person'}" if data["cause"] == "person" else "works again"
    )


def _input_removed(data: Fields) -> str:
    place = f"ComfyUI {data['backend']}" if data.get("backend") else "the folder of input files"
    if data.get("given_up"):
        return f"not removed from {place}, which was given up{_by(data)}"
    return f"removed from {place}" + ("" if data.get("found", True) else ", which did not have it")


def _sources_fixed(data: Fields) -> str:
    count = sum(load.get("source") is not None for load in data["loads"])
    return f"the {_count(count, 'image')} that it is made from {'is' if count == 1 else 'are'} there"


def _backend_added(data: Fields) -> str:
    ttl = f", for {data['ttl_s']} s unless it is added again" if data.get("ttl_s") else ""
    return f"ComfyUI {data['name']} at {data['url']} was added by {data['by']}{ttl}"


_BACKEND_ENDED: Final = {
    "expired": "ended, because it was not added again in time",
    "not_allowed": "is used no more: [backends] allowed does not name its address",
    "configured": "is used as the configuration has it",
}


def _backend_removed(data: Fields) -> str:
    return f"ComfyUI {data['name']} {_BACKEND_ENDED.get(data['reason']) or f'was removed{_by(data)}'}"


_WEBHOOK_PAUSED: Final = {
    "gone": "stopped: its endpoint answered 410 (Gone)",
    "dead": "stopped: its endpoint took nothing for five days",
}


def _webhook_paused(data: Fields) -> str:
    return f"the webhook {data['name']} {_WEBHOOK_PAUSED.get(data['reason']) or f'was paused{_by(data)}'}"


_BOX_LEFT: Final = {"lease": "was not heard from any more", "stopped": "was stopped"}


def _box_left(data: Fields) -> str:
    return f"the box {data['box']} {_BOX_LEFT.get(data['reason']) or f'left the fleet{_by(data)}'}"


WORDS: Final[dict[str, Callable[[Fields], str]]] = {
    "series_opened": _series_opened,
    "series_raised": _series_raised,
    "batch_requested": _batch_requested,
    "batch_held": _batch_held,
    "batch_resumed": lambda data: f"the batch continues{f', resumed{_by(data)}' if _by(data) else ''}",
    "batch_prioritized": lambda data: f"the priority is {wire.PRIORITIES[data['priority']]} now, set{_by(data)}",
    "batch_cancelled": lambda data: f"the batch was cancelled by {data['by']}",
    "batch_settled": _batch_settled,
    "batch_reopened": _batch_reopened,
    "prompt_submitting": _prompt_submitting,
    "prompt_accepted": lambda data: f"ComfyUI has attempt {data['attempt']}",
    "prompt_refused": _prompt_refused,
    "prompt_finished": _prompt_finished,
    "files_waiting": _files_waiting,
    "files_taken": _files_taken,
    "image_added": _image_added,
    "prompt_failed": _prompt_failed,
    "prompt_lost": _prompt_lost,
    "prompt_removed": _prompt_removed,
    "prompt_moved": _prompt_moved,
    "stray_ended": _stray_ended,
    "image_kept": _image_kept,
    "upload_started": lambda data: f"attempt {data['attempt']} to store it in {data['store']}",
    "image_uploaded": _image_uploaded,
    "image_parked": lambda data: f"{data['store']} does not take it ({data['code']}), it stays in the spool",
    "store_dropped": lambda data: f"given up for the store {data['store']} by {data['by']}",
    "store_owed": lambda data: f"owed to the store {data['store']['name']} again by {data['by']}",
    "image_lost": lambda _: "its bytes are lost everywhere: it is rendered again, under its number",
    "image_taken_over": lambda data: f"the box {data['before']} left: the box {data['box']} has the file, from a store",
    "image_renumbered": _image_renumbered,
    "image_failed": lambda data: f"failed ({data['code']}): its number stays used",
    "image_cancelled": lambda data: f"cancelled{_by(data)}: its number stays used",
    "image_forgotten": _image_forgotten,
    "blob_erased": lambda data: f"{_count(len(data['digests']), 'text')} erased by {data['by']}",
    "image_deleted": _image_deleted,
    "image_left": lambda data: f"what {data['store']} has under this name is not deleted ({data['code']})",
    "image_reviewed": _image_reviewed,
    "lane_paused": _lane_paused,
    "lane_resumed": _lane_resumed,
    "ledger_restored": _ledger_restored,
    "input_added": lambda data: f"the input file was added by {data['by']}",
    "input_sent": lambda data: f"it is uploaded to ComfyUI {data['backend']} as {data['name']}",
    "input_forgotten": lambda data: f"forgotten{_by(data)}",
    "input_erased": lambda data: f"nothing needs the input file any more, it is removed ({data['reason']})",
    "input_removed": _input_removed,
    "sources_fixed": _sources_fixed,
    "backend_added": _backend_added,
    "backend_removed": _backend_removed,
    "webhook_added": lambda data: f"the webhook {data['name']} to {data['url']} was added by {data['by']}",
    "webhook_removed": lambda data: f"the webhook {data['name']} was removed by {data['by']}",
    "webhook_paused": _webhook_paused,
    "webhook_resumed": lambda data: f"the webhook {data['name']} was resumed by {data['by']}",
    "box_joined": lambda data: f"the box {data['box']} joined the fleet for the {data['term']}. time",
    "box_left": _box_left,
    "box_given_up": lambda data: f"the box {data['box']} was given up by {data['by']}",
}
"""The sentence of each kind, from the fields of the event. An error text of ComfyUI or a store follows it."""
