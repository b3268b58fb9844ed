"""The node classes that one ComfyUI said it has: asked for, compared by digest, and kept on disk for the next start.

`/object_info` may have 10 MB and takes a large server seconds, so nobody calls it for himself: callers that come
together share one call, and two calls have `FRESH_S` between them unless the server has connected again. What is on
disk is a cache: a file that is damaged, too large or of another address counts as none.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.fields import BadFrame
from comfyledger.comfyui.object_info import ObjectInfo, read_object_info
from comfyledger.comfyui.transfer import ANSWER_BYTES_MAX, NotReached
from comfyledger.durable import write_whole

FRESH_S: Final = 10.0
"""How long an answer counts as fresh, and how long after a call that failed the server counts as unreachable."""
WAIT_S: Final = 5.0
"""How long a request waits for the answer. The call goes on, and the next request finds what it brought."""

log = structlog.get_logger("comfyledger.comfyui")


class Known(NamedTuple):
    """An answer of `/object_info`: its bytes, and the classes in it."""

    body: bytes
    info: ObjectInfo


class NodeClasses:
    """Of one backend. `kept_at`: the file that keeps the last answer; it is read here, once. `changed`: called when the
    server says something else than before.
    """

    def __init__(self, comfyui: ComfyUI, kept_at: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._comfyui = comfyui
        self._kept_at = kept_at
        self._known = _kept(kept_at, comfyui.url)
        self._call: asyncio.Task[bool] | None = None
        self._called_at = 0.0
        self._is_closed = False

    @property
    def known(self) -> Known | None:
        """The last answer; None if the server was never seen."""
        return self._known

    def current(self) -> ObjectInfo | None:
        """What the server said last, maybe before this start of the daemon; None if it was never seen."""
        return self._known.info if self._known is not None else None

    async def latest(self) -> ObjectInfo | None:
        """As `current`, after a call that is under way: at a new connection the server may be another one."""
        if self._call is not None and not self._call.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self._answered(self._call)
        return self.current()

    async def fresh(self, now: float, wait_s: float | None = WAIT_S) -> ObjectInfo | None:
        """What the server has now, at most `FRESH_S` old; None if it cannot be asked, or does not answer in time.

        `now`: as `loop.time()` tells. `wait_s`: None waits for the end of the call, which has a bound of its own.
        """
        call = self._call
        if call is None or (call.done() and now - self._called_at >= FRESH_S):
            call = self._begin(now)
        try:
            async with asyncio.timeout(wait_s):
                return self.current() if await self._answered(call) else None
        except TimeoutError:
            return None

    def is_silent(self, now: float) -> bool:
        """Whether the server was asked at most `FRESH_S` ago and did not answer, so that `fresh` gives None at once."""
        call = self._call
        if call is None or not call.done() or now - self._called_at >= FRESH_S:
            return False
        return not call.cancelled() and call.exception() is None and not call.result()

    async def next(self, now: float) -> ObjectInfo | None:
        """What the server says when it is asked after `now`, or None. Waits until it may be asked again."""
        wait_s = self._called_at + FRESH_S - now
        if self._call is not None and self._called_at < now and wait_s > 0:
            await asyncio.sleep(wait_s)
            now += wait_s
        return await self.fresh(now, None)

    def renew(self, now: float) -> None:
        """Begin to ask, because the server has just connected: it may have been restarted, or be another one.

        What an earlier call still brings is not used.
        """
        self._begin(now)

    def close(self) -> None:
        """The server is left. What a call brings from now on is not used."""
        self._is_closed = True

    async def forget(self) -> None:
        """Close, and remove what is on disk. Raises OSError."""
        self.close()
        if self._call is not None:
            await asyncio.wait([self._call])  # it may be writing
        await asyncio.to_thread(self._kept_at.unlink, missing_ok=True)

    async def _answered(self, call: asyncio.Task[bool]) -> bool:
        """Whether a call brought an answer, or else the one that has replaced it since, because the server connected.

        Who waits may be cancelled; the call goes on.
        """
        answered = await asyncio.shield(call)
        while self._call is not None and call is not self._call:
            call = self._call
            answered = await asyncio.shield(call)
        return answered

    def _begin(self, now: float) -> asyncio.Task[bool]:
        self._called_at = now
        self._call = asyncio.get_running_loop().create_task(self._ask())
        return self._call

    async def _ask(self) -> bool:
        try:
            body = await self._comfyui.bytes_of("/object_info")
            known = await asyncio.to_thread(_read, body, self._known)
        except NotReached as trouble:
            log.info("comfyui.node_classes_unknown", url=self._comfyui.url, error=trouble.text)
            return False
        except BadFrame as error:
            log.warning("comfyui.node_classes_unknown", url=self._comfyui.url, error=str(error)[:200])
            return False
        if known is not self._known and asyncio.current_task() is self._call and not self._is_closed:
            self._known = known
            self._changed()
            log.info("comfyui.node_classes", url=self._comfyui.url, classes=len(known.info), digest=known.info.digest)
            await self._keep(known)
        return True

    async def _keep(self, known: Known) -> None:
        try:
            await asyncio.to_thread(_keep, self._kept_at, self._comfyui.url, known)
        except OSError as error:
            log.warning("comfyui.node_classes_not_kept", path=str(self._kept_at), error=error.strerror)


def _read(body: bytes, before: Known | None) -> Known:
    """`before` itself where the bytes are the same. Raises BadFrame."""
    digest = hashlib.sha256(body).hexdigest()
    if before is not None and before.info.digest == digest:
        return before
    info = read_object_info(body, digest)
    if not any(info.get(name) is not None for name in info):
        raise BadFrame("the answer names no node class")
    return Known(body, info)


# ---- on disk: the address in JSON, a line feed, the bytes of the answer; compressed


def _keep(path: Path, url: str, known: Known) -> None:
    """Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(path, gzip.compress(msgspec.json.encode(url) + b"\n" + known.body, 1), lambda _: None)


def _kept(path: Path, url: str) -> Known | None:
    """None if there is no such file, if it is damaged, or if it is of another address."""
    try:
        with gzip.open(path) as file:
            address, _, body = file.read(ANSWER_BYTES_MAX + 1).partition(b"\n")
        return _read(body, None) if address == msgspec.json.encode(url) else None
    except FileNotFoundError:
        return None
    except (OSError, EOFError, zlib.error, BadFrame) as error:
        log.warning("comfyui.kept_node_classes_unreadable", path=str(path), error=str(error)[:200])
        return None
