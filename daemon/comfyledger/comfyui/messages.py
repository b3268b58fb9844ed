"""ComfyUI's websocket frames and HTTP answers as values.

Here lives what ComfyUI says, read tolerantly: unknown keys are skipped, unknown types are a value of their own, each
text is cut to a bound, and no answer that is a JSON object raises. No connection and no decision lives here. Bytes come
in, values go out; client, watcher and stand-in build on them. Shapes as in the recordings of ComfyUI 0.33.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from comfyledger.comfyui.fields import (
    ID_CHARS_MAX,
    LIST_MAX,
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    BadFrame,
    as_text,
    cut,
    json_object,
    read_id,
    read_ids,
    read_number,
    read_object,
    read_objects,
    read_span,
    read_text,
)

__all__ = ["TEXT_CHARS_MAX", "BadFrame"]  # What callers need of the tolerant reading; the rest is defined below.

ERRORS_PER_NODE_MAX: Final = 16

PREVIEW: Final = 1
PREVIEW_WITH_METADATA: Final = 4
_PREVIEW_MIMES: Final = {1: "image/jpeg", 2: "image/png"}


class OutputFile(msgspec.Struct, frozen=True):
    """A file as `/view` wants it named; `type` is output, temp or input."""

    filename: str
    subfolder: str
    type: str


# What arrives on the websocket.


class Status(msgspec.Struct, frozen=True):
    queue_remaining: int
    sid: str | None = None


class ExecutionStart(msgspec.Struct, frozen=True):
    prompt_id: str


class ExecutionCached(msgspec.Struct, frozen=True):
    prompt_id: str
    nodes: tuple[str, ...]


class Executing(msgspec.Struct, frozen=True):
    """The node that runs now; None at the very end of a prompt, when its history entry exists."""

    prompt_id: str
    node: str | None


class Progress(msgspec.Struct, frozen=True):
    prompt_id: str
    node: str
    value: float
    max: float


class ProgressState(msgspec.Struct, frozen=True):
    """Repeats the state of all nodes at each step; only its prompt is of interest."""

    prompt_id: str


class Executed(msgspec.Struct, frozen=True):
    prompt_id: str
    node: str
    images: tuple[OutputFile, ...]


class ExecutionSuccess(msgspec.Struct, frozen=True):
    """Sent before the history entry exists."""

    prompt_id: str


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


# What HTTP answers.


class NodeErrors(msgspec.Struct, frozen=True):
    """What is wrong with one node, and the output nodes that will not run because of it."""

    node_id: str
    class_type: str
    dependent_outputs: tuple[str, ...]
    errors: tuple[str, ...]


class PromptAnswer(msgspec.Struct, frozen=True):
    """200 to `POST /prompt`. Outputs that `node_errors` touch will not run."""

    prompt_id: str
    number: float
    node_errors: tuple[NodeErrors, ...]


class RefusalAnswer(msgspec.Struct, frozen=True):
    """Any other answer to `POST /prompt`; `type` is ComfyUI's own word, empty when the answer was no JSON."""

    status: int
    type: str
    message: str
    details: str
    node_errors: tuple[NodeErrors, ...]

    def words(self, limit: int) -> str:
        """One sentence for a person, of at most `limit` characters."""
        head = _with_details(self.message or f"HTTP {self.status}", self.details)
        nodes = [f"node {n.node_id} ({n.class_type}): {', '.join(n.errors)}" for n in self.node_errors]
        return cut("; ".join([head, *nodes]), limit)


class HistoryEntry(msgspec.Struct, frozen=True):
    """A finished prompt. `error` is there exactly when `ended` is "error"; `ran_s` is 0 where nothing says it."""

    prompt_id: str
    status_str: str
    completed: bool
    ended: Literal["success", "error", "interrupted"]
    outputs: dict[str, tuple[OutputFile, ...]]
    error: ExecutionError | None = None
    ran_s: float = 0.0


class QueueIds(msgspec.Struct, frozen=True):
    running: tuple[str, ...]
    pending: tuple[str, ...]


Job = Literal["waiting", "running", "ended", "unknown"]
_JOB_WORDS: Final[dict[str, Job]] = {
    "pending": "waiting",
    "in_progress": "running",
    "completed": "ended",
    "failed": "ended",
    "cancelled": "ended",
}
"""Of ComfyUI 0.33.0. Other versions have other words: those say nothing."""
_JOB_NOT_FOUND: Final = "Job not found"
_NO_ROUTE: Final = b"404: Not Found"
"""What a ComfyUI without a route answers; a gateway in front of it has a body of its own."""


def parse_text(frame: str | bytes) -> Message:
    """The message in a text frame. Raises BadFrame when it is no JSON object, and nothing else."""
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


def parse_prompt_answer(status: int, body: str | bytes) -> PromptAnswer | RefusalAnswer:
    """What `POST /prompt` answered.

    Raises BadFrame for a 200 that names no prompt and for a 400 that is not ComfyUI's: neither says that the graph is
    in the queue, or that it is wrong.
    """
    if status == 200:
        answer = json_object(body)
        if not read_id(answer, "prompt_id"):
            raise BadFrame("the answer to a prompt names no prompt_id")
        return PromptAnswer(read_id(answer, "prompt_id"), read_number(answer, "number") or 0, _node_errors(answer))
    try:
        answer = json_object(body)
    except BadFrame:
        if status == 400:
            raise
        return RefusalAnswer(status, "", cut(as_text(body), TEXT_CHARS_MAX), "", ())
    error = read_object(answer, "error")
    if status == 400 and not read_id(error, "type") and "node_errors" not in answer:
        raise BadFrame("a 400 that has neither ComfyUI's error nor its node_errors")
    return RefusalAnswer(
        status,
        read_id(error, "type"),
        read_text(error, "message", TEXT_CHARS_MAX) or read_text(answer, "error", TEXT_CHARS_MAX),
        read_text(error, "details", TEXT_CHARS_MAX),
        _node_errors(answer),
    )


def parse_history(body: str | bytes, prompt_id: str) -> HistoryEntry | None:
    """The entry of a prompt in `GET /history/{prompt_id}`; None when it is unknown or not finished.

    Raises BadFrame for every answer that is neither the entry nor the empty object.
    """
    answer = json_object(body)
    if not answer:
        return None
    entry = answer.get(prompt_id)
    if not isinstance(entry, dict) or not isinstance(entry.get("outputs"), dict):
        raise BadFrame("the history answered something else than the prompt that was asked for")
    status = read_object(entry, "status")
    ended, error = _ending(status, has_outputs=bool(entry["outputs"]))
    outputs = list(read_object(entry, "outputs").items())[:LIST_MAX]
    files = {cut(node_id, ID_CHARS_MAX): _files(output) for node_id, output in outputs}
    completed, ran_ms = status.get("completed") is True, read_span([m[1] for m in _messages(status)], "timestamp")
    return HistoryEntry(prompt_id, read_id(status, "status_str"), completed, ended, files, error, ran_ms / 1000)


def parse_queue(body: str | bytes) -> QueueIds:
    """The ids in `GET /queue`, all of them. Raises BadFrame when the answer has not both lists, or an unknown entry."""
    answer = json_object(body)
    return QueueIds(_queued(answer.get("queue_running")), _queued(answer.get("queue_pending")))


def parse_job(status: int, body: str | bytes, prompt_id: str) -> Job | Literal["gone", "no_route"]:
    """What `GET /api/jobs/{id}` says of a prompt; "no_route" where ComfyUI has no such call.

    Only ComfyUI's own 404 means that it does not know the prompt. All else that is not understood is "unknown": a word
    of another version, a wrapper, a gateway's answer.
    """
    if status == 404 and body in {_NO_ROUTE, _NO_ROUTE.decode()}:
        return "no_route"
    try:
        answer = json_object(body)
    except BadFrame:
        return "unknown"
    if status == 404:
        return "gone" if answer.get("error") == _JOB_NOT_FOUND else "unknown"
    if status != 200 or answer.get("id", prompt_id) != prompt_id:
        return "unknown"
    return _JOB_WORDS.get(read_id(answer, "status"), "unknown")


def parse_cancelled(status: int, body: str | bytes) -> bool | None:
    """Whether `POST /api/jobs/{id}/cancel` took the prompt out; None where the answer does not say."""
    if status != 200:
        return False
    try:
        said = json_object(body).get("cancelled")
    except BadFrame:
        return None
    return said if isinstance(said, bool) else None


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
    return Executed(read_id(fields, "prompt_id"), read_id(fields, "node"), _files(fields.get("output")))


def _read_error(fields: Mapping[str, Any]) -> ExecutionError:
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
    "execution_error": _read_error,
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


def _messages(status: Mapping[str, Any]) -> list[list[Any]]:
    messages = status.get("messages")
    return [m for m in messages if isinstance(m, list) and len(m) == 2] if isinstance(messages, list) else []


def _ending(
    status: Mapping[str, Any], has_outputs: bool
) -> tuple[Literal["success", "error", "interrupted"], ExecutionError | None]:
    named = _messages(status)
    if any(m[0] == "execution_interrupted" for m in named):
        return "interrupted", None
    errors = read_objects([m[1] for m in named if m[0] == "execution_error"])
    word = read_id(status, "status_str").lower()
    # Versions before the status was kept have none: then only outputs can tell.
    if word == "success" or (not status and has_outputs):
        return "success", None
    if word == "error" or errors or not status:
        return "error", _read_error(errors[0] if errors else {})
    if status.get("completed") is True:
        return "success", None
    raise BadFrame(f"the history names an ending that is not known: {word!r}")


def _node_errors(answer: Mapping[str, Any]) -> tuple[NodeErrors, ...]:
    nodes = list(read_object(answer, "node_errors").items())[:LIST_MAX]
    return tuple(
        NodeErrors(
            cut(node_id, ID_CHARS_MAX),
            read_id(node, "class_type"),
            read_ids(node.get("dependent_outputs")),
            tuple(_error_words(node.get("errors"))),
        )
        for node_id, node in nodes
        if isinstance(node, dict)
    )


def _error_words(errors: object) -> list[str]:
    return [
        _with_details(
            read_text(error, "message", TEXT_CHARS_MAX) or read_id(error, "type"),
            read_text(error, "details", TEXT_CHARS_MAX),
        )
        for error in read_objects(errors)[:ERRORS_PER_NODE_MAX]
    ]


def _with_details(message: str, details: str) -> str:
    return f"{message} ({details})" if details and details != message else message


def _files(output: object) -> tuple[OutputFile, ...]:
    images = read_objects(output.get("images") if isinstance(output, dict) else None)
    return tuple(
        OutputFile(
            read_text(image, "filename", NAME_CHARS_MAX),
            read_text(image, "subfolder", NAME_CHARS_MAX),
            read_id(image, "type") or "output",
        )
        for image in images
        if image.get("filename")
    )


def _queued(entries: object) -> tuple[str, ...]:
    """The ids of a list of the queue. One that cannot be read may be the one that is looked for."""
    if not isinstance(entries, list):
        raise BadFrame("the queue has no list of prompts")
    return tuple(_queued_id(entry) for entry in entries)


def _queued_id(entry: object) -> str:
    if isinstance(entry, list) and len(entry) > 1 and isinstance(entry[1], str):
        return entry[1]
    raise BadFrame("the queue has an entry that names no prompt")
