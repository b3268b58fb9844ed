"""A request that names an image with `like`, completed from the image's recipe.

What the request omits is as it was for the image, so a request that gives nothing else makes the whole run again. The
graph is the recorded one, also if the configuration has another one under its name by now.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.admission.files.of_request import loaded_by
from comfyledger.admission.workflows.models import loaded_models
from comfyledger.comfyui.graph import read as graphs
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.values import Origin
from comfyledger.errors import Refused
from comfyledger.queries import listings, recipe
from comfyledger.queries.dependencies import AdmissionPolicy, Dependencies, ReadyWorkflow

PATH: Final = "$.data.like"


class Again(NamedTuple):
    """A complete request.

    `workflow`: the recorded one; None if the request names another. `inputs`: those of the recipe, values and files, by
    address, or by name for another workflow.
    """

    message: wire.SubmitBatch
    workflow: ReadyWorkflow | None
    inputs: dict[str, Any]
    origin: Origin
    needs: tuple[str, ...] = ()
    """Tags of the recipe, where the request names neither others nor another workflow."""


class Source(NamedTuple):
    """What an image was made from. `template`: as it is stored. `inputs`: values and files."""

    batch: BatchRow
    prompt: PromptRow
    image: ImageRow
    template: bytes
    inputs: dict[str, Any]


async def again(context: Dependencies, label: str, message: wire.SubmitBatch) -> Again | None:
    """None for a request without `like`. Raises Refused: unknown_image, recipe_forgotten, and as `completed`."""
    if message.like is None:
        return None
    return completed(message, await _source(context, label, message.like), context.policy)


async def _source(context: Dependencies, label: str, name: str) -> Source:
    reader = context.reader
    image = await listings.find_image(reader, name)
    batch = await reader.batch(image.batch_id) if image is not None else None
    prompt = await reader.prompt(image.batch_id, image.prompt) if image is not None else None
    if image is None or batch is None or prompt is None:
        raise listings.unknown_image(name, PATH)
    found = await reader.texts([digest for digest in (batch.template, prompt.inputs) if digest])
    template, inputs = found.get(batch.template), found.get(prompt.inputs) if prompt.inputs else b"{}"
    if image.is_forgotten or template is None or inputs is None:
        text = f"The recipe of {image.public_id} was forgotten, so it cannot be used again."
        hint = "Name another image, or give everything without `like`."
        raise Refused("recipe_forgotten", text, hint=hint, path=PATH)
    files = await loaded_by(context, label, prompt.loads)
    return Source(batch, prompt, image, template, {**msgspec.json.decode(inputs), **files})


def completed(message: wire.SubmitBatch, source: Source, policy: AdmissionPolicy) -> Again:
    """A request with what it omits from a recipe. Pure.

    Raises Refused: unknown_workflow, workflow_node_denied, unknown_input, invalid_field.
    """
    batch, prompt = source.batch, source.prompt
    plan = msgspec.convert(batch.plan, graphs.Plan)
    made = sum(index <= batch.asked_for for index in prompt.images) // len(plan.every_output)
    has_quantity = message.quantity is not None or message.images is not None or bool(message.inputs_each)
    if message.character_defaults:
        text = "The recipe already contains the defaults of the character."
        raise Refused("invalid_field", text, hint="Omit `character_defaults`.", path="$.data.character_defaults")
    filled = replace(
        message,
        username=batch.username if message.username is None else message.username,
        character=batch.character if message.character is None else message.character,
        premade=batch.premade if message.premade is None else message.premade,
        quantity=message.quantity if has_quantity else made,
        images_per_prompt=made if message.images_per_prompt is None else message.images_per_prompt,
        seed=_seed(message, prompt.seed),
    )
    origin = Origin(batch.batch_id, source.image.index)
    if message.workflow is not None:
        return Again(filled, None, _by_name(plan, source.inputs), origin)
    needs = batch.needs if message.needs is None else ()
    return Again(filled, _recorded(message, source, plan, policy), source.inputs, origin, needs)


def _seed(message: wire.SubmitBatch, before: int) -> int | str:
    """`random` stays: then a seed is made up."""
    if message.seed is None:
        return before
    if isinstance(message.seed, str) and message.seed.startswith("+"):
        return before + int(message.seed)
    return message.seed


def _by_name(plan: graphs.Plan, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a recipe for another workflow, whose addresses mean something else."""
    named = recipe.by_name(plan, inputs)
    unnamed = [name for name in named if name not in plan.inputs]
    if unnamed:
        text = f"The recipe fills in {unnamed[0]}, and this input has no name by which another workflow could know it."
        hint = "Omit `workflow`, or give all inputs without `like`."
        raise Refused("unknown_input", text, hint=hint, path=PATH)
    return named


def _recorded(message: wire.SubmitBatch, source: Source, plan: graphs.Plan, policy: AdmissionPolicy) -> ReadyWorkflow:
    name = source.batch.workflow
    if message.output is not None or message.outputs is not None:
        field = "outputs" if message.output is None else "output"
        hint = f"Omit `{field}`, or give a `workflow` too."
        text = "A request with `like` and without `workflow` uses the outputs of the recipe."
        raise Refused("invalid_field", text, hint=hint, path=f"$.data.{field}")
    if name and name not in policy.workflows:
        text = f"The workflow {name} of this image is no longer configured."
        hint = f"Configured: {', '.join(sorted(policy.workflows))}. Name one of them as `workflow`."
        raise Refused("unknown_workflow", text, hint=hint, path=PATH)
    graph = msgspec.json.decode(source.template)
    if not name:
        try:
            graphs.check_classes(graph, policy.node_classes_denied)
        except Refused as refusal:
            raise refusal.at(PATH) from refusal
    key = hashlib.sha256(source.template).hexdigest()
    found, models = graphs.describe(plan, graph), loaded_models(graph, plan)
    return ReadyWorkflow(name, graph, plan, source.template, key, found, models)
