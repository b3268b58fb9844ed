"""The doctor's calls to one ComfyUI, and the probe: a prompt of its own, if a person asked for it.

Without the probe nothing is queued. The doctor waits for the websocket's first message, reads the node list, and sends
a prompt that cannot run, which shows whether ids are used. The probe's prompt is always removed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from comfyledger.comfyui.answers import HistoryEntry, RefusalAnswer
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.direct import Direct, direct_websocket
from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.messages import Status, parse_text
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.transfer import NotReached
from comfyledger.errors import Refused
from comfyledger.maintenance.doctor.comfyui_judge import (
    Draft,
    End,
    Planned,
    Probe,
    Socket,
    of_draft,
    of_id,
    of_nodes,
    of_probe,
    of_reach,
    of_socket,
)
from comfyledger.maintenance.doctor.judge import Diagnosis

OPEN_S: Final = 4.0
PROBE_S: Final = 10.0
LOG: Final = "check ComfyUI's log"
POLL_S: Final = 0.1
LATE_S: Final = 1.0
"""How long after the probe's end a message about it may still arrive."""
NO_ID: Final = "comfyledger-doctor"
"""Not a UUID, so a ComfyUI that uses ids refuses it."""
GRAPH: Final[dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
"""It needs no model, and ComfyUI removes its temporary file by itself."""


class Examination:
    """The checks of one ComfyUI. `ids` makes a UUID for each socket and prompt; `workflows` are the configured ones,
    `drafts` those in the UI format. `reach` learns the `version`, and `nodes` what ComfyUI would say to each workflow
    (`fits`).
    """

    def __init__(
        self,
        name: str,
        comfyui: ComfyUI,
        workflows: Mapping[str, Planned],
        ids: Callable[[], str],
        drafts: Mapping[str, Draft] = {},
    ) -> None:
        self._name, self._comfyui, self._workflows, self._ids = name, comfyui, workflows, ids
        self._drafts = drafts
        self._area = f"comfyui {name}"
        self.version = ""
        self.fits: dict[str, list[Diagnosis]] = {}

    async def reach(self) -> Diagnosis:
        """If this is a failure, the other checks are skipped."""
        url, problem = self._comfyui.url, ""
        try:
            system = (await self._comfyui.system_stats()).get("system")
            self.version = str(system.get("comfyui_version") or "")[:32] if isinstance(system, dict) else ""
        except NotReached as trouble:
            problem = trouble.text
        return of_reach(self._area, url, self.version, problem, self._name)

    async def nodes(self) -> list[Diagnosis]:
        try:
            body, info = await self._comfyui.object_info()
        except NotReached as trouble:
            return [Diagnosis(self._area, "failure", f"The nodes cannot be listed: {trouble.text}", LOG)]
        self.fits = {name: of_nodes(self._area, name, workflow, info) for name, workflow in self._workflows.items()}
        for name, draft in self._drafts.items():
            self.fits[name] = await self._drawn(name, draft, body, info)
        return [one for said in self.fits.values() for one in said]

    async def _drawn(self, name: str, draft: Draft, body: bytes, info: ObjectInfo) -> list[Diagnosis]:
        try:
            return of_nodes(self._area, name, await draft(body, info), info)
        except Refused as refusal:
            return [of_draft(self._area, name, refusal)]

    async def ids(self) -> list[Diagnosis]:
        try:
            return [
                of_id(self._area, await self._comfyui.post_prompt({}, prompt_id=NO_ID, client_id=NO_ID, outputs=["1"]))
            ]
        except NotReached as trouble:
            return [Diagnosis(self._area, "failure", f"ComfyUI accepts no prompts: {trouble.text}", LOG)]

    async def socket(self) -> list[Diagnosis]:
        try:
            async with self._connected() as socket, asyncio.timeout(OPEN_S):
                return [of_socket(self._area, Socket(greeted=await _is_greeted(socket)))]
        except TimeoutError:
            return [of_socket(self._area, Socket(greeted=False))]
        except (OSError, WebSocketException) as error:
            return [of_socket(self._area, Socket(greeted=False, problem=str(error) or type(error).__name__))]

    async def probe(self) -> list[Diagnosis]:
        """Replaces `ids` and `socket`."""
        try:
            async with self._connected() as socket:
                probe = await self._probed(socket)
            return of_probe(self._area, replace(probe, left=await self._is_left(probe)))
        except (OSError, WebSocketException, TimeoutError) as error:
            return [of_socket(self._area, Socket(greeted=False, problem=str(error) or type(error).__name__))]
        except NotReached as trouble:
            return [Diagnosis(self._area, "failure", f"ComfyUI accepts no prompts: {trouble.text}", LOG)]

    def _connected(self) -> Direct:
        self._client_id = self._ids()
        url = f"{self._comfyui.websocket_url}?clientId={self._client_id}"
        return direct_websocket(url, self._comfyui.login, OPEN_S)

    async def _probed(self, socket: ClientConnection) -> Probe:
        """The prompt is removed again even if the check is cancelled."""
        probe, heard = Probe(self._ids()), asyncio.Event()
        listening = asyncio.create_task(_listen(socket, probe.sent_id, heard))
        try:
            answer = await self._comfyui.post_prompt(
                GRAPH, prompt_id=probe.sent_id, client_id=self._client_id, outputs=["2"]
            )
            if isinstance(answer, RefusalAnswer):
                return replace(probe, refused=answer.words(500))
            probe = replace(probe, returned_id=answer.prompt_id)
            if probe.returned_id != probe.sent_id:
                return probe
            ended = await self._end_of(probe.sent_id)
            return replace(probe, ended=ended, heard=await _is_set(heard, LATE_S if ended != "waiting" else 0.0))
        finally:
            await self._remove(probe.returned_id or probe.sent_id)
            listening.cancel()

    async def _end_of(self, prompt_id: str) -> End:
        until = asyncio.get_running_loop().time() + PROBE_S
        while asyncio.get_running_loop().time() < until:
            where = await self._comfyui.where_is(prompt_id)
            if isinstance(where, HistoryEntry):
                return where.ended
            if where == "gone":
                return "gone"
            await asyncio.sleep(POLL_S)
        return "waiting"

    async def _remove(self, prompt_id: str) -> None:
        with suppress(NotReached):
            await self._comfyui.cancel(prompt_id)
            await self._comfyui.forget([prompt_id])

    async def _is_left(self, probe: Probe) -> bool:
        try:
            return await self._comfyui.history(probe.returned_id or probe.sent_id) is not None
        except NotReached:
            return True


async def _is_greeted(socket: ClientConnection) -> bool:
    try:
        return isinstance(parse_text(await socket.recv(decode=False)), Status)
    except BadFrame:
        return False


async def _listen(socket: ClientConnection, prompt_id: str, heard: asyncio.Event) -> None:
    """Listen until a frame is about the prompt, or the websocket closes."""
    with suppress(WebSocketException):
        async for frame in socket:
            with suppress(BadFrame):
                if isinstance(frame, str) and getattr(parse_text(frame), "prompt_id", "") == prompt_id:
                    heard.set()
                    return


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
