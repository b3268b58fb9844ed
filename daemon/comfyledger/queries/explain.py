"""The past: pages of the log, and the whole story of an image, a batch or a number without an image.

Reads by index and changes nothing. `reasons` has the sentences that say why something waits; the client turns events
into text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, get_args

import msgspec

from comfyledger import wire
from comfyledger.comfyui.graph.plan import Plan
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import NUMBER_DIGITS_MAX, series_of
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import EVERYTHING, SPOOL, LoadedFile, backend_lane, lane_at, store_lane, user_lane
from comfyledger.errors import Refused
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Descent, ImageFilter, LogWanted, Reader
from comfyledger.queries import reasons, recipe, serialize
from comfyledger.queries import webhooks as webhook_lists
from comfyledger.queries.dependencies import Dependencies
from comfyledger.queries.names_asked import numbered, place_named, places_in_series
from comfyledger.queries.situation import situation_of
from comfyledger.queries.subscription import checked, reached

PAGE_LINES: Final = 500
STREAM_LINES_MAX: Final = 50_000
"""Lines read of one batch: several times those of the largest batch, unless `quantity_max` was raised far."""
LANE_LINES_MAX: Final = 50
"""Lines of one lane in one story."""
STORY_EVENTS_MAX: Final = 400
"""Events in one story: the first half of them and the last."""
WHOLE_MAX: Final = 100
"""The story of a batch with more events than this omits the everyday ones."""
EVERYDAY: Final = frozenset(
    (
        "sources_fixed",
        "prompt_submitting",
        "prompt_accepted",
        "prompt_finished",
        "image_kept",
        "upload_started",
        "image_uploaded",
    )
)
LOADS_MAX: Final = 100
PROMPT_SLICE: Final = 50_000
PROMPT_LINES_MAX: Final = 1_000_000
"""How far back a prompt id is searched, in reads of `PROMPT_SLICE` lines so that others may read in between."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _Words(msgspec.Struct):
    words: str | None = None


_words = msgspec.json.Decoder(_Words)


class _Left(msgspec.Struct):
    backend: str


class _Kept(msgspec.Struct):
    box: str = ""


# ---- pages


async def read_log(context: Dependencies, message: wire.ReadLog) -> wire.LogPage:
    """A page of the log. Raises Refused(epoch_changed, unknown_position, behind, invalid_field)."""
    asked = wire.Subscribe(message.after, message.epoch, message.batch_id, message.username, message.kinds)
    await reached(asked, context.view, context.fleet.own)
    after, fits = checked(asked, context.view)
    keys = _series_asked(context, message.username, message.character)
    wanted = LogWanted(
        after=after,
        upto=message.upto,
        stream=fits.batch_id,
        user=fits.user_key,
        series=frozenset(keys) if keys is not None else None,
        kinds=fits.kinds,
        since_ms=message.since_ms,
        until_ms=message.until_ms,
        reverse=message.reverse,
        limit=message.limit,
    )
    found = await context.reader.log_lines(wanted)
    return wire.LogPage(context.view.epoch, await _shown(context.reader, found.lines), found.position, found.more)


def _series_asked(context: Dependencies, username: str | None, character: str | None) -> tuple[str, ...] | None:
    """The series of a user and character, premade and own, of all media."""
    if character is None:
        return None
    if username is None:
        hint = "Give `username` too: a character has a series for each user."
        raise Refused("invalid_field", "`character` goes together with `username`.", hint=hint, path="$.data.username")
    try:
        found = [
            series_of(context.policy.templates, username, character, premade, medium)
            for medium in get_args(Medium)
            for premade in (True, False)
        ]
    except Refused as refusal:
        raise refusal.below("$.data") from refusal
    return tuple(dict.fromkeys(series.key for series in found))


async def _shown(reader: Reader, lines: Iterable[Line]) -> list[wire.PastEvent]:
    pairs = [(line, _words.decode(line.data).words) for line in lines]
    texts = await serialize.texts_of(reader, (words for _, words in pairs))
    return [
        wire.PastEvent(
            line.position,
            line.kind,
            line.at_ms,
            line.stream,
            msgspec.Raw(line.data.encode()),
            {words: texts[words]} if words in texts else {},
        )
        for line, words in pairs
    ]


# ---- stories


async def explain(context: Dependencies, message: wire.Explain) -> wire.Explanation:
    """The story of what is named. Raises Refused(unknown_image, invalid_field)."""
    if message.username is not None or message.character is not None:
        return await _numbered(context, message)
    what = message.what.strip()
    batch_id, _, index = what.rpartition("/")
    if _is_number(index) and await context.reader.image(batch_id.upper(), int(index)) is not None:
        return await _image_story(context, batch_id.upper(), int(index))
    for batch in (what, what.upper()):
        if await context.reader.batch(batch) is not None:
            return await _batch_story(context, batch)
    if _UUID.fullmatch(what):
        return await _prompt_story(context, what.lower())
    return await _named(context, what)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX


def _unknown(what: str, hint: str, sentence: str = "There is no image, batch or prompt {}.") -> Refused:
    return Refused("unknown_image", sentence.format(repr(what[:200])), hint=hint, path="$.data.what")


async def _numbered(context: Dependencies, message: wire.Explain) -> wire.Explanation:
    """A number of a user and character."""
    if message.character is None or not _is_number(message.what):
        hint = "With `username` and `character`, `what` is a number like 17."
        raise Refused("invalid_field", "`username`, `character` and a number go together.", hint=hint, path="$.data")
    keys = _series_asked(context, message.username, message.character)
    return await _in_series(context, keys or (), int(message.what), message.what)


async def _prompt_story(context: Dependencies, prompt_id: str) -> wire.Explanation:
    """The story of the first image of an attempt. Searched backwards, because the prompt is probably recent."""
    first = max(0, context.view.position - PROMPT_LINES_MAX)
    for upto in range(context.view.position, first, -PROMPT_SLICE):
        place = await context.reader.prompt_place(prompt_id, max(first, upto - PROMPT_SLICE), upto)
        row = await context.reader.prompt(*place) if place is not None else None
        if row is not None:
            return await _image_story(context, row.batch_id, row.images[0])
    raise _unknown(
        prompt_id, f"Prompt ids are searched in the last {PROMPT_LINES_MAX:,} events. Give the name of an image."
    )


async def _named(context: Dependencies, what: str) -> wire.Explanation:
    """By a name as it was given, with an extension or without, else by the series and number that it contains."""
    place = await place_named(context.reader, what)
    if place is not None:
        return await _image_story(context, *place)
    found = await numbered(context.reader, what)
    hint = (
        "`comfyledger images` and `comfyledger batches` list names and ids; <batch_id>/<index> and ComfyUI's prompt id"
        " work, too."
    )
    if found is None:
        raise _unknown(what, hint)
    if not found.keys:
        raise _unknown(what, f"No series has this name. {hint}")
    return await _in_series(context, found.keys, found.number, what)


async def _in_series(context: Dependencies, keys: Sequence[str], number: int, what: str) -> wire.Explanation:
    """The image with a number in one of several series, or why there is none."""
    found = await places_in_series(context.reader, keys, number)
    if len(found) > 1:
        ids = ", ".join(f"{batch_id}/{index}" for batch_id, index in found)
        raise _unknown(what, f"Give one of: {ids}.", "Several images match {}.")
    if found:
        return await _image_story(context, *found[0])
    return await _missing(context, keys, number)


async def _missing(context: Dependencies, keys: Sequence[str], number: int) -> wire.Explanation:
    """A number that has no image: skipped, or not given yet."""
    rows = [row for key in keys if (row := await context.reader.series(key)) is not None]
    row = max(rows, key=lambda row: row.next, default=None)
    key = row.key if row is not None else keys[0]
    page = await context.reader.log_lines(LogWanted(stream=f"series/{key}", limit=LANE_LINES_MAX))
    passed = row is not None and number < row.next
    return wire.Explanation(
        subject="gap" if passed else "never",
        epoch=context.view.epoch,
        events=await _shown(context.reader, page.lines),
        owed=_asking(context, keys),
        series=key,
        number=number,
        next=row.next if row is not None else 0,
        code=skipped(number, (msgspec.json.decode(line.data) for line in page.lines)) if passed else "",
    )


def skipped(number: int, lines: Iterable[dict[str, Any]]) -> str:
    """Why a series never gave a number, by its own events: `held`, `raised` or `unknown`."""
    events = list(lines)
    seen = (event for event in events if event.get("reason") != "restore")  # It raises what was given, and more.
    if any(one["highest"] >= number for event in seen for one in event.get("evidence", ())):
        return "held"
    return "raised" if any(event.get("next", 0) > number for event in events) else "unknown"


def _asking(context: Dependencies, keys: Sequence[str]) -> list[wire.OwedInfo]:
    return [
        wire.OwedInfo("number", "asking", f"A batch waits for its numbers: {one.reason}.", since_ms=one.since_ms)
        for one in context.waiting(keys)
    ]


async def _image_story(context: Dependencies, batch_id: str, index: int) -> wire.Explanation:
    batch, image = await context.reader.batch(batch_id), await context.reader.image(batch_id, index)
    prompts = await context.reader.prompts(batch_id)
    if batch is None or image is None:
        raise _unknown(f"{batch_id}/{index}", "`comfyledger images` lists them.")
    prompt = next(row for row in prompts if row.index == image.prompt)
    lines = await _batch_lines(context, batch, lambda line: concerns(line, index, image.prompt))
    there = await situation_of(context.reader, batch, [prompt], [image], context.view)
    open_still = image.state in {"pending", "kept", "forgetting"}
    shown, left_out = bounded(await _with_lanes(context, batch, [prompt], lines, open_still), STORY_EVENTS_MAX)
    key = batch.series_of(image.output)
    series = await context.reader.series(key)
    made = await context.reader.descent(batch_id, index)
    return wire.Explanation(
        subject="image",
        epoch=context.view.epoch,
        events=await _shown(context.reader, shown),
        owed=[*reasons.owed(image, prompt, there), *webhook_lists.owed(context, batch, lines)],
        batch=await _batch_info(context, batch),
        image=serialize.with_run(serialize.image_info(image, there.texts), batch, prompt),
        series=key,
        number=image.number,
        next=series.next if series is not None else 0,
        left_out=left_out,
        **_loading(batch, () if image.is_forgotten else prompt.loads),
        **_descent(made),
    )


async def _batch_story(context: Dependencies, batch_id: str) -> wire.Explanation:
    batch = await context.reader.batch(batch_id)
    if batch is None:
        raise _unknown(batch_id, "`comfyledger batches` lists them.")
    prompts = await context.reader.prompts(batch_id)
    lines = await _batch_lines(context, batch, lambda _: True)
    shown, left_out = bounded(await _with_lanes(context, batch, prompts, lines, not batch.settled), WHOLE_MAX)
    images = await context.reader.images(ImageFilter(batch_id=batch_id, limit=batch.images))
    there = await situation_of(context.reader, batch, prompts, images, context.view)
    made = await context.reader.descent(batch_id, None)
    return wire.Explanation(
        subject="batch",
        epoch=context.view.epoch,
        events=await _shown(context.reader, shown),
        owed=[*_owed_together(images, prompts, there), *webhook_lists.owed(context, batch, lines)],
        batch=await _batch_info(context, batch),
        series=batch.series,
        left_out=left_out,
        **_loading(batch, _loads_of(prompts, images)),
        **_descent(made),
    )


def _loads_of(prompts: Iterable[PromptRow], images: Iterable[ImageRow]) -> Iterator[LoadedFile]:
    """What prompts load whose images are not all forgotten."""
    alive = {image.prompt for image in images if not image.is_forgotten}
    yield from (load for prompt in prompts if prompt.index in alive for load in prompt.loads)


def _loading(batch: BatchRow, loads: Iterable[LoadedFile]) -> dict[str, Any]:
    """The files that a story names, each once for each input."""
    found = list(dict.fromkeys(loads))
    if not found:
        return {}
    shown = recipe.files(msgspec.convert(batch.plan, Plan), found[:LOADS_MAX], {})
    return {"loads": shown, "loads_more": len(found) > LOADS_MAX}


def _descent(made: Descent) -> dict[str, Any]:
    """What was made from it, as a story names it."""
    return {
        "made_like": list(made.like),
        "made_like_more": made.like_more,
        "loaded_by": list(made.loading),
        "loaded_by_more": made.loading_more,
    }


def _owed_together(images: list[ImageRow], prompts: list[PromptRow], there: reasons.Situation) -> list[wire.OwedInfo]:
    of = {prompt.index: prompt for prompt in prompts}
    every = (one for image in images for one in reasons.owed(image, of[image.prompt], there))
    return reasons.together(every, there.batch.batch_id)


async def _batch_info(context: Dependencies, batch: BatchRow) -> wire.BatchInfo:
    tagged = await serialize.tagged(context.reader, [batch])
    return serialize.batch_info(batch, tagged.get(batch.batch_id, serialize.Tagged()))


# ---- which events belong to a story


async def _batch_lines(context: Dependencies, batch: BatchRow, keep: Callable[[Line], bool]) -> list[Line]:
    """The events of a batch in short reads, up to a limit."""
    kept: list[Line] = []
    after, count = batch.position - 1, 0
    while count < STREAM_LINES_MAX:
        page = await context.reader.log_lines(LogWanted(after=after, stream=batch.batch_id, limit=PAGE_LINES))
        kept += [line for line in page.lines if keep(line)]
        after, count = page.position, count + len(page.lines)
        if not page.more:
            break
    return kept


async def _with_lanes(
    context: Dependencies, batch: BatchRow, prompts: list[PromptRow], lines: list[Line], open_still: bool
) -> list[Line]:
    """The events with the lane events in between, which show why an hour passed."""
    kept = (line for line in lines if line.kind in {"image_kept", "image_taken_over"})
    boxes = dict.fromkeys(["", *(msgspec.json.decode(line.data, type=_Kept).box for line in kept)])
    stores = [SPOOL, *(store_lane(store.name) for store in batch.stores)]
    names = [EVERYTHING, user_lane(batch.user_key), *(lane_at(lane, box) for box in boxes for lane in stores)]
    backends = [one for prompt in prompts for one in ([prompt.backend] if prompt.backend else context.policy.backends)]
    left = (msgspec.json.decode(line.data, type=_Left).backend for line in lines if line.kind == "prompt_moved")
    names += dict.fromkeys(map(backend_lane, [*backends, *left]))
    steps = [line.position for line in lines if line.kind != "image_reviewed"]  # which may come months later
    upto = None if open_still or not steps else steps[-1]
    beside: list[Line] = []
    for name in names:
        wanted = LogWanted(after=batch.position, upto=upto, stream=f"lane/{name}", limit=LANE_LINES_MAX, reverse=True)
        beside += (await context.reader.log_lines(wanted)).lines
    return sorted([*lines, *beside], key=lambda line: line.position)


def concerns(line: Line, image: int, prompt: int) -> bool:
    """Whether an event of a batch concerns one of its images: the image itself, its prompt, or the whole batch."""
    if line.kind in {"batch_requested", "batch_held"}:
        return True
    data = msgspec.json.decode(line.data)
    if "image" in data:
        return bool(data["image"] == image)
    if "images" in data or "upload" in data:
        return image in data.get("images", ()) or image in data.get("upload", ())
    return "prompt" not in data or bool(data["prompt"] == prompt)


def bounded(lines: list[Line], whole_max: int) -> tuple[list[Line], dict[str, int]]:
    """The lines of a story, and how many of each kind were left out: everyday ones first, then the middle."""
    kept = lines if len(lines) <= whole_max else [line for line in lines if line.kind not in EVERYDAY]
    if len(kept) > STORY_EVENTS_MAX:
        kept = kept[: STORY_EVENTS_MAX // 2] + kept[-STORY_EVENTS_MAX // 2 :]
    left_out = Counter(line.kind for line in lines) - Counter(line.kind for line in kept)
    return kept, dict(left_out)
