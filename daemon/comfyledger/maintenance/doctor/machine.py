"""What the doctor sees of this machine: disks, SQLite, ledger, clock, token, plugins, the daemon. Facts, no verdicts.

Everything is looked at from outside: no lock is taken, nothing is written but a scratch file elsewhere, and a running
daemon is asked nothing but whether it is alive. What may hang (a dead mount) is for `in_thread`.
"""

from __future__ import annotations

import asyncio
import os
import re
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
from comfyledger.ledger.locked import holder_of
from comfyledger.ledger.sqlite import filesystem, mark, schema, schema_objects
from comfyledger.ledger.sqlite.locking import several_names
from comfyledger.maintenance.doctor.judge import (
    DaemonSeen,
    Disk,
    LedgerSeen,
    PluginSeen,
)
from comfyledger.maintenance.doctor.rights import Configured, Kept, TokenSeen
from comfyledger.maintenance.open_read_only import looking
from comfyledger.plugin_api import GROUP
from comfyledger.settings import Secret, Settings

MOUNTS: Final = Path("/proc/self/mountinfo")
LOCKS: Final = Path("/proc/locks")
ALIVE_BYTES_MAX: Final = 65_536
DOOR_S: Final = 3.0
T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """In a thread that does not keep the process from ending: a dead mount may never let go of it."""
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
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, daemon=True, name="comfyledger-doctor").start()
    return await future


def configured(settings: Settings) -> Configured:
    """A path to a secret is none; an URL counts as one, since it may hold a password."""
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
    """Raises OSError."""
    there = _nearest(path)
    return Disk(
        str(path),
        path.exists(),
        shutil.disk_usage(there).free,
        file_system_of(os.path.realpath(there), _text(MOUNTS)),
        there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        filesystem.network_of(filesystem.type_of(there)) or "",
    )


def disk_of(path: Path, keeper: Keeper) -> Disk:
    """As the daemon's account finds it, whoever looks. Raises OSError."""
    seen = disk(path)
    if keeper.is_asker:
        return seen
    there = _nearest(path)
    return replace(seen, can_write=there.is_dir() and may_write(there, keeper), user=f"the user {keeper.name}")


def _nearest(path: Path) -> Path:
    """The path, or the folder above it that exists."""
    return next(one for one in (path, *path.parents) if one.exists())


def folder(path: Path) -> Kept | None:
    return _kept(path)


def ledger_files(path: Path) -> list[Kept]:
    """The ledger with what SQLite keeps beside it."""
    found = (_kept(path.with_name(path.name + suffix)) for suffix in ("", "-wal", "-shm"))
    kept = [one for one in found if one is not None]
    return [replace(one, folder_mode=path.parent.stat().st_mode) for one in kept]


def file_system_of(path: str, mounts: str) -> str:
    """The type of the file system that holds a real path, by /proc/self/mountinfo; empty if that does not say.

    Of several mounts at one place the last one is seen.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, of = before.split(" "), after.split(" ")
        point = _unescaped(fields[4]) if len(fields) > 4 else ""
        if of[0] and is_below(path, point) and len(point) >= len(best):
            best, kind = point, of[0]
    return kind


def is_below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


# ---- SQLite and the ledger


def refused_settings() -> str:
    """What SQLite says to the settings of a ledger, tried on a scratch file; empty if it takes them."""
    with TemporaryDirectory(prefix="comfyledger-") as folder:
        try:
            with closing(sqlite3.connect(Path(folder) / "scratch.db", isolation_level=None)) as connection:
                schema.set_up(connection)
        except (LedgerUnusable, sqlite3.Error) as error:
            return str(error)
    return ""


def ledger(path: Path) -> LedgerSeen:
    """A look like any reader's, beside the daemon."""
    try:
        lost, is_broken = _marked(path)
        if lost is not None:
            return LedgerSeen(str(path), problem=lost.sentence, hint=lost.error().hint)
        if not path.exists():
            return LedgerSeen(str(path), exists=False)
        with looking(path) as connection:
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
    """What the ledger lacks by its mark, and whether that cannot be read."""
    try:
        mark.read(path)
    except mark.Broken:
        return None, True
    return mark.lost_end(path), False


def _trouble(connection: sqlite3.Connection) -> tuple[str, str] | None:
    found = schema_objects.trouble_of(schema.examine(connection))
    return None if found is None else (found.message, found.hint)


# ---- who may come in


def token(settings: Settings) -> TokenSeen:
    """A daemon that runs without a token's file has it from systemd."""
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
    """Every entry point, each tried by itself."""
    return [_plugin(point.name, point.value, point.load) for point in entry_points(group=GROUP)]


def _plugin(name: str, module: str, load: Callable[[], Any]) -> PluginSeen:
    try:
        load()
    except Exception as error:
        return PluginSeen(name, module, f"{type(error).__name__}: {error}"[:300])
    return PluginSeen(name, module)


# ---- the daemon


def left_behind(settings: Settings) -> DaemonSeen:
    """What a daemon has left where it was to be found, or holds. Its process id may be another program's by now."""
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
    """What /healthz says, which asks for no token, or that something else answers there."""
    try:
        said = await _alive(seen.url, session)
    except (aiohttp.ClientConnectorError, ValueError):
        return seen
    except (aiohttp.ClientError, TimeoutError, OSError):
        said = {}
    if said.get("status") != "alive":
        return replace(seen, is_taken=True)
    lanes = said.get("lanes")
    return replace(
        seen,
        version=str(said.get("version", "")),
        lanes={str(lane): str(code) for lane, code in lanes.items()} if isinstance(lanes, dict) else {},
        is_full=said.get("storage_full") is True,
        locked_by=holder_of(ledger) if said.get("ledger_locked") is True else "",
    )


async def _alive(url: str, session: aiohttp.ClientSession) -> dict[str, Any]:
    """What /healthz says; at a Unix socket, with a session of its own. Raises aiohttp.ClientError, ValueError."""
    path = url.removeprefix("unix:")
    if path != url:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as through:
            return await _alive("http://localhost", through)
    timeout = aiohttp.ClientTimeout(total=DOOR_S)
    async with session.get(f"{url}/healthz", timeout=timeout, allow_redirects=False) as response:
        return _object(await response.content.read(ALIVE_BYTES_MAX))


def lock_holder(ledger_path: Path) -> int | None:
    """The process that holds the ledger, as the kernel lists its locks: to try the lock would be to take it.

    A daemon of an older release locks the file beside the ledger only.
    """
    locks = _text(LOCKS)
    for found in map(_stat, (ledger_path, ledger_path.with_name(ledger_path.name + ".lock"))):
        if found is not None:
            holder = holder_in(locks, os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
            if holder is not None:
                return holder
    return None


def holder_in(locks: str, major: int, minor: int, inode: int) -> int | None:
    """The process of a FLOCK in /proc/locks. Some file systems tell another device there: then nobody is found."""
    place = f"{major:02x}:{minor:02x}:{inode}"
    for line in locks.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == place and words[4].isdecimal():
            return int(words[4])
    return None


# ---- the clock


async def clock_of(session: aiohttp.ClientSession, url: str) -> float | None:
    """How far a server's clock is ahead of ours, in seconds, by its Date header; None if it does not say."""
    before = time.time()
    timeout = aiohttp.ClientTimeout(total=DOOR_S)
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
