"""Calls to a store's plugin: whatever the plugin does, each call ends with a result that the plugin API allows.

A plugin may raise anything, never return, end its own task, or return something invalid. Callers need not know that:
here it becomes a fault with a reason, and is logged and counted. Faults that do not depend on the file (memory,
network, disk, no answer) pause the lane. Others blame the image: one bad name must not stop the other images.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import structlog

from comfyledger.core.values import NUMBER_MAX
from comfyledger.plugin_api import (
    Deleted,
    Deletion,
    Deposit,
    Foreign,
    Held,
    ImageFault,
    LaneFault,
    Outcome,
    Page,
    Remark,
    Series,
    Space,
    Store,
    Stored,
    StoreTrouble,
)

DIED: Final = "plugin_died"
"""The code of an image that is parked, or left in its store, because the plugin died at it."""
CALL_S: Final = 180.0
"""Time limit for one answer. The bundled stores give up much earlier."""
PATIENCE_MAX_S: Final = 14_400.0
LISTED_S: Final = 1_800.0
"""Time limit for the highest number of a series, which may take many pages."""
LEAST_BYTES_S: Final = 65_536
"""The rate, in bytes a second, that a transfer has at least: its size adds to the time that it may take."""
FETCHED_BYTES_MAX: Final = 4_294_967_296
"""A larger file gets no more time, whatever size a store says it has."""
GIVE_UP_S: Final = 5.0
"""Time for a cancelled call to clean up, and for `close`."""
ANSWER_BYTES_MAX: Final = 1_048_576
TEXT_MAX: Final = 2_000
SIGNED_S: Final = 10.0
"""Time limit for an address, for which somebody waits."""
SIGNED_ADDRESS: Final = re.compile(r"https://[!-~]{1,8000}")
"""Longer than `ADDRESS`, because it may contain a token."""
ADDRESS: Final = re.compile(r"https://[!-~]{1,2000}")
NAMES_FILE: Final = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.EFBIG})

log = structlog.get_logger("comfyledger.plugins")
_abandoned: Final[set[asyncio.Task[Any]]] = set()
"""Calls that do not end although they were cancelled. Kept here because asyncio itself keeps no task alive."""


class PluginDied(StoreTrouble):
    """The plugin raised or returned something that the API forbids. `is_lanes`: no file is at fault."""

    def __init__(self, text: str, said: str, *, is_lanes: bool, code: str = "unknown") -> None:
        self.said, self.is_lanes = said, is_lanes
        super().__init__(LaneFault(code, text))


class Guarded:
    """A Store that keeps the plugin API's promises whatever its plugin does. `died` counts by call."""

    def __init__(self, name: str, store: Store, died: dict[str, int]) -> None:
        self._name = name
        self._store = store
        self._died = died
        self._sizes: dict[tuple[str, str], int] = {}
        """Of files that were checked, in bytes: a fetch of one may take as long as its size needs."""

    @property
    def identity(self) -> str:
        """Raises PluginDied."""
        try:
            identity = self._store.identity
            if not isinstance(identity, str) or not identity or identity.encode().decode() != identity:
                raise TypeError(f"identity is {identity!r}")
        except Exception as error:
            raise self._dead("prepare", error) from error
        return identity

    @property
    def compares_bytes(self) -> bool:
        """Whether `put` compares what it stores with the sha256 of the deposit."""
        return getattr(self._store, "compares_bytes", False) is True

    @property
    def caveat(self) -> str:
        """Which promise does not hold for the store; empty if all do, or if its plugin fails. Raises nothing."""
        try:
            caveat = getattr(self._store, "caveat", "")
            if not isinstance(caveat, str):
                raise TypeError(f"it answered {_shown(caveat)}")
        except (Exception, SystemExit) as error:
            self._dead_often("caveat", error)
            return ""
        return _clean(caveat)[:TEXT_MAX]

    async def prepare(self) -> None:
        await self._called("prepare", CALL_S)

    async def highest_number(self, series: Series) -> int:
        number = await self._called("highest_number", LISTED_S, series)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= NUMBER_MAX:
            raise self._dead("highest_number", TypeError(f"it answered {_shown(number)}"))
        return number

    async def put(self, deposit: Deposit) -> Outcome:
        try:
            answer = await self._called("put", CALL_S + deposit.size_bytes / LEAST_BYTES_S, deposit)
            return cast(Outcome, self._sound("put", answer, (Stored, ImageFault, LaneFault)))
        except StoreTrouble as trouble:
            if isinstance(trouble, PluginDied) and not trouble.is_lanes:
                return ImageFault(DIED, trouble.fault.text)
            return trouble.fault

    async def check(self, public_id: str, extension: str) -> Held | None:
        found = await self._called("check", CALL_S, public_id, extension)
        if found is None:
            return None
        held = cast(Held, self._sound("check", found, (Held,)))
        self._sizes[public_id, extension] = held.size_bytes
        return held

    async def delete(self, ours: Held) -> Deletion:
        """Raises PluginDied if the plugin died over this very file."""
        try:
            answer = await self._called("delete", CALL_S, ours)
            return cast(Deletion, self._sound("delete", answer, (Deleted, Foreign, LaneFault)))
        except StoreTrouble as trouble:
            if isinstance(trouble, PluginDied) and not trouble.is_lanes:
                raise
            return trouble.fault

    async def fetch(self, public_id: str, extension: str, target: Path) -> None:
        size = min(max(self._sizes.pop((public_id, extension), 0), 0), FETCHED_BYTES_MAX)
        await self._called("fetch", LISTED_S + size / LEAST_BYTES_S, public_id, extension, target)

    async def page(self, prefix: str, cursor: str = "") -> Page:
        return cast(Page, self._sound("page", await self._called("page", CALL_S, prefix, cursor), (Page,)))

    async def diagnose(self) -> tuple[Remark, ...]:
        remarks = await self._called("diagnose", CALL_S)
        if not isinstance(remarks, tuple | list):
            raise self._dead("diagnose", TypeError(f"it answered {_shown(remarks)}"))
        return tuple(self._sound("diagnose", one, (Remark,)) for one in remarks)

    async def space(self) -> Space | None:
        """How much is free where the store keeps its files; None if it is on no disk. Raises StoreTrouble."""
        if not hasattr(self._store, "space"):
            return None
        found = cast(Space, self._sound("space", await self._called("space", CALL_S), (Space,)))
        if min(found.free_bytes, found.total_bytes) < 0:
            raise self._dead("space", TypeError(f"it answered {_shown(found)}"))
        return found

    def thumbnail_url(self, url: str, extension: str, side_max: int) -> str:
        """An https address; empty if the store has none, or if its plugin fails. Raises nothing."""
        scale = getattr(self._store, "thumbnail_url", None)
        if scale is None:
            return ""
        try:
            address = scale(url, extension, side_max)
            if not isinstance(address, str) or (address and not ADDRESS.fullmatch(address)):
                raise TypeError(f"it answered {_shown(address)}")
        except (Exception, SystemExit) as error:
            self._dead_often("thumbnail_url", error)
            return ""
        return address

    async def file_url(self, url: str) -> str:
        """An https address that ends after a while; empty if the store has none, or if its plugin fails."""
        if not hasattr(self._store, "file_url"):
            return ""
        try:
            async with asyncio.timeout(SIGNED_S):
                address = await self._called("file_url", CALL_S, url)
            if not isinstance(address, str) or (address and not SIGNED_ADDRESS.fullmatch(address)):
                raise self._dead("file_url", TypeError("it answered with something else than an https address"))
        except (StoreTrouble, TimeoutError):
            return ""
        return address

    async def close(self) -> None:
        """Raises nothing."""
        try:
            await self._called("close", GIVE_UP_S)
        except StoreTrouble:
            return  # it is logged and counted

    async def _called(self, call: str, bound_s: float, *asked: Any) -> Any:
        """Raises StoreTrouble and nothing else."""

        async def plugins() -> Any:
            return await getattr(self._store, call)(*asked)

        try:
            return await Bounded(plugins(), max(bound_s, self._patience_s()))
        except Cancelled:
            raise asyncio.CancelledError from None
        except Silent as silent:
            raise self._dead(call, silent, code="not_reached") from None
        except BaseException as error:
            if isinstance(error, PluginDied) or not isinstance(error, StoreTrouble):
                raise self._dead(call, error) from error
            error.fault = self._sound(call, getattr(error, "fault", None), (LaneFault,))
            raise

    def _patience_s(self) -> float:
        """The seconds that the plugin asks for; 0 if that is no valid number."""
        patience_s = getattr(self._store, "patience_s", 0.0)
        return float(patience_s) if isinstance(patience_s, int | float) and patience_s < PATIENCE_MAX_S else 0.0

    def _sound(self, call: str, answer: Any, kinds: tuple[type[Any], ...]) -> Any:
        """The answer, decoded from its own JSON, which finds invalid fields. Raises PluginDied."""
        try:
            if type(answer) not in kinds:
                raise TypeError(f"it answered {_shown(answer)}")
            if hasattr(answer, "text"):
                answer = msgspec.structs.replace(answer, text=_clean(str(answer.text))[:TEXT_MAX])
            text = msgspec.json.encode(answer)
            if len(text) > ANSWER_BYTES_MAX:
                raise ValueError(f"its answer has {len(text)} bytes")
            return msgspec.json.decode(text, type=type(answer))
        except Exception as error:
            raise self._dead(call, error) from error

    def _dead(self, call: str, error: BaseException, code: str = "unknown") -> PluginDied:
        """Logs and counts it."""
        self._died[call] = self._died.get(call, 0) + 1
        text = f"The plugin of the store failed: {_shown(error)} ({call})"
        log.error("plugin.died", store=self._name, call=call, error=_shown(error), exc_info=_is_telling(error))
        return PluginDied(text, _shown(error), is_lanes=_is_lanes(error), code=code)

    def _dead_often(self, call: str, error: BaseException) -> None:
        """The same for what is asked at each answer: once is enough in the log."""
        if self._died.get(call):
            self._died[call] += 1
        else:
            self._dead(call, error)


class Silent(Exception):
    """A call gave no answer in time."""


class Cancelled(Exception):
    """The caller was cancelled, and not by its plugin."""


class Bounded:
    """Awaits a plugin's call in the caller's own task, within a time limit.

    At the limit the call is cancelled. A call that continues for `GIVE_UP_S` after a cancellation, ours or the
    caller's, is moved to a task of its own. Raises Silent, Cancelled, and whatever the plugin raises.
    """

    def __init__(self, call: Coroutine[Any, Any, Any], bound_s: float) -> None:
        self._call = call
        self._bound_s = bound_s
        self._ended = 0

    def __await__(self) -> Generator[Any, Any, Any]:  # noqa: C901 (one loop that reads from top to bottom)
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 (everything that awaits is a task)
        before = task.cancelling()

        def end() -> None:
            self._ended += 1
            task.cancel()

        timer = loop.call_later(self._bound_s, end)
        step: Callable[[], Any] = partial(self._call.send, None)
        awaited: Any = None
        is_cancelled = False
        try:
            while True:
                awaited = step()
                try:
                    yield awaited
                    step = partial(self._call.send, None)
                except asyncio.CancelledError as error:
                    if is_cancelled and self._ended:
                        _abandon(self._call)
                        raise
                    is_cancelled = True
                    timer.cancel()
                    timer = loop.call_later(GIVE_UP_S, end)
                    step = partial(self._call.throw, error)
                except BaseException as error:
                    step = partial(self._call.throw, error)
        except StopIteration as answer:
            return answer.value
        except asyncio.CancelledError:
            if task.cancelling() - self._ended > before:
                raise Cancelled from None
            if self._ended:
                raise Silent(f"no answer within {self._bound_s:.0f} s") from None
            raise
        finally:
            timer.cancel()
            del step, awaited  # An error that was passed on has this frame in its traceback, and would keep both.
            for _ in range(self._ended):
                task.uncancel()


def _abandon(call: Coroutine[Any, Any, Any]) -> None:
    """Move a call that does not end to a task of its own, cancelled once more."""

    async def rest() -> None:
        with suppress(BaseException):
            await Rest(call)

    task = asyncio.get_running_loop().create_task(rest())
    _abandoned.add(task)
    task.add_done_callback(_abandoned.discard)


class Rest:
    """Goes on with a call that was begun in another task."""

    def __init__(self, call: Coroutine[Any, Any, Any]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._call.throw, asyncio.CancelledError())
        while True:
            awaited = step()
            try:
                yield awaited
                step = partial(self._call.send, None)
            except BaseException as error:
                step = partial(self._call.throw, error)


def _is_lanes(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno not in NAMES_FILE
    return isinstance(error, MemoryError | asyncio.CancelledError | EOFError | Silent)


def _is_telling(error: BaseException) -> bool:
    return error.__traceback__ is not None


def _shown(value: object) -> str:
    """A bounded `repr`, which may be a plugin's own and die as well."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return _clean(text)[:500]


def _clean(text: str) -> str:
    """The text without characters that UTF-8 cannot encode."""
    return text.encode(errors="replace").decode()
