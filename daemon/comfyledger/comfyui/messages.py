"""ComfyUI's websocket frames as values; `answers` has what it answers by HTTP.

Frames are read tolerantly: unknown keys are skipped, an unknown type becomes `Unknown`, each text is cut to a bound,
and no frame that is a JSON object raises. Those that are frequent and as expected are decoded into their values at
once; all others are read field by field, with the same result. Bytes come in, values go out. No connection and no
decision is here. The watcher, the doctor and the stand-in use these values. Shapes as in the recordings of ComfyUI
0.33.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from comfyledger.comfyui.fields import (
    ID_CHARS_MAX,
    LIST_MAX,
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    BadFrame,
    json_object,
    read_id,
    read_ids,
    read_number,
    read_object,
    read_objects,
    read_text,
)

PREVIEW: Final = 1
PREVIEW_WITH_METADATA: Final = 4
_PREVIEW_MIMES: Final = {1: "image/jpeg", 2: "image/png"}
_COUNT_MAX: Final = 10**15

# The bounds hold where a frame is decoded at once. One that exceeds them is read field by field, which cuts its texts.
_Id: TypeAlias = Annotated[str, msgspec.Meta(max_length=ID_CHARS_MAX)]
_NodeId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)]
_Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-_COUNT_MAX, le=_COUNT_MAX)]
_Number: TypeAlias = _Whole | Annotated[float, msgspec.Meta(ge=-_COUNT_MAX, le=_COUNT_MAX)]


class ViewFile(msgspec.Struct, frozen=True):
    """A file as `/view` wants it named; `type` is output, temp or input."""

    filename: str
    subfolder: str
    type: str


class Status(msgspec.Struct, frozen=True):
    queue_remaining: int
    sid: str | None = None


class ExecutionStart(msgspec.Struct, frozen=True):
    prompt_id: _Id


class ExecutionCached(msgspec.Struct, frozen=True):
    prompt_id: _Id
    nodes: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=LIST_MAX)]


class Executing(msgspec.Struct, frozen=True):
    """The node that runs now; None at the very end of a prompt, when its history entry exists."""

    prompt_id: _Id
    node: _NodeId | None


class Progress(msgspec.Struct, frozen=True):
    prompt_id: _Id
    node: _Id
    value: _Number
    max: _Number


class ProgressState(msgspec.Struct, frozen=True):
    """Repeats the state of all nodes at each step; only its prompt is of interest."""

    prompt_id: _Id


class Executed(msgspec.Struct, frozen=True):
    prompt_id: str
    node: str
    files: tuple[ViewFile, ...]


class ExecutionSuccess(msgspec.Struct, frozen=True):
    """Sent before the history entry exists."""

    prompt_id: _Id


class ExecutionError(msgspec.Struct, frozen=True):
    prompt_id: str
    node_id: str
    node_type: str
    exception_type: str
    exception_message: str


class ExecutionInterrupted(msgspec.Struct, frozen=True):
    """Sent to every socket."""

    prompt_id: str
    node_id: str


class FeatureFlags(msgspec.Struct, frozen=True):
    supports_preview_metadata: bool


class Unknown(msgspec.Struct, frozen=True):
    """A frame of a type not known here, or of a known one whose fields are not what they were."""

    type: str


Message: TypeAlias = (
    Status
    | ExecutionStart
    | ExecutionCached
    | Executing
    | Progress
    | ProgressState
    | Executed
    | ExecutionSuccess
    | ExecutionError
    | ExecutionInterrupted
    | FeatureFlags
    | Unknown
)


class Preview(msgspec.Struct, frozen=True):
    """A picture of the work in progress. Frames of type 1 do not say whose it is."""

    mime: str
    image: bytes
    prompt_id: str | None = None
    node_id: str | None = None


class _OneValue(msgspec.Struct, frozen=True, tag_field="type"):
    """A frame whose data is the value."""

    data: Message

    @property
    def message(self) -> Message:
        return self.data


class _Start(_OneValue, frozen=True, tag="execution_start"):
    data: ExecutionStart


class _Cached(_OneValue, frozen=True, tag="execution_cached"):
    data: ExecutionCached


class _Executing(_OneValue, frozen=True, tag="executing"):
    data: Executing


class _Progress(_OneValue, frozen=True, tag="progress"):
    data: Progress


class _ProgressState(_OneValue, frozen=True, tag="progress_state"):
    data: ProgressState


class _Success(_OneValue, frozen=True, tag="execution_success"):
    data: ExecutionSuccess


class _ExecutedData(msgspec.Struct, frozen=True):
    prompt_id: _Id
    node: _Id
    output: Any


class _Executed(msgspec.Struct, frozen=True, tag_field="type", tag="executed"):
    data: _ExecutedData

    @property
    def message(self) -> Message:
        return Executed(self.data.prompt_id, self.data.node, read_files(self.data.output))


class _ExecInfo(msgspec.Struct, frozen=True):
    queue_remaining: _Whole


class _Queue(msgspec.Struct, frozen=True):
    exec_info: _ExecInfo


class _StatusData(msgspec.Struct, frozen=True):
    status: _Queue
    sid: _NodeId | None = None


class _Status(msgspec.Struct, frozen=True, tag_field="type", tag="status"):
    data: _StatusData

    @property
    def message(self) -> Message:
        return Status(self.data.status.exec_info.queue_remaining, self.data.sid)


_EXPECTED: Final = msgspec.json.Decoder(
    _Start | _Cached | _Executing | _Progress | _ProgressState | _Success | _Executed | _Status
)


def parse_text(frame: str | bytes) -> Message:
    """The message in a text frame. Raises BadFrame when it is no JSON object, and nothing else."""
    try:
        message: Message = _EXPECTED.decode(frame).message
        return message
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _read_fields(frame)


def _read_fields(frame: str | bytes) -> Message:
    envelope = json_object(frame)
    kind = read_id(envelope, "type")
    read = _READERS.get(kind)
    return (read(read_object(envelope, "data")) if read else None) or Unknown(kind)


def is_greeting(message: Message) -> bool:
    """What a server answers to a new socket at once, without its loop that sends: a deaf socket gets it as well."""
    return isinstance(message, FeatureFlags) or (isinstance(message, Status) and message.sid is not None)


def parse_preview(frame: bytes) -> Preview | None:
    """The picture in a binary frame of type 1 or 4; None for all others and for those that are cut."""
    if len(frame) < 8:
        return None
    event, second = int.from_bytes(frame[:4], "big"), int.from_bytes(frame[4:8], "big")
    if event == PREVIEW and second in _PREVIEW_MIMES:
        return Preview(_PREVIEW_MIMES[second], frame[8:])
    if event == PREVIEW_WITH_METADATA:
        return _preview_with_metadata(frame, end=8 + second)
    return None


# The readers of each type answer None when a field that makes the message is missing.


def _read_status(fields: Mapping[str, Any]) -> Message | None:
    remaining = read_number(read_object(read_object(fields, "status"), "exec_info"), "queue_remaining")
    return None if remaining is None else Status(int(remaining), read_id(fields, "sid") or None)


def _read_progress(fields: Mapping[str, Any]) -> Message | None:
    value, most = read_number(fields, "value"), read_number(fields, "max")
    if value is None or most is None:
        return None
    return Progress(read_id(fields, "prompt_id"), read_id(fields, "node"), value, most)


def _read_executed(fields: Mapping[str, Any]) -> Message | None:
    return Executed(read_id(fields, "prompt_id"), read_id(fields, "node"), read_files(fields.get("output")))


def read_error(fields: Mapping[str, Any]) -> ExecutionError:
    """How a prompt failed; its copy in the history has the same fields."""
    return ExecutionError(
        read_id(fields, "prompt_id"),
        read_id(fields, "node_id"),
        read_id(fields, "node_type"),
        read_id(fields, "exception_type"),
        read_text(fields, "exception_message", TEXT_CHARS_MAX),
    )


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Message | None]]] = {
    "status": _read_status,
    "execution_start": lambda fields: ExecutionStart(read_id(fields, "prompt_id")),
    "execution_cached": lambda fields: ExecutionCached(read_id(fields, "prompt_id"), read_ids(fields.get("nodes"))),
    "executing": lambda fields: Executing(read_id(fields, "prompt_id"), read_id(fields, "node") or None),
    "progress": _read_progress,
    "progress_state": lambda fields: ProgressState(read_id(fields, "prompt_id")),
    "executed": _read_executed,
    "execution_success": lambda fields: ExecutionSuccess(read_id(fields, "prompt_id")),
    "execution_error": read_error,
    "execution_interrupted": lambda fields: ExecutionInterrupted(
        read_id(fields, "prompt_id"), read_id(fields, "node_id")
    ),
    "feature_flags": lambda fields: FeatureFlags(fields.get("supports_preview_metadata") is True),
}


def _preview_with_metadata(frame: bytes, end: int) -> Preview | None:
    try:
        about = json_object(frame[8:end])
    except BadFrame:
        return None
    if end >= len(frame):
        return None
    mime = read_id(about, "image_type") or "image/jpeg"
    return Preview(mime, frame[end:], read_id(about, "prompt_id") or None, read_id(about, "node_id") or None)


def read_files(output: object) -> tuple[ViewFile, ...]:
    """The files of a node's output, in its order, under whatever key it names them: `images`, `gifs`, `audio`, `3d`.

    An entry that is no object with a file name is skipped. A file that another key has named counts once. At most
    LIST_MAX files are read.
    """
    found: list[ViewFile] = []
    named: set[ViewFile] = set()
    for entries in output.values() if isinstance(output, dict) else ():
        files = [_read_file(entry) for entry in read_objects(entries)]
        found += [file for file in files if file.filename and file not in named]
        named.update(files)
        if len(found) >= LIST_MAX:
            break
    return tuple(found[:LIST_MAX])


def _read_file(entry: Mapping[str, Any]) -> ViewFile:
    return ViewFile(
        read_text(entry, "filename", NAME_CHARS_MAX),
        read_text(entry, "subfolder", NAME_CHARS_MAX),
        read_id(entry, "type") or "output",
    )
