"""The mistakes of a workflow, as refusals and reports carry them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.errors import NodeMistake, Refused
from comfyledger.wire.answers.parts import Answer


class MistakeInfo(Answer, frozen=True):
    """A mistake in a workflow, for which ComfyUI would refuse the workflow."""

    node: Annotated[str, Meta(description="The id of the node.", examples=["4"])]
    class_type: Annotated[str, Meta(description="The class of the node.", examples=["CheckpointLoaderSimple"])]
    kind: Annotated[
        str,
        Meta(
            description="What is wrong, in ComfyUI's own word: `missing_node_type`, `prompt_no_outputs`,"
            " `required_input_missing`, `bad_linked_input`, `return_type_mismatch`, `invalid_input_type`,"
            " `value_smaller_than_min`, `value_bigger_than_max`, `value_not_in_list` or `dependency_cycle`.",
            examples=["value_not_in_list"],
        ),
    ]
    message: Annotated[
        str,
        Meta(
            description="A sentence for people, with node and class.",
            examples=["Node 4 (CheckpointLoaderSimple): ckpt_name is 'sd15', which ComfyUI does not have."],
        ),
    ]
    input: Annotated[
        str, Meta(description="The input; empty if the node as a whole is meant.", examples=["ckpt_name"])
    ] = ""
    found: Annotated[
        str,
        Meta(description="The value that the workflow has there, cut off; empty if there is none.", examples=["sd15"]),
    ] = ""
    near: Annotated[
        list[str],
        Meta(description="The nearest names that ComfyUI has, at most 3.", examples=[["sd15.safetensors"]]),
    ] = []


def mistakes_of(refusal: Refused) -> list[MistakeInfo]:
    return [mistake_info(mistake) for mistake in refusal.mistakes]


def mistake_info(mistake: NodeMistake) -> MistakeInfo:
    return MistakeInfo(
        node=mistake.node,
        class_type=mistake.class_type,
        kind=mistake.kind,
        message=mistake.message,
        input=mistake.input,
        found=mistake.found,
        near=list(mistake.near),
    )


def node_mistake(info: MistakeInfo) -> NodeMistake:
    """The same as a client has it in `Refused.mistakes`."""
    return NodeMistake(info.node, info.class_type, info.input, info.kind, info.found, tuple(info.near), info.message)
