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
from comfyledger.settings.addresses import fetched_origin

Positive = Annotated[int, Meta(ge=1)]
FILE_URL_S_MAX: Final = 604_800
Seconds = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]


class Secret(str):
    """A text that is never shown: its repr is a mask, so that no printed configuration reveals it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root of all sections."""


class InputFile(Section, frozen=True):
    """An input file, in place of a value."""

    input: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Its bytes: `sha256:` and their SHA-256, as `comfyledger input add FILE` prints it."""


InputValue = str | int | float | bool | InputFile


class Door(Section, frozen=True):
    """`[door]`: where apps connect."""

    host: str = "127.0.0.1"
    """The address to listen at: loopback. Any other address needs `behind_proxy` or `exposed`, a token, and
    `allowed_hosts`."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9831
    """The port. It is not registered with anybody; ComfyUI uses 8188, comfy-api-proxy 8189. 0 takes a free port, which
    `door.json` in the state folder names."""
    behind_proxy: bool = False
    """Whether a reverse proxy with TLS is in front, so that addresses of files and own pages have https. It allows an
    address other than loopback if nobody else can reach the port."""
    exposed: bool = False
    """Whether an address other than loopback has no proxy. Tokens, prompts and images then cross the network
    unencrypted."""
    unix_path: str = ""
    """A Unix socket to listen at instead of host and port. The socket in the state folder is there as well."""
    unix_mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o660
    """The mode of that socket: who may connect. They need the token as well."""
    unix_group: str = ""
    """The group of that socket. Default: the daemon's own group."""
    auth: Literal["token", "none"] = "token"
    """`none` lets every local program in. With `token` each client needs the token."""
    metrics_auth: Literal["token", "none"] = "token"
    """Whether `/metrics` needs the token. `none` shows counts and names of stores to every program that can connect."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may connect with a token, like "https://app.example". Every other page is refused."""
    allowed_hosts: tuple[str, ...] = ()
    """Further allowed values of the Host header, beside the loopback names. Others are refused, against DNS rebinding.
    """
    frame_bytes_max: Positive = 1_048_576
    """Bytes of one websocket message. A message up to eight times as large is answered with an error; only one above
    that closes the connection."""
    frames_per_second_max: Positive = 200
    """Frames of one connection, five times as many at once. A frame above that is refused, and the next is read later.
    """
    connections_max: Positive = 512
    subscriptions_max: Positive = 64
    """Subscriptions of one connection."""
    file_url_s: Annotated[int, Meta(ge=60, le=FILE_URL_S_MAX)] = 86_400
    """How long a signed address of a file (`file_url`) is valid, in seconds: at most seven days."""
    outbox_frames_max: Positive = 256
    """Frames of progress and previews that wait for a slow client. Above this the oldest are dropped. Events wait in
    the log."""


class LedgerFile(Section, frozen=True):
    """`[ledger]`: the log."""

    path: str = ""
    """The SQLite file, on a local disk. Default: `ledger.db` in the state folder."""
    free_min_bytes: Annotated[int, Meta(ge=0)] = 268_435_456
    """While fewer bytes are free on the ledger's disk, new batches are refused. The events of accepted work still find
    room."""
    shared: str = ""
    """The log of a fleet, in PostgreSQL: "postgresql://USER@HOST/DATABASE". Or where this address is: `env:NAME`,
    `file:PATH` or `credential:NAME`. Empty: this daemon has a log of its own."""


class Box(Section, frozen=True):
    """`[box]`: this machine, if it is one of several that share a log."""

    name: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,15})?$")] = ""
    """Its name, which no other box of the fleet has. Its ComfyUIs are called NAME.main, and so on."""
    url: str = ""
    """The address under which other boxes reach this daemon: "http://north.example:8642". Without it they cannot show
    the files that only this box has."""
    orphan_after_s: Annotated[float, Meta(ge=0)] = 3600.0
    """So many seconds after this or another box died, the images that only it keeps are rendered again under their
    numbers."""


class Spool(Section, frozen=True):
    """`[spool]`: rendered files until every store has them."""

    path: str = ""
    """The folder. Default: `spool` in the state folder."""
    keep_days: Annotated[float, Meta(ge=0)] = 7.0
    """Days that a file stays after every store has it. From there a damaged store is repaired without rendering again.
    """
    image_bytes_max: Positive = 268_435_456
    """Bytes of one picture. A larger one is not fetched."""
    file_bytes_max: Positive = 4_294_967_296
    """Bytes of one file that is no picture: a video, a sound, a model. A larger one is not fetched."""
    pixels_max: Positive = 268_435_456
    """Pixels of one picture, all frames together. This protects from small files that decode to gigabytes."""
    strip_metadata: bool = True
    """Whether text chunks are removed. ComfyUI writes the whole graph into each PNG, with every secret that was typed
    into it."""
    free_min_bytes: Annotated[int, Meta(ge=0)] = 1_073_741_824
    """While fewer bytes are free on the spool's disk, new batches are refused and no prompt is sent. The files of
    running prompts still need room."""
    parked_max_bytes: Positive = 10_737_418_240
    """Bytes that the files of parked images may take. Above this new batches are refused, because many parked files
    would fill the disk."""


class Inputs(Section, frozen=True):
    """`[inputs]`: files that apps give for workflows to load."""

    path: str = ""
    """The folder. Default: `inputs` in the state folder."""
    bytes_max: Positive = 2_147_483_648
    """Bytes of one file. A larger one is refused."""
    keep_days: Annotated[float, Meta(ge=0)] = 30.0
    """Days that a file stays after the last batch that loads it is settled, or after it came if none does."""
    quota_bytes: Positive = 21_474_836_480
    """Bytes that all files may take. For a further one, files that no open batch needs make room, or it is refused."""
    url_hosts: tuple[str, ...] = ()
    """Servers from which the daemon may fetch a file: "https://images.example". A name alone means https. Empty: none.
    """

    @property
    def origins(self) -> frozenset[str]:
        """The servers, as scheme, host and port."""
        return frozenset(map(fetched_origin, self.url_hosts))


class Thumbnails(Section, frozen=True):
    """`[thumbnails]`: small pictures of images, made when they are asked for."""

    quota_bytes: Positive = 1_073_741_824
    """Bytes that the thumbnails in the state folder may take. Those that were used longest ago make room."""


class ComfyUI(Section, frozen=True):
    """`[comfyui.NAME]`: one ComfyUI."""

    url: str = "http://127.0.0.1:8188"
    """Its address. For a proxy that asks for a login write `http://USER:PASSWORD@HOST`; both are shown nowhere."""
    tags: tuple[Tag, ...] = ()
    """Words of yours for what it can do, which workflows and requests may need: "flux", "48gb"."""
    queue_depth: Annotated[int, Meta(ge=0, le=64)] = 0
    """Our prompts in its queue. 0: two, which leave no gap; three while its prompts take less than a second."""
    sweep_interval_s: Seconds = 15.0
    """Within how many seconds a completion is found while its websocket is silent: each prompt that it has not
    mentioned for half of this time is looked up."""
    connect_timeout_s: Seconds = 5.0
    request_timeout_s: Seconds = 30.0
    """Seconds for one HTTP call. A file gets the time that its bytes take at `transfer_min_bytes_per_s` in addition."""
    transfer_min_bytes_per_s: Positive = 8_192
    """Lowest speed of a file; a slower transfer is ended. So 2 GB may take three days, and one byte a second ends after
    `request_timeout_s`."""
    render_timeout_s: Seconds = 3600.0
    """Seconds that a prompt may run; waiting does not count. A longer run is cancelled and counts as a failed attempt.
    """
    move_after_s: Annotated[float, Meta(ge=0)] = 600.0
    """Seconds without working after which others get the prompts that it has, so that some are rendered twice. What it
    finishes all the same is not stored twice. 0: what was sent there waits, unless `comfyledger move` moves it."""
    output_dir: str = ""
    """Its output folder, if it is on this machine and our files there shall be deleted. Empty: nothing is deleted."""
    output_keep_days: Annotated[float, Meta(ge=0)] = 7.0
    """Days that a file stays in `output_dir` after every store has its image."""
    input_dir: str = ""
    """Its input folder, if it is on this machine and forgotten inputs shall be deleted there. Empty: ComfyUI has no
    call that deletes, so they are overwritten and an empty file or a picture of one pixel stays."""
    extra_data: dict[str, str] = {}
    """Keys of nodes that cost money, sent beside each graph and never stored: api_key_comfy_org = "env:COMFY_ORG_KEY".
    Each value says where the secret is: `env:NAME`, `file:PATH` or `credential:NAME` (systemd)."""


class Workflow(Section, frozen=True):
    """`[workflows.NAME]`: a workflow in ComfyUI's API or UI format, and what the daemon fills in."""

    file: str
    """A path relative to the configuration file, or `sample:NAME` for a graph that is included. A PNG or WebP that
    ComfyUI made is taken as the graph in it."""
    output: str | None = None
    """Id of the node whose files become images. If absent, every result that the workflow saves counts."""
    outputs: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)] | None = None
    """Several such nodes; it takes precedence over `output`. Each unit of `quantity` gives one image for each, in this
    order."""
    seeds: tuple[str, ...] | None = None
    """Addresses of the seeds, like "3.seed". Found if absent."""
    batch_size: str | None = None
    """Address of the batch size, like "5.batch_size". Found if there is only one."""
    inputs: dict[str, str] = {}
    """Names for inputs: prompt = "6.text"."""
    needs: tuple[Tag, ...] = ()
    """Tags that a ComfyUI must have to run it. Nodes and models need none: they are found by themselves."""
    secrets: dict[str, str] = {}
    """Inputs that hold a secret, filled in just before the graph is sent and never stored: "12.api_key" = "env:MY_KEY".
    Each value says where the secret is: `env:NAME`, `file:PATH` or `credential:NAME` (systemd)."""

    @property
    def every_output(self) -> tuple[str, ...] | None:
        """The outputs that are named; None if they are to be found."""
        return self.outputs or (None if self.output is None else (self.output,))


class CharacterDefaults(Section, frozen=True):
    """What a character gives a request. Empty: nothing."""

    workflow: str = ""
    """The configured workflow of a request that names none."""
    inputs: dict[str, InputValue] = {}
    """Values of inputs, by name or address: negative = "blurry". An input that takes a file may have an input file:
    reference = { input = "sha256:..." }. Those of a request take precedence."""
    prompt: str = ""
    """What becomes of the input `prompt`: "portrait of embedding:opal-fever, {prompt}"."""


class Character(Section, frozen=True):
    """`[characters.NAME]`: what is the same in all pictures of a character. NAME is matched as in names of files, so
    `Opal Fever` is `opal-fever`.
    """

    display_name: str = ""
    """How people call it. Default: NAME."""
    workflow: str = ""
    """The configured workflow of a request that names none. Default: `default_workflow`."""
    inputs: dict[str, InputValue] = {}
    """Values of inputs, by name or address: negative = "blurry". An input that takes a file may have an input file:
    reference = { input = "sha256:..." }. Those of a request take precedence."""
    prompt: str = ""
    """What becomes of the input `prompt`. `{prompt}` stands for the text of the request, and must be there."""
    premade: CharacterDefaults = CharacterDefaults()
    """What differs for `premade: true`."""
    own: CharacterDefaults = CharacterDefaults()
    """What differs for a user's own character."""

    @property
    def every_input(self) -> list[InputValue]:
        """The values of all inputs, in both collections."""
        return [value for one in (self, self.premade, self.own) for value in one.inputs.values()]

    def defaults(self, *, premade: bool) -> CharacterDefaults:
        """What a request gets in one of the two collections."""
        differs = self.premade if premade else self.own
        return CharacterDefaults(
            differs.workflow or self.workflow, {**self.inputs, **differs.inputs}, differs.prompt or self.prompt
        )


class Limits(Section, frozen=True):
    """`[limits]`: a limit on everything."""

    open_images_max: Positive = 100_000
    """Images of one label that still have to be rendered or stored; failed and parked ones do not count. A batch that
    would exceed this is refused."""
    quantity_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    """Images of one batch."""
    graph_bytes_max: Positive = 524_288
    """Bytes of a workflow: about a hundred times the usual size."""
    check_workflows: Literal["full", "classes", "off"] = "full"
    """What is checked of a workflow, by ComfyUI's own `/object_info`, before numbers are given and before it is sent:
    all that ComfyUI would refuse, only whether it has the node classes, or nothing."""
    node_classes_denied: tuple[str, ...] = ()
    """Node classes that a graph in a request may not use. `*` stands for any text."""
    chain_depth_max: Annotated[int, Meta(ge=1, le=64)] = 16
    """How many images in a row an image may be made from."""
    render_attempts_max: Annotated[int, Meta(ge=1, le=100)] = 3
    """Attempts of one prompt that may fail before its images fail. `retry` starts the count again."""
    poison_strikes_max: Annotated[int, Meta(ge=1, le=100)] = 3
    """How often ComfyUI may stop while it runs the same prompt, before its images fail. A person may cause two
    restarts."""
    fetches_max: Positive = 4
    """Prompts whose files are fetched at the same time, for each ComfyUI."""
    uploads_max: Positive = 8
    """Images that are uploaded to one store at the same time."""
    priority_age_s: Seconds = 600.0
    """Seconds without being served after which a priority counts as the next higher one."""
    first_use_wait_s: Seconds = 60.0
    """Seconds that the first batch of a series waits for a store to say which numbers it holds."""
    foreign_text_chars_max: Annotated[int, Meta(ge=100, le=100_000)] = 2_000
    """Characters of an error text from ComfyUI or a store that are kept."""


class Scheduling(Section, frozen=True):
    """`[scheduling]`: which prompt goes to which ComfyUI."""

    model_quantum_s: Annotated[float, Meta(ge=0)] = 100.0
    """Seconds that a ComfyUI stays with the models that it has loaded, while others wait for other models."""
    wanted_wait_s: Seconds = 60.0
    """Seconds within which the work that waits should be finished. `comfyledger_backends_wanted` says how many ComfyUIs
    would do so; the daemon itself starts none."""


class Backends(Section, frozen=True):
    """`[backends]`: ComfyUIs that clients with the right `admin` add while the daemon runs."""

    allowed: tuple[str, ...] = ()
    """Addresses that may be added: "http://gpu-*.example:8188", "http://10.1.*.*:8188/comfy". `*` stands for any
    characters within one part of a host. Empty: none."""
    trusted: tuple[Name, ...] = ()
    """Names under which an added ComfyUI gets workflows that have secrets."""


class Webhook(Section, frozen=True):
    """`[webhooks.NAME]`: where the daemon delivers events."""

    url: str = ""
    """The address that gets each event as a POST: https, unless `http` is true."""
    secret: str = ""
    """Where the secret is that signs each request: `env:NAME`, `file:PATH` or `credential:NAME` (systemd). The secret
    itself is `whsec_` and Base64 of 24 to 64 random bytes, as Standard Webhooks has it."""
    kinds: tuple[str, ...] = ()
    """Kinds of events. Empty: image_uploaded, image_failed, image_parked and batch_settled."""
    http: bool = False
    """Whether `url` may be http, so that everybody on the way can read what is sent."""
    per_batch: bool = False
    """Whether it delivers the events of those batches only whose request names it, or names an address below `url`."""


class Logging(Section, frozen=True):
    """`[logging]`: what the daemon logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people at a terminal, JSON lines elsewhere."""


class Naming(Section, frozen=True):
    """`[naming]`: templates of folder and file. Existing names never change."""

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
    """The folder of ledger, spool, inputs and token. Default: COMFYLEDGER_STATE_DIR, else
    `~/.local/state/comfyledger`."""
    first_use: Literal["ask", "trust"] = "ask"
    """Whether the stores are asked for their highest number before a series gives its first number."""
    default_workflow: str = "empty-image"
    """The workflow of a request that names none."""
    characters_dir: str = ""
    """A folder with a file NAME.toml for each character, which holds what `[characters.NAME]` would hold."""
    character_defaults_for: tuple[str, ...] = ()
    """Labels whose requests use the defaults of characters unless they say `character_defaults: false`. `*` stands for
    any text."""
    webhooks_allowed: tuple[str, ...] = ()
    """Addresses to which clients may add webhooks while the daemon runs: "https://*.app.example/hooks". `*` stands for
    any characters within one part of a host. Empty: none."""
    door: Door = Door()
    ledger: LedgerFile = LedgerFile()
    box: Box = Box()
    spool: Spool = Spool()
    inputs: Inputs = Inputs()
    thumbnails: Thumbnails = Thumbnails()
    naming: Naming = Naming()
    limits: Limits = Limits()
    scheduling: Scheduling = Scheduling()
    backends: Backends = Backends()
    logging: Logging = Logging()
    comfyui: dict[Name, ComfyUI] = {}
    """The ComfyUI servers. Default: one, called `main`."""
    stores: dict[Name, dict[str, Any]] = {}
    """The stores: `kind`, and the options of that kind. Default: one store of each kind that `plugins` names, else
    `folder` below the state folder."""
    plugins: dict[Name, dict[str, Any]] = {}
    """`[plugins.KIND]`: options of all stores of a kind. A store's own section takes precedence."""
    workflows: dict[str, Workflow] = {}
    """The workflows. Default: the two included samples."""
    characters: dict[str, Character] = {}
    """Characters, beside those of `characters_dir`."""
    webhooks: dict[Name, Webhook] = {}
    """The webhooks."""
    source: str = ""
    """The file that this was read from. Not a key."""

    @property
    def box_name(self) -> str:
        """The name of this box in its fleet; empty without a fleet."""
        return self.box.name if self.ledger.shared else ""

    def backend_name(self, name: str) -> str:
        """What the log calls a ComfyUI of this configuration."""
        return f"{self.box_name}.{name}" if self.box_name else name

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
    def inputs_path(self) -> Path:
        return Path(self.inputs.path) if self.inputs.path else self.state_path / "inputs"

    @property
    def thumbnails_path(self) -> Path:
        return self.state_path / "thumbnails"

    @property
    def token_path(self) -> Path:
        return self.state_path / "token"

    @property
    def tokens_path(self) -> Path:
        return self.state_path / "tokens.json"

    @property
    def fleet_tokens_path(self) -> Path:
        """This box's copy of the tokens of its fleet."""
        return self.state_path / "fleet-tokens.json"

    @property
    def file_urls_path(self) -> Path:
        return self.state_path / "file_urls.salt"

    @property
    def node_classes_path(self) -> Path:
        return self.state_path / "node_classes"

    @property
    def door_path(self) -> Path:
        return self.state_path / "door.json"
