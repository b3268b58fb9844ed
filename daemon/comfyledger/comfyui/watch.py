"""Watching one ComfyUI: a websocket as the hint, the queue and then the history as the truth.

The watcher knows which prompts are outstanding and finds out how each ends. The socket is believed only where it told a
run from its start to its success, with the files. Any other message says when to look a prompt up. A prompt without a
message for half the sweep interval is looked up too, because a person may have removed it without a trace. ComfyUI
sends a `status` to every socket at each end of a prompt. So if a prompt has ended since the last lookup and no frame
came meanwhile, the socket is deaf and is replaced. A prompt that is gone counts as removed by a person only if the
server behind the socket still answers a ping. Each connection has a client id of its own: a reused one can leave a
socket open that receives nothing (ComfyUI 0.33.0, recording `zombie`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from comfyledger.comfyui.answers import HistoryEntry
from comfyledger.comfyui.client import ComfyUI, Where
from comfyledger.comfyui.direct import direct_websocket, redirection_of
from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.heard import Heard
from comfyledger.comfyui.messages import (
    Executing,
    ExecutionInterrupted,
    Message,
    Preview,
    Progress,
    Status,
    is_greeting,
    parse_preview,
    parse_text,
)
from comfyledger.comfyui.outstanding import Ending, Outstanding
from comfyledger.comfyui.running import Running, remember
from comfyledger.comfyui.transfer import NotReached, unreached_text
from comfyledger.core.backoff import backoff

TEXT_BYTES_MAX: Final = 8 * 1024 * 1024
"""A larger text frame is skipped; a lookup finds what it may have said."""
ENDED_KEPT: Final = 1_024
RECONNECT_FIRST_S: Final = 0.25
RECONNECT_LAST_S: Final = 10.0
STEADY_S: Final = 1.0
"""A connection that ended sooner does not reset the back-off: it may be one of many that are closed at once."""
DEAF_GRACE_S: Final = 1.0
SETTLE_S: Final = 0.1
"""How long `status` frames gather before the prompts of earlier connections are looked up."""

log = structlog.get_logger("comfyledger.watch")


class Live(Protocol):
    """Receives the progress of prompts."""

    def progress(self, prompt_id: str, news: Progress) -> None:
        """A step was taken."""

    def preview(self, prompt_id: str, picture: Preview) -> None:
        """A preview has arrived."""


class Watcher:
    """Watches one server for as long as `run` runs."""

    def __init__(
        self,
        comfyui: ComfyUI,
        live: Live,
        *,
        sweep_interval_s: float,
        connect_timeout_s: float,
        render_timeout_s: float,
        client_ids: Callable[[], str],
        connected: Callable[[], Coroutine[Any, Any, None]],
        stuck: Callable[[NotReached], Coroutine[Any, Any, None]],
    ) -> None:
        self._comfyui = comfyui
        self._live = live
        self._sweep_interval_s = sweep_interval_s
        self._connect_timeout_s = connect_timeout_s
        self._client_ids = client_ids
        self._tell_connected, self._tell_stuck = connected, stuck
        self._outstanding: dict[str, Outstanding] = {}
        self._running = Running(render_timeout_s)
        self._heard = Heard()
        self._ended: OrderedDict[str, HistoryEntry | None] = OrderedDict()
        """Prompts whose end was heard, with what was heard of it."""
        self._sent: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lookups: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._serial = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._last_frame = 0.0
        self._settling = False
        self.connection = 0
        self.client_id = ""
        self.connects = self.deaf = self.sweeps = 0

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    @property
    def runs_one(self) -> bool:
        """Whether a prompt of ours is seen running."""
        return self._running.prompt_id in self._outstanding

    def was_running(self, prompt_id: str, *, is_away: bool) -> bool:
        """Whether a prompt ran when the socket closed; if the server `is_away`, by the last message about it."""
        return self._running.was(prompt_id) if is_away else self._running.fell_with(prompt_id)

    # ---- for the workers

    async def ready(self) -> bool:
        """Wait for the connection, as long as connecting may take. False if there is none."""
        if self.is_up:
            return True
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    def sending(self, prompt_id: str) -> str:
        """Record when and under which connection a prompt is about to be sent. Returns its client id."""
        remember(self._sent, prompt_id, (self.connection, asyncio.get_running_loop().time()), ENDED_KEPT)
        return self.client_id

    async def follow(self, prompt_id: str) -> Ending:
        """Wait until a prompt has left ComfyUI. A prompt of an earlier connection is looked up at once."""
        sent_under, sent_at = self._sent.pop(prompt_id, (0, -math.inf))
        outstanding = Outstanding(sent_under, sent_at, asyncio.get_running_loop().time())
        self._outstanding[prompt_id] = outstanding
        if not self._end_as_heard(prompt_id) and (prompt_id in self._ended or sent_under != self.connection):
            self.look_up(prompt_id)
        try:
            return await outstanding.future
        finally:
            self._outstanding.pop(prompt_id, None)

    def _end_as_heard(self, prompt_id: str) -> bool:
        """End an outstanding prompt of which the socket has said all. False if it has not."""
        outstanding, entry = self._outstanding.get(prompt_id), self._ended.get(prompt_id)
        if outstanding is None or outstanding.future.done() or entry is None:
            return False
        self._ended[prompt_id] = None
        outstanding.future.set_result(Ending(entry, heard=True))
        self._running.ends(prompt_id)
        return True

    def look_up(self, prompt_id: str) -> None:
        """Look an outstanding prompt up soon, unless that is under way."""
        if prompt_id in self._outstanding and prompt_id not in self._lookups:
            self._lookups.add(prompt_id)
            self._spawn(self._look(prompt_id))

    # ---- the truth

    async def _look(self, prompt_id: str) -> None:
        try:
            await self._find(prompt_id)
        except NotReached as trouble:
            await self._tell_stuck(trouble)
        finally:
            self._lookups.discard(prompt_id)

    async def _find(self, prompt_id: str) -> bool:
        """Look a prompt up. True if it has ended. Raises NotReached.

        One that was heard to end is in the history before that is said; only if it is not, all places are looked at.
        """
        asked_at = asyncio.get_running_loop().time()
        ended = await self._comfyui.history(prompt_id) if prompt_id in self._ended else None
        where = ended or await self._comfyui.where_is(prompt_id)
        if where == "gone" and not await self._is_same_server():
            return False
        outstanding = self._outstanding.get(prompt_id)
        if outstanding is None or outstanding.future.done():
            return False
        if where in ("waiting", "running"):
            outstanding.there_at = asked_at
            if where == "running" and prompt_id not in self._ended:
                self._running.starts(prompt_id, asked_at)
            return False
        self._end(prompt_id, outstanding, where)
        return True

    async def _is_same_server(self) -> bool:
        """Whether the server behind the socket still runs. If not, the next connection looks everything up again.

        A restart of which the socket was told nothing looks like a person who cleared the queue.
        """
        if (socket := self._socket) is None:
            return True
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await (await socket.ping())
        except TimeoutError:
            await self._replace(socket)
            return False
        except WebSocketException:
            return False
        return True

    def _end(self, prompt_id: str, outstanding: Outstanding, where: Where) -> None:
        """While the socket is down, another server may answer than the one that had the prompt."""
        entry = where if isinstance(where, HistoryEntry) else None
        restarted = outstanding.connection != self.connection or not self.is_up
        running = entry is None and restarted and self._running.was(prompt_id)
        outstanding.future.set_result(Ending(entry, restarted, running, self._running.was_stopped(prompt_id, entry)))
        if entry is not None:
            self._running.ends(prompt_id)

    # ---- the socket

    async def run(self) -> None:
        """Keep a connection until cancelled. An error of the sweeps ends this too: silence would go unnoticed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep_for_ever())
                group.create_task(self._connect_for_ever())
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect_for_ever(self) -> None:
        tries = 0
        while True:
            try:
                tries = 0 if await self._connected_once() else tries
            except (OSError, WebSocketException, TimeoutError) as error:
                text = redirection_of(error)
                code = "redirected" if text else "not_reached"
                await self._tell_stuck(NotReached(code, text[:500] or unreached_text(error), sent=False))
            self._up.clear()
            tries += 1
            await asyncio.sleep(backoff(tries, RECONNECT_FIRST_S, RECONNECT_LAST_S))

    async def _connected_once(self) -> bool:
        """One connection from its first frame to its last. True if it lasted STEADY_S. Raises if it does not open."""
        client_id = self._client_ids()
        url = f"{self._comfyui.websocket_url}?clientId={client_id}"
        async with asyncio.timeout(self._connect_timeout_s):
            address = await self._comfyui.websocket_address()
        socket = await direct_websocket(url, self._comfyui.login, self._connect_timeout_s, address)
        opened_at = asyncio.get_running_loop().time()
        try:
            await socket.send('{"type": "feature_flags", "data": {"supports_preview_metadata": true}}')
            self.client_id, self.connection = client_id, next(self._serial)
            self.connects += 1
            self._socket = socket
            self._last_frame = asyncio.get_running_loop().time()
            self._spawn(self._tell_connected())  # its first steps come before those who wait to send
            self._up.set()
            for prompt_id in list(self._outstanding):
                self.look_up(prompt_id)
            while True:
                # Undecoded, and held by no name: a large text would lie in memory twice, and until the next one.
                self._take(await socket.recv(decode=False))
        except WebSocketException as error:
            log.info("comfyui.socket_closed", url=self._comfyui.url, error=str(error)[:200])
        finally:
            self._socket = None
            self._up.clear()
            self._running.fell()
            self._heard.missed()
            await socket.close()
        return asyncio.get_running_loop().time() - opened_at >= STEADY_S

    def _take(self, frame: bytes) -> None:
        """Read at once and decide elsewhere: a hung client blocks the server's send loop for everybody."""
        message: Message | None = None
        is_preview = frame.startswith(b"\0")  # they begin with their type, a number in four bytes
        if not is_preview and len(frame) <= TEXT_BYTES_MAX:
            try:
                message = parse_text(frame)
            except BadFrame as error:
                log.warning("comfyui.bad_frame", error=str(error)[:200])
        if message is not None and is_greeting(message):
            return
        self._last_frame = asyncio.get_running_loop().time()
        if message is not None:
            self._take_message(message)
        elif is_preview:
            self._take_preview(frame)
        else:
            self._heard.missed()

    def _take_message(self, message: Message) -> None:
        about = self._outstanding.get(getattr(message, "prompt_id", ""))
        if about is not None:
            about.heard = self._last_frame
        self._running.hears(message, self._last_frame)
        heard = self._heard.hears(message)
        match message:
            case Executing(prompt_id=prompt_id, node=None) | ExecutionInterrupted(prompt_id=prompt_id):
                remember(self._ended, prompt_id, heard, ENDED_KEPT)
                if not self._end_as_heard(prompt_id):
                    self.look_up(prompt_id)
            case Progress(prompt_id=prompt_id) if prompt_id in self._outstanding:
                self._live.progress(prompt_id, message)
            case Status():
                self._look_up_earlier()
            case _:
                pass

    def _take_preview(self, frame: bytes) -> None:
        picture = parse_preview(frame)
        if picture is not None and picture.prompt_id in self._outstanding:
            self._live.preview(picture.prompt_id, picture)

    def _look_up_earlier(self) -> None:
        """`status` is sent to every socket. It is the only message about prompts of an earlier connection."""
        if self._settling or all(one.connection == self.connection for one in self._outstanding.values()):
            return
        self._settling = True
        self._spawn(self._look_up_settled())

    async def _look_up_settled(self) -> None:
        await asyncio.sleep(SETTLE_S)
        self._settling = False
        for prompt_id, outstanding in list(self._outstanding.items()):
            if outstanding.connection != self.connection:
                self.look_up(prompt_id)

    # ---- silence

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_interval_s / 4)
            now = asyncio.get_running_loop().time()
            await self._stop_overdue(now)
            unheard = {
                prompt_id: outstanding
                for prompt_id, outstanding in self._outstanding.items()
                if now - outstanding.heard >= self._sweep_interval_s / 2
            }
            if unheard and self.is_up:
                await self._sweep(unheard, now)

    async def _stop_overdue(self, now: float) -> None:
        """End a prompt that has run too long, by its id alone. If the server cannot do that, let it finish."""
        prompt_id = self._running.overdue(now)
        if prompt_id is None or prompt_id not in self._outstanding or not self.is_up:
            return
        try:
            asked = await self._comfyui.interrupt(prompt_id)
        except NotReached as trouble:
            await self._tell_stuck(trouble)
            return
        self._running.stop(prompt_id, asked=asked)
        log.warning("comfyui.prompt_overdue", url=self._comfyui.url, prompt_id=prompt_id, cancelled=asked)
        self.look_up(prompt_id)

    async def _sweep(self, unheard: dict[str, Outstanding], now: float) -> None:
        """Look each of them up once, and check whether the socket was silent about an end."""
        self.sweeps += 1
        socket, silent_about = self._socket, False
        for prompt_id, outstanding in unheard.items():
            outstanding.heard = now
            try:
                ended = await self._find(prompt_id)
            except NotReached as trouble:
                await self._tell_stuck(trouble)
                return
            silent_about |= ended and self._last_frame < outstanding.there_at
        if silent_about and socket is not None:
            await self._replace_if_silent(socket)

    async def _replace_if_silent(self, socket: ClientConnection) -> None:
        """The frame may still be on its way. If none comes within DEAF_GRACE_S, the socket is deaf."""
        heard = self._last_frame
        await asyncio.sleep(DEAF_GRACE_S)
        if self._last_frame == heard:
            await self._replace(socket)

    async def _replace(self, socket: ClientConnection) -> None:
        """Close a socket that is open and silent, unless it is closed already. `run` opens the next one."""
        if socket is self._socket:
            self._socket = None
            self._up.clear()
            self.deaf += 1
            silent_for_s = asyncio.get_running_loop().time() - self._last_frame
            log.warning("comfyui.socket_deaf", url=self._comfyui.url, silent_for_s=round(silent_for_s, 1))
            await socket.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
