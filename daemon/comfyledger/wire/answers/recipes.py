"""What made an image: the answer to `get_recipe`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.wire.answers.batches import ImageGiven, IndexInBatch, NumberInSeries, PublicId
from comfyledger.wire.answers.parts import Answer, BatchId


class RecipeOutput(Answer, frozen=True):
    """An output node of the workflow."""

    node: Annotated[str, Meta(description="The id of the node in the graph.", examples=["9"])]
    medium: Annotated[Medium, Meta(description="What its files are expected to be.")]
    address: Annotated[
        str, Meta(description="The input that gets the prefix, by address.", examples=["9.filename_prefix"])
    ]
    prefix: Annotated[
        str,
        Meta(
            description="What the names of its files began with, below ComfyUI's output folder; empty if nothing was"
            " sent.",
            examples=["comfyledger/01m82da9ejbqzaazjr4d2rm95d/1-a1"],
        ),
    ] = ""
    is_run: Annotated[
        bool,
        Meta(
            description="Whether the attempt asked ComfyUI for this output. A later attempt asks only for outputs "
            "whose images still wait."
        ),
    ] = True


class RecipeFile(Answer, frozen=True):
    """A file that the graph loads: an input file, or an earlier image."""

    input: Annotated[
        str,
        Meta(description="The input that gets it, by its name in the workflow, else by address.", examples=["picture"]),
    ]
    address: Annotated[str, Meta(description="The same input by address.", examples=["5.image"])]
    image: Annotated[
        str,
        Meta(
            description="The image that it is, `<batch_id>/<index>`; empty for an input file.",
            examples=["01M82DA9EJBQZAAZJR4D2RM95D/1"],
        ),
    ] = ""
    sha256: Annotated[
        str,
        Meta(
            description="SHA-256 of its bytes, in hexadecimal; empty for an image that was not used yet.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = ""
    extension: Annotated[str, Meta(description="What the bytes are; empty if not known yet.", examples=["png"])] = ""
    size_bytes: Annotated[int, Meta(description="How many bytes they are; 0 if not known yet.", examples=[165_514])] = 0
    file: Annotated[
        str,
        Meta(
            description="Its name below ComfyUI's input folder, as in `graph`; empty while its bytes are not known.",
            examples=["comfyledger/47/478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15.png"],
        ),
    ] = ""


class RecipeGap(Answer, frozen=True):
    """A part of a recipe that is not known."""

    what: Annotated[
        Literal["inputs", "graph", "files", "attempt", "version", "left_out"],
        Meta(description="The field that is missing; `attempt` stands for everything about the run."),
    ]
    code: Annotated[
        Literal["forgotten", "erased", "not_sent", "not_recorded"],
        Meta(
            description="Why it is not known: it was erased on request (`forgotten`), nothing was sent to ComfyUI "
            "(`not_sent`), or it was never recorded (`not_recorded`). An input file whose bytes are not kept any more "
            "is `erased`."
        ),
    ]
    text: Annotated[
        str, Meta(description="The same as a sentence.", examples=["The version of ComfyUI was not recorded."])
    ]


class Recipe(Answer, frozen=True):
    """What made an image. If the image has no file yet: what will make it. A time that has not come yet is 0."""

    image_id: Annotated[
        str, Meta(description="The image: `<batch_id>/<index>`.", examples=["01M82DA9EJBQZAAZJR4D2RM95D/1"])
    ]
    batch_id: BatchId
    index: IndexInBatch
    number: NumberInSeries
    public_id: PublicId
    state: Annotated[str, Meta(description="The state of the image, as in `get_image`.", examples=["stored"])]
    username: Annotated[str, Meta(description="The user, as the client wrote it.", examples=["Areg"])]
    character: Annotated[str, Meta(description="The character, as the client wrote it.", examples=["Opal Fever"])]
    workflow: Annotated[
        str,
        Meta(
            description="The configured name of the workflow; empty for a graph of the request.",
            examples=["text-to-image"],
        ),
    ]
    inputs: Annotated[
        dict[str, Any] | None,
        Meta(
            description="The inputs that the request filled in, by their names in the workflow. An input without a "
            "name is shown by its address. `null` if the inputs were forgotten.",
            examples=[{"prompt": "a fox in snow"}],
        ),
    ]
    defaults: Annotated[
        dict[str, Any],
        Meta(
            description="The named inputs that the request did not fill in, with the values in the workflow.",
            examples=[{"steps": 20}],
        ),
    ]
    seed: Annotated[int, Meta(description="The seed of the run.", examples=[7])]
    seeds: Annotated[list[str], Meta(description="The inputs that got the seed, by address.", examples=[["3.seed"]])]
    batch_size: Annotated[int, Meta(description="How many images the run was to make from each output.", examples=[2])]
    batch_sizes: Annotated[
        list[str],
        Meta(
            description="The inputs that got `batch_size`, by address; empty if the workflow makes that many images "
            "by itself.",
            examples=[["5.batch_size"]],
        ),
    ]
    outputs: Annotated[list[RecipeOutput], Meta(description="The output nodes of the workflow.")]
    images: Annotated[
        list[ImageGiven],
        Meta(description="The images of the prompt, in the order of ComfyUI's files; this image is among them."),
    ]
    backend: Annotated[str, Meta(description="The ComfyUI that renders it.", examples=["main"])]
    prompt: Annotated[
        int, Meta(description="The prompt that renders it, as its number in the batch, from 1.", examples=[1])
    ]
    attempt: Annotated[
        int,
        Meta(
            description="The attempt that made the file; if there is no file yet, the last attempt; 0 if nothing was "
            "sent to ComfyUI.",
            examples=[1],
        ),
    ] = 0
    prompt_id: Annotated[
        str,
        Meta(description="ComfyUI's id of the run.", examples=["5f1b0c1e-7d0a-5a5e-9c51-0d3a1d1f7c11"]),
    ] = ""
    version: Annotated[
        str,
        Meta(
            description="The version of ComfyUI at the time of the run; empty if it is not known.", examples=["0.29.0"]
        ),
    ] = ""
    left_out: Annotated[
        list[str] | None,
        Meta(
            description="Nodes that were not sent, because no output needs them and ComfyUI lacked their class; `null`"
            " if that was not recorded.",
            examples=[["12"]],
        ),
    ] = None
    requested_at_ms: Annotated[
        int,
        Meta(description="When the batch was accepted, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458]),
    ] = 0
    submitted_at_ms: Annotated[
        int,
        Meta(
            description="When the attempt was about to be sent, in milliseconds since 1970, UTC.",
            examples=[1_795_377_407_501],
        ),
    ] = 0
    finished_at_ms: Annotated[
        int,
        Meta(
            description="When the daemon knew that the files of the attempt were written, in milliseconds since 1970, "
            "UTC.",
            examples=[1_795_377_411_020],
        ),
    ] = 0
    kept_at_ms: Annotated[
        int,
        Meta(
            description="When the file was in the spool, in milliseconds since 1970, UTC.", examples=[1_795_377_411_104]
        ),
    ] = 0
    stored_at_ms: Annotated[
        dict[str, int],
        Meta(
            description="For each store that has the file: when it got the file, in milliseconds since 1970, UTC.",
            examples=[{"folder": 1_795_377_411_130}],
        ),
    ] = {}
    sha256: Annotated[
        str,
        Meta(
            description="SHA-256 of the bytes that all stores get, in hexadecimal; empty until the image is kept.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = ""
    files: Annotated[
        list[RecipeFile],
        Meta(description="The files that the graph loads, by address. Empty if they were forgotten."),
    ] = []
    masked: Annotated[
        list[str],
        Meta(
            description="The inputs that the configuration fills in with secrets, by address. `graph` has `***` there.",
            examples=[["9.api_key"]],
        ),
    ] = []
    missing: Annotated[list[RecipeGap], Meta(description="What is not known, and why.")] = []
    graph: Annotated[
        dict[str, Any] | None,
        Meta(
            description="The graph that was sent, in ComfyUI's API format, if the request says `graph`. Secrets are "
            "masked.",
            examples=[{"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}}],
        ),
    ] = None
