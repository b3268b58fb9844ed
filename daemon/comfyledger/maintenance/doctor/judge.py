"""What each fact about this machine means: facts in, diagnoses out. PURE.

Every line of `doctor` about this machine and its daemon is here; the lines about ComfyUI are in `comfyui_judge`, those
about a store in the store's own plugin. Nothing is looked up and no clock is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

Verdict = Literal["ok", "warning", "failure"]

SQLITE_MIN: Final = (3, 37, 0)
"""STRICT tables."""
SQLITE_MENDED: Final = (3, 51, 3)
"""Earlier versions could corrupt a write-ahead log if two connections wrote or checkpointed at the same time."""
CLOCK_STEP_S: Final = 0.5
CLOCK_OFF_S: Final = 5.0
AHEAD_S: Final = 60.0
MINIMUM: Final = {"inputs": "spool"}
"""The section of the configuration that says how much must be free on a disk, if it is another one."""
PERHAPS_REMOTE: Final = re.compile(
    r"9p|virtiofs|davfs|afs|glusterfs|fuse\.(sshfs|glusterfs|s3fs|rclone|goofys|davfs2?|gcsfuse|ceph|ceph-fuse|mfs)"
)
"""Types of file systems, as named in /proc/self/mountinfo, that may be on another machine."""


class Diagnosis(msgspec.Struct, frozen=True):
    """One line. `area`: what was checked. `mend`: the command or the configuration key that mends it."""

    area: str
    verdict: Verdict
    sentence: str
    mend: str = ""


class Disk(msgspec.Struct, frozen=True):
    """One folder. If `exists` is False, the nearest existing folder above it was checked. `free` in bytes.

    `file_system`: the type of its mount, empty if unknown; `network`: its name if other machines may write there.
    `can_write`: whether the daemon's account may write, which is `user`.
    """

    path: str
    exists: bool
    free: int
    file_system: str
    can_write: bool
    network: str = ""
    user: str = "this user"


class Clock(msgspec.Struct, frozen=True):
    """In seconds. `step`: how far the wall clock moved against the monotonic one. `ahead`: how far each ComfyUI's clock
    is ahead of ours, by its name. `log_ahead`: how far the newest event is ahead of our clock. None: not known.
    """

    step: float
    ahead: Mapping[str, float | None] = {}
    log_ahead: float | None = None


class LedgerSeen(msgspec.Struct, frozen=True):
    """What was read of the ledger. `problem`: why it cannot be used; `hint`: what helps.

    `names`: its files that have a second name. `is_mark_broken`: its mark cannot be read. `trouble`: why its tables
    cannot be used, and what mends them. `foreign`: harmless objects that other programs have added.
    """

    path: str
    exists: bool = True
    problem: str = ""
    hint: str = ""
    position: int = 0
    newest_ms: int | None = None
    names: tuple[str, ...] = ()
    is_mark_broken: bool = False
    trouble: tuple[str, str] | None = None
    foreign: str = ""
    journal_mode: str = "wal"


class InputsSeen(msgspec.Struct, frozen=True):
    """What the ledger says of input files. `strange`: files in their folder that it does not know.

    `removals`: how many are still to be removed, by backend; empty for the daemon's own folder.
    """

    files: int = 0
    size_bytes: int = 0
    strange: int = 0
    removals: Mapping[str, int] = {}
    is_readable: bool = True
    """Whether this user may read the folder."""


class DaemonSeen(msgspec.Struct, frozen=True):
    """What is known of a daemon. `holder`: the process that holds the ledger, if known.

    `pid`: of the process that left door.json, None without one. `version` is empty if nothing answered at `url`.
    """

    url: str
    pid: int | None = None
    is_alive: bool = False
    version: str = ""
    lanes: Mapping[str, str] = {}
    is_full: bool = False
    locked_by: str = ""
    holder: int | None = None
    is_taken: bool = False


class PluginSeen(msgspec.Struct, frozen=True):
    """An entry point. `problem`: why it cannot be loaded."""

    name: str
    module: str
    problem: str = ""


def of_sqlite(version: tuple[int, int, int], refused: str) -> list[Diagnosis]:
    """`refused`: why SQLite refused the settings that the promises need; empty if it accepted them."""
    name = "SQLite " + ".".join(map(str, version))
    if version < SQLITE_MIN:
        return [Diagnosis("SQLite", "failure", f"{name} is too old.", "a Python with SQLite 3.37 or later")]
    if refused:
        return [Diagnosis("SQLite", "failure", f"{name} refuses the settings of a ledger: {refused}", "another SQLite")]
    old = "" if version >= SQLITE_MENDED else "; let nothing else write to the ledger, or it may be corrupted"
    return [Diagnosis("SQLite", "ok", f"{name} accepts the settings that the promises need{old}.")]


def of_ledger(seen: LedgerSeen) -> list[Diagnosis]:
    if not seen.exists:
        return [Diagnosis("ledger", "ok", f"There is none yet; the first `comfyledger run` creates {seen.path}.")]
    if seen.problem:
        return [Diagnosis("ledger", "failure", seen.problem, seen.hint)]
    if seen.names:
        text = f"{seen.names[0]} has a second name (a hard link); the daemon will not start with it."
        return [Diagnosis("ledger", "failure", text, f"find DIR -samefile {seen.names[0]}, and remove the other name")]
    if seen.trouble is not None:
        text, mend = seen.trouble
        return [Diagnosis("ledger", "failure", f"{text} The daemon will not start with it.", mend)]
    if seen.is_mark_broken:
        text = f"{seen.path}.mark is damaged: it cannot show whether the ledger has lost its end."
        return [Diagnosis("ledger", "warning", text, "compare with a backup; the daemon writes it again at its start")]
    if seen.journal_mode != "wal":
        text = f"The ledger's journal mode is {seen.journal_mode}, not wal: another program changed it."
        return [Diagnosis("ledger", "warning", text, "restart the daemon, which sets it")]
    fine = Diagnosis("ledger", "ok", f"{seen.path} can be read; its log has {seen.position:,} events.")
    if not seen.foreign:
        return [fine]
    text = f"Other programs have added to the ledger: {seen.foreign}. `forget` does not erase what they contain."
    return [fine, Diagnosis("ledger", "warning", text, "drop what is not needed; it does not disturb the daemon")]


def of_disk(section: str, disk: Disk, free_min: int, *, refuses_network: bool) -> list[Diagnosis]:
    """One line for each fault. `section` of the configuration has the path and the minimum."""
    area, found = f"disk {section}", []
    if disk.network or PERHAPS_REMOTE.fullmatch(disk.file_system):
        text = f"{disk.path} is on a network file system ({disk.network or disk.file_system}), which may lose writes."
        verdict: Verdict = "failure" if disk.network and refuses_network else "warning"
        found.append(Diagnosis(area, verdict, text, f"[{section}] path on a local disk"))
    if disk.free < 2 * free_min:
        found.append(_of_little_room(area, disk, free_min, section))
    if not disk.can_write:
        what = "be written" if disk.exists else "be created"
        found.append(Diagnosis(area, "failure", f"{disk.path} cannot {what} by {disk.user}.", f"[{section}] path"))
    kind = disk.file_system or "unknown file system"
    fine = f"{disk.path} ({kind}) can be written; {gib(disk.free)} are free, {gib(free_min)} needed."
    return found or [Diagnosis(area, "ok", fine)]


def _of_little_room(area: str, disk: Disk, free_min: int, section: str) -> Diagnosis:
    """Below the minimum nothing new is accepted. Below twice the minimum is a warning."""
    text = f"{disk.path} has {gib(disk.free)} free, and {gib(free_min)} are needed"
    mend = f"make space, or [{MINIMUM.get(section, section)}] free_min_bytes"
    if disk.free < free_min:
        return Diagnosis(area, "failure", f"{text}: nothing new is accepted.", mend)
    return Diagnosis(area, "warning", f"{text}: little is left.", mend)


def of_output(backend: str, disk: Disk | None) -> list[Diagnosis]:
    """ComfyUI's output folder; None if none is configured."""
    area, key = f"output {backend}", f"[comfyui.{backend}] output_dir"
    if disk is None:
        return [Diagnosis(area, "ok", "No output_dir is set: ComfyUI keeps its output files for ever.", key)]
    if not disk.exists:
        return [Diagnosis(area, "failure", f"{disk.path} does not exist, so nothing is cleared.", key)]
    if not disk.can_write:
        text = f"{disk.path} cannot be written by {disk.user}, so nothing is cleared."
        return [Diagnosis(area, "failure", text, f"{key}, or its permissions")]
    return [Diagnosis(area, "ok", f"{disk.path} is cleared of files that every store has; {gib(disk.free)} are free.")]


def of_input(backend: str, disk: Disk) -> list[Diagnosis]:
    """ComfyUI's input folder, if one is configured."""
    area, key = f"input {backend}", f"[comfyui.{backend}] input_dir"
    if not disk.exists:
        return [Diagnosis(area, "failure", f"{disk.path} does not exist, so no forgotten input is deleted.", key)]
    if not disk.can_write:
        text = f"{disk.path} cannot be written by {disk.user}, so no forgotten input is deleted."
        return [Diagnosis(area, "failure", text, f"{key}, or its permissions")]
    return [Diagnosis(area, "ok", f"Forgotten inputs are deleted in {disk.path}.")]


def of_inputs(seen: InputsSeen | None, quota_bytes: int, backends: Collection[str]) -> list[Diagnosis]:
    """`backends`: those of the configuration."""
    if seen is None or seen == InputsSeen(is_readable=seen.is_readable):
        return []
    room = f"take {gib(seen.size_bytes)} of the {gib(quota_bytes)} that they may take"
    found = [Diagnosis("inputs", "ok", f"{seen.files:,} input files {room}.")]
    if not seen.is_readable:
        text = "The folder of inputs was not looked at: this user may not read it."
        found.append(Diagnosis("inputs", "warning", text, "run doctor as root or as the user of the service"))
    if seen.strange:
        text = f"The folder of inputs has {seen.strange:,} files that the ledger does not know."
        found.append(Diagnosis("inputs", "warning", text, "restart the daemon, which removes them"))
    return [*found, *(_of_removals(name, count, backends) for name, count in sorted(seen.removals.items()))]


def _of_removals(backend: str, count: int, backends: Collection[str]) -> Diagnosis:
    if not backend:
        return Diagnosis(
            "inputs", "warning", f"{count:,} input files are still to be deleted here.", "start the daemon"
        )
    text = f"{count:,} forgotten input files are still to be removed at the ComfyUI {backend}"
    if backend in backends:
        return Diagnosis("inputs", "warning", f"{text}.", "start that ComfyUI and the daemon")
    mend = f"[comfyui.{backend}] again, or comfyledger recover --drop-comfyui {backend}"
    return Diagnosis("inputs", "warning", f"{text}, which is not configured any more.", mend)


def of_naming(file: str) -> list[Diagnosis]:
    """A remark on the template of file names. Both ways of counting are right."""
    if "{medium}" in file:
        return []
    text = "The names of files have no {medium}, so images, videos and other files of a character share one series."
    return [Diagnosis("naming", "ok", text, "[naming] file with {medium}; names that were given stay as they are")]


def of_clock(clock: Clock) -> list[Diagnosis]:
    sync = "timedatectl set-ntp true"
    found = []
    if abs(clock.step) >= CLOCK_STEP_S:
        text = f"The clock was changed by {clock.step:+.1f} s while the doctor ran."
        found.append(Diagnosis("clock", "warning", text, sync))
    for whose, ahead in clock.ahead.items():
        if ahead is not None and abs(ahead) >= CLOCK_OFF_S:
            text = f"This machine's clock and that of ComfyUI {whose} differ by {abs(ahead):,.0f} s."
            found.append(Diagnosis("clock", "warning", text, sync))
    if clock.log_ahead is not None and clock.log_ahead >= AHEAD_S:
        text = (
            f"The log's newest event is {clock.log_ahead:,.0f} s in the future: this clock was set back, or is behind."
        )
        found.append(Diagnosis("clock", "warning", text, sync))
    return found or [Diagnosis("clock", "ok", f"The clock runs evenly{_others(clock)}.")]


def _others(clock: Clock) -> str:
    """Of clocks that agree: how many were compared."""
    known = [whose for whose, ahead in clock.ahead.items() if ahead is not None]
    if known:
        return " and agrees with " + (f"that of ComfyUI {known[0]}" if len(known) == 1 else f"{len(known)} ComfyUIs")
    return f"; {', '.join(clock.ahead)}: no time was sent" if clock.ahead else ""


def of_daemon(seen: DaemonSeen, version: str) -> list[Diagnosis]:
    """`version`: of this command."""
    if seen.version:
        return [_of_version(seen, version), *_of_lanes(seen)]
    if seen.is_alive:
        text = f"The daemon (process {seen.pid}) does not answer at {seen.url}."
        return [Diagnosis("daemon", "failure", text, "check its log, then restart it")]
    if seen.holder is not None:
        text = (
            f"Process {seen.holder} holds the ledger, and none answers here: it is starting, or has another state_dir."
        )
        return [Diagnosis("daemon", "warning", text, "comfyledger --state-dir DIR status")]
    found = []
    if seen.pid is not None:
        text = f"door.json is left over from process {seen.pid}, which did not stop cleanly."
        found.append(Diagnosis("daemon", "warning", text, "comfyledger run"))
    if seen.is_taken:
        text = f"Another program listens at {seen.url}, where the daemon should listen."
        found.append(Diagnosis("daemon", "failure", text, "[door] port"))
    return found or [Diagnosis("daemon", "warning", "The daemon does not run.", "comfyledger run")]


def _of_version(seen: DaemonSeen, version: str) -> Diagnosis:
    if seen.version == version:
        return Diagnosis("daemon", "ok", f"It answers at {seen.url}, version {seen.version}.")
    text = f"It runs version {seen.version}, and this command is version {version}."
    return Diagnosis("daemon", "warning", text, "restart the daemon")


def _of_lanes(seen: DaemonSeen) -> list[Diagnosis]:
    found = [
        Diagnosis("daemon", "warning", f"{lane} is paused: {code}.", "comfyledger status")
        for lane, code in sorted(seen.lanes.items())
    ]
    if seen.is_full:
        found.append(Diagnosis("daemon", "warning", "It accepts nothing new: a disk is full.", "comfyledger status"))
    if seen.locked_by:
        text = f"It cannot write: {seen.locked_by} holds the ledger's lock. It continues by itself."
        found.append(Diagnosis("daemon", "warning", text, "end that program, or wait for it"))
    return found


def of_plugins(seen: Sequence[PluginSeen]) -> list[Diagnosis]:
    if not seen:
        text = "No plugin is installed, so no store can be used."
        return [Diagnosis("plugins", "failure", text, "pip install 'comfyledger[daemon]'")]
    broken = [
        Diagnosis("plugins", "failure", f"{one.name} ({one.module}) cannot be loaded: {one.problem}", "reinstall it")
        for one in seen
        if one.problem
    ]
    good = ", ".join(one.name for one in seen if not one.problem)
    return [*broken, *([Diagnosis("plugins", "ok", f"Loaded: {good}.")] if good else [])]


def gib(count: int) -> str:
    """A number of bytes as text."""
    return f"{count / 2**30:,.2f} GiB"
