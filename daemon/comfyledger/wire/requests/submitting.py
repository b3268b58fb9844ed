"""Requests that ask for images and numbers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.wire.requests.files import InputValue
from comfyledger.wire.requests.parts import Message, Priority

PROTOCOL: Final = 1
REQUEST_ID_BYTES_MAX: Final = 128
IMAGES_PER_PROMPT_MAX: Final = 64
Label = Annotated[str, Meta(min_length=1, max_length=64)]
InputName = Annotated[str, Meta(max_length=255)]
NodeId = Annotated[str, Meta(min_length=1, max_length=128)]
SeedChange = Annotated[str, Meta(pattern=r"^(random|\+[0-9]{1,16})$")]
"""A seed in words: one that is made up, or the one of a recipe and so many more."""
INPUTS_EACH_MAX: Final = 16
"""Inputs of a sweep. More with two values each would be more images than a batch can have."""
OUTPUTS_MAX: Final = 16
"""Outputs of one batch."""
BACKEND_CHARS_MAX: Final = 64
NEEDS_MAX: Final = 16
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
"""A word of the operator for what a ComfyUI can do."""


class Hello(Message, frozen=True):
    """Names the client. Optional: without it the label is `default`. Each label has its own request ids, so two apps
    may use the same id without a conflict. A token of `comfyledger token add` has its own label; with such a token,
    `client` changes nothing."""

    client: Annotated[Label, Meta(description="The label that request ids belong to.", examples=["my-app"])]
    protocol: Annotated[
        int,
        Meta(
            description="The client's version of the protocol. If the daemon has another version, it refuses with "
            "`protocol_version`.",
            examples=[1],
        ),
    ] = PROTOCOL


class ImageAsked(Message, frozen=True):
    """One image of `images` in `submit_batch`."""

    inputs: Annotated[
        dict[InputName, InputValue],
        Meta(
            description="Values for this image alone; they override those of the batch.",
            examples=[{"prompt": "embedding:opal-fever, red coat"}],
        ),
    ] = {}
    seed: Annotated[int | None, Meta(description="The seed of this image alone, 0 to 2^53-1.", examples=[7])] = None


class SubmitBatch(Message, frozen=True):
    """Asks for images. The answer comes once the batch and its numbers are on stable storage."""

    request_id: Annotated[
        str,
        Meta(
            max_length=REQUEST_ID_BYTES_MAX,
            description="Made up once for each batch, 1 to 128 bytes. A repeat with the same body gets the same "
            "answer.",
            examples=["order-1001"],
        ),
    ]
    username: Annotated[
        str | None,
        Meta(
            description="The user whom the images are for. Keeps its case in names. Required without `like`.",
            examples=["Areg"],
        ),
    ] = None
    character: Annotated[
        str | None,
        Meta(
            description="The character that the images show. Becomes a slug in names: `Opal Fever` gives "
            "`opal-fever`. Required without `like`.",
            examples=["Opal Fever"],
        ),
    ] = None
    premade: Annotated[
        bool | None,
        Meta(
            description="Whether the character exists already; chooses the folder. Default: false, or with `like` as "
            "in the recipe."
        ),
    ] = None
    quantity: Annotated[
        int | None,
        Meta(
            description="How many images with equal inputs; with several outputs, how many from each output. Give "
            "either this or `images`. With `inputs_each`: how many of each combination; default: 1. With `like` "
            "it may be omitted.",
            examples=[8],
        ),
    ] = None
    images: Annotated[
        list[ImageAsked] | None,
        Meta(
            description="One entry for each image, with the inputs and the seed of this image alone. With several "
            "outputs, each entry stands for one image from each output. Give either this or `quantity`."
        ),
    ] = None
    workflow: Annotated[
        Annotated[str, Meta(max_length=255)] | dict[str, Any] | None,
        Meta(
            description="The name of a configured workflow, or a workflow in ComfyUI's API or UI format. Default: "
            "`default_workflow` of the configuration, or with `like` the graph of the recipe.",
            examples=["text-to-image"],
        ),
    ] = None
    output: Annotated[
        NodeId | None,
        Meta(
            description="The id of the node whose files become images. Default: the nodes that the configuration "
            "names; if it names none, every result that the workflow saves.",
            examples=["9"],
        ),
    ] = None
    outputs: Annotated[
        Annotated[list[NodeId], Meta(min_length=1, max_length=OUTPUTS_MAX)] | None,
        Meta(
            description="Several such nodes, instead of `output`. Each unit of `quantity` gives one image from each "
            "node, in this order.",
            examples=[["9", "12"]],
        ),
    ] = None
    inputs: Annotated[
        dict[InputName, InputValue],
        Meta(
            description="Values for all images, by the names that the configuration gives (`prompt`) or by address "
            "(`6.text`). A value must have the type that the graph has there.",
            examples=[{"prompt": "embedding:opal-fever, red coat"}],
        ),
    ] = {}
    inputs_each: Annotated[
        dict[InputName, Annotated[list[InputValue], Meta(min_length=1)]],
        Meta(
            max_length=INPUTS_EACH_MAX,
            description="Several values for each of these inputs. Each combination of the values gives one image, or "
            "`quantity` images. The last input changes fastest. These values override `inputs`. Cannot be given "
            "together with `images`.",
            examples=[{"sampler": ["euler", "heun"], "cfg": [4.0, 7.0]}],
        ),
    ] = {}
    character_defaults: Annotated[
        bool | None,
        Meta(
            description="Whether the defaults that the configuration has for the character are used: its workflow and "
            "its inputs where the request gives none, and its template around the `prompt`. Default: true if "
            "`character_defaults_for` of the configuration names the label and the character is known, else "
            "false. With `like`, `true` is refused.",
            examples=[True],
        ),
    ] = None
    seed: Annotated[
        int | SeedChange | None,
        Meta(
            description="The seed of the first prompt, 0 to 2^53-1; the next prompts count up from it. If `random`, "
            "or if absent without `like`, a seed from 0 to 2^31-1 is made up that is in the range of each node "
            "that gets it. With `like`, an absent seed is the seed of the recipe, and `+1` is the seed of the "
            "recipe plus one.",
            examples=[7],
        ),
    ] = None
    images_per_prompt: Annotated[
        Annotated[int, Meta(ge=1, le=IMAGES_PER_PROMPT_MAX)] | None,
        Meta(
            description="How many images ComfyUI renders in one run (its `batch_size`). Only neighbouring images with "
            "equal inputs share a run, and only if they have no `seed` in `images`. If the daemon does not set "
            "the workflow's batch size, give here how many images the workflow makes in one run. In this case, "
            "neighbouring images that have the same `seed` in `images` share a run, too, and the length of each "
            "sequence of neighbouring equal images must be a multiple of this number. Default: 1, or with `like` "
            "as many as the run made.",
            examples=[4],
        ),
    ] = None
    priority: Annotated[
        Priority,
        Meta(
            description="How urgent the batch is, compared with other batches. A priority that was not served for "
            "`priority_age_s` seconds counts as the next higher one."
        ),
    ] = "normal"
    backend: Annotated[
        Annotated[str, Meta(min_length=1, max_length=BACKEND_CHARS_MAX)] | None,
        Meta(
            description="The name of the only ComfyUI that may render the batch. Default: every ComfyUI that can. It "
            "is not taken over by `like`.",
            examples=["big"],
        ),
    ] = None
    needs: Annotated[
        Annotated[list[Tag], Meta(max_length=NEEDS_MAX)] | None,
        Meta(
            description="Tags that a ComfyUI must have to render the batch, beside those that the configuration names "
            "for the workflow. Missing nodes and models are noticed without tags. Default: none, or with `like` those "
            "of the recipe.",
            examples=[["flux"]],
        ),
    ] = None
    tags: Annotated[
        list[Annotated[str, Meta(max_length=255)]],
        Meta(max_length=50, description="For the client's own use; returned with the batch.", examples=[["shop"]]),
    ] = []
    metadata: Annotated[
        dict[str, Any],
        Meta(description="For the client's own use; returned with the batch.", examples=[{"order": 1001}]),
    ] = {}
    dry_run: Annotated[
        bool,
        Meta(
            description="Only check the request. What would be refused is refused, but no number is given and the "
            "`request_id` is not used up. The answer has the numbers and names that the images would get now."
        ),
    ] = False
    like: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024)] | None,
        Meta(
            description="An image whose recipe is used again: its public id or `<batch_id>/<index>`. What the request "
            "omits is taken from the recipe: user, character, `premade`, the graph, inputs, files, seed and "
            "`images_per_prompt`. By default the batch has as many images as the run made. `inputs` override the "
            "same inputs of the recipe. If the request gives a `workflow`, this workflow gets the named inputs of "
            "the recipe. The batch records the image as its origin.",
            examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
        ),
    ] = None
    webhook: Annotated[
        Annotated[str, Meta(min_length=1, max_length=300)] | None,
        Meta(
            description="Where the events of this batch are delivered as well: the name of a webhook of the "
            "configuration, or an address below that of one with `per_batch`, without a user and a query. The log "
            "records it, and it is not erased. It is not taken over by `like`.",
            examples=["https://app.example/hooks/order-1001"],
        ),
    ] = None


class CheckWorkflow(Message, frozen=True):
    """Asks what would be done with a workflow, and whether it is accepted. Nothing is submitted, no number is used."""

    workflow: Annotated[
        dict[str, Any],
        Meta(
            description="A workflow in ComfyUI's API or UI format, as in `submit_batch`.",
            examples=[{"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}}],
        ),
    ]
    strict: Annotated[
        bool,
        Meta(
            description="Check everything that a submission checks, against ComfyUI's node classes. Otherwise the"
            " verdict is about form, outputs, seeds and batch size alone."
        ),
    ] = False
    convert: Annotated[bool, Meta(description="Also answer with the graph, in ComfyUI's API format.")] = False


class DescribeWorkflow(Message, frozen=True):
    """The inputs of a configured workflow: of what kind each is, what it has if a request omits it, and which values
    the ComfyUIs take that can run the workflow. For forms."""

    workflow: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="A configured workflow.", examples=["text-to-image"]),
    ]


class OpenSeries(Message, frozen=True):
    """Asks the stores for the numbers of a user and character now, instead of at the first batch. The answer shows the
    next number, but does not give it to an image."""

    username: Annotated[str, Meta(description="The user, as in `submit_batch`.", examples=["Areg"])]
    character: Annotated[str, Meta(description="The character, as in `submit_batch`.", examples=["Opal Fever"])]
    premade: Annotated[bool, Meta(description="Whether the character exists already, as in `submit_batch`.")] = False
    medium: Annotated[Medium, Meta(description="The medium of the files in the series.")] = "image"
