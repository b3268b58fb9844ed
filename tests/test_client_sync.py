"""The laws of the client for scripts: what threads, interrupts, forks and forgotten clients do to it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.client import batch_states
from comfyledger.client.sync import SyncClient
from comfyledger.errors import Refused
from support.answering_server import BATCH, AnsweringServer, batch_info, tell
from support.waiting import DEADLINE_S, until_without_a_loop


class Served:
    """The server in a thread, so that the test's own thread may wait."""

    def __init__(self, folder: Path) -> None:
        self.state = folder
        self.door = AnsweringServer(folder / "its.sock")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.run(self.door.start())
        tell(folder, self.door)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def happen(self, *kinds: str) -> None:
        self._loop.call_soon_threadsafe(self.door.happen, *kinds)

    def stop(self) -> None:
        self.run(self.door.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def unsubscribed(self) -> bool:
        return bool(self.door.requests("unsubscribe"))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(tmp_path))
    for name in ("COMFYLEDGER_URL", "COMFYLEDGER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    found = Served(tmp_path)
    yield found
    found.stop()


def submit(client: SyncClient) -> wire.BatchAccepted:
    return client.submit(request_id="r1", username="Areg", character="Opal Fever", quantity=1)


def threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "comfyledger-client"}


# ---- asking


def test_a_script_asks_and_follows_as_an_app_does(served: Served) -> None:
    served.happen("batch_requested", "image_kept", "batch_settled")
    with SyncClient(name="script") as client:
        assert client.welcome.label == "script"
        batch = submit(client)
        assert [event.kind for event in client.follow(batch)] == ["batch_requested", "image_kept", "batch_settled"]
        assert client.wait(batch).stored == 1
    assert served.door.requests("unsubscribe")
    assert threads() == set()


def test_a_refusal_arrives_whole(served: Served) -> None:
    def refuse(_: Any) -> Any:
        raise Refused("unknown_batch", "No.", hint="Do.", path="$.data.x")

    served.door.answers["get_batch"] = refuse
    with SyncClient() as client:
        for ask in (lambda: client.get_batch("x"), lambda: client.wait("x"), lambda: list(client.follow("x"))):
            with pytest.raises(Refused) as refused:
                ask()
            assert (refused.value.code, refused.value.hint, refused.value.path) == ("unknown_batch", "Do.", "$.data.x")


def test_without_a_daemon_opening_is_refused_and_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        SyncClient(state_dir=tmp_path).open()
    assert refused.value.code == "not_running"
    until_without_a_loop(lambda: not threads())


def test_a_client_works_where_a_loop_runs_already(served: Served) -> None:
    """As in a notebook."""

    async def cell() -> str:
        with SyncClient() as client:
            return submit(client).batch_id

    assert asyncio.run(cell()) == BATCH


def test_threads_share_a_client(served: Served) -> None:
    served.door.answers["open_series"] = lambda data: wire.SeriesInfo(data["username"], 1)
    with SyncClient() as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: client.open_series(str(n), "c").series, range(50)))
    assert found == [str(n) for n in range(50)]


def test_progress_comes_in_the_thread_that_waits_and_may_use_the_client(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_states, "BETWEEN_S", 0.01)
    served.door.answers["get_batch"] = lambda _: replace(batch_info("open"), stored=0)
    served.happen("batch_requested")
    seen: list[tuple[str, threading.Thread]] = []

    def see(now: wire.BatchInfo) -> None:
        seen.append((client.get_batch(BATCH).status, threading.current_thread()))
        served.door.answers["get_batch"] = lambda _: batch_info("settled")
        served.happen("batch_settled")

    with SyncClient() as client:
        assert client.wait(BATCH, timeout_s=20, on_progress=see).status == "settled"
    assert seen[0] == ("open", threading.current_thread())


def test_a_callback_in_the_clients_own_thread_is_told_that_it_cannot_wait(served: Served) -> None:
    failures: list[str] = []

    def ask_back(_: wire.Waiting) -> None:
        with pytest.raises(RuntimeError, match="cannot wait") as caught:
            client.get_batch(BATCH)
        failures.append(str(caught.value))

    served.door.silent = {"submit_batch"}
    with SyncClient(on_waiting=ask_back) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(submit, client)
        until_without_a_loop(lambda: served.door.requests("submit_batch"))
        number = served.door.asked[-1]["id"]
        (connection,) = served.door.connections
        served.run(connection.send(wire.frame("waiting", wire.Waiting("x", "Why."), number).decode()))
        until_without_a_loop(lambda: failures)
        served.run(connection.send(wire.frame("result", served.door.answers["submit_batch"]({}), number).decode()))
        assert asked.result(20).batch_id == BATCH


# ---- following


def read_badly(client: SyncClient) -> None:
    for event in client.subscribe():
        raise ZeroDivisionError(event)


@pytest.mark.parametrize("how", ["break", "error", "forgotten", "closed"])
def test_who_stops_reading_ends_the_subscription(served: Served, how: str) -> None:
    served.happen("a", "b")
    with SyncClient() as client:
        if how == "break":
            for _ in client.subscribe():
                break
        elif how == "error":
            with pytest.raises(ZeroDivisionError):
                read_badly(client)
        else:
            events = client.subscribe()
            assert next(events).position == 1  # type: ignore[union-attr]
            if how == "closed":
                events.close()
            else:
                round_about: list[Any] = [events]
                round_about.append(round_about)
                del events, round_about
                gc.collect()
        until_without_a_loop(served.unsubscribed)
        assert submit(client).batch_id == BATCH


def test_two_subscriptions_are_read_in_turns(served: Served) -> None:
    served.happen("a", "b")
    with SyncClient() as client:
        one, two = client.subscribe(), client.subscribe()
        read = [next(events).position for events in (one, two, one, two)]  # type: ignore[union-attr]
    assert read == [1, 1, 2, 2]


# ---- the end


def test_a_client_that_is_not_open_says_so_at_once(served: Served) -> None:
    client = SyncClient(timeout_s=None)
    for _ in range(2):
        for ask in (lambda: submit(client), lambda: client.wait(BATCH), lambda: list(client.follow(BATCH))):
            with pytest.raises(Refused, match="not open"):
                ask()
        client.close()
        assert client.open() is client.open() is client
        assert submit(client).batch_id == BATCH
        client.close()
    assert len(served.door.requests("hello")) == 2
    assert threads() == set()


def test_closing_ends_what_other_threads_wait_for(served: Served) -> None:
    served.door.silent = {"get_batch"}
    client = SyncClient(timeout_s=None).open()
    asks: list[Callable[[], Any]] = [lambda: client.get_batch("x"), lambda: list(client.subscribe())]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask) for ask in asks]
        until_without_a_loop(lambda: served.door.requests("get_batch") and served.door.requests("subscribe"))
        client.close()
        for one in waiting:
            with pytest.raises(Refused, match=r"closed|not open"):
                one.result(20)


def test_a_forgotten_client_ends_its_thread(served: Served) -> None:
    client = SyncClient().open()
    assert len(threads()) == 1
    del client
    gc.collect()
    until_without_a_loop(lambda: not threads())


def test_an_interrupt_ends_the_request_and_the_client_stays_usable(served: Served) -> None:
    served.door.silent = {"get_batch"}

    def interrupt() -> None:
        until_without_a_loop(lambda: served.door.requests("get_batch"))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with SyncClient(timeout_s=None) as client, ThreadPoolExecutor(1) as pool:
        interrupted = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.get_batch(BATCH)
        interrupted.result(20)
        until_without_a_loop(lambda: not client._client._link._pending)
        assert submit(client).batch_id == BATCH


# ---- whole programs

HEAD = "import os, sys\nfrom comfyledger.client.sync import SyncClient\nfrom comfyledger.errors import Refused\n"


def begin(body: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HEAD + body], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize(
    "what", ["for event in client.subscribe(): print('read', flush=True)", "client.get_batch('x')"]
)
def test_an_interrupt_ends_a_script_that_waits(served: Served, what: str) -> None:
    served.door.silent = {"get_batch"}
    served.happen("a")
    script = begin(f"with SyncClient(timeout_s=None) as client:\n    {what}\n")
    until_without_a_loop(lambda: served.door.requests("subscribe") or served.door.requests("get_batch"))
    if "subscribe" in what:
        assert script.stdout is not None
        assert script.stdout.readline() == "read\n"
    script.send_signal(signal.SIGINT)
    _, said = script.communicate(timeout=DEADLINE_S)
    assert script.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert "Error" not in said
    until_without_a_loop(lambda: not served.door.connections)


def test_a_script_that_forgets_to_close_ends_in_silence(served: Served) -> None:
    served.happen("a", "b")
    script = begin("client = SyncClient().open()\nevents = client.subscribe()\nprint(next(events).kind)\n")
    assert script.communicate(timeout=DEADLINE_S) == ("a\n", "")
    assert script.returncode == 0


def test_a_forked_process_is_told_to_open_its_own_client(served: Served) -> None:
    body = """
with SyncClient() as client:
    events = client.subscribe()
    next(events)
    if os.fork() == 0:
        for ask in (lambda: client.get_batch("x"), lambda: next(events)):
            try:
                ask()
            except Refused as refusal:
                print(refusal.code, refusal.message, flush=True)
        client.close()
        with SyncClient() as own:
            print(own.get_batch("x").status, flush=True)
    else:
        assert os.wait()[1] == 0
        print("parent", client.get_batch("x").status, next(events).kind, flush=True)
"""
    served.happen("a", "b")
    script = begin(body)
    said, trouble = script.communicate(timeout=DEADLINE_S)
    refused = "not_running The client was opened in another process.\n"
    assert (said, trouble) == (f"{refused * 2}settled\nparent settled b\n", "")
    assert script.returncode == 0
    assert os.getpid() != script.pid
