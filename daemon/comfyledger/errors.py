"""Every error that comfyledger raises on purpose.

A refusal is data: a stable code for programs, a sentence for people, a hint that says what to do, and the path of the
field at fault. The codes are part of the wire's contract: one is never renamed or reused.

    ComfyledgerError
    ├── Refused          a request cannot be done as asked; nothing was changed
    └── Unusable         a disk can no longer be trusted; the process ends
        ├── LedgerUnusable   the ledger cannot be opened, or can no longer be written
        └── SpoolUnusable    an fsync of the spool or of an input failed
"""

from __future__ import annotations

from typing import Final, NamedTuple

CODES: Final[dict[str, str]] = {
    # the frame
    "not_json": "The frame is not JSON.",
    "not_utf8": "The frame is not UTF-8.",
    "binary_frame": "The frame is binary; send text.",
    "frame_too_large": "The frame is above the size limit.",
    "bad_envelope": 'The frame is not an envelope {"type", "id", "data"}.',
    "unknown_type": "There is no message of this type.",
    "unknown_field": "The message has a field that its type does not have.",
    "invalid_field": "A field is missing, or its value has the wrong type or is out of range.",
    "unknown_path": "There is nothing at this path.",
    "method_not_allowed": "This path does not take this method.",
    "content_type": "The body is not application/json, or it is compressed.",
    "protocol_version": "The daemon does not support the client's protocol version.",
    # access
    "unauthorized": "The token is missing or wrong.",
    "forbidden": "The token does not have the right to do this.",
    "session_expired": "The session has ended.",
    "code_invalid": "The one-time code is wrong, was used, or has ended.",
    "page_unreachable": "The daemon listens at no port, so no browser can open its page.",
    "signature_invalid": "The signature is not valid for this file, or the key of signed addresses was rotated.",
    "signature_expired": "The signed address of the file has expired.",
    "forbidden_origin": "The request comes from a web page that is not allowed.",
    "forbidden_host": "The request names a host for which this daemon does not answer.",
    "busy": "The daemon is overloaded, or another program locks its ledger; the request was not accepted.",
    "rate_limited": "The client sends too many frames or requests per second.",
    "too_many_open": "The client has too many images that still have to be rendered or stored.",
    # batches
    "request_id_conflict": "The request_id was used before with another body.",
    "quantity_and_images": "Give either quantity or images.",
    "quantity_out_of_range": "The batch asks for no image, or for more images than the limit or the series allows.",
    "name_unusable": "A name has no usable character, or is too long.",
    "name_taken": "The name is already in use.",
    "unknown_workflow": "No workflow of this name is configured.",
    "unknown_character": "No character of this name is configured.",
    "workflow_ui_format": "The workflow is in ComfyUI's UI format, not in its API format.",
    "workflow_invalid": "The workflow cannot be read or is malformed.",
    "workflow_no_output": "No node of the workflow saves or shows a file, or the node that was named does not exist.",
    "workflow_output_ambiguous": "The workflow has more outputs than a batch can have.",
    "workflow_output_unsupported": "The daemon cannot get the files of the workflow's output, or must not keep them.",
    "workflow_unsafe_path": "The workflow names a file outside ComfyUI's folders, or one of comfyledger's own.",
    "workflow_node_denied": "The workflow uses a node class that graphs in requests may not use.",
    "secret_input": "This input holds a secret; only the configuration may set it.",
    "workflow_batch_size": "The workflow cannot make the requested number of images in one run.",
    "workflow_failed_validation": "ComfyUI would refuse the workflow.",
    "backend_unknown": "ComfyUI has not said yet which nodes it has, so the UI format cannot be read.",
    "unknown_backend": "No ComfyUI of this name was added while the daemon runs.",
    "backend_exists": "The configuration has this name, or another ComfyUI has this address.",
    "backend_not_allowed": "The configuration does not allow ComfyUIs at this address.",
    "backend_busy": "The ComfyUI has prompts, and the request does not say that they are to move.",
    "backends_limit": "Too many ComfyUIs were added.",
    "unknown_webhook": "There is no webhook of this name.",
    "webhook_exists": "The configuration has a webhook of this name.",
    "webhook_not_allowed": "The configuration does not allow webhooks at this address.",
    "webhooks_limit": "Too many webhooks were added.",
    "no_backend": "No ComfyUI of the configuration may render this.",
    "graph_too_large": "The workflow is above the size limit.",
    "unknown_input": "The workflow has no input of this name.",
    "input_missing": "There is no such input file.",
    "input_failed": "An image or input file that the image is made from cannot be had.",
    "input_broken": "The input file is not whole, or of no kind that can be told.",
    "input_too_large": "The input file is above the size limit.",
    "inputs_full": "The folder of input files has no room for it.",
    "input_not_taken": "This input of the workflow takes no file, or none of this kind.",
    "chain_too_deep": "The image would be made from too many images in a row.",
    "url_not_allowed": "Input files are not fetched from this address.",
    "url_failed": "The input file could not be fetched from its address.",
    "seed_out_of_range": "A seed is below zero or above 2^53-1, or a node of the workflow does not take it.",
    "comfyui_refused": "ComfyUI refused the graph and gave no code.",
    "series_unanswered": "A store could not say which numbers it holds, so no number was given.",
    "storage_full": "A disk is nearly full, or parked images take more than their limit; new work is refused.",
    # queries and control
    "unknown_store": "No store of this name is configured.",
    "store_unavailable": "The store cannot be used now.",
    "unknown_batch": "There is no batch of this id.",
    "unknown_image": "There is no image of this name.",
    "no_file": "The image has no file: it is not made yet, failed, was cancelled or was forgotten.",
    "file_broken": "The bytes that arrived are not those of the image.",
    "file_too_large": "The file is too large to be read into memory.",
    "thumbnail_unsupported": "There are no thumbnails of files of this kind.",
    "thumbnail_failed": "No thumbnail could be made of this file.",
    "recipe_forgotten": "The recipe of the image was forgotten, so it cannot be used again.",
    "unknown_scope": "There is nothing of this name to pause or resume.",
    "take_missing": "A run gave more files than it has images; choose with `take` which files to use.",
    "nothing_to_do": "There is nothing to change.",
    "unknown_position": "The log has no such position.",
    "epoch_changed": "The ledger was restored; positions of the earlier epoch are no longer valid.",
    "unknown_subscription": "There is no subscription of this id on this connection.",
    "subscriptions_limit": "The connection has too many subscriptions.",
    # the fleet
    "unknown_box": "No box of this name has joined the fleet.",
    "box_away": "The box of the fleet that has the file cannot be reached now.",
    "behind": "This box does not have a position of the log yet that another box has.",
    "other_box": "Another box of the fleet has to be asked.",
    "box_present": "The box takes part in the fleet, so it cannot be given up.",
    "boxes_limit": "Too many boxes take part in the fleet.",
    # the daemon itself
    "not_running": "No daemon answers, or it is stopping.",
    "timeout": "An answer or a request did not come in time.",
    "config_invalid": "The configuration cannot be used.",
    "plugin_broken": "A plugin cannot be used.",
    "ledger_locked": "Another program holds a lock of the ledger, so nothing can be written.",
    "fenced": "The box was taken for dead by its fleet, and joins it again; nothing was changed.",
    "log_unreachable": "The log that this box shares with others cannot be reached, so nothing can be written.",
    "ledger_unusable": "The ledger cannot be used.",
    "internal": "The daemon has an internal fault; its log has the details.",
}


class NodeMistake(NamedTuple):
    """A mistake in a workflow, for which ComfyUI would refuse the workflow. Every text is cut to a bound and
    printable."""

    node: str
    """Id of the node."""
    class_type: str
    input: str
    """Name of the input; empty if the node as a whole is meant."""
    kind: str
    """As ComfyUI calls it: `missing_node_type`, `value_not_in_list`, ..."""
    found: str
    """What the workflow has there; empty if it has nothing."""
    near: tuple[str, ...]
    """At most three known names that are nearest to it."""
    message: str
    """One sentence for people, with node and class."""
    is_file: bool = False
    """Whether a file is missing in ComfyUI's input folder, which a request could bring along."""


class ComfyledgerError(Exception):
    """The root of all errors that are raised on purpose."""


class Refused(ComfyledgerError):
    """A request that cannot be done as asked. Nothing was changed.

    `code` is a key of CODES, `hint` says what to do, `path` the field at fault: `username` where the core refuses,
    `$.data.username` in an answer to a request; empty if there is none.
    `retry_after_s`: in how many seconds the same request may succeed; 0 if waiting does not help.
    `mistakes`: what ComfyUI would not take, at most a hundred; empty for other codes than `workflow_failed_validation`.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        hint: str = "",
        path: str = "",
        retry_after_s: float = 0.0,
        mistakes: tuple[NodeMistake, ...] = (),
    ) -> None:
        self.code = code
        self.message = message or CODES[code]
        self.hint = hint
        self.path = path
        self.retry_after_s = retry_after_s
        self.mistakes = mistakes
        super().__init__(f"{self.message} {hint}".rstrip())

    def below(self, root: str) -> Refused:
        """The same refusal with its path below `root`."""
        return self.at(f"{root}.{self.path}" if self.path else root)

    def at(self, path: str) -> Refused:
        """The same refusal with another path."""
        return Refused(
            self.code,
            self.message,
            hint=self.hint,
            path=path,
            retry_after_s=self.retry_after_s,
            mistakes=self.mistakes,
        )

    def __repr__(self) -> str:
        return f"Refused({self.code!r}, {self.message!r}, hint={self.hint!r}, path={self.path!r})"


class Unusable(ComfyledgerError):
    """A disk can no longer be trusted, and the process ends. `hint` says what an operator can do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".rstrip())


class LedgerUnusable(Unusable):
    """The ledger cannot be opened or written."""


class SpoolUnusable(Unusable):
    """An fsync of the spool or of an input failed. A second one would report success for pages that the kernel has
    dropped."""
