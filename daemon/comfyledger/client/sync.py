"""The Python client for scripts and notebooks: `SyncClient` has the methods of `Client`, and each waits for its answer.

    with SyncClient(name="my-script") as client:
        batch = client.submit(request_id="...", username="Areg", character="Opal Fever", quantity=8)
        for event in client.follow(batch):
            ...

A thread of its own runs a `Client`, so a loop that runs already, as in Jupyter, is in nobody's way. Nothing of the
client is written twice: a method here hands its arguments to that of `Client` and waits. Threads may share one
SyncClient. A process that is forked needs its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from comfyledger import wire
from comfyledger.client import Client
from comfyledger.client.batch_states import Batch, OnProgress, states_of
from comfyledger.errors import Refused

STOP_S: Final = 5.0
"""How long the end of the thread is waited for. It ends at once unless a disk or a pipe does not answer."""
_OPEN: Final = "Use `with SyncClient() as client`, in each process its own."
_END: Final = object()

P = ParamSpec("P")
T = TypeVar("T")


class LoopThread:
    """A thread that runs one client. `run` and `iterate` may be called in every other thread."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a generator that is collected meanwhile takes it once more
        self._is_over = False
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="comfyledger-client", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        """What still runs afterwards is cancelled by the runner."""
        await self._stopping.wait()
        await self._client.close()

    def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives, awaited in the thread. Raises what it raises, Refused(not_running).

        An exception that comes meanwhile, such as KeyboardInterrupt, ends the work.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("A callback runs in the client's own thread and cannot wait for the client.")
        future = self._begin(_awaited(make))
        try:
            return future.result()
        except CancelledError:
            raise Refused("not_running", "The client is closed.") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
        """The items of an async generator, which ends with this one."""
        items, turn = make(), asyncio.Lock()

        async def next_item() -> Any:
            async with turn:
                return await anext(items, _END)

        async def end() -> None:
            async with turn:
                await items.aclose()

        try:
            while (item := self.run(next_item)) is not _END:
                yield item
        finally:
            with contextlib.suppress(Refused):
                self._begin(end())  # not waited for: a collected generator may end in any thread

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Raises Refused(not_running)."""
        if self._is_of_another_process:
            work.close()
            raise Refused("not_running", "The client was opened in another process.", hint=_OPEN)
        with self._lock:
            if not self._is_over:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise Refused("not_running", "The client is closed.", hint=_OPEN)

    @property
    def _is_of_another_process(self) -> bool:
        """A forked process has no thread that would answer, and a lock that nobody may ever release."""
        return os.getpid() != self._pid

    def stop(self) -> None:
        """End the client and the thread, unless they are another process's."""
        if self._is_of_another_process:
            return
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._loop.call_soon_threadsafe(self._stopping.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_S)


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _waiting(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    @functools.wraps(method)
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(lambda: method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[Client, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[SyncClient, P], Generator[T, None, None]]:
    @functools.wraps(method)
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return self._thread.iterate(lambda: method(self._client, *args, **kwargs))

    return call


class SyncClient:
    """A connection to the daemon for programs without asyncio. Use it as `with SyncClient() as client`.

    The arguments are those of `Client`. `on_waiting` is called in the client's thread.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        state_dir: Path | str | None = None,
        *,
        name: str = "default",
        timeout_s: float | None = 60.0,
        wait: bool = False,
        on_waiting: Callable[[wire.Waiting], None] | None = None,
    ) -> None:
        self._client = Client(url, token, state_dir, name=name, timeout_s=timeout_s, wait=wait, on_waiting=on_waiting)
        self._opened: LoopThread | None = None
        self._ending: weakref.finalize[..., Self] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> Self:
        """Connect, as `with` does. Raises Refused as it does. A client that was closed may be opened again.

        A client that nobody closes is closed when it is collected, or when Python ends.
        """
        with self._lock:
            if self._opened is None:
                thread = LoopThread(self._client)
                try:
                    thread.run(self._client.open)
                except BaseException:
                    thread.stop()
                    raise
                self._opened, self._ending = thread, weakref.finalize(self, thread.stop)
        return self

    def close(self) -> None:
        """End the connection. What still waits for an answer is refused as `not_running`."""
        self._opened = None
        if self._ending is not None:
            self._ending()

    @property
    def _thread(self) -> LoopThread:
        if self._opened is None:
            raise Refused("not_running", "The client is not open.", hint=_OPEN)
        return self._opened

    @property
    def welcome(self) -> wire.Welcome:
        """The daemon's answer to the last hello: its version, ledger, epoch and position."""
        return self._client.welcome

    submit = _waiting(Client.submit)
    check_workflow = _waiting(Client.check_workflow)
    describe_workflow = _waiting(Client.describe_workflow)
    open_series = _waiting(Client.open_series)
    get_batch = _waiting(Client.get_batch)
    list_batches = _waiting(Client.list_batches)
    get_image = _waiting(Client.get_image)
    recipe = _waiting(Client.recipe)
    url_of = _waiting(Client.url_of)
    file = _waiting(Client.file)
    save_file = _waiting(Client.save_file)
    thumbnail = _waiting(Client.thumbnail)
    thumbnail_url_of = _waiting(Client.thumbnail_url_of)
    list_images = _waiting(Client.list_images)
    count_images = _waiting(Client.count_images)
    list_characters = _waiting(Client.list_characters)
    add_input = _waiting(Client.add_input)
    list_inputs = _waiting(Client.list_inputs)
    forget_input = _waiting(Client.forget_input)
    add_backend = _waiting(Client.add_backend)
    remove_backend = _waiting(Client.remove_backend)
    give_up_box = _waiting(Client.give_up_box)
    add_webhook = _waiting(Client.add_webhook)
    remove_webhook = _waiting(Client.remove_webhook)
    list_webhooks = _waiting(Client.list_webhooks)
    test_webhook = _waiting(Client.test_webhook)
    replay_webhook = _waiting(Client.replay_webhook)
    list_checks = _waiting(Client.list_checks)
    activity = _waiting(Client.activity)
    cancel = _waiting(Client.cancel)
    retry = _waiting(Client.retry)
    set_priority = _waiting(Client.set_priority)
    review = _waiting(Client.review)
    recover = _waiting(Client.recover)
    forget = _waiting(Client.forget)
    pause = _waiting(Client.pause)
    move = _waiting(Client.move)
    resume = _waiting(Client.resume)
    server_info = _waiting(Client.server_info)
    survey_store = _waiting(Client.survey_store)
    raise_series = _waiting(Client.raise_series)
    read_log = _waiting(Client.read_log)
    explain = _waiting(Client.explain)
    subscribe = _iterating(Client.subscribe)
    follow = _iterating(Client.follow)

    def wait(
        self, batch: Batch, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> wire.BatchInfo:
        """As `Client.wait`. `on_progress` is called in the thread that waits, and may use the client."""
        is_watched = on_progress is not None
        states = self._thread.iterate(lambda: states_of(self._client, batch, timeout_s, all_of_them=is_watched))
        with contextlib.closing(states):
            for state in states:
                if on_progress is not None:
                    on_progress(state)
        return state
