"""Whatever a store's plugin does, a call to it ends, in what the plugin API promises, and is counted."""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import re
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from comfyledger import guarded
from comfyledger.core.values import NUMBER_MAX
from comfyledger.guarded import DIED, Guarded, PluginDied
from comfyledger.metrics.gauges import STORE_CALLS
from comfyledger.plugin_api import (
    Deleted,
    Deposit,
    Foreign,
    Held,
    ImageFault,
    LaneFault,
    Page,
    Remark,
    Series,
    Space,
    Stored,
    StoreTrouble,
)
from support.waiting import DEADLINE_S, pause

SERIES = Series("a", "b_")
HELD = Held("a/b_1", "png", 4)
DEPOSIT = Deposit("B1/1", "a/b_1", "png", Path("/x"), "s", "m", 4, first_attempt=True)
ASKED: dict[str, tuple[Any, ...]] = {
    "prepare": (),
    "highest_number": (SERIES,),
    "put": (DEPOSIT,),
    "check": ("a/b_1", "png"),
    "delete": (HELD,),
    "fetch": ("a/b_1", "png", Path("/x")),
    "page": ("",),
    "diagnose": (),
}


class Odd(Exception):
    def __repr__(self) -> str:
        raise ZeroDivisionError


IMAGES = [
    ValueError("no"),
    UnicodeEncodeError("ascii", "日本", 0, 2, "ordinal not in range"),
    KeyError("etag"),
    TypeError(),
    AssertionError(),
    RecursionError(),
    Odd(),
    ExceptionGroup("several", [ValueError()]),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopAsyncIteration(),
    OSError(errno.ENAMETOOLONG, "too long"),
]
LANES = [
    MemoryError(),
    OSError(errno.EIO, "I/O error"),
    OSError("no number"),
    ConnectionResetError(),
    TimeoutError(),
    asyncio.CancelledError(),
    EOFError(),
]


class Plugin:
    """Does the same in every call."""

    identity = "odd:1"

    def __init__(self, does: Callable[[], Any]) -> None:
        self._does = does

    def __getattr__(self, call: str) -> Any:
        if call not in {*ASKED, "close"}:
            raise AttributeError(call)

        async def answer(*_: Any) -> Any:
            found = self._does()
            return await found if asyncio.iscoroutine(found) else found

        return answer


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def store(does: Callable[[], Any]) -> tuple[Guarded, dict[str, int]]:
    died: dict[str, int] = {}
    return Guarded("main", Plugin(does), died), died  # type: ignore[arg-type]


async def fault_of(made: Guarded, call: str) -> Any:
    try:
        answer = await getattr(made, call)(*ASKED[call])
    except StoreTrouble as trouble:
        return trouble.fault
    return answer


@pytest.mark.parametrize("call", ASKED)
@pytest.mark.parametrize("error", [*IMAGES, *LANES], ids=lambda error: type(error).__name__)
async def test_whatever_a_call_raises_becomes_a_fault_that_is_logged_and_counted(
    call: str, error: BaseException
) -> None:
    made, died = store(raising(error))
    with capture_logs() as logs:
        fault = await fault_of(made, call)
    is_images = call == "put" and any(error is one for one in IMAGES)
    assert isinstance(fault, ImageFault if is_images else LaneFault)
    assert fault.code == (DIED if is_images else "unknown")
    assert "The plugin of the store failed" in fault.text
    assert died == {call: 1}
    assert [(one["event"], one["call"], one["store"]) for one in logs] == [("plugin.died", call, "main")]


async def test_what_a_plugin_waited_for_is_free_when_its_call_has_ended() -> None:
    """Also after an error, and without the garbage collector: a plugin may wait for that before it closes."""
    kept: list[weakref.ref[asyncio.Future[None]]] = []

    def asked(*, fails: bool) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        kept.append(weakref.ref(future))
        asyncio.get_running_loop().call_soon(settle, future, fails)
        return future

    async def answer() -> Page:
        await asked(fails=False)
        with suppress(ValueError):
            await asked(fails=True)
        return Page(())

    gc.disable()
    try:
        assert await store(answer)[0].page("") == Page(())
        await asyncio.sleep(0)
        assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()


def settle(future: asyncio.Future[None], fails: bool) -> None:
    if fails:
        future.set_exception(ValueError("no"))
    else:
        future.set_result(None)


class Scaling:
    def __init__(self, does: Callable[[], Any]) -> None:
        self._does = does

    def thumbnail_url(self, *_: Any) -> Any:
        return self._does()


@pytest.mark.parametrize("answer", ["", "https://res.example/a.webp"])
def test_an_address_of_a_smaller_picture_is_passed_on(answer: str) -> None:
    made = Guarded("main", Scaling(lambda: answer), {})  # type: ignore[arg-type]
    assert made.thumbnail_url("u", "png", 256) == answer
    assert store(lambda: answer)[0].thumbnail_url("u", "png", 256) == "", "a store may have no such method"


@pytest.mark.parametrize(
    "does",
    [
        raising(ValueError("no")),
        raising(SystemExit(3)),
        lambda: None,
        lambda: b"https://res.example/a",
        lambda: "http://res.example/a",
        lambda: "javascript:alert(1)",
        lambda: "https://res.example/a b",
        lambda: "https://res.example/\n",
        lambda: "https://res.example/" + "x" * 3_000,
    ],
)
def test_no_wrong_address_of_a_smaller_picture_is_passed_on(does: Callable[[], Any]) -> None:
    died: dict[str, int] = {}
    made = Guarded("main", Scaling(does), died)  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert [made.thumbnail_url("u", "png", 256) for _ in range(3)] == ["", "", ""]
    assert died == {"thumbnail_url": 3}
    assert len(logs) == 1, "an answer may have a thousand images"


def test_each_call_that_the_daemon_makes_has_a_counter_of_its_own() -> None:
    counted = re.findall(r'_(?:called|dead|dead_often|sound)\("(\w+)"', inspect.getsource(Guarded))
    assert set(STORE_CALLS) == set(counted) - {"diagnose"}, "which only `comfyledger doctor` makes"


class Cautioning:
    def __init__(self, does: Callable[[], Any]) -> None:
        self._does = does

    @property
    def caveat(self) -> Any:
        return self._does()


def test_a_promise_that_a_store_breaks_is_passed_on() -> None:
    assert Guarded("main", Cautioning(lambda: "Promise 8 does not hold."), {}).caveat == "Promise 8 does not hold."  # type: ignore[arg-type]
    assert store(lambda: "no")[0].caveat == "", "a store may have no such property"


@pytest.mark.parametrize("does", [raising(ValueError("no")), raising(SystemExit(3)), lambda: None, lambda: b"x"])
def test_a_caveat_that_is_no_text_is_left_out_and_logged_once(does: Callable[[], Any]) -> None:
    died: dict[str, int] = {}
    made = Guarded("main", Cautioning(does), died)  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert [made.caveat for _ in range(3)] == ["", "", ""]
    assert (died, len(logs)) == ({"caveat": 3}, 1)


@pytest.mark.parametrize(("said", "passed"), [("x" * 9_000, 2_000), ("a\ud800b", 3)])
def test_a_caveat_fits_into_an_answer(said: str, passed: int) -> None:
    caveat = Guarded("main", Cautioning(lambda: said), {}).caveat  # type: ignore[arg-type]
    assert len(caveat) == passed
    assert caveat.encode()


class Signing:
    def __init__(self, does: Callable[[], Any]) -> None:
        self._does = does

    async def file_url(self, url: str) -> Any:
        return self._does()


@pytest.mark.parametrize("answer", ["", "https://signed.example/a?token=" + "x" * 3_000])
async def test_a_signed_address_is_passed_on(answer: str) -> None:
    assert await Guarded("main", Signing(lambda: answer), {}).file_url("u") == answer  # type: ignore[arg-type]
    assert await store(lambda: answer)[0].file_url("u") == "", "a store may have no such method"


@pytest.mark.parametrize(
    "does",
    [
        raising(ValueError("no")),
        raising(SystemExit(3)),
        lambda: None,
        lambda: b"https://signed.example/a",
        lambda: "http://signed.example/a",
        lambda: "https://signed.example/\n",
        lambda: "https://signed.example/" + "x" * 9_000,
    ],
)
async def test_no_wrong_signed_address_is_passed_on(does: Callable[[], Any]) -> None:
    died: dict[str, int] = {}
    with capture_logs():
        assert await Guarded("main", Signing(does), died).file_url("u") == ""  # type: ignore[arg-type]
    assert died == {"file_url": 1}


class Measuring:
    """Answers the same to `space` each time."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def space(self) -> Any:
        return self._answer


async def test_the_space_of_a_store_is_passed_on_and_a_store_on_no_disk_has_none() -> None:
    space = Space("/srv/images", 5, 9, 2)
    assert await Guarded("main", Measuring(space), {}).space() == space  # type: ignore[arg-type]
    assert await store(lambda: space)[0].space() is None, "a store may have no such method"


@pytest.mark.parametrize("answer", [None, 5, Space("/srv", -1, 9, 2), Space("/srv", "5", 9, 2)])  # type: ignore[arg-type]
async def test_no_wrong_space_of_a_store_is_passed_on(answer: Any) -> None:
    died: dict[str, int] = {}
    with capture_logs(), pytest.raises(PluginDied):
        await Guarded("main", Measuring(answer), died).space()  # type: ignore[arg-type]
    assert died == {"space": 1}


@pytest.mark.parametrize("call", ASKED)
async def test_a_call_that_never_returns_ends_although_it_holds_on_to_its_task(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    for bound in ("CALL_S", "LISTED_S", "GIVE_UP_S"):
        monkeypatch.setattr(guarded, bound, 0.05)
    over = False

    async def hold_on() -> None:
        while not over:
            try:
                await pause(0.01)
            except asyncio.CancelledError:
                continue

    made, died = store(hold_on)
    try:
        async with asyncio.timeout(DEADLINE_S):
            fault = await fault_of(made, call)
    finally:
        over = True
    await asyncio.gather(*guarded._abandoned, return_exceptions=True)
    assert isinstance(fault, LaneFault)
    assert (fault.code, died) == ("not_reached", {call: 1})


async def test_a_patient_plugin_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "CALL_S", 0.01)
    made, _ = store(lambda: pause(0.05))
    made._store.patience_s = 10.0  # type: ignore[attr-defined]
    assert await made.check("a", "png") is None


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        *((call, answer) for call in ("put", "delete", "page") for answer in (None, 5, "stored", Exception, Stored)),
        ("put", Stored(5)),  # type: ignore[arg-type]
        ("put", Stored("https://x/\udcff")),
        ("put", Stored("u", details={"n": object()})),  # type: ignore[dict-item]
        ("put", Stored("u" * 2_000_000)),
        ("put", Deleted(found=True)),
        ("delete", Stored("u")),
        ("delete", Deleted(found="yes")),  # type: ignore[arg-type]
        ("check", "there"),
        ("check", Held("a", "png", "4")),  # type: ignore[arg-type]
        ("page", Page((5,))),  # type: ignore[arg-type]
        ("page", Page((), 7)),  # type: ignore[arg-type]
        *(("highest_number", answer) for answer in (None, "57", 57.0, True, -1, NUMBER_MAX + 1, 10**40)),
        ("diagnose", None),
        ("diagnose", ("fine",)),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_an_answer_that_is_none_is_a_fault(call: str, answer: Any) -> None:
    made, died = store(lambda: answer)
    assert isinstance(await fault_of(made, call), ImageFault | LaneFault)
    assert died == {call: 1}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("put", Stored("u", replayed=True, details={"etag": "x", "bytes": 5})),
        ("put", ImageFault("refused", "no")),
        ("put", LaneFault("throttled", "wait", 5.0)),
        ("delete", Deleted(found=True)),
        ("delete", Foreign("another")),
        ("delete", LaneFault("full", "")),
        ("check", HELD),
        ("check", None),
        ("page", Page((HELD,), "x")),
        ("highest_number", NUMBER_MAX),
        ("diagnose", (Remark("ok", "fine"),)),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_sound_answer_passes_unchanged(call: str, answer: Any) -> None:
    made, died = store(lambda: answer)
    assert await getattr(made, call)(*ASKED[call]) == answer
    assert died == {}


@pytest.mark.parametrize("call", ASKED)
async def test_trouble_that_is_said_is_no_death(call: str) -> None:
    made, died = store(raising(StoreTrouble(LaneFault("full", "\udcff" + "x" * 9_000))))
    fault = await fault_of(made, call)
    assert (fault.code, fault.text[:2], len(fault.text)) == ("full", "?x", guarded.TEXT_MAX)
    assert died == {}


async def test_trouble_without_a_fault_is_a_death() -> None:
    trouble = StoreTrouble(LaneFault("full", ""))
    trouble.fault = None  # type: ignore[assignment]
    made, died = store(raising(trouble))
    with pytest.raises(PluginDied):
        await made.check("a", "png")
    assert died == {"check": 1}


async def test_who_cancels_a_call_is_not_told_that_the_plugin_died(monkeypatch: pytest.MonkeyPatch) -> None:
    made, died = store(asyncio.Event().wait)
    task = asyncio.create_task(made.put(DEPOSIT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert died == {}


@pytest.mark.parametrize("identity", [None, "", 5, "odd:\udcff"])
async def test_an_identity_that_is_none_is_a_death(identity: Any) -> None:
    made, died = store(lambda: None)
    made._store.identity = identity  # type: ignore[misc]
    with pytest.raises(PluginDied):
        _ = made.identity
    assert died == {"prepare": 1}


@pytest.mark.parametrize("error", [*IMAGES, *LANES], ids=lambda error: type(error).__name__)
async def test_a_plugin_that_dies_while_it_is_closed_keeps_nothing_from_ending(error: BaseException) -> None:
    made, died = store(raising(error))
    await made.close()
    assert died == {"close": 1}


async def test_a_call_that_is_cancelled_may_clean_up() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def tidy() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await pause(0.01)
            cleaned.set()

    made, died = store(tidy)
    task = asyncio.create_task(made.put(DEPOSIT))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    assert died == {}


async def test_who_stops_does_not_wait_for_a_plugin_that_will_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GIVE_UP_S", 0.05)
    over = False
    begun = asyncio.Event()

    async def hold_on() -> None:
        while not over:
            try:
                begun.set()
                await pause(0.02)
            except asyncio.CancelledError:
                continue

    made, died = store(hold_on)
    task = asyncio.create_task(made.put(DEPOSIT))
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=DEADLINE_S)
    over = True
    await asyncio.gather(*guarded._abandoned, return_exceptions=True)
    assert task in done
    assert task.cancelled()
    assert died == {}


async def test_a_timeout_around_a_call_is_the_callers() -> None:
    made, died = store(asyncio.Event().wait)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await made.check("a", "png")
    assert died == {}
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_call_that_timed_out_leaves_its_task_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "CALL_S", 0.01)
    made, died = store(asyncio.Event().wait)
    with pytest.raises(PluginDied, match="no answer within"):
        await made.check("a", "png")
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert died == {"check": 1}


async def test_a_fetch_may_take_as_long_as_the_size_that_was_checked_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "LISTED_S", 0.01)
    monkeypatch.setattr(guarded, "LEAST_BYTES_S", 100)

    class Slow(Plugin):
        async def check(self, public_id: str, extension: str) -> Held:
            return Held(public_id, extension, 1_000)

        async def fetch(self, public_id: str, extension: str, target: Path) -> None:
            await pause(0.1)

    made = Guarded("main", Slow(lambda: None), {})  # type: ignore[arg-type]
    with pytest.raises(StoreTrouble, match="no answer"):
        await made.fetch("a/b_1", "mp4", Path("/x"))
    assert await made.check("a/b_1", "mp4") == Held("a/b_1", "mp4", 1_000)
    await made.fetch("a/b_1", "mp4", Path("/x"))
