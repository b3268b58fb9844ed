"""The inputs of each shot, from the graph up to the image: each level takes the place of those below it. Pure.

The levels are the files in the workflow, the defaults of the character or the recipe of an image, the inputs of the
batch, and those of the image. By now every input is known by its address, and every file is found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from comfyledger import wire
from comfyledger.admission import sweep
from comfyledger.admission.characters import merge
from comfyledger.admission.files.find import NO_FILES, Files, filled
from comfyledger.comfyui.graph import read as graphs
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import ReadyWorkflow
from comfyledger.settings import CharacterDefaults


class Ground(NamedTuple):
    """What inputs are checked against. `files`: by what names them. `info`: what ComfyUI says of its nodes, if it is
    known.
    """

    workflow: ReadyWorkflow
    files: Files = NO_FILES
    info: ObjectInfo | None = None


class Lower(NamedTuple):
    """What is filled in where a request gives nothing, by address."""

    of_graph: Mapping[str, Any]
    of_character: merge.Filling
    of_recipe: Mapping[str, Any]

    def filled(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """What a shot gets. `own`: what its request gives, on top of a recipe."""
        return {**self.of_graph, **merge.merged(own, self.of_character)}


def lower(
    ground: Ground,
    of_graph: Mapping[str, wire.FileAsked],
    defaults: CharacterDefaults | None,
    of_recipe: Mapping[str, Any],
) -> Lower:
    """The levels below the request. Raises Refused for what does not fit the workflow."""
    return Lower(
        _checked(ground, of_graph, "$.data.workflow.{}".format),
        _of_character(ground, defaults),
        _of_recipe(ground, of_recipe),
    )


def inputs_of(
    message: wire.SubmitBatch, asked: Sequence[wire.ImageAsked], ground: Ground, below: Lower
) -> list[dict[str, Any]]:
    """Values and files of each shot, by address. What is one object for several shots stays one.

    Raises Refused for an input that does not fit, and for a file that is not there and that nothing takes the place of.
    """
    found: list[dict[str, Any]] = []
    own = _own(message, asked, ground, below.of_recipe)
    for place, inputs in enumerate(own):
        found.append(found[-1] if place and inputs is own[place - 1] else _complete(inputs, below))
    return found


def _own(
    message: wire.SubmitBatch, asked: Sequence[wire.ImageAsked], ground: Ground, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The inputs of each shot: those of a recipe, of the batch, and its own."""
    common = _checked(ground, message.inputs, "$.data.inputs.{}".format)
    common = {**before, **common}
    found: list[dict[str, Any]] = []
    for place, image in enumerate(asked):
        if place and image is asked[place - 1]:
            found.append(found[-1])
        else:
            own = _checked(ground, image.inputs, partial(sweep.own_path, message, place))
            found.append({**common, **own})
    return found


def _complete(own: Mapping[str, Any], below: Lower) -> dict[str, Any]:
    inputs = below.filled(own)
    for address, value in inputs.items():
        if isinstance(value, graphs.GivenFile) and value.refusal is not None:
            raise value.refusal.at(_path_below(address, below)) from value.refusal
    return inputs


def _path_below(address: str, below: Lower) -> str:
    """The field of the request that is to blame for an input below the request."""
    if address in below.of_recipe:
        return "$.data.like"
    return "$.data.character" if address in below.of_character.inputs else f"$.data.workflow.{address}"


def _of_recipe(ground: Ground, before: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a recipe by address."""
    if not before:
        return {}
    try:
        return graphs.check_inputs(ground.workflow.graph, ground.workflow.plan, before, ground.info)
    except Refused as refusal:
        raise refusal.at("$.data.like") from refusal


def _of_character(ground: Ground, defaults: CharacterDefaults | None) -> merge.Filling:
    """Raises Refused if the character does not fit the workflow, which a request may have chosen."""
    if defaults is None:
        return merge.NOTHING
    try:
        return merge.filling(defaults, ground.workflow, ground.files, ground.info)
    except Refused as refusal:
        text = f"The character's defaults do not fit the workflow: {refusal.message}"
        raise Refused(refusal.code, text, hint=_CHARACTER_HINT, path="$.data.character") from refusal


_CHARACTER_HINT: Final = "Name no workflow, so that its own is used, or send `character_defaults: false`."


def _checked(ground: Ground, inputs: Mapping[str, wire.InputValue], path_of: Callable[[str], str]) -> dict[str, Any]:
    if not inputs:
        return {}
    workflow, values = ground.workflow, filled(inputs, ground.files)
    try:
        return graphs.check_inputs(workflow.graph, workflow.plan, values, ground.info)
    except Refused as refusal:
        raise refusal.at(path_of(refusal.path)) from refusal
