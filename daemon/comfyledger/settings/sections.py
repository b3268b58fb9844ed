"""The configuration as frozen types, with the unit and the reason of each key; `config.toml` shows all of them.

The defaults of the daemon's own keys are here and in no other module; the options of a store have theirs in its
plugin. The sentences below the keys are also those of the JSON Schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from comfyledger.core.naming.names import Templates

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Secret(str):
    """A word that is never shown: its repr is a mask, so that no printed configuration gives it away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root of all sections."""


class Door(Section, frozen=True):
    """`[door]`: where apps come in."""

    host: str = "127.0.0.1"
    """Loopback. A wider address needs `behind_proxy` or `exposed`, a token, and `allowed_hosts`."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9831
    """Registered for nothing, and no neighbour's: ComfyUI has 8188, comfy-api-proxy 8189. 0 takes a free one;
    `door.json` in the state folder says which."""
    behind_proxy: bool = False
    """Whether a reverse proxy with TLS stands before a wider address, and nobody else can reach it."""
    exposed: bool = False
    """The explicit word for a wider address without one: token, prompts and images then cross the network readable."""
    unix_path: str = ""
    """A Unix socket to listen at instead of host and port. The one in the state folder is there in any case."""
    unix_mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o660
    """Of that socket: who may connect at all. They need the token as well."""
    unix_group: str = ""
    """Of that socket, if not the daemon's own."""
    auth: Literal["token", "none"] = "token"
    """`none` lets every local program in; it must be written down."""
    metrics_auth: Literal["token", "none"] = "token"
    """Of `/metrics`. `none` shows counts and names of stores to every program that reaches the door."""
    allowed_origins: tuple[str, ...] = ()
    """Web pages that may connect, with the token, like "https://app.example". Any other page is refused."""
    allowed_hosts: tuple[str, ...] = ()
    """Further values of the Host header beside the loopback names: what protects from DNS rebinding."""
    frame_bytes_max: Positive = 1_048_576
    """Of one websocket message. One up to eight times as large is answered with an error; a larger one closes the
    connection."""
    frames_per_second_max: Positive = 200
    """Of one connection, with bursts of five seconds' worth; what is above is refused and slowed down."""
    connections_max: Positive = 512
    subscriptions_max: Positive = 64
    """For each connection."""
    outbox_frames_max: Positive = 256
    """Frames of progress and previews that wait for a slow client; above it the oldest are dropped. Events wait in the
    log instead."""


class LedgerFile(Section, frozen=True):
    """`[ledger]`: the log."""

    path: str = ""
    """On a local disk. Default: `ledger.db` in the state folder."""
    free_min_bytes: Annotated[int, Meta(ge=0)] = 268_435_456
    """While less is free on its disk, new batches are refused: what was accepted still has much to be logged."""


class Spool(Section, frozen=True):
    """`[spool]`: rendered files until every store has them."""

    path: str = ""
    """Default: `spool` in the state folder."""
    keep_days: Annotated[float, Meta(ge=0)] = 7.0
    """How long a file stays after every store has it: what a damaged store is mended from without rendering."""
    image_bytes_max: Positive = 268_435_456
    """Of one file; more is not fetched."""
    pixels_max: Positive = 268_435_456
    """Of one picture, against decompression bombs."""
    strip_metadata: bool = True
    """ComfyUI writes the whole graph into each PNG, with whatever secrets were typed into it."""
    free_min_bytes: Annotated[int, Meta(ge=0)] = 1_073_741_824
    """While less is free on its disk, new batches are refused and no prompt is sent: those under way still need it."""
    parked_max_bytes: Positive = 10_737_418_240
    """Files of parked images beyond which new batches are refused, before they take the room of everybody's."""


class ComfyUI(Section, frozen=True):
    """`[comfyui.NAME]`: one ComfyUI."""

    url: str = "http://127.0.0.1:8188"
    """`http://USER:PASSWORD@HOST` for a proxy before it that asks for a login; both are shown nowhere."""
    queue_depth: Annotated[int, Meta(ge=1, le=64)] = 3
    """Prompts of ours in its queue: two leave no gap between long ones, a third covers short ones."""
    sweep_interval_s: Seconds = 15.0
    """Silence of the socket, while prompts are outstanding, after which each is looked up."""
    connect_timeout_s: Seconds = 5.0
    request_timeout_s: Seconds = 30.0
    """Of one HTTP call. A file may take as much longer as its bytes take at `transfer_min_bytes_per_s`."""
    transfer_min_bytes_per_s: Positive = 8_192
    """How slow a file may come. At a byte a second it is cut after `request_timeout_s`; 2 GB have three days."""
    render_timeout_s: Seconds = 3600.0
    """From when a prompt is seen running until it is cancelled and counts as failed; waiting does not count."""
    output_dir: str = ""
    """Its output folder, if it is on this machine and what we had it write there shall be cleared."""
    output_keep_days: Annotated[float, Meta(ge=0)] = 7.0
    """How long a file stays in `output_dir` once every store has its image."""
    extra_data: dict[str, str] = {}
    """Keys of paid nodes, sent beside each graph and never stored: api_key_comfy_org = "env:COMFY_ORG_KEY".
    Each says where its secret is: `env:NAME`, `file:PATH` or `credential:NAME` (of systemd)."""


class Workflow(Section, frozen=True):
    """`[workflows.NAME]`: a graph in ComfyUI's API format, and what is to be filled in."""

    file: str
    """Relative to the configuration file, or `sample:NAME` for one that comes with comfyledger."""
    output: str | None = None
    """Node id of the node that saves the images; found if there is only one."""
    seeds: tuple[str, ...] | None = None
    """Like "3.seed"; found if absent."""
    batch_size: str | None = None
    """Like "5.batch_size"; found if there is only one."""
    inputs: dict[str, str] = {}
    """Names for inputs: prompt = "6.text"."""
    secrets: dict[str, str] = {}
    """Inputs that are filled in just before the graph is sent and never stored: "12.api_key" = "env:MY_KEY".
    Each says where its secret is: `env:NAME`, `file:PATH` or `credential:NAME` (of systemd)."""


class Limits(Section, frozen=True):
    """`[limits]`: a bound on everything."""

    open_images_max: Positive = 100_000
    """Images of one client's label that are neither stored nor given up; a batch that would go beyond is refused."""
    quantity_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    """Images of one batch."""
    graph_bytes_max: Positive = 524_288
    """Of a workflow; a hundred times a usual one."""
    node_classes_denied: tuple[str, ...] = ()
    """Node classes that a graph in a request may not use. `*` stands for any text."""
    render_attempts_max: Annotated[int, Meta(ge=1, le=100)] = 3
    """Attempts of one prompt that may fail before its images do; `retry` renews them."""
    poison_strikes_max: Annotated[int, Meta(ge=1, le=100)] = 3
    """Times that ComfyUI may go away while it runs one prompt before its images fail; two may be a person's doing."""
    fetches_max: Positive = 4
    """Prompts whose files are fetched at once, for each ComfyUI."""
    uploads_max: Positive = 8
    """Images that go into one store at once."""
    priority_age_s: Seconds = 600.0
    """A priority that was not served for so long counts as the next higher one."""
    first_use_wait_s: Seconds = 60.0
    """How long the first batch of a series waits for a store to say which numbers it holds."""
    foreign_text_chars_max: Annotated[int, Meta(ge=100, le=100_000)] = 2_000
    """Of a text of ComfyUI or a store that is kept."""


class Logging(Section, frozen=True):
    """`[logging]`: what the daemon says on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people on a terminal, JSON lines elsewhere."""


class Naming(Section, frozen=True):
    """`[naming]`: templates of folder and file. What is named already is never renamed."""

    folder: str = Templates().folder
    file: str = Templates().file
    collection_premade: str = Templates().collection_premade
    collection_own: str = Templates().collection_own

    @property
    def templates(self) -> Templates:
        return Templates(self.folder, self.file, self.collection_premade, self.collection_own)


SAMPLES_BY_DEFAULT: Final = {
    "empty-image": Workflow("sample:empty-image"),
    "text-to-image": Workflow("sample:text-to-image"),
}


class Settings(Section, frozen=True):
    """The whole configuration."""

    state_dir: str = ""
    """Ledger, spool, token. Default: COMFYLEDGER_STATE_DIR, else `~/.local/state/comfyledger`."""
    first_use: Literal["ask", "trust"] = "ask"
    """Whether the stores are asked for their highest number before a series gives its first."""
    default_workflow: str = "empty-image"
    """The workflow of a request that names none."""
    door: Door = Door()
    ledger: LedgerFile = LedgerFile()
    spool: Spool = Spool()
    naming: Naming = Naming()
    limits: Limits = Limits()
    logging: Logging = Logging()
    comfyui: dict[Name, ComfyUI] = {}
    """Default: one, called `main`."""
    stores: dict[Name, dict[str, Any]] = {}
    """`kind` and what the plugin of that kind asks for. Default: one store of each kind that `plugins` names, else
    `folder`, below the state folder."""
    plugins: dict[Name, dict[str, Any]] = {}
    """`[plugins.KIND]`: options of all stores of a kind, where the store's own section does not say otherwise."""
    workflows: dict[str, Workflow] = {}
    """Default: the two samples that come with comfyledger."""
    source: str = ""
    """The file that this was read from; not a key to be set."""

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir)

    @property
    def ledger_path(self) -> Path:
        return Path(self.ledger.path) if self.ledger.path else self.state_path / "ledger.db"

    @property
    def spool_path(self) -> Path:
        return Path(self.spool.path) if self.spool.path else self.state_path / "spool"

    @property
    def token_path(self) -> Path:
        return self.state_path / "token"

    @property
    def tokens_path(self) -> Path:
        return self.state_path / "tokens.json"

    @property
    def door_path(self) -> Path:
        return self.state_path / "door.json"
