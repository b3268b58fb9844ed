"""What made an image, from rows, texts and the events of its run; and the graph that was sent, filled in as then.

An image may have been renumbered since, and its prompt may have got more images. So what an attempt was made of is read
from the log, in the order in which it happened. Nothing is made up: what is not known is listed as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from comfyledger import wire
from comfyledger.comfyui.graph import read
from comfyledger.comfyui.graph.input_names import input_names
from comfyledger.comfyui.graph.nodes import is_link, locate
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run, prefixes
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.core.events import (
    BatchRequested,
    Event,
    ImageAdded,
    ImageKept,
    ImageRenumbered,
    ImageUploaded,
    PromptFinished,
    PromptSubmitting,
    SourcesFixed,
    StrayEnded,
)
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.urls import MASK
from comfyledger.core.values import LoadedFile, image_id
from comfyledger.ledger.eventlog import decode
from comfyledger.ledger.ports import LogWanted, Reader
from comfyledger.queries import listings
from comfyledger.queries.dependencies import Dependencies

Gone = Literal["forgotten", "erased"]
PAGE_LINES: Final = 500
LINES_MAX: Final = 50_000
"""Lines read of one batch: several times those of the largest one, unless `quantity_max` was raised far."""
KINDS: Final = frozenset(
    (
        "batch_requested",
        "sources_fixed",
        "image_added",
        "image_renumbered",
        "prompt_submitting",
        "prompt_finished",
        "image_kept",
        "image_uploaded",
    )
)
SENTENCES: Final[dict[tuple[str, str], str]] = {
    ("inputs", "forgotten"): "The inputs were forgotten, as requested.",
    ("graph", "forgotten"): "The graph was forgotten, as requested.",
    ("files", "forgotten"): "Files that it was made from were forgotten, as requested.",
    ("files", "erased"): "Input files that it was made from are not kept any more.",
    ("attempt", "not_sent"): "It was not sent to ComfyUI.",
    ("attempt", "not_recorded"): "The attempt that made it was not found in the log.",
    ("version", "not_recorded"): "The version of ComfyUI was not recorded.",
    ("left_out", "not_recorded"): "It was not recorded whether nodes were left out, so the graph may have had fewer.",
}


class Attempt(msgspec.Struct, frozen=True):
    """What the log says of one attempt, as it was when the attempt was sent.

    `outputs`: those that were asked for, from 1; empty for all. `first_number`: of the first image of its prompt.
    """

    number: int
    prompt_id: str
    backend: str
    version: str
    left_out: tuple[str, ...] | None
    outputs: tuple[int, ...]
    images: tuple[int, ...]
    loads: tuple[LoadedFile, ...]
    first_number: int
    submitted_at_ms: int


class Run:
    """Takes the events of a batch in their order, and remembers those that made one image."""

    def __init__(self, image: ImageRow, prompt: PromptRow) -> None:
        self._image = image
        self._prompt = prompt.index
        self._attempt = image.attempt or prompt.attempt
        self._images: tuple[int, ...] = ()
        self._loads: tuple[LoadedFile, ...] = ()
        self._first_number = 0
        self._stored: dict[str, int] = {}
        self.attempt: Attempt | None = None
        self.finished_at_ms = self.kept_at_ms = 0

    @property
    def stored_at_ms(self) -> dict[str, int]:
        """By store, of those that have the image now."""
        has = [upload.store for upload in self._image.uploads if upload.state == "stored"]
        return {store: self._stored[store] for store in has if store in self._stored}

    @property
    def is_whole(self) -> bool:
        """Whether later events can add nothing."""
        has_all = all(upload.store in self._stored for upload in self._image.uploads)
        return self._image.state == "stored" and self.attempt is not None and self.kept_at_ms > 0 and has_all

    def take(self, event: Event, at_ms: int) -> None:
        match event:
            case BatchRequested():
                prompt = next(one for one in event.prompts if one.index == self._prompt)
                self._images, self._loads = prompt.images, prompt.loads
                self._first_number = next(one.number for one in event.images if one.index == self._images[0])
            case SourcesFixed(prompt=self._prompt, loads=loads):
                self._loads = loads
            case ImageAdded(prompt=self._prompt, image=index):
                self._images = (*self._images, index)
            case ImageRenumbered(image=index, number=number) if index in self._images[:1]:
                self._first_number = number
            case PromptSubmitting(prompt=self._prompt, attempt=self._attempt):
                self.attempt = self._sent(event, at_ms)
            case PromptFinished(prompt=self._prompt, attempt=self._attempt):
                self.finished_at_ms = at_ms
            case StrayEnded(prompt=self._prompt, attempt=self._attempt, outcome="used"):
                self.finished_at_ms = at_ms
            case ImageKept(image=self._image.index, attempt=self._image.attempt):
                self.kept_at_ms = at_ms
            case ImageUploaded(image=self._image.index, store=store):
                self._stored[store] = at_ms
            case _:
                pass

    def _sent(self, event: PromptSubmitting, at_ms: int) -> Attempt:
        sent = (event.attempt, event.prompt_id, event.backend, event.version, event.left_out, event.outputs)
        return Attempt(*sent, self._images, self._loads, self._first_number, at_ms)


class Made(NamedTuple):
    """What a recipe is made of. `template` and `inputs`: None if they were forgotten. `images`: all of the prompt.
    `gone`: why input files that it loads are not there any more. `info`: what its ComfyUI says of its nodes now.
    """

    batch: BatchRow
    prompt: PromptRow
    image: ImageRow
    images: list[ImageRow]
    template: Mapping[str, Any] | None
    inputs: Mapping[str, Any] | None
    run: Run
    gone: frozenset[Gone] = frozenset()
    info: ObjectInfo | None = None

    @property
    def loads(self) -> tuple[LoadedFile, ...]:
        """The files of the attempt, else those of the next one; none if they were forgotten."""
        if self.image.is_forgotten:
            return ()
        return self.run.attempt.loads if self.run.attempt is not None else self.prompt.loads

    @property
    def backend(self) -> str:
        """The ComfyUI of the attempt; of none the one that is chosen already."""
        return self.run.attempt.backend if self.run.attempt is not None else self.prompt.backend

    @property
    def names(self) -> dict[str, str]:
        """The names of the files at ComfyUI, by address."""
        if self.template is None:
            return {}
        return input_names(self.template, [load for load in self.loads if load.sha256], self.info)


async def recipe(context: Dependencies, message: wire.GetRecipe) -> wire.Recipe:
    """Raises Refused(unknown_image)."""
    reader = context.reader
    image = await listings.find_image(reader, message.image)
    batch = await reader.batch(image.batch_id) if image is not None else None
    prompt = await reader.prompt(image.batch_id, image.prompt) if image is not None else None
    if image is None or batch is None or prompt is None:
        raise listings.unknown_image(message.image)
    run = await _run(reader, batch, prompt, image)
    images = await reader.these_images(batch.batch_id, prompt.images)
    texts = await _texts(reader, batch, prompt, image)
    made = Made(batch, prompt, image, images, *texts, run, await _gone(context, prompt, image))
    classes = context.node_classes.get(made.backend)
    made = made._replace(info=classes.current() if classes is not None else None)
    return recipe_of(made, with_graph=message.graph)


async def _gone(context: Dependencies, prompt: PromptRow, image: ImageRow) -> frozenset[Gone]:
    """Why input files of a prompt could not be loaded by another one."""
    if image.is_forgotten:
        return frozenset(("forgotten",)) if prompt.loads else frozenset()
    found: set[Gone] = set()
    for sha256 in {load.sha256 for load in prompt.loads if load.source is None}:
        reader = context.unlimited if context.is_configured(sha256) else context.reader
        row = await reader.input(sha256)
        if row is None or row.forgetting:
            found.add("forgotten")
        elif not row.is_usable:
            found.add("erased")
    return frozenset(found)


async def _run(reader: Reader, batch: BatchRow, prompt: PromptRow, image: ImageRow) -> Run:
    run, count, after = Run(image, prompt), 0, batch.position - 1
    while count < LINES_MAX and not run.is_whole:
        wanted = LogWanted(after=after, stream=batch.batch_id, kinds=KINDS, limit=PAGE_LINES)
        page = await reader.log_lines(wanted)
        for line in page.lines:
            run.take(decode(line.kind, line.schema, line.data), line.at_ms)
        after, count = page.position, count + len(page.lines)
        if not page.more:
            break
    return run


async def _texts(
    reader: Reader, batch: BatchRow, prompt: PromptRow, image: ImageRow
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Template and inputs. Of a forgotten image neither is shown, even if other images still need them."""
    if image.is_forgotten:
        return None, None
    digests = [digest for digest in (batch.template, prompt.inputs) if digest]
    found = await reader.texts(digests)
    template, inputs = found.get(batch.template), found.get(prompt.inputs or "")
    return (
        None if template is None else msgspec.json.decode(template),
        None if inputs is None and prompt.inputs else msgspec.json.decode(inputs or b"{}"),
    )


def recipe_of(made: Made, *, with_graph: bool) -> wire.Recipe:
    """The recipe of an image. Pure."""
    batch, prompt, image, attempt = made.batch, made.prompt, made.image, made.run.attempt
    plan = msgspec.convert(batch.plan, Plan)
    graph = graph_of(made, plan, attempt) if attempt is not None and with_graph else None
    return wire.Recipe(
        image_id=image_id(image.batch_id, image.index),
        batch_id=image.batch_id,
        index=image.index,
        number=image.number,
        public_id=image.public_id,
        state=image.state,
        username=batch.username,
        character=batch.character,
        workflow=batch.workflow,
        inputs=None if made.inputs is None else by_name(plan, made.inputs),
        defaults=_defaults(plan, made),
        files=files(plan, made.loads, made.names),
        seed=prompt.seed,
        seeds=list(plan.seeds),
        batch_size=batch_size(made.images, attempt),
        batch_sizes=list(plan.every_batch_size),
        outputs=_outputs(plan, batch, attempt),
        images=[
            wire.ImageGiven(one.index, one.number, one.file, one.public_id, one.medium, one.output)
            for one in made.images
        ],
        backend=made.backend,
        prompt=prompt.index,
        requested_at_ms=batch.at_ms,
        finished_at_ms=made.run.finished_at_ms,
        kept_at_ms=made.run.kept_at_ms,
        stored_at_ms=made.run.stored_at_ms,
        sha256=image.sha256,
        masked=list(plan.secrets),
        missing=missing(made),
        graph=graph,
        **_of_attempt(attempt),
    )


def _of_attempt(attempt: Attempt | None) -> dict[str, Any]:
    if attempt is None:
        return {}
    return {
        "attempt": attempt.number,
        "prompt_id": attempt.prompt_id,
        "version": attempt.version,
        "left_out": None if attempt.left_out is None else list(attempt.left_out),
        "submitted_at_ms": attempt.submitted_at_ms,
    }


def graph_of(made: Made, plan: Plan, attempt: Attempt) -> dict[str, Any] | None:
    """The graph of an attempt as it was sent, with its secrets masked; None if its texts were forgotten."""
    if made.template is None or made.inputs is None:
        return None
    return read.fill(
        made.template,
        plan,
        prefixes=_prefixes(plan, made.batch, attempt),
        seed=made.prompt.seed,
        batch_size=batch_size(made.images, attempt),
        inputs={**made.inputs, **made.names},
        secrets=dict.fromkeys(plan.secrets, MASK),
        left_out=attempt.left_out or (),
    )


def batch_size(images: Iterable[ImageRow], attempt: Attempt | None) -> int:
    """How many images the run was to make for each output: the fewest that an output had then.

    Images that were added after the attempt do not count.
    """
    counted = (image for image in images if attempt is None or image.index in attempt.images)
    return min(Counter(image.output for image in counted).values())


def by_name(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Values by address, under the names that the workflow has for them."""
    names = {address: name for name, address in plan.inputs.items()}
    return {names.get(address, address): value for address, value in inputs.items()}


def defaults(plan: Plan, template: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The named inputs that nobody filled in, with what the workflow has there."""
    taken = {*inputs, *addresses_of_the_run(plan)}
    places = {name: locate(template, at) for name, at in plan.inputs.items() if at not in taken}
    values = {name: template[place[0]]["inputs"][place[1]] for name, place in places.items() if place is not None}
    return {name: value for name, value in values.items() if not is_link(template, value)}


def _defaults(plan: Plan, made: Made) -> dict[str, Any]:
    if made.inputs is None or made.template is None:
        return {}
    return defaults(plan, made.template, {**made.inputs, **{load.at: "" for load in made.loads}})


def files(plan: Plan, loads: Iterable[LoadedFile], names: Mapping[str, str]) -> list[wire.RecipeFile]:
    """Files that a graph loads. `names`: their names at ComfyUI, by address."""
    called = {address: name for name, address in plan.inputs.items()}
    return [
        wire.RecipeFile(
            called.get(load.at, load.at),
            load.at,
            image_id(load.source.batch_id, load.source.image) if load.source is not None else "",
            load.sha256,
            load.extension,
            load.size_bytes,
            names.get(load.at, ""),
        )
        for load in loads
    ]


def _prefixes(plan: Plan, batch: BatchRow, attempt: Attempt) -> list[str]:
    return prefixes(plan, batch.batch_id, attempt.first_number, attempt.number)


def _outputs(plan: Plan, batch: BatchRow, attempt: Attempt | None) -> list[wire.RecipeOutput]:
    every = plan.every_output
    names = [""] * len(every) if attempt is None else _prefixes(plan, batch, attempt)
    asked = attempt.outputs if attempt is not None else ()
    return [
        wire.RecipeOutput(output.node, output.medium, output.prefix, name, not asked or number in asked)
        for number, (output, name) in enumerate(zip(every, names, strict=True), 1)
    ]


def missing(made: Made) -> list[wire.RecipeGap]:
    """What is not known of an image, and why."""
    attempt = made.run.attempt
    gaps = {("inputs", "forgotten"): made.inputs is None, ("graph", "forgotten"): made.template is None}
    gaps |= {("files", code): True for code in sorted(made.gone)}
    if attempt is None:
        is_sent = bool(made.image.attempt or made.prompt.attempt)
        gaps["attempt", "not_recorded" if is_sent else "not_sent"] = True
    else:
        gaps["version", "not_recorded"] = not attempt.version
        gaps["left_out", "not_recorded"] = attempt.left_out is None
    return [wire.RecipeGap(*gap, SENTENCES[gap]) for gap, is_there in gaps.items() if is_there]  # type: ignore[arg-type]
