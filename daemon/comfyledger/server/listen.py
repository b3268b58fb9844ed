"""Where the server listens: at a port or a Unix socket, as configured, and always at a Unix socket in the state folder,
for the command line and the Python client. The file `door.json` says where both are.

Connections are counted before a byte of them is read (`connections`). What aiohttp logs becomes one named fact a line,
so that nothing that a client sends costs a traceback or many lines.
"""

from __future__ import annotations

import asyncio
import grp
import hashlib
import logging
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from aiohttp import http_exceptions, web

from comfyledger.errors import Refused
from comfyledger.server.app_keys import CONNECTIONS, SPARED, Context
from comfyledger.server.connections import Connections, claim_descriptors
from comfyledger.server.pages import make_app
from comfyledger.server.rate_limit import RateLimitedLog
from comfyledger.settings import Door

STOP_S: Final = 5.0
REQUEST_S: Final = 15.0
"""How long a connection may take to its first request, headers included, and to each next one."""
LINE_BYTES_MAX: Final = 65_536
"""Of the first line of a request: room for the longest parameters that requests may have, percent-encoded."""
PAGES_MAX: Final = 64
"""Connections besides websockets: health checks, metrics, images."""
BACKLOG: Final = 1_024
"""Connections that wait to be accepted."""
TAKEN_AT_ONCE: Final = 16
UNIX: Final = "unix:"
SOCKET_NAME: Final = "door.sock"
PATH_BYTES_MAX: Final = 107
_TEMPORARY: Final = Path("/tmp")  # noqa: S108 (a folder there is checked before use)
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Addresses that mean all interfaces, and the address at which clients of this machine reach them."""
ASKING_S: Final = 1.0
LOCAL_MODE: Final = 0o660
"""Of the socket in the state folder. Its group may connect, as it may enter the folder and read the token."""
WORDS_MAX: Final = 200
"""Of a message of aiohttp, in characters."""

log = structlog.get_logger("comfyledger.door")


class Entrances(NamedTuple):
    """Where the server listens. `url`: as configured, or `unix:` and a path. `socket`: for clients of this machine."""

    url: str
    socket: str


Make = Callable[[], asyncio.BaseProtocol]


async def listen(door: Door, local: Iterable[Path], context: Context, stack: AsyncExitStack) -> Entrances:
    """Listen as configured, and at the first path of `local` that works. Raises Refused."""
    app = make_app(context, claim_descriptors(door.connections_max + SPARED + PAGES_MAX))
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=http_log(),
        shutdown_timeout=STOP_S,
        handle_signals=False,
        keepalive_timeout=REQUEST_S,
        auto_decompress=False,
        max_line_size=LINE_BYTES_MAX,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    make = _factory(runner, app[CONNECTIONS])
    path = Path(door.unix_path)
    try:
        if not door.unix_path:
            server, url = await _on_port(door, make)
        else:
            server, url = await _on_socket(path, door.unix_mode, _group(door.unix_group), make, stack)
    except OSError as error:
        hint = "Another program uses this port or path, or it cannot be used: choose another one in [door]."
        raise Refused("config_invalid", f"The server cannot listen: {error.strerror or error}.", hint=hint) from error
    stack.callback(server.close)
    context.file_urls.door_url = "" if url.startswith(UNIX) else url
    return Entrances(url, str(await _beside(path, local, make, stack)))


async def _beside(open_already: Path, local: Iterable[Path], make: Make, stack: AsyncExitStack) -> Path:
    """Listen for clients of this machine; the path of that socket."""
    reason = ""
    for path in local:
        try:
            if path != open_already:
                stack.callback((await _on_socket(path, LOCAL_MODE, None, make, stack))[0].close)
        except OSError as error:
            reason = reason or f"{path}: {error.strerror or error}"
        else:
            return path
    hint = "Check the folder, permissions and disk of state_dir."
    raise Refused("config_invalid", f"The socket for clients of this machine cannot be made: {reason}.", hint=hint)


async def _on_port(door: Door, make: Make) -> tuple[asyncio.Server, str]:
    server = await asyncio.get_running_loop().create_server(make, door.host, door.port, backlog=TAKEN_AT_ONCE)
    _set_backlog(server)
    host, port = server.sockets[0].getsockname()[:2]
    return server, url_of(host, port)


def url_of(host: str, port: int) -> str:
    """The URL at which clients of this machine reach the server."""
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _on_socket(
    path: Path, mode: int, group: int | None, make: Make, stack: AsyncExitStack
) -> tuple[asyncio.Server, str]:
    """Only the owner can connect until mode and group are set. Raises Refused(config_invalid)."""
    _clear(path)
    before = os.umask(0o177)
    try:
        server = await asyncio.get_running_loop().create_unix_server(make, path, backlog=TAKEN_AT_ONCE)
    finally:
        os.umask(before)
    stack.callback(_remove, path, _set_access(path, mode, group))
    _set_backlog(server)
    return server, UNIX + str(path)


def _set_access(path: Path, mode: int, group: int | None) -> int:
    """Set mode and group of a socket; its inode."""
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(mode)
    return path.stat().st_ino


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError as error:
        raise Refused(
            "config_invalid",
            f"[door] unix_group: there is no group {name!r}.",
            hint="Create it, or name another group.",
        ) from error


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that crashed, and nothing else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        hint = "Move it away, or choose another [door] unix_path."
        raise Refused("config_invalid", f"{path} exists and is not a socket.", hint=hint)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ASKING_S)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except (TimeoutError, BlockingIOError):
            pass  # a full backlog belongs to a program that listens
    hint = "Stop it if it is a daemon of the same state folder, or choose another [door] unix_path or state_dir."
    raise Refused("config_invalid", f"Another program listens at {path}.", hint=hint)


def _remove(path: Path, inode: int) -> None:
    """Remove our own socket, unless another one has replaced it."""
    with suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()


def _factory(runner: web.AppRunner, connections: Connections) -> Make:
    server = runner.server
    assert server is not None  # noqa: S101 (made by setup)
    return connections.factory(server)


def _set_backlog(server: asyncio.Server) -> None:
    """asyncio accepts `backlog` connections at once, and each needs a descriptor. The kernel may queue many more."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(BACKLOG)


def announce(path: Path, entrances: Entrances, config: str) -> None:
    """Write `door.json` for clients of the same user: addresses, pid and configuration. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    config = str(Path(config).resolve()) if config else ""
    content = {"url": entrances.url, "socket": entrances.socket, "pid": os.getpid(), "config": config}
    temporary.write_bytes(msgspec.json.encode(content))
    temporary.replace(path)


def withdraw(path: Path) -> None:
    """Remove `door.json` at the end, unless another daemon has written it since."""
    with suppress(OSError, msgspec.MsgspecError):
        if msgspec.json.decode(path.read_bytes(), type=_Left).pid == os.getpid():
            path.unlink()


class _Left(msgspec.Struct):
    pid: int


# ---- the log of aiohttp


def http_log() -> logging.Logger:
    """The logger for aiohttp; it belongs to the running loop."""
    made = logging.Logger("comfyledger.door.http", logging.INFO)
    made.addHandler(_Facts(RateLimitedLog(log, asyncio.get_running_loop().time)))
    return made


class _Facts(logging.Handler):
    def __init__(self, limited_log: RateLimitedLog) -> None:
        super().__init__()
        self._limited_log = limited_log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError):
            self._limited_log.info("door.malformed", status=error.code, error=_in_short(error.message))
        else:
            log.error("door.broke", error=_in_short(_text(record)), exc_info=record.exc_info)


def _text(record: logging.LogRecord) -> str:
    return record.getMessage() if record.args else str(record.msg)


def _in_short(text: Any) -> str:
    """On one line and bounded. aiohttp has escaped what the client sent."""
    return " ".join(str(text).split())[:WORDS_MAX]


# ---- where the local socket is


def socket_paths(state: Path, environ: Mapping[str, str], user: int) -> Iterator[Path]:
    """Possible paths of the local socket of a state folder, the best one first. The last folder is made.

    The command line and the Python client use it; `door.json` says where it is. The path of a Unix socket has at most
    107 bytes (unix(7)), and some file systems have no sockets. Then the socket is in the user's run-time folder, else
    in a folder that nobody else can enter.
    """
    return (path for path in _every(state, environ, user) if len(os.fsencode(path)) <= PATH_BYTES_MAX)


def _every(state: Path, environ: Mapping[str, str], user: int) -> Iterator[Path]:
    yield state / SOCKET_NAME
    name = f"comfyledger-{hashlib.sha256(os.fsencode(state)).hexdigest()[:16]}.sock"
    for folder in dict.fromkeys((environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}")):
        if folder.startswith("/") and is_private(Path(folder), user):
            yield Path(folder) / name
    with suppress(OSError):
        yield _own_folder(user) / name


def _own_folder(user: int) -> Path:
    folder = _TEMPORARY / f"comfyledger-{user}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not is_private(folder, user):  # another user made it first
            return Path(tempfile.mkdtemp(prefix="comfyledger-", dir=_TEMPORARY))
    return folder


def is_private(folder: Path, user: int) -> bool:
    """Whether it is a folder and no link, belongs to this user, and nobody else can enter it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
