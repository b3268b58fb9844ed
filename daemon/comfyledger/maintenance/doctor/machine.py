"""The facts that the doctor gathers on this machine: disks, SQLite, ledger, clock, token, plugins, daemon. No verdicts.

Everything is read from outside. No lock is taken, nothing is written but a scratch file elsewhere, and a running daemon
is only asked whether it is alive. Calls that may hang (a dead mount) run by `in_thread`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from msgspec.structs import replace

from comfyledger.accounts import Keeper, keeper_of, may_write
from comfyledger.errors import LedgerUnusable
from comfyledger.ledger import filesystem
from comfyledger.ledger.sqlite import mark, schema, schema_objects
from comfyledger.ledger.sqlite.locking import holder_of, locks_on, several_names
from comfyledger.maintenance.doctor.judge import (
    DaemonSeen,
    Disk,
    LedgerSeen,
    PluginSeen,
)
from comfyledger.maintenance.doctor.rights import Configured, Kept, TokenSeen
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.plugin_api import GROUP
from comfyledger.settings import Secret, Settings

ALIVE_BYTES_MAX: Final = 65_536
ALIVE_S: Final = 3.0
T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """Run a call in a thread that does not prevent the process from ending: on a dead mount it may never return."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failed = None, None
        try:
            result = call()
        except Exception as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, daemon=True, name="comfyledger-doctor").start()
    return await future


def configured(settings: Settings) -> Configured:
    """The configuration's files and rights. A path to a secret is no secret; a URL is one, as it may hold a
    password."""
    keeper = keeper_of(settings.state_path)
    options = [*settings.stores.values(), *settings.plugins.values()]
    has_secret = any(isinstance(value, Secret) and value for one in options for value in one.values())
    kept = _kept(Path(settings.source)) if settings.source else None
    secrets = filter(None, map(_kept, dict.fromkeys(_secret_files(settings))))
    return Configured(keeper, kept, has_secret, tuple(secrets))


def _secret_files(settings: Settings) -> Iterator[Path]:
    """Files that hold a secret alone: keys of stores that end in `_file`, and sources of the form `file:PATH`."""
    for options in (*settings.stores.values(), *settings.plugins.values()):
        yield from (Path(str(value)) for key, value in options.items() if key.endswith("_file"))
    sources = [one.extra_data for one in settings.comfyui.values()] + [
        one.secrets for one in settings.workflows.values()
    ]
    for source in (source for named in sources for source in named.values()):
        kind, _, rest = source.partition(":")
        if kind == "file":
            yield Path(rest)


def _kept(path: Path) -> Kept | None:
    found = _stat(path)
    if found is None:
        return None
    return Kept(str(path), found.st_mode & 0o777, found.st_uid, found.st_gid)


# ---- disks


def disk(path: Path) -> Disk:
    """The facts about a folder, or about the nearest existing folder above it. Raises OSError."""
    there = _nearest(path)
    return Disk(
        str(path),
        path.exists(),
        shutil.disk_usage(there).free,
        filesystem.mounted_at(os.path.realpath(there), _text(filesystem.MOUNTS)),
        there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        filesystem.network_of(filesystem.type_of(there)) or "",
    )


def disk_of(path: Path, keeper: Keeper) -> Disk:
    """The same for the daemon's account, whoever runs the doctor. Raises OSError."""
    seen = disk(path)
    if keeper.is_asker:
        return seen
    there = _nearest(path)
    return replace(seen, can_write=there.is_dir() and may_write(there, keeper), user=f"the user {keeper.name}")


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def folder(path: Path) -> Kept | None:
    return _kept(path)


def ledger_files(path: Path) -> list[Kept]:
    """The ledger and SQLite's files next to it."""
    found = (_kept(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))
    kept = [one for one in found if one is not None]
    return [replace(one, folder_mode=path.parent.stat().st_mode) for one in kept]


# ---- SQLite and the ledger


def refused_settings() -> str:
    """Why SQLite refuses the settings of a ledger, tried on a scratch file; empty if it accepts them."""
    with TemporaryDirectory(prefix="comfyledger-") as folder:
        try:
            with closing(sqlite3.connect(Path(folder) / "scratch.db", isolation_level=None)) as connection:
                schema.set_up(connection)
        except (LedgerUnusable, sqlite3.Error) as error:
            return str(error)
    return ""


def ledger(path: Path) -> LedgerSeen:
    """Open the ledger as a reader does, while a daemon may run."""
    try:
        lost, is_broken = _marked(path)
        if lost is not None:
            return LedgerSeen(str(path), problem=lost.sentence, hint=lost.error().hint)
        if not path.exists():
            return LedgerSeen(str(path), exists=False)
        with open_read_only(path) as connection:
            newest = connection.execute("SELECT position, at FROM events ORDER BY position DESC LIMIT 1").fetchone()
            return LedgerSeen(
                str(path),
                position=newest[0] if newest else 0,
                newest_ms=newest[1] if newest else None,
                is_mark_broken=is_broken,
                names=tuple(map(str, several_names(path.resolve()))),
                trouble=_trouble(connection),
                foreign=schema_objects.listed(schema.named_foreign(connection)),
                journal_mode=connection.execute("PRAGMA journal_mode").fetchone()[0],
            )
    except LedgerUnusable as error:
        return LedgerSeen(str(path), problem=error.message, hint=error.hint)
    except sqlite3.Error as error:
        return LedgerSeen(str(path), problem=f"The ledger cannot be read: {error}.", hint="comfyledger audit")


def _marked(path: Path) -> tuple[mark.Lost | None, bool]:
    """What the ledger has lost by its mark, and whether the mark cannot be read."""
    try:
        mark.read(path)
    except mark.Broken:
        return None, True
    return mark.lost_end(path), False


def _trouble(connection: sqlite3.Connection) -> tuple[str, str] | None:
    found = schema_objects.trouble_of(schema.examine(connection))
    return None if found is None else (found.message, found.hint)


# ---- the token


def token(settings: Settings) -> TokenSeen:
    """The facts about the token. A running daemon without a token file has it from systemd."""
    kept = _kept(settings.token_path)
    left = left_behind(settings)
    return TokenSeen(
        str(settings.token_path),
        settings.door.auth,
        keeper_of(settings.state_path),
        kept,
        _kept(settings.state_path),
        is_passed=kept is None and left.is_alive,
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


# ---- plugins


def plugins() -> list[PluginSeen]:
    """Every entry point, each loaded separately."""
    return [_plugin(point.name, point.value, point.load) for point in entry_points(group=GROUP)]


def _plugin(name: str, module: str, load: Callable[[], Any]) -> PluginSeen:
    try:
        load()
    except Exception as error:
        return PluginSeen(name, module, f"{type(error).__name__}: {error}"[:300])
    return PluginSeen(name, module)


# ---- the daemon


def left_behind(settings: Settings) -> DaemonSeen:
    """What a daemon has left in door.json or holds. Its process id may be another program's by now."""
    door = settings.door
    host = f"[{door.host}]" if ":" in door.host else door.host
    left = _object(_text(settings.door_path).encode())
    pid = left.get("pid")
    return DaemonSeen(
        str(left.get("url") or f"http://{host}:{door.port}"),
        pid=pid if isinstance(pid, int) else None,
        is_alive=isinstance(pid, int) and "comfyledger" in _text(Path(f"/proc/{pid}/cmdline")),
        holder=lock_holder(settings.ledger_path),
    )


async def asked(seen: DaemonSeen, session: aiohttp.ClientSession, ledger: Path) -> DaemonSeen:
    """Add the answer of /healthz, which needs no token, or that another program answers there."""
    try:
        answer = await _alive(seen.url, session)
    except (aiohttp.ClientConnectorError, ValueError):
        return seen
    except (aiohttp.ClientError, TimeoutError, OSError):
        answer = {}
    if answer.get("status") != "alive":
        return replace(seen, is_taken=True)
    lanes = answer.get("lanes")
    return replace(
        seen,
        version=str(answer.get("version", "")),
        lanes={str(lane): str(code) for lane, code in lanes.items()} if isinstance(lanes, dict) else {},
        is_full=answer.get("storage_full") is True,
        locked_by=holder_of(ledger) if answer.get("ledger_locked") is True else "",
    )


async def _alive(url: str, session: aiohttp.ClientSession) -> dict[str, Any]:
    """The answer of /healthz; for a Unix socket with a session of its own. Raises aiohttp.ClientError, ValueError."""
    path = url.removeprefix("unix:")
    if path != url:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as through:
            return await _alive("http://localhost", through)
    timeout = aiohttp.ClientTimeout(total=ALIVE_S)
    async with session.get(f"{url}/healthz", timeout=timeout, allow_redirects=False) as response:
        return _object(await response.content.read(ALIVE_BYTES_MAX))


def lock_holder(ledger_path: Path) -> int | None:
    """The process that holds the ledger, by the kernel's list of locks: trying the lock would take it.

    A daemon of an older release only locks the lock file next to the ledger.
    """
    for found in map(_stat, (ledger_path, ledger_path.with_name(ledger_path.name + ".lock"))):
        holders = locks_on(found, "FLOCK") if found is not None else []
        for _, pid in holders:
            if pid > 0:
                return pid
    return None


# ---- the clock


async def clock_of(session: aiohttp.ClientSession, url: str) -> float | None:
    """How many seconds a server's clock is ahead of ours, by its Date header; None without one."""
    before = time.time()
    timeout = aiohttp.ClientTimeout(total=ALIVE_S)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            date = response.headers.get("Date", "")
        return parsedate_to_datetime(date).timestamp() - (before + time.time()) / 2
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""
