"""ComfyUI's HTTP answers as values; `messages` has its websocket frames.

Answers are read tolerantly: unknown keys are skipped and each text is cut to a bound. An answer that does not say what
was asked for raises BadFrame. Bytes come in, values go out. No connection and no decision is here. Shapes as in the
recordings of ComfyUI 0.33.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from comfyledger.comfyui.fields import (
    ID_CHARS_MAX,
    LIST_MAX,
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
from comfyledger.comfyui.messages import ExecutionError, ViewFile, read_error, read_files

ERRORS_PER_NODE_MAX: Final = 16
MISSING_NODE: Final = "missing_node_type"


class NodeErrors(msgspec.Struct, frozen=True):
    """What is wrong with one node, and the output nodes that will not run because of it."""

    node_id: str
    class_type: str
    dependent_outputs: tuple[str, ...]
    errors: tuple[str, ...]
    about: tuple[tuple[str, str], ...] = ()
    """Of each error ComfyUI's word for its kind, and the name of the input; empty if the node as a whole is meant."""


class PromptAnswer(msgspec.Struct, frozen=True):
    """200 to `POST /prompt`. Outputs that `node_errors` touch will not run."""

    prompt_id: str
    number: float
    node_errors: tuple[NodeErrors, ...]


class RefusalAnswer(msgspec.Struct, frozen=True):
    """Any other answer to `POST /prompt`; `type` is ComfyUI's own; empty if the answer was no JSON."""

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

    def mistakes(self) -> list[tuple[str, str]]:
        """What the refusal is about: kinds, each with the address of an input or the id of a node. Empty if it does not
        say.
        """
        nodes = [
            (kind, f"{node.node_id}.{name}" if name else node.node_id)
            for node in self.node_errors
            for kind, name in node.about
        ]
        return nodes or ([(self.type, "")] if self.type == MISSING_NODE else [])


class HistoryEntry(msgspec.Struct, frozen=True):
    """A finished prompt. `error` is set only if `ended` is "error"; `ran_s` is 0 if not known."""

    prompt_id: str
    status_str: str
    completed: bool
    ended: Literal["success", "error", "interrupted"]
    outputs: dict[str, tuple[ViewFile, ...]]
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
"""The statuses of ComfyUI 0.33.0. Any other status counts as unknown."""
_JOB_NOT_FOUND: Final = "Job not found"
_NO_ROUTE: Final = b"404: Not Found"
"""What a ComfyUI without a route answers; a gateway in front of it has a body of its own."""


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
        raise BadFrame("the history answered with another prompt than the requested one")
    status = read_object(entry, "status")
    ended, error = _ending(status, has_outputs=bool(entry["outputs"]))
    outputs = list(read_object(entry, "outputs").items())[:LIST_MAX]
    files = {cut(node_id, ID_CHARS_MAX): read_files(output) for node_id, output in outputs}
    completed, ran_ms = status.get("completed") is True, read_span([m[1] for m in _messages(status)], "timestamp")
    return HistoryEntry(prompt_id, read_id(status, "status_str"), completed, ended, files, error, ran_ms / 1000)


def parse_queue(body: str | bytes) -> QueueIds:
    """All ids in `GET /queue`. Raises BadFrame if a list is missing or an entry cannot be read."""
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
    """Whether `POST /api/jobs/{id}/cancel` removed the prompt; None if the answer does not say."""
    if status != 200:
        return False
    try:
        said = json_object(body).get("cancelled")
    except BadFrame:
        return None
    return said if isinstance(said, bool) else None


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
        return "error", read_error(errors[0] if errors else {})
    if status.get("completed") is True:
        return "success", None
    raise BadFrame(f"the history names an unknown end of a prompt: {word!r}")


def _node_errors(answer: Mapping[str, Any]) -> tuple[NodeErrors, ...]:
    nodes = list(read_object(answer, "node_errors").items())[:LIST_MAX]
    return tuple(
        NodeErrors(
            cut(node_id, ID_CHARS_MAX),
            read_id(node, "class_type"),
            read_ids(node.get("dependent_outputs")),
            tuple(_error_texts(node.get("errors"))),
            tuple(_abouts(node.get("errors"))),
        )
        for node_id, node in nodes
        if isinstance(node, dict)
    )


def _error_texts(errors: object) -> list[str]:
    return [
        _with_details(
            read_text(error, "message", TEXT_CHARS_MAX) or read_id(error, "type"),
            read_text(error, "details", TEXT_CHARS_MAX),
        )
        for error in read_objects(errors)[:ERRORS_PER_NODE_MAX]
    ]


def _abouts(errors: object) -> list[tuple[str, str]]:
    found = read_objects(errors)[:ERRORS_PER_NODE_MAX]
    return [(read_id(error, "type"), read_id(read_object(error, "extra_info"), "input_name")) for error in found]


def _with_details(message: str, details: str) -> str:
    return f"{message} ({details})" if details and details != message else message


def _queued(entries: object) -> tuple[str, ...]:
    """The ids of a list of the queue. An unreadable entry raises, because it may be the prompt in question."""
    if not isinstance(entries, list):
        raise BadFrame("the queue has no list of prompts")
    return tuple(_queued_id(entry) for entry in entries)


def _queued_id(entry: object) -> str:
    if isinstance(entry, list) and len(entry) > 1 and isinstance(entry[1], str):
        return entry[1]
    raise BadFrame("the queue has an entry that names no prompt")
