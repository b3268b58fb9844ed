"""How a request becomes prompts: which images share a run, and the seed of each. Pure.

A shot is what one unit of `quantity` or one entry of `images` asks for: an image for each output of the workflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from comfyledger import wire
from comfyledger.admission import sweep
from comfyledger.admission.workflows.models import models_key
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.values import SEED_MADE_UP_MAX, SEED_MAX, Blob, PromptFixed, blob_of
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import IdSource, ReadyWorkflow

SEED_HINT = 'With "seed": "random" the daemon chooses a seed.'


class Alike(NamedTuple):
    """Neighbouring shots with equal inputs and the same seed, if they have one of their own."""

    seed: int | None
    inputs: dict[str, Any]
    places: list[int]


def shots_asked(message: wire.SubmitBatch, quantity_max: int) -> list[wire.ImageAsked]:
    """One entry for each shot. Raises Refused: quantity_and_images, quantity_out_of_range."""
    if message.inputs_each:
        return _swept(message, quantity_max)
    if (message.quantity is None) == (message.images is None):
        raise Refused(
            "quantity_and_images",
            hint="Give `quantity` for equal images, or `images` for images with inputs of their own.",
            path="$.data.quantity",
        )
    count = message.quantity if message.quantity is not None else len(message.images or ())
    check_quantity(message, count, quantity_max)
    return list(message.images) if message.images is not None else [wire.ImageAsked()] * count


def _swept(message: wire.SubmitBatch, quantity_max: int) -> list[wire.ImageAsked]:
    """Counted first: a few lists have more combinations than memory has room for."""
    if message.images is not None:
        raise Refused(
            "quantity_and_images",
            "With `inputs_each`, the combinations of its values are the images.",
            hint="Give either `images` or `inputs_each`.",
            path="$.data.inputs_each",
        )
    check_quantity(message, sweep.shots_of(message), quantity_max)
    return sweep.expanded(message)


def whose(message: wire.SubmitBatch) -> tuple[str, str, bool]:
    """User, character and premade. Raises Refused (invalid_field) if one is missing: only `like` completes them."""
    for field, value in (("username", message.username), ("character", message.character)):
        if value is None:
            hint = "Give the field, or name an image with `like`."
            raise Refused("invalid_field", f"The field {field} is missing.", hint=hint, path="$.data")
    return message.username or "", message.character or "", bool(message.premade)


def first_seed(message: wire.SubmitBatch) -> int | None:
    """The seed of the first prompt; None if one is made up. What `like` adds to a seed was added before."""
    return message.seed if isinstance(message.seed, int) else None


def per_prompt(message: wire.SubmitBatch) -> int:
    """How many shots a run makes."""
    return message.images_per_prompt or 1


def check_quantity(message: wire.SubmitBatch, count: int, quantity_max: int) -> None:
    """`count`: of images. Raises Refused(quantity_out_of_range)."""
    fields = {"inputs_each": message.inputs_each, "images": message.images is not None, "quantity": True}
    field = next(name for name, is_meant in fields.items() if is_meant)
    if not 1 <= count <= quantity_max:
        raise Refused(
            "quantity_out_of_range",
            f"A batch has 1 to {quantity_max} images, not {count}.",
            hint="Send several batches, or raise [limits] quantity_max."
            if count > 0
            else "Ask for at least one image.",
            path=f"$.data.{field}",
        )


def check_seeds(message: wire.SubmitBatch, asked: Sequence[wire.ImageAsked]) -> None:
    """Raises Refused: seed_out_of_range for a seed that no workflow takes, invalid_field for `+1` without `like`."""
    if isinstance(message.seed, str) and message.seed != "random":
        text = f"{message.seed} adds to the seed of an image, but no image is named."
        raise Refused(
            "invalid_field", text, hint="Name an image with `like`, or give a whole number.", path="$.data.seed"
        )
    for path, seed in _given_seeds(message, asked):
        if not 0 <= seed <= SEED_MAX:
            raise Refused("seed_out_of_range", f"A seed must be 0 to {SEED_MAX}.", hint=SEED_HINT, path=path)


def _given_seeds(message: wire.SubmitBatch, asked: Sequence[wire.ImageAsked]) -> list[tuple[str, int]]:
    given = [("$.data.seed", first_seed(message))]
    given += [(f"$.data.images[{place}].seed", image.seed) for place, image in enumerate(asked)]
    return [(path, seed) for path, seed in given if seed is not None]


def prompts_of(
    message: wire.SubmitBatch,
    asked: Sequence[wire.ImageAsked],
    inputs: Sequence[dict[str, Any]],
    workflow: ReadyWorkflow,
    ids: IdSource,
    secret: bytes,
) -> tuple[tuple[PromptFixed, ...], tuple[Blob, ...]]:
    """Neighbours with equal inputs and files, and no seed of their own, share prompts of at most `images_per_prompt`
    shots. Where the daemon does not set how many a run makes, each prompt has exactly so many.

    `inputs`: values and files of each shot, by address. `secret`: see `models_key`. Raises Refused: seed_out_of_range,
    workflow_batch_size.
    """
    plan = workflow.plan
    check_seeds_fit(message, asked, workflow)
    _check_batch_size(message, workflow)
    each = groupby(range(len(asked)), key=lambda place: (asked[place].seed, inputs[place]))
    groups = [Alike(seed, values, list(places)) for (seed, values), places in each]
    if plan.batch_size is None:
        _check_multiples(message, groups)
    seeds = _Seeds(first_seed(message), plan.seed_range, ids)
    texts = _Texts(ids)
    outputs = len(plan.every_output)
    prompts: list[PromptFixed] = []
    for group in groups:
        alone = group.seed is not None and plan.batch_size is not None
        step = 1 if alone else per_prompt(message)
        values, files = without_files(group.inputs)
        loads = tuple(files[address].loaded(address) for address in sorted(files))
        depth = max((file.depth for file in files.values()), default=0)
        models = models_key(workflow, values, secret)
        for start in range(0, len(group.places), step):
            shots = group.places[start : start + step]
            images = tuple(image for shot in shots for image in range(shot * outputs + 1, (shot + 1) * outputs + 1))
            index = len(prompts) + 1
            seed = group.seed if group.seed is not None else seeds.of(index)
            inputs_digest = texts.digest(values)
            prompts.append(
                PromptFixed(index, images, seed, inputs=inputs_digest, loads=loads, depth=depth, models=models)
            )
    return tuple(prompts), texts.blobs


def without_files(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, graphs.GivenFile]]:
    """The values and the files among inputs, by address."""
    files = {address: value for address, value in inputs.items() if isinstance(value, graphs.GivenFile)}
    return {address: value for address, value in inputs.items() if address not in files}, files


def check_seeds_fit(message: wire.SubmitBatch, asked: Sequence[wire.ImageAsked], workflow: ReadyWorkflow) -> None:
    """Raises Refused (seed_out_of_range) for a seed that a node of the workflow does not take."""
    if workflow.plan.seed_range is None:
        return
    low, high = workflow.plan.seed_range
    for path, seed in _given_seeds(message, asked):
        if not low <= seed <= high:
            takes = f"{graphs.seeds_text(workflow.plan, workflow.graph)} takes {low} to {high}, not {seed}."
            raise Refused("seed_out_of_range", takes, hint=SEED_HINT, path=path)


def _check_batch_size(message: wire.SubmitBatch, workflow: ReadyWorkflow) -> None:
    """Raises Refused (workflow_batch_size) for `images_per_prompt` that the workflow cannot make."""
    plan, count = workflow.plan, per_prompt(message)
    if plan.batch_size is not None and plan.batch_size_max is not None and count > plan.batch_size_max:
        raise Refused(
            "workflow_batch_size",
            f"images_per_prompt is {count}, but the batch size {plan.batch_size} may be {plan.batch_size_max} at most.",
            hint=f"Send images_per_prompt = {plan.batch_size_max}, or less."
            if plan.batch_size_max > 1
            else "Omit images_per_prompt.",
            path="$.data.images_per_prompt",
        )
    if count > 1 and graphs.makes_one(plan, workflow.graph):
        raise Refused(
            "workflow_batch_size",
            "The workflow makes one image in each run; it is not clear which of these inputs sets the batch size:"
            f" {', '.join(plan.batch_sizes_unclear)}.",
            hint="Omit images_per_prompt, or name the input as batch_size in [workflows.NAME].",
            path="$.data.images_per_prompt",
        )


def _check_multiples(message: wire.SubmitBatch, groups: Sequence[Alike]) -> None:
    """Raises Refused (workflow_batch_size) if a run would make images that nobody asked for."""
    step = per_prompt(message)
    for group in groups:
        count = len(group.places)
        if count % step == 0:
            continue
        near = [f"{multiple}" for multiple in (count - count % step, count - count % step + step) if multiple]
        entries = "1 equal entry" if count == 1 else f"{count} equal entries in a row"
        asked = f"quantity is {count}" if message.images is None else f"`images` has {entries}"
        if message.inputs_each:
            asked = f"the sweep has {count} equal images in a row"
        raise Refused(
            "workflow_batch_size",
            f"Each run makes {step} images (images_per_prompt), and the daemon cannot change that in this workflow;"
            f" {asked}, and {count} is not a multiple of {step}.",
            hint=f"Ask for {' or '.join(near)}, or name the workflow's batch size as batch_size in [workflows.NAME].",
            path="$.data.quantity" if message.images is None else f"$.data.images[{group.places[0]}]",
        )


class _Seeds:
    """The seeds of prompts that have none of their own: they count up from the first one, and begin anew after the
    last that every node takes."""

    def __init__(self, given: int | None, takes: tuple[int, int] | None, ids: IdSource) -> None:
        self._low, high = takes if takes is not None else (0, SEED_MAX)
        count = high - self._low + 1
        self._count = count if given is not None else min(count, SEED_MADE_UP_MAX + 1)
        self._first = given - self._low if given is not None else ids.seed()

    def of(self, index: int) -> int:
        """The seed of a prompt. The first prompt has index 1."""
        return self._low + (self._first + index - 1) % self._count


class _Texts:
    """The inputs of prompts as blobs, equal ones once."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._blobs: dict[bytes, Blob] = {}

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return tuple(self._blobs.values())

    def digest(self, values: Mapping[str, Any]) -> str | None:
        """None for no inputs."""
        if not values:
            return None
        content = msgspec.json.encode(values, order="sorted")
        if content not in self._blobs:
            self._blobs[content] = blob_of(content, self._ids.salt())
        return self._blobs[content].digest
