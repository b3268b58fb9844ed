"""What is said of a workflow: by `check_workflow`, each line of `comfyledger workflow check FILE --json`, and by
`describe_workflow`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.core.values import SEED_MAX
from comfyledger.wire.answers.characters import Value
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


InputKind = Literal["text", "int", "float", "bool", "choice", "file"]


class WorkflowInput(Answer, frozen=True):
    """An input of a configured workflow, as a form shows it."""

    name: Annotated[
        str,
        Meta(
            description="What a request calls it in `inputs`: the name that the configuration gives it, or its address "
            "if the configuration names no inputs.",
            examples=["steps"],
        ),
    ]
    label: Annotated[str, Meta(description="What people call it.", examples=["steps"])]
    node: Annotated[str, Meta(description="The id of the node.", examples=["3"])]
    input: Annotated[str, Meta(description="The name that the node gives it.", examples=["steps"])]
    kind: Annotated[
        InputKind,
        Meta(
            description="What a request may give: a text, a whole number, a number, `true` or `false`, one of "
            "`choices`, or a file (`FileAsked`). In place of a file a text is taken, too: the name of a "
            "file in ComfyUI's input folder."
        ),
    ]
    default: Annotated[
        Value,
        Meta(description="What the workflow has if a request omits it; `null` if it has nothing there.", examples=[20]),
    ] = None
    min: Annotated[
        int | float | None,
        Meta(
            description="The smallest number that all these ComfyUIs take; `null` if there is no limit.", examples=[1]
        ),
    ] = None
    max: Annotated[
        int | float | None,
        Meta(
            description="The largest number that all these ComfyUIs take; `null` if there is no limit.",
            examples=[10_000],
        ),
    ] = None
    step: Annotated[
        int | float | None,
        Meta(description="By how much ComfyUI's own page changes it; `null` if it says nothing.", examples=[1]),
    ] = None
    choices: Annotated[
        list[str | int | float | bool],
        Meta(
            description="The values of a `choice` that all these ComfyUIs take, in the order of the first one; at most "
            "2,000.",
            examples=[["euler", "heun"]],
        ),
    ] = []
    choices_left_out: Annotated[int, Meta(description="How many more choices there are.", examples=[120])] = 0
    multiline: Annotated[bool, Meta(description="Whether a text may have several lines.")] = False
    tooltip: Annotated[
        str,
        Meta(
            description="What ComfyUI says about it, at most 500 characters; empty if it says nothing.",
            examples=["The number of steps used in the denoising process."],
        ),
    ] = ""
    required: Annotated[
        bool,
        Meta(
            description="Whether a request must give it, because the workflow has nothing there, or only what none of "
            "these ComfyUIs takes."
        ),
    ] = False
    medium: Annotated[
        Medium | None, Meta(description="Which files a `file` takes; `null` if files of several kinds.")
    ] = None
    known: Annotated[
        bool,
        Meta(
            description="Whether a ComfyUI has described it. If not, `kind` follows from the value in the workflow "
            "alone, or from the names of node class and input, and there are no limits and choices."
        ),
    ] = False


class WorkflowInputs(Answer, frozen=True):
    """What a form for a configured workflow needs. Secrets, and what the daemon itself fills in, are not among the
    inputs."""

    workflow: Annotated[str, Meta(description="Its name.", examples=["text-to-image"])]
    medium: Annotated[Medium, Meta(description="What the files of the first output are expected to be.")]
    inputs: Annotated[list[WorkflowInput], Meta(description="In the order of the configuration.")]
    suggested: Annotated[
        bool,
        Meta(
            description="Whether the configuration names no inputs, so that these are suggestions of the daemon, with "
            "their addresses as names."
        ),
    ] = False
    outputs: Annotated[
        list[OutputFound], Meta(description="Every output, in the order of its images. Each shot has one from each.")
    ] = []
    backends: Annotated[
        list[str],
        Meta(
            description="The ComfyUIs whose ranges and lists these are: those that can run the workflow, or if none "
            "can, all that may. Empty if none of them was ever seen.",
            examples=[["main"]],
        ),
    ] = []
    has_seed: Annotated[bool, Meta(description="Whether the daemon fills in a seed.")] = False
    seed_min: Annotated[int, Meta(description="The smallest seed.", examples=[0])] = 0
    seed_max: Annotated[int, Meta(description="The largest seed.", examples=[9_007_199_254_740_991])] = SEED_MAX
    images_per_prompt_max: Annotated[
        int,
        Meta(
            description="How many images one run can make, if the daemon fills in a batch size; else 1.", examples=[64]
        ),
    ] = 1
