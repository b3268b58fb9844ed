"""Answers about the connection, the daemon and its state, and refusals."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.wire.answers.disks import DiskInfo
from comfyledger.wire.answers.inputs import InputsHeld
from comfyledger.wire.answers.mistakes import MistakeInfo
from comfyledger.wire.answers.parts import Answer, Epoch, Sentence, Series
from comfyledger.wire.answers.webhooks import WebhookInfo

DaemonVersion = Annotated[str, Meta(description="The daemon's version.", examples=["0.1.0"])]
ProtocolVersion = Annotated[int, Meta(description="The version of the protocol.", examples=[1])]
LedgerId = Annotated[
    str, Meta(description="The id of the ledger; never changes.", examples=["01M82DA8V724WA3CWZEFZYJASP"])
]
LogEnd = Annotated[int, Meta(description="The end of the log.", examples=[14])]


class Welcome(Answer, frozen=True):
    """The answer to `hello`: the daemon, its ledger, and what this connection may do."""

    server: Annotated[str, Meta(description="Always `comfyledger`.", examples=["comfyledger"])]
    version: DaemonVersion
    protocol: ProtocolVersion
    label: Annotated[str, Meta(description="The label of this connection.", examples=["my-app"])]
    ledger_id: LedgerId
    epoch: Epoch
    position: LogEnd
    right: Annotated[
        Literal["read", "submit_configured", "submit", "operate", "admin"], Meta(description="What the token may do.")
    ] = "admin"
    read_all: Annotated[
        bool,
        Meta(description="Whether the token sees the batches of all labels; otherwise it sees only those of `label`."),
    ] = True


class LaneInfo(Answer, frozen=True):
    """A lane that is paused, by a person or for trouble."""

    lane: Annotated[
        str,
        Meta(
            description="The lane: `everything`, `backend/NAME`, `store/NAME`, `user/NAME`, `spool` while its disk has"
            " no room for new prompts, or `inputs` while its disk does not delete files. In a fleet, the trouble of a"
            " box with a store or its disks has the name of the box: `store/NAME@BOX`.",
            examples=["backend/main"],
        ),
    ]
    paused: Annotated[bool, Meta(description="Whether a person paused it.")]
    code: Annotated[
        str, Meta(description="The lane's own trouble; empty if it has none.", examples=["not_reached"])
    ] = ""
    text: Annotated[str, Meta(description="The error text about the trouble.", examples=["Connection refused"])] = ""
    since_ms: Annotated[
        int, Meta(description="Since when it is paused, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458])
    ] = 0


class WaitingInfo(Answer, frozen=True):
    """A series whose first batch waits for a store."""

    series: Series
    reason: Annotated[
        str, Meta(description="Which store has not answered, and why.", examples=["folder: Permission denied"])
    ]
    requests: Annotated[int, Meta(description="How many requests wait.", examples=[3])]
    since_ms: Annotated[
        int,
        Meta(
            description="Since when the first request waits, in milliseconds since 1970, UTC.",
            examples=[1_795_377_407_458],
        ),
    ]


class BackendWork(Answer, frozen=True):
    """What one ComfyUI has of the daemon's work, and what it has done since the daemon's start."""

    places: Annotated[int, Meta(description="How many prompts it may have at once (`queue_depth`).", examples=[2])]
    running: Annotated[int, Meta(description="Prompts that it runs now, as far as it has said.", examples=[1])] = 0
    waiting: Annotated[
        int, Meta(description="Other prompts that are in its queue or on their way there.", examples=[1])
    ] = 0
    fetching: Annotated[
        int, Meta(description="Prompts that it has finished and whose files are still to be fetched.", examples=[0])
    ] = 0
    ended: Annotated[
        dict[str, int],
        Meta(
            description="Runs that ended there since the daemon's start: `finished`, `failed`, `refused`, `lost` "
            "(ComfyUI was restarted), `removed` and `moved` (left behind, so that another one renders the prompt).",
            examples=[{"finished": 412, "failed": 1, "refused": 0, "lost": 0, "removed": 0, "moved": 0}],
        ),
    ] = {}
    images_per_hour: Annotated[
        float,
        Meta(
            description="Images whose files came in the last hour. If the daemon started less than an hour ago, the "
            "images since then, multiplied as if the hour went on like this.",
            examples=[288.0],
        ),
    ] = 0.0
    images: Annotated[
        int, Meta(description="Images whose files came from there since the daemon's start.", examples=[412])
    ] = 0
    busy_s: Annotated[
        float,
        Meta(
            description="Seconds since the daemon's start in which it had a prompt of the daemon's, also while it "
            "could not be reached.",
            examples=[5_150.4],
        ),
    ] = 0.0
    model_changes: Annotated[
        int,
        Meta(description="How often it was sent a prompt that loads other models than the one before.", examples=[17]),
    ] = 0
    strays: Annotated[
        int,
        Meta(
            description="Attempts that were left behind there when their prompts moved, and that may still run.",
            examples=[0],
        ),
    ] = 0
    unfit: Annotated[
        int, Meta(description="Different graphs of open batches that it refuses, as far as it was asked.", examples=[0])
    ] = 0


BackendState = Literal["connected", "away", "draining", "paused"]


class BackendInfo(Answer, frozen=True):
    """One ComfyUI, as the daemon sees it."""

    name: Annotated[str, Meta(description="Its name in the configuration.", examples=["main"])]
    url: Annotated[str, Meta(description="The address of ComfyUI.", examples=["http://127.0.0.1:8188"])]
    connected: Annotated[bool, Meta(description="Whether its websocket is open.")]
    version: Annotated[str, Meta(description="The version of ComfyUI, if known.", examples=["0.29.0"])] = ""
    reconnects: Annotated[int, Meta(description="How often the websocket was opened again.", examples=[1])] = 0
    deaf: Annotated[int, Meta(description="How often the websocket was open and delivered nothing.", examples=[0])] = 0
    sweeps: Annotated[
        int, Meta(description="How often prompts were looked up because the websocket was silent.", examples=[12])
    ] = 0
    node_classes: Annotated[
        int | None,
        Meta(
            description="How many node classes ComfyUI has, by its last answer; `null` if it was never asked.",
            examples=[946],
        ),
    ] = None
    state: Annotated[
        BackendState,
        Meta(
            description="`connected`; `away`: it cannot be used now, see `problem`; `draining`: a person paused it, "
            "and it still has prompts of the daemon's, or some that were moved away from it; `paused`: a person paused "
            "it, and it has none.",
        ),
    ] = "connected"
    problem: Annotated[
        str,
        Meta(description="Why it cannot be used; empty if it can.", examples=["not_reached: Connection refused"]),
    ] = ""
    move_after_s: Annotated[
        float,
        Meta(
            description="After how many seconds without working others get the prompts that it has; 0 for never "
            "(`[comfyui.NAME] move_after_s`).",
            examples=[600.0],
        ),
    ] = 0.0
    work: Annotated[
        BackendWork | None,
        Meta(description="What it has to do and has done; `null` for a token that sees one label only."),
    ] = None
    tags: Annotated[list[str], Meta(description="Its tags in the configuration.", examples=[["48gb", "flux"]])] = []
    warm: Annotated[
        list[str] | None,
        Meta(
            description="The files of the models that the last prompt loads which was sent there, so they should be "
            "loaded now; at most 32. `null` if none was sent since the daemon's start, and for a token that sees one "
            "label only.",
            examples=[["flux1-dev.safetensors"]],
        ),
    ] = None
    fits: Annotated[
        list[str] | None,
        Meta(
            description="The configured workflows that it can run. `null` if the request did not ask with `fits`, or "
            "if it has never said what it has.",
            examples=[["empty-image", "text-to-image"]],
        ),
    ] = None
    lacks: Annotated[
        dict[str, str] | None,
        Meta(
            description="The configured workflows that it cannot run, each with what is missing. `null` as `fits` is.",
            examples=[{"film": "1 mistake. Node 3 (WanVideoSampler): This ComfyUI does not have the class."}],
        ),
    ] = None


BoxState = Literal["present", "silent", "left", "given_up"]


class BoxInfo(Answer, frozen=True):
    """One box of a fleet, as this one knows it."""

    name: Annotated[str, Meta(description="Its name.", examples=["north"])]
    state: Annotated[
        BoxState,
        Meta(
            description="`present`: it takes part; `silent`: it takes part, and has said nothing for some seconds; "
            "`left`: it takes part no more, and what it keeps waits for it; `given_up`: nobody waits for it."
        ),
    ]
    term: Annotated[int, Meta(description="How often it has joined.", examples=[3])]
    since_ms: Annotated[
        int,
        Meta(description="When it joined or left last, in milliseconds since 1970, UTC.", examples=[1_795_377_407_458]),
    ]
    own: Annotated[bool, Meta(description="Whether it is the box that answers.")] = False
    heard_s: Annotated[
        float | None,
        Meta(description="How many seconds ago it was heard; `null` if this box never heard it.", examples=[1.8]),
    ] = None
    behind: Annotated[
        int | None,
        Meta(description="How many events it lacked when it was heard; `null` if it never was.", examples=[0]),
    ] = None
    url: Annotated[
        str,
        Meta(description="The address of its daemon; empty if it names none.", examples=["http://north.example:8642"]),
    ] = ""
    delivers: Annotated[bool, Meta(description="Whether it is the one that delivers the webhooks.")] = False


class DemandInfo(Answer, frozen=True):
    """The work that waits for a ComfyUI and needs the same of it."""

    needs: Annotated[
        str,
        Meta(
            description="What it needs, as the metrics name it: `any`, its tags, `backend:NAME` if only this one may "
            "render it, or `other` for all above 31 different needs.",
            examples=["48gb+flux"],
        ),
    ]
    tags: Annotated[
        list[str], Meta(description="The tags that a ComfyUI must have for it.", examples=[["48gb", "flux"]])
    ]
    backend: Annotated[
        str, Meta(description="The only ComfyUI that may render it; empty if there is none such.", examples=[""])
    ]
    queued: Annotated[
        int, Meta(description="Prompts that wait in the daemon and may go to a ComfyUI now.", examples=[38])
    ]
    running: Annotated[int, Meta(description="Prompts that have a place at a ComfyUI.", examples=[4])]
    queued_s: Annotated[
        float | None,
        Meta(
            description="Seconds that one ComfyUI would take for those that wait, from the measured times of prompts "
            "with the same models, or else the same needs, or else of all; `null` while none was measured.",
            examples=[190.0],
        ),
    ]
    backends_wanted: Annotated[
        int,
        Meta(
            description="How many ComfyUIs would finish all of it within `[scheduling] wanted_wait_s`, those that run "
            "some of it included: at least 1 while there is any, 0 if there is none, and never more than prompts.",
            examples=[4],
        ),
    ]


class StoreInfo(Answer, frozen=True):
    """One store, as the daemon sees it."""

    name: Annotated[str, Meta(description="Its name in the configuration.", examples=["folder"])]
    kind: Annotated[str, Meta(description="The kind of store, which names its plugin.", examples=["folder"])]
    identity: Annotated[
        str, Meta(description="The identity of the store: which place it is.", examples=["folder:/srv/images"])
    ]
    problem: Annotated[
        str,
        Meta(
            description="Why the store cannot be used; empty if it can.",
            examples=["The folder /srv/images is not there."],
        ),
    ] = ""
    caveat: Annotated[
        str,
        Meta(
            description="Which promise of comfyledger does not hold for the store, because its section says so; empty "
            "if all hold.",
            examples=["Promise 8 does not hold for this store."],
        ),
    ] = ""


class Info(Answer, frozen=True):
    """The state of the daemon: its ledger, what is open, what waits and why."""

    version: DaemonVersion
    protocol: ProtocolVersion
    ledger_id: LedgerId
    epoch: Epoch
    position: LogEnd
    storage_full: Annotated[
        bool,
        Meta(
            description="Whether new batches are refused, because a disk is nearly full or parked images take more "
            "than `parked_max_bytes`."
        ),
    ]
    uptime_s: Annotated[int, Meta(description="Seconds since the daemon started.", examples=[86_400])]
    open: Annotated[
        dict[str, int],
        Meta(
            description="The number of open `batches`, `prompts` and `uploads`, of prompts among them that wait for "
            "images that they are made from (`waiting`), and of calls that run now (`running`).",
            examples=[{"batches": 1, "prompts": 1, "uploads": 0, "waiting": 0, "running": 1}],
        ),
    ]
    lanes: Annotated[list[LaneInfo], Meta(description="Paused lanes: by a person or for trouble.")]
    waiting: Annotated[list[WaitingInfo], Meta(description="Series whose first batch waits for a store.")]
    backends: Annotated[
        list[BackendInfo],
        Meta(description="The ComfyUIs of the configuration and those that were added; in a fleet those of all boxes."),
    ]
    stores: Annotated[list[StoreInfo], Meta(description="The stores of the configuration.")]
    workflows: Annotated[
        list[str], Meta(description="The names that `workflow` may have.", examples=[["empty-image", "text-to-image"]])
    ]
    storage_text: Annotated[
        str,
        Meta(
            description="What is full, and how much space is free and needed; empty while there is room.",
            examples=["The ledger's disk has 480 MB free and needs 500 MB."],
        ),
    ] = ""
    locked_text: Annotated[
        str,
        Meta(
            description="Which other program holds a lock of the ledger, so that nothing can be written; empty if "
            "none does.",
            examples=["sqlite3 (process 4242) holds a lock of the ledger."],
        ),
    ] = ""
    characters: Annotated[
        int, Meta(description="How many characters have defaults; `list_characters` lists them.", examples=[2])
    ] = 0
    character_problems: Annotated[
        list[str],
        Meta(
            description="Files of characters that cannot be used, each with its mistakes. If the configuration could "
            "not be read again at the last SIGHUP, the first entry says why.",
            examples=[["/etc/comfyledger/characters/opal-fever.toml: It is not TOML: Invalid value (at line 1)."]],
        ),
    ] = []
    inputs: Annotated[
        InputsHeld | None, Meta(description="The input files; `null` for a token that sees one label only.")
    ] = None
    demand: Annotated[
        list[DemandInfo] | None,
        Meta(
            description="The work that waits for ComfyUIs, by what it needs of them. An entry stays when nothing waits "
            "any more. `null` for a token that sees one label only."
        ),
    ] = None
    webhooks: Annotated[
        list[WebhookInfo] | None,
        Meta(
            description="The webhooks, by name, with the scheme and host of their addresses only. `null` for a token "
            "that sees one label only."
        ),
    ] = None
    boxes: Annotated[
        list[BoxInfo], Meta(description="The boxes of the fleet, by name; empty if the daemon is not part of one.")
    ] = []
    disks: Annotated[
        list[DiskInfo] | None,
        Meta(
            description="How much is free where ledger, spool, inputs and stores keep their files; ledger and spool "
            "were read at most a second ago, the others some seconds. `null` for a token that sees one label only."
        ),
    ] = None


class ErrorInfo(Answer, frozen=True):
    """A request was refused, or a frame could not be read. Nothing was changed. `id` is that of the request, or `null`
    if the frame had none."""

    code: Annotated[str, Meta(description="Stable: one of the error codes.", examples=["request_id_conflict"])]
    message: Sentence
    path: Annotated[
        str, Meta(description="The field at fault, for example `$.data.quantity`.", examples=["$.data.request_id"])
    ] = ""
    hint: Annotated[
        str,
        Meta(
            description="What to do.",
            examples=["Make up a new request_id for each batch; repeat one only with the same body."],
        ),
    ] = ""
    retry_after_s: Annotated[
        float,
        Meta(
            description="In how many seconds the same request may succeed; 0 if waiting does not help.", examples=[1.5]
        ),
    ] = 0.0
    mistakes: Annotated[
        list[MistakeInfo],
        Meta(description="What ComfyUI would not take, at most 100; only with the code `workflow_failed_validation`."),
    ] = []


class Waiting(Answer, frozen=True):
    """A request was read and cannot be answered yet. A `result` or an `error` with the same `id` follows.
    `waiting` is sent once, after half a second. A request waits in memory only."""

    code: Annotated[
        str,
        Meta(
            description="Always `series_unanswered`, also if the request waits for ComfyUI.",
            examples=["series_unanswered"],
        ),
    ]
    message: Sentence
