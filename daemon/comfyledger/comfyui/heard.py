"""What the socket said of the prompt that runs: which files each node gave, and that all of it succeeded.

Only what was heard from the start to the end counts. If a frame was missed in between, nothing is known of that run.
"""

from __future__ import annotations

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.messages import Executed, Executing, ExecutionStart, ExecutionSuccess, Message, ViewFile


class Heard:
    """ComfyUI runs one prompt at a time and speaks only to its client, so there is one run to listen to."""

    def __init__(self) -> None:
        self._prompt_id = ""
        self._outputs: dict[str, tuple[ViewFile, ...]] = {}
        self._succeeded = False

    def hears(self, message: Message) -> HistoryEntry | None:
        """Take a message. Returns what the history says of a run, if it has succeeded and this is its end."""
        match message:
            case ExecutionStart(prompt_id=prompt_id):
                self.missed()
                self._prompt_id = prompt_id
            case Executed(prompt_id=prompt_id, node=node, files=files) if prompt_id == self._prompt_id:
                self._outputs[node] = files
            case ExecutionSuccess(prompt_id=prompt_id) if prompt_id == self._prompt_id:
                self._succeeded = True
            case Executing(prompt_id=prompt_id, node=None):
                return self._ended(prompt_id)
            case _:
                pass
        return None

    def missed(self) -> None:
        """Something was not heard: what is known of the run may lack it."""
        self._prompt_id, self._outputs, self._succeeded = "", {}, False

    def _ended(self, prompt_id: str) -> HistoryEntry | None:
        is_whole = prompt_id != "" and prompt_id == self._prompt_id and self._succeeded
        outputs = self._outputs
        self.missed()
        return HistoryEntry(prompt_id, "success", True, "success", outputs) if is_whole else None
