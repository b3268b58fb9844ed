"""Adapts the units of systemd to a machine: its program, its configuration and its writable folders.

The files of the folder `systemd` are complete units for fixed paths; this module replaces the paths. It writes no file
and reads nothing from the system. (systemd.service(5), systemd.exec(5), tmpfiles.d(5).)
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.settings import Settings

STATE: Final = Path("/var/lib/comfyledger")
"""The state folder that systemd makes, unless the configuration names another."""
HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= hides."""
NEWER: Final = {"RestartSteps": 254, "RestartMaxDelaySec": 254}
"""Settings, and the version of systemd that introduced them. An older systemd warns about them."""
MARK: Final = "# Written by `comfyledger systemd install`, sha256 "
_SPECIAL: Final = frozenset(" \t\"'\\;")


class Place(msgspec.Struct, frozen=True):
    """What the units of one machine depend on. `systemd` is its version, None where that is not known.

    `read`: folders that the program reads; only those below a home folder matter. `written`: all that the daemon
    writes to. `made`: those of them that systemd-tmpfiles makes if they are missing.
    """

    program: Path
    config: Path | None
    state: Path
    ledger: Path
    token: Path
    read: tuple[Path, ...]
    written: tuple[Path, ...]
    made: tuple[Path, ...]
    systemd: int | None


def place_of(settings: Settings, program: Path, read: Iterable[Path], systemd: int | None) -> Place:
    """The place that a configuration describes. `program` is the command, in the environment that holds it."""
    roots = [Path(options["root"]) for options in settings.stores.values() if isinstance(options.get("root"), str)]
    door = [Path(settings.door.unix_path).parent] if settings.door.unix_path else []
    own = (settings.state_path, settings.ledger_path.parent, settings.spool_path, settings.inputs_path)
    made = (*own, *roots, *door)
    folders = (folder for one in settings.comfyui.values() for folder in (one.output_dir, one.input_dir))
    comfyui = [Path(folder) for folder in folders if folder]
    config = Path(settings.source).absolute() if settings.source else None
    return Place(
        program=program,
        config=config,
        state=settings.state_path,
        ledger=settings.ledger_path,
        token=settings.token_path,
        read=_outermost([*read, *([config] if config else [])]),
        written=_outermost([*made, *comfyui]),
        made=_outermost(made),
        systemd=systemd,
    )


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths without those that are below another of them."""
    every = list(dict.fromkeys(paths))
    return tuple(path for path in every if not any(other in path.parents for other in every))


def rendered(name: str, text: str, place: Place) -> str:
    """One file of the folder `systemd`, for this place."""
    if name.endswith(".tmpfiles"):
        return text + "".join(_folder_line(path) for path in place.made if not _is_home(path) and path != STATE)
    is_daemon = name == "comfyledger.service"
    place = place if is_daemon else msgspec.structs.replace(place, written=_outermost(_of_jobs(place)))
    return "".join(f"{line}\n" for given in text.splitlines() for line in _lines(given, place))


def _of_jobs(place: Place) -> tuple[Path, ...]:
    """Audit and backup write to no store. Every reader of the ledger must be able to write the files beside it."""
    return (place.state, place.ledger.parent)


def _folder_line(path: Path) -> str:
    return f"d {word(str(path))} :0750 :comfyledger :comfyledger -\n"


def _lines(line: str, place: Place) -> list[str]:
    """The lines that replace one line. Only assigned values change."""
    key, _, value = line.partition("=")
    if place.systemd is not None and place.systemd < NEWER.get(key, 0):
        return []
    change = _CHANGES.get(key)
    return change(value, place) if change else [line]


def _exec_start(value: str, place: Place) -> list[str]:
    _, *words = shlex.split(value)
    at = words.index("--config")
    words[at : at + 2] = ["--config", str(place.config)] if place.config else []
    return [f"ExecStart={_command([str(place.program), *words])}"]


def _exec_start_post(value: str, place: Place) -> list[str]:
    paths = {f"{STATE}/ledger.db{suffix}": f"{place.ledger}{suffix}" for suffix in ("", "-wal", "-shm", ".mark")}
    paths[f"{STATE}/token"] = str(place.token)
    return [f"ExecStartPost={_command(paths.get(item, item) for item in shlex.split(value))}"]


def _environment(value: str, place: Place) -> list[str]:
    name, _, said = value.partition("=")
    assigned = f"{name}={place.state if name == 'COMFYLEDGER_STATE_DIR' else said}"
    return [f"Environment={word(assigned)}"]


def _read_write_paths(value: str, place: Place) -> list[str]:
    """The minus sign lets the daemon start while a folder is missing, for example a disk that is not mounted."""
    others = [Path(path) for path in value.split() if Path(path) != STATE]
    paths = [path for path in (*place.written, *others) if not _is_home(path)]
    return [f"ReadWritePaths={' '.join(word(f'-{path}') for path in paths)}"]


def _protect_home(value: str, place: Place) -> list[str]:
    """The service sees only those parts of home folders that it needs."""
    read = [path for path in place.read if _is_home(path)]
    written = [path for path in place.written if _is_home(path)]
    lines = [f"BindReadOnlyPaths={_paths(read)}"] * bool(read) + [f"BindPaths={_paths(written)}"] * bool(written)
    return ["ProtectHome=tmpfs", *lines] if lines else [f"ProtectHome={value}"]


def _paths(paths: Iterable[Path]) -> str:
    return " ".join(word(f"-{path}".replace(":", "\\:")) for path in paths)


_CHANGES: Final[Mapping[str, Callable[[str, Place], list[str]]]] = {
    "ExecStart": _exec_start,
    "ExecStartPost": _exec_start_post,
    "Environment": _environment,
    "ReadWritePaths": _read_write_paths,
    "ProtectHome": _protect_home,
}


def _is_home(path: Path) -> bool:
    return any(home == path or home in path.parents for home in HOMES)


def _command(words: Iterable[str]) -> str:
    return " ".join(word(item).replace("$", "$$") for item in words)


def word(text: str) -> str:
    """One word of a line, quoted if necessary; systemd expands nothing in it."""
    text = text.replace("%", "%%")
    if not _SPECIAL & set(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def marked(text: str) -> str:
    """The text with a first line that holds its digest, so that a change is noticed."""
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_ours(text: str) -> bool:
    """Whether `marked` made the text, and nobody changed it."""
    return marked(text.partition("\n")[2]) == text
