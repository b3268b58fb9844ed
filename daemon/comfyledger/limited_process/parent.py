"""The end of a limited process that gives the work.

The process is started when the first task comes, killed when one takes too long, and ended after a while without one.
A task that ends its process is refused; the next one finds a new process. An open file may go with a task: the process
gets its descriptor through a Unix socket, and opens nothing itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO, Final

from comfyledger.limited_process import exchange

START_S: Final = 20.0
"""For Python to start and to import, on a machine that is busy."""
IDLE_S: Final = 300.0
"""After so long without a task the process ends. It has some 20 MB or more."""
KEPT_VARIABLES: Final = ("HOME", "PYTHONHOME", "PYTHONPATH")
"""All that the process sees of the environment, which holds secrets: where Python finds its packages."""


class NoAnswer(Exception):
    """There is no answer to a task."""


class TooSlow(NoAnswer):
    """The task took longer than it may."""


class Ended(NoAnswer):
    """The process ended with the task: it took too much memory or processor time, or something broke."""


class NotStarted(NoAnswer):
    """No process could be started. The task is not at fault."""


class Closed(NoAnswer):
    """`close` was called."""


class LimitedProcess:
    """Answers tasks, one after the other. Of one event loop; close it at the end.

    `module`: what Python runs, with `arguments`. `task_s`: for one task, after the process has started. With
    `takes_files` the last argument is the descriptor of the socket through which files come.
    """

    def __init__(
        self, module: str, *arguments: str, task_s: float, idle_s: float = IDLE_S, takes_files: bool = False
    ) -> None:
        self._words = (sys.executable, "-P", "-m", module, *arguments)
        self._task_s = task_s
        self._idle_s = idle_s
        self._takes_files = takes_files
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._files: socket.socket | None = None
        self._is_closed = False
        self._killed: Process | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, frames: Callable[[bool], Iterable[bytes]], file: BinaryIO | None = None) -> tuple[bytes, bytes]:
        """The kind and content of the answer. `frames`: what is written, given whether the process is new.

        Raises TooSlow, Ended, NotStarted, Closed.
        """
        async with self._turn:
            return await self._answered(frames, file)

    async def close(self) -> None:
        """End the process, also while it works on a task."""
        self._is_closed = True
        self._kill()
        async with self._turn:
            await self._end()

    async def _answered(self, frames: Callable[[bool], Iterable[bytes]], file: BinaryIO | None) -> tuple[bytes, bytes]:
        """A process that has served before may have been ended by anything: then a new one is asked."""
        self._rest()
        served_before = self._process is not None
        try:
            return await self._tried(frames, file)
        except Ended:
            if not served_before:
                raise
        return await self._tried(frames, file)

    async def _tried(self, frames: Callable[[bool], Iterable[bytes]], file: BinaryIO | None) -> tuple[bytes, bytes]:
        """After every failure there is no process."""
        is_done = False
        try:
            is_new = self._process is None
            process = await self._started()
            async with asyncio.timeout(self._task_s):
                answer = await self._asked(process, frames(is_new), file)
            is_done = True
        except TimeoutError:
            raise TooSlow(f"within {self._task_s:g} s") from None
        except (EOFError, OSError):
            raise Ended("within the limits of memory and processor time") from None
        finally:
            if is_done:
                self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._kill)
            else:
                await self._end()
        return answer

    async def _asked(self, process: Process, frames: Iterable[bytes], file: BinaryIO | None) -> tuple[bytes, bytes]:
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        if file is not None and self._files is not None:
            socket.send_fds(self._files, [b"F"], [file.fileno()])
        for frame in frames:
            process.stdin.write(frame)
        await process.stdin.drain()
        return await _answer(process)

    async def _started(self) -> Process:
        """The process, ready. Raises NotStarted, Closed."""
        if self._is_closed:
            raise Closed
        if self._process is not None:
            return self._process
        try:
            async with asyncio.timeout(START_S):
                self._process = await self._start()
                await _answer(self._process)
        except (TimeoutError, EOFError, OSError):
            raise NotStarted from None
        return self._process

    async def _start(self) -> Process:
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        if not self._takes_files:
            return await asyncio.create_subprocess_exec(*self._words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=kept)
        self._files, theirs = socket.socketpair()
        self._files.setblocking(False)
        with theirs:
            there = theirs.fileno()
            return await asyncio.create_subprocess_exec(
                *self._words, str(there), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=kept, pass_fds=(there,)
            )

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _kill(self) -> None:
        """Once for each process: a second signal could wait for its end, which asyncio then misses."""
        process = self._process
        if process is not None and process is not self._killed:
            self._killed = process
            with suppress(ProcessLookupError):
                process.kill()

    async def _end(self) -> None:
        """End the process and forget it. If this is cancelled, the process has been killed."""
        self._rest()
        self._kill()
        process, self._process = self._process, None
        if self._files is not None:
            self._files.close()
            self._files = None
        if process is not None:
            await process.wait()


async def _answer(process: Process) -> tuple[bytes, bytes]:
    """Raises EOFError if the process ends."""
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    kind, length = exchange.HEAD.unpack(await process.stdout.readexactly(exchange.HEAD.size))
    return kind, await process.stdout.readexactly(length)
