"""Answers about batches, images and their numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from comfyledger.core.media import Medium
from comfyledger.core.values import Verdict
from comfyledger.wire.answers.parts import Answer, BatchId, Series

IndexInBatch = Annotated[int, Meta(description="Its index in the batch, from 1.", examples=[1])]
NumberInSeries = Annotated[int, Meta(description="Its number in the series.", examples=[1])]
FileName = Annotated[str, Meta(description="The file name without extension.", examples=["Areg_opal-fever_image_1"])]
PublicId = Annotated[
    str,
    Meta(
        description="Folder and file name, without extension.",
        examples=["Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1"],
    ),
]
ExpectedMedium = Annotated[
    Medium, Meta(description="What the image is expected to be, as its name says. `extension` says what the file is.")
]
OutputOfBatch = Annotated[
    int,
    Meta(
        description="The output that it comes from, as its number among the outputs of the batch, from 1.", examples=[1]
    ),
]
More = Annotated[bool, Meta(description="Whether another page follows.")]
NextCursor = Annotated[
    str,
    Meta(
        description="Asks for the next page: `before` on the websocket, `cursor` in HTTP. Empty at the end.",
        examples=["01M82DA9EJBQZAAZJR4D2RM95D"],
    ),
]


class ImageGiven(Answer, frozen=True):
    """An image of a batch that was accepted."""

    index: IndexInBatch
    number: NumberInSeries
    name: FileName
    public_id: PublicId
    medium: Annotated[Medium, Meta(description="What the image is expected to be, as its name says.")] = "image"
    output: OutputOfBatch = 1


class BatchAccepted(Answer, frozen=True):
    """A batch was accepted, with the number and name of each image."""

    batch_id: Annotated[
        str,
        Meta(
            description="The id of the batch. Ids sort by time. Empty for a dry run.",
            examples=["01M82DA9EJBQZAAZJR4D2RM95D"],
        ),
    ]
    epoch: Annotated[
        str, Meta(description="The epoch that `position` belongs to.", examples=["01M82DA8V724WA3CWZEFZYJASQ"])
    ]
    position: Annotated[
        int,
        Meta(
            description="The position of the event `batch_requested`: subscribe after it for the next events.",
            examples=[14],
        ),
    ]
    quantity: Annotated[int, Meta(description="How many images.", examples=[8])]
    numbers: Annotated[
        list[int],
        Meta(
            description="The numbers, in the order of the images. Of a dry run those that they would get now; empty if "
            "the stores must be asked first, or if the label has no batch in the series.",
            examples=[[1, 2]],
        ),
    ] = []
    names: Annotated[
        list[str],
        Meta(
            description="File names without extension, in the same order.",
            examples=[["Areg_opal-fever_image_1", "Areg_opal-fever_image_2"]],
        ),
    ] = []
    public_ids: Annotated[
        list[str],
        Meta(
            description="Folder and file name, in the same order.",
            examples=[
                [
                    "Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1",
                    "Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_2",
                ]
            ],
        ),
    ] = []
    images: Annotated[
        list[ImageGiven], Meta(description="The numbers, names and public ids again, as one entry for each image.")
    ] = []
    repeated: Annotated[bool, Meta(description="Whether this repeats an earlier answer: nothing new was made.")] = False
    dry_run: Annotated[bool, Meta(description="Whether this was a dry run: nothing was made.")] = False
    found: Annotated[
        list[str],
        Meta(
            description="What was found in the workflow: output node, seeds, batch size, inputs.",
            examples=[
                ["output: node 9 (SaveImage) · seed: 3.seed (KSampler) · batch size: 5.batch_size (EmptyLatentImage)"]
            ],
        ),
    ] = []


class SeriesInfo(Answer, frozen=True):
    """A series and its next number."""

    series: Series
    next: Annotated[int, Meta(description="The number that will be given next.", examples=[58])]


class UploadInfo(Answer, frozen=True):
    """What became of an image at one store."""

    store: Annotated[str, Meta(description="Its name in the configuration.", examples=["folder"])]
    state: Annotated[
        str,
        Meta(
            description="The state of the upload: `owed`, `uploading`, `stored`, `parked` or `dropped` (given up); of "
            "a forgotten image also `deleting`, `deleted` or `foreign` (not ours, so it stays).",
            examples=["stored"],
        ),
    ]
    attempts: Annotated[int, Meta(description="How many uploads were begun so far.", examples=[1])] = 0
    url: Annotated[
        str,
        Meta(
            description="The address of the file in the store.",
            examples=["file:///srv/images/Areg/premade_characters/opal-fever/images/Areg_opal-fever_image_1.png"],
        ),
    ] = ""
    code: Annotated[str, Meta(description="Why the upload was parked.", examples=["collision"])] = ""
    text: Annotated[
        str, Meta(description="The error text from the store.", examples=["Another file has this name."])
    ] = ""


class ImageInfo(Answer, frozen=True):
    """An image: its name, its state and its file."""

    image_id: Annotated[
        str, Meta(description="The image: `<batch_id>/<index>`.", examples=["01M82DA9EJBQZAAZJR4D2RM95D/1"])
    ]
    batch_id: BatchId
    index: IndexInBatch
    number: NumberInSeries
    name: FileName
    public_id: PublicId
    state: Annotated[
        str,
        Meta(
            description="The state of the image: `pending`, `kept`, `stored`, `parked`, `failed`, `cancelled`, "
            "`forgetting` (a store has yet to delete it) or `forgotten`.",
            examples=["stored"],
        ),
    ]
    prompt: Annotated[
        int, Meta(description="The prompt that renders it, as its number in the batch, from 1.", examples=[1])
    ]
    sha256: Annotated[
        str,
        Meta(
            description="SHA-256 of the bytes that all stores get, in hexadecimal; empty until the image is kept.",
            examples=["478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = ""
    md5: Annotated[
        str, Meta(description="MD5 of the same bytes, in hexadecimal.", examples=["ec93c7d7d388a6ac303c5f775994b3df"])
    ] = ""
    size_bytes: Annotated[int, Meta(description="Size of the file in bytes.", examples=[165_514])] = 0
    width: Annotated[int, Meta(description="Width in pixels.", examples=[512])] = 0
    height: Annotated[int, Meta(description="Height in pixels.", examples=[512])] = 0
    extension: Annotated[
        str,
        Meta(
            description="What the bytes are, for example `png`, `jpg`, `mp4` or `flac`.",
            examples=["png"],
        ),
    ] = ""
    code: Annotated[
        str, Meta(description="Why the image failed, was parked or was cancelled.", examples=["collision"])
    ] = ""
    text: Annotated[
        str,
        Meta(
            description="The error text from ComfyUI or the store, if it is still kept.",
            examples=["Another file has this name."],
        ),
    ] = ""
    uploads: Annotated[list[UploadInfo], Meta(description="One entry for each store of the batch.")] = []
    file_url: Annotated[
        str,
        Meta(
            description="A signed address of the file, for browsers: it needs no token and expires. Empty if there is "
            "no file, or if the daemon listens at no port.",
            examples=[
                "http://127.0.0.1:9831/v1/images/01M82DA9EJBQZAAZJR4D2RM95D/1/file?expires=1795985280&signature=5f0c"
            ],
        ),
    ] = ""
    medium: ExpectedMedium = "image"
    output: OutputOfBatch = 1
    workflow: Annotated[
        str,
        Meta(
            description="The configured name of its workflow; empty for a graph of the request. This field and the "
            "two fields below are only in the answers to `get_image` and `explain`; `get_recipe` has more.",
            examples=["text-to-image"],
        ),
    ] = ""
    seed: Annotated[int | None, Meta(description="The seed of the run that makes it.", examples=[7])] = None
    run: Annotated[
        list[int], Meta(description="The images that the same run makes, as indexes in the batch.", examples=[[1]])
    ] = []
    waits_for: Annotated[
        list[str],
        Meta(
            description="The images that it is made from, `<batch_id>/<index>`, until all of them have their bytes. "
            "Only in the answers to `get_batch`, `get_image` and `explain`.",
            examples=[["01M82DA9EJBQZAAZJR4D2RM95D/1"]],
        ),
    ] = []
    thumbnail_url: Annotated[
        str,
        Meta(
            description="An address of a small picture, at most 256 pixels wide and high, for browsers: signed as "
            "`file_url` is, or that of a store that scales. Empty if there is no file, or no thumbnail of files of its "
            "kind.",
            examples=[
                "http://127.0.0.1:9831/v1/images/01M82DA9EJBQZAAZJR4D2RM95D/1/thumbnail?size=small"
                "&expires=1795985280&signature=5f0c"
            ],
        ),
    ] = ""
    thumbnail_large_url: Annotated[
        str,
        Meta(
            description="As `thumbnail_url`, at most 1024 pixels wide and high.",
            examples=[
                "http://127.0.0.1:9831/v1/images/01M82DA9EJBQZAAZJR4D2RM95D/1/thumbnail?size=large"
                "&expires=1795985280&signature=5f0c"
            ],
        ),
    ] = ""
    verdict: Annotated[
        Verdict | Literal[""],
        Meta(description="What a person thinks of it; empty if nobody said.", examples=["approved"]),
    ] = ""
    rating: Annotated[int, Meta(description="From 1 to 5; 0 if nobody rated it.", examples=[4])] = 0


class OutputInfo(Answer, frozen=True):
    """An output of a batch: a node of the graph whose files become images."""

    node: Annotated[str, Meta(description="The id of the node in the graph.", examples=["9"])]
    medium: Annotated[Medium, Meta(description="What its files are expected to be.")]
    series: Series


class BatchInfo(Answer, frozen=True):
    """A batch, and how many of its images are in which state."""

    batch_id: BatchId
    status: Annotated[
        str, Meta(description="The state of the batch: `open`, `held`, `settled` or `cancelled`.", examples=["open"])
    ]
    held: Annotated[
        str,
        Meta(
            description="Why the batch is held: `person`, `removed`, `interrupted`, `failing` or `unfit`; empty if it "
            "is not held.",
            examples=["removed"],
        ),
    ]
    username: Annotated[str, Meta(description="The user, as the client wrote it.", examples=["Areg"])]
    character: Annotated[str, Meta(description="The character, as the client wrote it.", examples=["Opal Fever"])]
    premade: Annotated[bool, Meta(description="Whether the character existed already, as in the request.")]
    workflow: Annotated[
        str,
        Meta(
            description="The configured name of the workflow; empty if the request carried a graph.",
            examples=["text-to-image"],
        ),
    ]
    priority: Annotated[str, Meta(description="As in the request: `high`, `normal` or `low`.", examples=["normal"])]
    label: Annotated[str, Meta(description="The label of the client that requested the batch.", examples=["my-app"])]
    request_id: Annotated[str, Meta(description="The request id of the batch.", examples=["order-1001"])]
    requested_at_ms: Annotated[
        int,
        Meta(
            description="When the batch was requested, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458]
        ),
    ]
    position: Annotated[int, Meta(description="The position of `batch_requested`.", examples=[14])]
    quantity: Annotated[int, Meta(description="How many images it has.", examples=[8])]
    pending: Annotated[int, Meta(description="Images that are not rendered yet.", examples=[1])]
    kept: Annotated[
        int, Meta(description="Images that are rendered and in the spool, but not yet in every store.", examples=[0])
    ]
    stored: Annotated[int, Meta(description="Images in every store.", examples=[1])]
    parked: Annotated[
        int, Meta(description="Images in the spool that a store refused, or that wait for a person.", examples=[0])
    ]
    failed: Annotated[int, Meta(description="Images that could not be rendered.", examples=[0])]
    cancelled: Annotated[int, Meta(description="Images that were given up.", examples=[0])]
    forgotten: Annotated[int, Meta(description="Images that are forgotten, or being forgotten.", examples=[0])] = 0
    tags: Annotated[list[str], Meta(description="The client's tags, as in the request.", examples=[["shop"]])] = []
    metadata: Annotated[
        dict[str, Any], Meta(description="The client's metadata, as in the request.", examples=[{"order": 1001}])
    ] = {}
    images: Annotated[list[ImageInfo], Meta(description="Its images; only from `get_batch`.")] = []
    outputs: Annotated[
        list[OutputInfo],
        Meta(description="Its outputs, in order. Omitted if there is one output and its medium is `image`."),
    ] = []
    held_text: Annotated[
        str,
        Meta(
            description="If `held` is `unfit`: why ComfyUI would refuse the workflow.",
            examples=["ComfyUI does not have the model 'flux.safetensors'."],
        ),
    ] = ""
    like: Annotated[
        str,
        Meta(
            description="The image whose recipe the batch was made from, `<batch_id>/<index>`; empty if there is none.",
            examples=["01M82DA9EJBQZAAZJR4D2RM95D/1"],
        ),
    ] = ""
    waiting: Annotated[
        int,
        Meta(
            description="Of the pending images, those that wait for images that they are made from; only from "
            "`get_batch`.",
            examples=[1],
        ),
    ] = 0


class Batches(Answer, frozen=True):
    """A page of batches."""

    batches: Annotated[list[BatchInfo], Meta(description="Newest first, without their images.")]
    more: More
    next_cursor: NextCursor = ""


class ImageGroup(Answer, frozen=True):
    """Images that are alike in what `by` names."""

    value: Annotated[
        str,
        Meta(
            description="What they have in common. Of a user and a character: the name as the newest batch writes it. "
            "Images without a code or of a graph of the request have an empty text, those without a verdict `none`.",
            examples=["Areg"],
        ),
    ]
    count: Annotated[int, Meta(description="How many images.", examples=[12])]


class ImageCounts(Answer, frozen=True):
    """How many images fit."""

    count: Annotated[int, Meta(description="How many images.", examples=[250])]
    groups: Annotated[
        list[ImageGroup], Meta(description="With `by`: the groups that have images, largest first, at most 1000.")
    ] = []
    more_groups: Annotated[bool, Meta(description="Whether there are more groups.")] = False
    cursors: Annotated[
        list[str],
        Meta(
            description="With `cursors_every`: for each page, after which image it begins, `<batch_id>/<index>`. Give "
            "it as `before` (in HTTP: `cursor`) to `list_images` with the same filters. That of the first page is an "
            "empty text: leave `before` out.",
            examples=[["", "01M82DA9EJBQZAAZJR4D2RM95D/2"]],
        ),
    ] = []
    cursors_every: Annotated[
        int,
        Meta(
            description="How many images lie between two cursors: as in the request, or a multiple of it, because an "
            "answer has at most 10000 cursors. 0 without cursors.",
            examples=[100],
        ),
    ] = 0


class Images(Answer, frozen=True):
    """A page of images."""

    images: Annotated[list[ImageInfo], Meta(description="Newest batch first, and by index within a batch.")]
    more: More
    next_cursor: NextCursor = ""
