"""The workers of one ComfyUI between a plain ledger, a real spool, and a ComfyUI that a test plays; of a batch whose
first output is a picture, and whose second output is a video of VideoHelperSuite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from comfyledger.comfyui.answers import HistoryEntry, NodeErrors, PromptAnswer
from comfyledger.comfyui.messages import ExecutionError, ViewFile
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.outstanding import Ending
from comfyledger.comfyui.transfer import FileMissing
from comfyledger.comfyui.workflow_checks import WorkflowChecks
from comfyledger.core.commands import SubmitBatch
from comfyledger.core.reports import Report
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow
from comfyledger.core.scheduling.effects import FetchPrompt, FollowPrompt, SubmitPrompt, effects_of_prompt
from comfyledger.core.values import Blob, LoadedFile, blob_of
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.comfyui.node_check import NodeCheck, held_batches
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.comfyui.warm_models import WarmModels
from comfyledger.workers.reporting import Secrets
from comfyledger.workers.spool.spool import Spool
from support.core_builders import adding, given, submit
from support.media_builders import movie, png

NODES = ("9", "10")
IMAGES, VIDEOS = "{prefix}_{place:05}_.png", "{prefix}_{place:05}-audio.mp4"
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"batch_size": 1}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ""}},
    "10": {"class_type": "VHS_VideoCombine", "inputs": {"images": ["1", 0], "filename_prefix": ""}},
}
FAILED = ExecutionError("p", "10", "VHS_VideoCombine", "RuntimeError", "out of memory")
SECRET = "sk-1234"
BODIES = {"png": png(), "mp4": movie(), "txt": b"a text", "md": f"a text with {SECRET}".encode(), "dat": b"no\0text"}


def plan_of(files: tuple[str, ...], **more: Any) -> dict[str, Any]:
    outputs = [
        {"node": node, "prefix": f"{node}.filename_prefix", "file": file}
        for node, file in zip(NODES, files, strict=False)
    ]
    found = {"prefix": "9.filename_prefix", "seeds": [], "batch_size": "1.batch_size", "inputs": {}}
    return {"output": "9", "outputs": outputs} | found | more


class House:
    """The workers, and all that they see of the world."""

    def __init__(self, spool: Spool, command: SubmitBatch, bounds: Bounds) -> None:
        self.ledger = given(*(adding(load.sha256) for load in _loads(command)), command)
        self.graph: dict[str, Any] = GRAPH
        self.spool = spool
        self.on_disk: set[str] = set()
        self.posted: list[tuple[dict[str, Any], list[str]]] = []
        self.node_errors: tuple[NodeErrors, ...] = ()
        self.asked: list[str] = []
        self.ending = Ending(None)
        self.entry: HistoryEntry | None = None
        self.cancelled: list[str] = []
        self.reports: list[Report] = []
        self.text_max = 2_000
        self.server = "127.0.0.1:8188"
        part: Any = self
        secrets = Secrets({"text-to-image": {"1.api_key": SECRET}})
        check = NodeCheck(part, WorkflowChecks("full"), held_batches())
        self.node_classes: ObjectInfo | None = None
        more: dict[str, Any] = {"wants_previews": lambda _: False, "node_check": check, "version": part}
        more |= {"input_files": part, "warm": WarmModels()}
        self.renderer = Renderer(part, part, part, part, spool, part, bounds, secrets, **more)

    # ---- rows

    async def batch(self, _: str) -> BatchRow:
        return self.ledger.batch()

    async def prompt(self, _: str, index: int) -> PromptRow:
        return self.ledger.prompt(index)

    async def image(self, _: str, index: int) -> ImageRow:
        return self.ledger.image(index)

    async def images(self, _: str, indexes: tuple[int, ...]) -> list[ImageRow]:
        return [self.ledger.image(index) for index in indexes]

    async def texts(self, digests: list[str]) -> dict[str, bytes]:
        return {digest: msgspec.json.encode(self.graph) for digest in digests}

    # ---- reporter and history cleanup

    async def report(self, report: Report) -> Any:
        self.reports.append(report)
        return self.ledger.when(report).answer

    def error_text(self, text: str) -> Blob:
        return blob_of(text.encode(), b"salt")

    def in_trouble(self, _: str) -> bool:
        return False

    async def works(self, _: str) -> None:
        pass

    def server_of(self, batch_id: str, prompt: int, attempt: int) -> str:
        return self.ledger.prompt(prompt, batch_id).as_attempt(attempt).server

    def forget(self, _: str) -> None:
        pass

    # ---- ComfyUI and its watcher

    async def ready(self) -> bool:
        return True

    def current(self) -> ObjectInfo | None:
        """Its node classes, as far as they are known."""
        return self.node_classes

    async def latest(self) -> None:
        """As it is."""

    async def fresh(self, _: float, wait_s: float | None = 0.0) -> None:
        """It does not say them now."""

    async def known(self) -> str:
        return "0.29.0"

    def sending(self, _: str) -> str:
        return "client"

    async def follow(self, _: str) -> Ending:
        return self.ending

    async def where_is(self, _: str) -> str:
        return "gone"

    async def history(self, _: str) -> HistoryEntry | None:
        return self.entry

    async def cancel(self, prompt_id: str) -> None:
        self.cancelled.append(prompt_id)

    async def post_prompt(self, graph: dict[str, Any], *, prompt_id: str, outputs: list[str], **_: Any) -> PromptAnswer:
        self.posted.append((graph, outputs))
        return PromptAnswer(prompt_id, 1, self.node_errors)

    async def has(self, file: ViewFile) -> bool:
        self.asked.append(file.filename)
        return file.filename in self.on_disk

    @asynccontextmanager
    async def view(self, file: ViewFile) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(file.filename)
        if file.filename not in self.on_disk:
            raise FileMissing(file.filename)

        async def pieces() -> AsyncIterator[bytes]:
            yield BODIES[file.filename.rpartition(".")[2]]

        yield pieces()

    async def system_stats(self) -> dict[str, Any]:
        return {}

    # ---- steps

    async def submit(self, *, resumed: bool = False) -> None:
        attempt = self.ledger.prompt().attempt + (not resumed)
        await self.renderer.submit(SubmitPrompt("b1", 1, attempt, "main", resumed=resumed))

    async def ends(self, ending: Ending) -> None:
        self.ending = ending
        prompt = self.ledger.prompt()
        await self.renderer.follow(FollowPrompt("b1", 1, prompt.attempt, "main", prompt.prompt_id, prompt.images))

    async def writes(self, *names: tuple[str, ...], error: ExecutionError | None = None) -> None:
        """The outputs write these files, and the run ends."""
        outputs = {
            node: tuple(ViewFile(name, "x", "output") for name in some) for node, some in zip(NODES, names, strict=True)
        }
        self.on_disk |= {name for some in names for name in some}
        ended: Literal["success", "error"] = "error" if error else "success"
        await self.ends(Ending(HistoryEntry("p", ended, error is None, ended, outputs, error)))

    async def fetch(self) -> None:
        (effect,) = effects_of_prompt(self.ledger.prompt())
        assert isinstance(effect, FetchPrompt)
        await self.renderer.fetch(effect)

    def kept(self) -> list[tuple[int, str]]:
        """What is in the spool, by index and extension."""
        return sorted((int(path.stem), path.suffix[1:]) for path in (self.spool.root / "b1").glob("*"))

    def text(self, index: int) -> str:
        """The error text of an image."""
        words = self.ledger.image(index).words
        texts = [blob for report in self.reports for blob in _blobs(report)]
        return next(blob.content.decode() for blob in texts if blob.digest == words)


def _loads(command: SubmitBatch) -> list[LoadedFile]:
    return [load for prompt in command.prompts for load in prompt.loads]


def _blobs(report: Report) -> list[Blob]:
    values = (getattr(report, name) for name in report.__struct_fields__)
    return [value for value in values if isinstance(value, Blob)]


class Made:
    """Makes houses below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self, *, shots: int = 1, files: tuple[str, ...] = (IMAGES, VIDEOS), strip: bool = True, **plan: Any
    ) -> House:
        command = submit(quantity=shots, per_prompt=shots, outputs=len(files))
        command = replace(command, plan=plan_of(files, **plan))
        return House(Spool(self._folder / "spool"), command, Bounds(10**6, 10**6, strip))
