"""What a test may do to the stand-in through `/control`, and the ledger of what the stand-in was asked.

Faults are plain counters and switches that the other modules ask. At a breakpoint a run can be held, so that a test
sees a state that real machines pass through in milliseconds. No HTTP here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal, get_args

import msgspec

from comfyledger.sim.comfyui.nodes import ListName

LEDGER_ENTRIES_MAX: Final = 100_000

Place = Literal["queue", "start", "before_node", "in_node", "between_files", "history"]
"""Where a run can be held: before it leaves the queue, before its first node is checked, before a node begins, while a
node works (its `executing` is sent), between two files of a node that writes several, and between
`execution_success` and the history entry."""

ALL_PLACES: Final[frozenset[Place]] = frozenset(get_args(Place))

Breaking = Literal["too_big", "mid_frame", "half_open", "zombie"]
"""How open sockets break. They are closed with code 1009, or reset within a frame. Or the connection stays open and is
neither read nor written any more, pings included (half open). Or pings are answered and nothing is sent (recording
`zombie`)."""

ViewFault = Literal[
    "cut_1",
    "cut_4",
    "cut_20",
    "cut_1000",
    "cut_half",
    "cut_head",
    "trailing",
    "empty",
    "html",
    "short_transfer",
    "missing",
    "hang",
    "drip",
    "reset",
    "redirect",
    "endless",
    "bomb",
]
"""What `/view` answers instead of a file: the file without its last bytes, without its second half or with its first 16
bytes only; with rubbish after its end or without any bytes; an HTML page; less than the announced length; 404; nothing;
one byte a second; a reset; a redirect to itself; a body without an end; or a PNG of 0.8 MB with 268 million pixels."""

UploadFault = Literal["cut", "short", "answer_lost", "unanswered", "other_name"]
"""What happens to an upload: half of the file is written and the connection is reset; half of it is written and the
answer is as for all of it; the whole is written and the connection is reset, or stays open without an answer; or it is
written under another name, which the answer names."""

Doubling = Literal["at_once", "later"]
"""When the next prompt is posted a second time under its id: at once (recording `duplicate_id`), or after the prompt
that follows it (recording `duplicate_later`)."""


class MadeToFail(Exception):
    """An error that a test asked for."""

    kind = "RuntimeError"


class Refuse(msgspec.Struct, forbid_unknown_fields=True):
    """Answer the next `next` requests with this status and no body."""

    status: int
    next: int


class Control(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /control`; a field that is missing changes nothing."""

    seconds_per_image: float | None = None
    """How long each picture takes."""
    hold: list[Place] | None = None
    """Where runs are held from now on."""
    step: int = 0
    """Let the worker pass this many breakpoints."""
    fail_next: int | None = None
    """This many prompts end with an error of a node."""
    fail_nodes: dict[str, int] | None = None
    """How many of the next runs of a node, by its id, end with an error there. What ran before it stays written."""
    fail_text: str | None = None
    """The text of those errors."""
    answer_lost_next: int | None = None
    """This many posted prompts are accepted and never answered."""
    slow: dict[str, float] | None = None
    """Seconds that requests wait before they are served, by the beginning of their path."""
    refuse: dict[str, Refuse] | None = None
    """Requests that are answered with an error, by the beginning of their path."""
    view_next: list[ViewFault] | None = None
    """What happens to the next files, one each."""
    view_of: dict[str, ViewFault] | None = None
    """What always happens to files whose path contains this text, such as a batch id in lower case."""
    upload_next: list[UploadFault] | None = None
    """What happens to the next uploads, one each."""
    miscount_next: list[int] | None = None
    """How many more files, or fewer, the next prompts name in their outputs."""
    double_next: list[Doubling] | None = None
    """How the next prompts are posted twice."""
    deaf: bool | None = None
    """Work continues and nothing is sent to any socket."""
    flood_per_s: int | None = None
    """This many `progress` frames a second go to the client of the running prompt."""
    drop_sockets: bool = False
    """Cut the open sockets without a close frame (code 1006)."""
    break_sockets: Breaking | None = None
    """Break the open sockets in this way."""
    mend_sockets: bool = False
    """Read half-open sockets again: their ends are noticed now, later than those of newer sockets."""
    big_frame_bytes: int = 0
    """Send one text frame of this size to every socket."""
    delete_files_of: str | None = None
    """The prompt whose files are deleted from the output folder."""
    forget: bool = False
    """Lose queue, history and cache, as in a restart."""
    lists: dict[ListName, list[str]] | None = None
    """The names of models or pictures that are there from now on, by their list."""
    missing_classes: list[str] | None = None
    """The node classes that are not installed from now on, and no others."""


class Breakpoints:
    """Hold the worker at the named places, until a test lets it continue or step.

    A held run does not notice an interrupt, as most of ComfyUI's nodes do not while they work.
    """

    def __init__(self, settled: Callable[[], Awaitable[None]]) -> None:
        self._settled = settled
        self._places: frozenset[Place] = frozenset()
        self._steps = 0
        self._moved = asyncio.Event()
        self.held_at: Place | None = None

    @property
    def places(self) -> list[Place]:
        """Where runs are held."""
        return sorted(self._places)

    def hold(self, places: Iterable[Place]) -> None:
        """Hold at these places from now on, and at no others."""
        self._places = frozenset(places)
        self._steps = 0
        self.held_at = None
        self._moved.set()

    def step(self, count: int) -> None:
        """Let the worker pass `count` breakpoints."""
        self._steps += count
        self.held_at = None
        self._moved.set()

    async def stop_at(self, place: Place) -> None:
        """Wait here if this place is held. `held_at` is set after everything that was to be sent is sent."""
        while place in self._places and not self._steps:
            self._moved.clear()
            await self._settled()
            self.held_at = place
            try:
                await self._moved.wait()
            finally:
                self.held_at = None
        if place in self._places:
            self._steps -= 1


_SWITCHES: Final = (
    "seconds_per_image",
    "fail_next",
    "fail_nodes",
    "fail_text",
    "answer_lost_next",
    "slow",
    "refuse",
    "view_next",
    "view_of",
    "upload_next",
    "miscount_next",
    "double_next",
    "deaf",
    "flood_per_s",
)


class Faults:
    """The faults that are switched on."""

    def __init__(self, breakpoints: Breakpoints, seconds_per_image: float) -> None:
        self.breakpoints = breakpoints
        self.seconds_per_image = seconds_per_image
        self.fail_next = 0
        self.fail_nodes: dict[str, int] = {}
        self.fail_text = "CUDA out of memory"
        self.answer_lost_next = 0
        self.slow: dict[str, float] = {}
        self.refuse: dict[str, Refuse] = {}
        self.view_next: list[ViewFault] = []
        self.view_of: dict[str, ViewFault] = {}
        self.upload_next: list[UploadFault] = []
        self.miscount_next: list[int] = []
        self.double_next: list[Doubling] = []
        self.deaf = False
        self.flood_per_s = 0

    def apply(self, control: Control) -> None:
        """Switch faults on and off."""
        for name in _SWITCHES:
            value = getattr(control, name)
            if value is not None:
                setattr(self, name, value)
        if control.hold is not None:
            self.breakpoints.hold(control.hold)
        if control.step:
            self.breakpoints.step(control.step)

    def take_failure(self) -> bool:
        """Whether the prompt that has begun is to fail."""
        self.fail_next, failing = max(self.fail_next - 1, 0), self.fail_next > 0
        return failing

    def take_node_failure(self, node_id: str) -> bool:
        """Whether this run of the node is to fail."""
        left = self.fail_nodes.get(node_id, 0)
        self.fail_nodes[node_id] = max(left - 1, 0)
        return left > 0

    def take_lost_answer(self) -> bool:
        """Whether the prompt that was posted gets no answer."""
        self.answer_lost_next, lost = max(self.answer_lost_next - 1, 0), self.answer_lost_next > 0
        return lost

    def delay_s(self, path: str) -> float:
        """How long a request waits."""
        return max((delay for start, delay in self.slow.items() if path.startswith(start)), default=0.0)

    def take_refusal(self, path: str) -> int | None:
        """The status with which a request is refused; None if it is not."""
        for start, refuse in self.refuse.items():
            if path.startswith(start) and refuse.next > 0:
                refuse.next -= 1
                return refuse.status
        return None

    def take_view(self, path: str) -> ViewFault | None:
        """The fault for the file that was asked for."""
        for part, fault in self.view_of.items():
            if part in path:
                return fault
        return self.view_next.pop(0) if self.view_next else None

    def take_upload(self) -> UploadFault | None:
        """The fault for the upload that has come."""
        return self.upload_next.pop(0) if self.upload_next else None

    def take_miscount(self) -> int:
        """How many more files, or fewer, the prompt that has ended names."""
        return self.miscount_next.pop(0) if self.miscount_next else 0

    def take_doubling(self) -> Doubling | None:
        """Whether the prompt that was posted is posted again."""
        return self.double_next.pop(0) if self.double_next else None

    def state(self) -> dict[str, object]:
        """The answer of `/control`."""
        return {"hold": self.breakpoints.places, "held_at": self.breakpoints.held_at} | {
            name: getattr(self, name) for name in _SWITCHES
        }


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. `order` counts over requests, files, uploads and prompts together."""

    order: int
    method: str
    path: str
    prompt_id: str | None


class Written(msgspec.Struct, frozen=True):
    """One file, by its path below the output or temp folder."""

    order: int
    prompt_id: str
    type: str
    path: str


class Uploaded(msgspec.Struct, frozen=True):
    """One file that a client put into a folder. `filename` is as it was sent, `name` as it was answered. Size and
    `sha256` are those of what was sent. `written` is False if these bytes were there already.
    """

    order: int
    filename: str
    subfolder: str
    type: str
    overwrite: bool
    name: str
    size_bytes: int
    sha256: str
    written: bool
    fault: UploadFault | None


class Ran(msgspec.Struct, frozen=True):
    """One prompt that ended; `outcome` is the type of its last message, `preview_method` what its sender asked for."""

    order: int
    prompt_id: str
    number: float
    client_id: str | None
    outcome: str
    executed: list[str]
    preview_method: str | None


class Ledger:
    """The requests, files, uploads and prompts of the stand-in, the newest LEDGER_ENTRIES_MAX of each kind."""

    def __init__(self) -> None:
        self._count = 0
        self.requests: deque[Request] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.files: deque[Written] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.uploads: deque[Uploaded] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.prompts: deque[Ran] = deque(maxlen=LEDGER_ENTRIES_MAX)
        self.taken_out: deque[str] = deque(maxlen=LEDGER_ENTRIES_MAX)
        """Prompts that were cleared or interrupted without their id, as ComfyUI's own page does it."""

    def next_order(self) -> int:
        """The order of the next entry among all."""
        self._count += 1
        return self._count

    def state(self) -> dict[str, object]:
        """The answer of `/ledger`. `count` exceeds the number of entries if old ones were dropped."""
        return {
            "count": self._count,
            "requests": list(self.requests),
            "files": list(self.files),
            "uploads": list(self.uploads),
            "prompts": list(self.prompts),
            "taken_out": list(self.taken_out),
        }
