"""The one worker of the stand-in: takes a prompt, runs its nodes, sends messages to its client.

The order of the messages is that of the recordings of ComfyUI 0.33.0. A thread of its own writes the images; everything
else here is quick. Prompts come from the queue and end in its history.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from random import Random
from typing import Any, Final

import msgspec

from comfyledger.comfyui.messages import ViewFile
from comfyledger.sim.comfyui.catalogue import NODES
from comfyledger.sim.comfyui.faults import Faults, Ledger, MadeToFail, Ran, Written
from comfyledger.sim.comfyui.fingerprints import fingerprints
from comfyledger.sim.comfyui.folders import Folders
from comfyledger.sim.comfyui.graph import Cache, Order, Result, is_link, sign
from comfyledger.sim.comfyui.nodes import NodeClass, Saved, Surroundings
from comfyledger.sim.comfyui.pictures import preview_jpeg
from comfyledger.sim.comfyui.prompt_queue import Ended, Item, PromptQueue
from comfyledger.sim.comfyui.sockets import Sockets

# ComfyUI prints whole tensors into its errors; clients must not keep such texts.
FLOOD_S: Final = 0.02
"""Seconds between two bursts of a flood."""
_TENSOR_TEXT: Final = "tensor([[[[0., 0., 0.],\n" + "          [0., 0., 0.],\n" * 400 + "          ...]]]])"


class Interrupted(Exception):
    """The running prompt is to stop."""


class Shared(msgspec.Struct, frozen=True):
    """What the runs of a stand-in share."""

    queue: PromptQueue
    sockets: Sockets
    faults: Faults
    ledger: Ledger
    folders: Folders
    keeps_metadata: bool
    preview_method: str
    now: Callable[[], float]
    random: Random


class Worker:
    """Runs one prompt at a time."""

    def __init__(self, shared: Shared, pool: ThreadPoolExecutor) -> None:
        self._shared = shared
        self._pool = pool
        self._cache = Cache()
        self._interrupt = asyncio.Event()
        self._run: Run | None = None

    async def work_forever(self) -> None:
        """Take prompts from the queue and run them."""
        self._cache = Cache()
        self._run = None
        queue, breakpoints = self._shared.queue, self._shared.faults.breakpoints
        while True:
            await queue.wait()
            await breakpoints.stop_at("queue")
            item = queue.take()
            if item:
                await self._work(item)

    async def flood_forever(self) -> None:
        """Send the client of the running prompt as many `progress` frames as a test asked for."""
        while True:
            await asyncio.sleep(FLOOD_S)
            if self._run:
                self._run.flood(round(self._shared.faults.flood_per_s * FLOOD_S))

    def interrupt(self) -> None:
        """Stop the running prompt when it next checks for an interrupt."""
        self._interrupt.set()

    def is_at(self, client_id: str | None) -> dict[str, Any] | None:
        """The `executing` fields for a client that reconnects while its prompt runs."""
        run = self._run
        return {"node": run.node_id} if run and run.node_id and run.client_id == client_id else None

    async def _work(self, item: Item) -> None:
        shared = self._shared
        self._interrupt.clear()
        self._run = run = Run(item, shared, self._cache, self._interrupt, self._pool)
        await run.to_the_end()
        await shared.faults.breakpoints.stop_at("history")
        shared.queue.finish(item, run.ended())
        run.send("executing", {"node": None, "prompt_id": item.prompt_id})
        self._run = None


class Run:
    """One prompt on its way through the worker."""

    def __init__(
        self, item: Item, shared: Shared, cache: Cache, interrupt: asyncio.Event, pool: ThreadPoolExecutor
    ) -> None:
        self.node_id: str | None = None
        self.client_id: str | None = item.extra.get("client_id")
        self._item = item
        self._shared = shared
        self._cache = cache
        self._interrupt = interrupt
        self._pool = pool
        self._signatures: dict[str, str] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._outputs: dict[str, Any] = {}
        self._meta: dict[str, Any] = {}
        self._executed: list[str] = []
        self._miscount: int | None = None

    async def to_the_end(self) -> None:
        """Run all nodes that must run, and send how it ended."""
        self._note("execution_start", {})
        await self._shared.faults.breakpoints.stop_at("start")
        self._signatures = await self._signed()
        self._cache.keep_only(set(self._signatures.values()))
        done = [n for n in self._item.graph if n in self._signatures and self._cache.get(self._signatures[n])]
        self._note("execution_cached", {"nodes": done})
        try:
            await self._nodes(Order(self._item.graph, self._item.outputs, set(done)))
        except Interrupted:
            self._note("execution_interrupted", self._where(), to_all=True)
        except Exception as error:
            # Whatever a node raises ends its prompt and nothing else, as in ComfyUI.
            self._note("execution_error", self._where() | self._error(error))
        else:
            self._note("execution_success", {})
        self._write_down()

    def ended(self) -> Ended:
        """The history entry."""
        return Ended(self._outputs, self._meta, self._messages)

    def send(self, event: str, fields: dict[str, Any]) -> None:
        """Send a message to the client of this prompt, if it named itself."""
        if self.client_id is not None:
            self._shared.sockets.send(event, fields, self.client_id)

    def flood(self, frames: int) -> None:
        """Send this many `progress` frames."""
        for step in range(frames):
            about = {"prompt_id": self._item.prompt_id, "node": self.node_id}
            self.send("progress", {"value": step, "max": frames} | about)

    async def _signed(self) -> dict[str, str]:
        """The signatures of the nodes. Loaders look at their files, in a thread of their own."""
        item, folders = self._item, self._shared.folders
        found: dict[str, str] = {}
        if any(NODES[node["class_type"]].loads for node in item.graph.values()):
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._pool, fingerprints, item.graph, folders, item.prompt_id)
        return sign(item.graph, item.outputs, found)

    async def _nodes(self, order: Order) -> None:
        failing: bool | None = None
        while order:
            node_id = order.pop()
            known = self._cache.get(self._signatures[node_id])
            if known:
                self._repeat(node_id, known)
                continue
            if failing is None:
                failing = self._shared.faults.take_failure()
            await self._node(node_id, failing)

    def _repeat(self, node_id: str, known: Result) -> None:
        if known.output is not None:
            self._show(node_id, known)
        self._state(node_id, 1, 1, "finished")

    async def _node(self, node_id: str, failing: bool) -> None:
        node = NODES[self._item.graph[node_id]["class_type"]]
        await self._shared.faults.breakpoints.stop_at("before_node")
        self._state(node_id, 0.0, 1.0, "running")
        self.node_id = node_id
        self.send("executing", self._about(node_id))
        self._look_for_interrupt()
        await self._shared.faults.breakpoints.stop_at("in_node")
        if failing or self._shared.faults.take_node_failure(node_id):
            raise MadeToFail(self._shared.faults.fail_text)
        inputs = self._inputs(node_id)
        steps = await self._take_time(node, node_id, inputs)
        result = await self._result(node, node_id, inputs)
        self._cache.put(self._signatures[node_id], result)
        self._executed.append(node_id)
        if result.output is not None:
            self._show(node_id, result)
        self._state(node_id, steps or 1.0, steps or 1.0, "finished")

    async def _result(self, node: NodeClass, node_id: str, inputs: dict[str, Any]) -> Result:
        """Run a node. Files are read and written in a thread of their own."""
        around = self._surroundings()
        loop = asyncio.get_running_loop()
        values = (
            await loop.run_in_executor(self._pool, node.run, inputs, around)
            if node.is_output or node.loads
            else node.run(inputs, around)
        )
        if not isinstance(values, Saved):
            return Result(values)
        self._write_down_files(values.files)
        while values.then is not None:
            await self._shared.faults.breakpoints.stop_at("between_files")
            values = await loop.run_in_executor(self._pool, values.then)
            self._write_down_files(values.files)
        meta = {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
        return Result(values.values, values.shown, meta)

    def _write_down_files(self, files: Sequence[ViewFile]) -> None:
        for file in files:
            path = f"{file.subfolder}/{file.filename}".lstrip("/")
            order = self._shared.ledger.next_order()
            self._shared.ledger.files.append(Written(order, self._item.prompt_id, file.type, path))

    def _show(self, node_id: str, result: Result) -> None:
        if self._miscount is None:
            self._miscount = self._shared.faults.take_miscount()
        self._outputs[node_id] = _miscounted(result.output or {}, self._miscount)
        self._meta[node_id] = result.meta
        self.send("executed", self._about(node_id) | {"output": self._outputs[node_id]})

    async def _take_time(self, node: NodeClass, node_id: str, inputs: dict[str, Any]) -> int:
        """Wait as long as the images of a node take; returns the number of sampler steps."""
        seconds = self._shared.faults.seconds_per_image * node.images(inputs)
        steps = node.steps(inputs)
        for step in range(1, steps + 1):
            await self._pass(seconds / steps)
            # Samplers look at each step, other nodes do not look while they work (recording `interrupt`).
            self._look_for_interrupt()
            self._tell_step(node_id, step, steps)
        if not steps:
            await self._pass(seconds)
        return steps

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._interrupt.wait(), seconds)
            self._look_for_interrupt()

    def _tell_step(self, node_id: str, step: int, steps: int) -> None:
        state = self._state(node_id, step, steps, "running")
        about = {key: state[key] for key in _ABOUT_PREVIEW}
        progress = {"value": step, "max": steps, "prompt_id": self._item.prompt_id, "node": node_id}
        client, sockets = self.client_id, self._shared.sockets
        if client is None or not sockets.is_listening(client):
            return
        if not self._has_previews():
            self.send("progress", progress)
            return
        jpeg = preview_jpeg(self._signatures[node_id], step)
        # Previews of type 4 are sent by what sends `progress_state`, those of type 1 only after `progress`.
        if sockets.wants_metadata(client):
            sockets.send_preview(jpeg, about, client)
            self.send("progress", progress)
        else:
            self.send("progress", progress)
            sockets.send_preview(jpeg, about, client)

    def _has_previews(self) -> bool:
        """A prompt may ask for a method of its own; an unknown one counts as none asked for."""
        asked = self._item.extra.get("preview_method")
        return (asked if asked in _PREVIEW_METHODS else self._shared.preview_method) != "none"

    def _state(self, node_id: str, value: float, most: float, state: str) -> dict[str, Any]:
        entry = {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._item.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._states[node_id] = entry
        self.send("progress_state", {"prompt_id": self._item.prompt_id, "nodes": self._states})
        return entry

    def _note(self, event: str, fields: dict[str, Any], to_all: bool = False) -> None:
        stamp = {"prompt_id": self._item.prompt_id, "timestamp": round(self._shared.now() * 1000)}
        self._messages.append((event, fields | stamp))
        if to_all:
            self._shared.sockets.send(event, fields | stamp, None)
        else:
            self.send(event, fields | stamp)

    def _look_for_interrupt(self) -> None:
        if self._interrupt.is_set():
            raise Interrupted

    def _inputs(self, node_id: str) -> dict[str, Any]:
        return {
            name: self._cache.value(self._signatures[value[0]], value[1]) if is_link(value) else value
            for name, value in self._item.graph[node_id]["inputs"].items()
        }

    def _surroundings(self) -> Surroundings:
        shared = self._shared
        metadata = {"prompt": self._item.graph, **(self._item.extra.get("extra_pnginfo") or {})}
        suffix = "".join(shared.random.choices("abcdefghijklmnopqrstupvxyz", k=5))
        return Surroundings(
            shared.folders,
            suffix,
            metadata,
            shared.keeps_metadata,
            datetime.fromtimestamp(shared.now()),
        )

    def _about(self, node_id: str) -> dict[str, Any]:
        return {"node": node_id, "display_node": node_id, "prompt_id": self._item.prompt_id}

    def _where(self) -> dict[str, Any]:
        node_id = self.node_id or ""
        return {
            "node_id": node_id,
            "node_type": self._item.graph[node_id]["class_type"] if node_id else "",
            "executed": sorted(self._executed),
        }

    def _error(self, error: Exception) -> dict[str, Any]:
        return {
            "exception_message": str(error),
            "exception_type": getattr(error, "kind", type(error).__name__),
            "traceback": ['  File "/opt/ComfyUI/execution.py", line 545, in execute\n'],
            "current_inputs": self._current_inputs(),
            "current_outputs": sorted(self._item.graph),
        }

    def _current_inputs(self) -> dict[str, list[Any]]:
        node = self._item.graph[self.node_id or ""]
        shown = {name: [_TENSOR_TEXT if is_link(value) else value] for name, value in node["inputs"].items()}
        if NODES[node["class_type"]].is_output:
            shown |= {"prompt": [str(self._item.graph)], "extra_pnginfo": [self._item.extra.get("extra_pnginfo")]}
        return shown

    def _write_down(self) -> None:
        ledger, item = self._shared.ledger, self._item
        entry = Ran(
            ledger.next_order(),
            item.prompt_id,
            item.number,
            self.client_id,
            self._messages[-1][0],
            list(self._executed),
            item.extra.get("preview_method"),
        )
        ledger.prompts.append(entry)


def _miscounted(output: dict[str, Any], more: int) -> dict[str, Any]:
    """An output that repeats its first file `more` times, or lacks its last files."""

    def counted(listed: Any) -> Any:
        are_files = bool(listed) and isinstance(listed, list) and isinstance(listed[0], dict)
        return (listed[:more] if more < 0 else listed + listed[:1] * more) if are_files else listed

    return {key: counted(listed) for key, listed in output.items()}


_PREVIEW_METHODS: Final = ("none", "auto", "latent2rgb", "taesd")
_ABOUT_PREVIEW: Final = ("node_id", "prompt_id", "display_node_id", "parent_node_id", "real_node_id")
