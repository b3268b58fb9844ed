"""What is said of a workflow: `check_workflow`, and each line of `comfyledger workflow check FILE --json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.wire.answers.mistakes import MistakeInfo
from comfyledger.wire.answers.parts import Answer


class OutputFound(Answer, frozen=True):
    """A node of a workflow whose files become images."""

    node: Annotated[str, Meta(description="The id of the node.", examples=["9"])]
    class_type: Annotated[str, Meta(description="The class of the node.", examples=["SaveImage"])]
    medium: Annotated[Medium, Meta(description="What its files are expected to be.")]


class WorkflowReport(Answer, frozen=True):
    """What was found in a workflow, and whether it is accepted. The lists below are about the nodes that are run,
    except `not_run`. If the outputs of the workflow are not known, the lists are about all nodes."""

    verdict: Annotated[Literal["accepted", "refused"], Meta(description="Whether the workflow can be used.")]
    code: Annotated[
        str,
        Meta(
            description="Why the workflow is refused: one of the error codes. Empty if it is accepted.",
            examples=["unknown_input"],
        ),
    ] = ""
    message: Annotated[
        str, Meta(description="The same as a sentence.", examples=["The workflow has no input 6.txt."])
    ] = ""
    hint: Annotated[str, Meta(description="What to do.", examples=["Did you mean 6.text?"])] = ""
    path: Annotated[str, Meta(description="The node or the input at fault.", examples=["6.text"])] = ""
    medium: Annotated[Medium | None, Meta(description="The medium of the first output; `null` if there is none.")] = (
        None
    )
    outputs: Annotated[
        list[OutputFound],
        Meta(description="Every output, in the order of its images. Includes a node that the daemon adds."),
    ] = []
    seeds: Annotated[
        list[str], Meta(description="The inputs that get the seed, by address.", examples=[["3.seed"]])
    ] = []
    batch_size: Annotated[
        str,
        Meta(
            description="The input that gets the batch size, by address; empty if none is filled in.",
            examples=["5.batch_size"],
        ),
    ] = ""
    not_run: Annotated[
        list[str],
        Meta(description="Other nodes that save or show something, and are not run.", examples=[["10"]]),
    ] = []
    unknown_classes: Annotated[
        list[str],
        Meta(
            description="Node classes that ComfyUI does not have. Also empty if the daemon does not know which "
            "classes ComfyUI has.",
            examples=[["FaceDetailer"]],
        ),
    ] = []
    inputs: Annotated[
        dict[str, str],
        Meta(
            description="Suggested names of inputs, each with its address, as in `[workflows.NAME.inputs]`.",
            examples=[{"prompt": "6.text", "steps": "3.steps"}],
        ),
    ] = {}
    files: Annotated[
        list[str],
        Meta(description="Files that must exist in ComfyUI's input folder.", examples=[["portrait.png"]]),
    ] = []
    models: Annotated[
        list[str],
        Meta(description="Models that ComfyUI must have.", examples=[["v1-5-pruned-emaonly.safetensors"]]),
    ] = []
    mistakes: Annotated[
        list[MistakeInfo], Meta(description="What ComfyUI would not take, at most 100; only with `strict`.")
    ] = []
    found: Annotated[
        list[str],
        Meta(
            description="For people: what is filled in where, and what is not.",
            examples=[["output: node 9 (SaveImage)", "seed: 3.seed (KSampler)"]],
        ),
    ] = []
    checked: Annotated[
        Literal["structure", "classes", "full"],
        Meta(
            description="What the verdict is about. `structure`: form, outputs, seeds and batch size. `classes`: also"
            " whether ComfyUI has the node classes. `full`: everything that a submission checks."
        ),
    ] = "structure"
    graph: Annotated[
        dict[str, Any] | None,
        Meta(
            description="The graph in ComfyUI's API format, if the request says `convert`. Secrets stay in it.",
            examples=[{"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}}],
        ),
    ] = None
