"""The last results of `audit` and `doctor`: small files in the state folder, from which `list_checks` is answered.

The commands write them and the daemon reads them. A result that cannot be saved is no trouble of the command: it has
said what it found. What is saved is what the command prints, so it has no secrets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, get_args

import msgspec

from comfyledger import wire
from comfyledger.durable import write_whole
from comfyledger.maintenance.audit.findings import Kind
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.wire.answers.checks import FINDINGS_MAX, CheckKind

TEXT_CHARS_MAX: Final = 500
FILE_BYTES_MAX: Final = 1024 * 1024
"""More than the largest result takes. A larger file is of another program."""
SAVE_S: Final = 3.0
"""How long a disk may take. It may be dead: `doctor` is run to find that out."""
_ORDER: Final = {"failure": 0, "warning": 1, "ok": 2}


def of_audit(command: str, kinds: Iterable[Kind], at_ms: int, took_s: float) -> wire.CheckInfo:
    """The result of an audit: a finding for each kind, with the first example."""
    findings = [
        wire.CheckFinding(
            "failure",
            _short(f"{kind.kind} ({kind.count}): {kind.examples[0].where}: {kind.examples[0].sentence}"),
            kind.mend,
        )
        for kind in kinds
    ]
    return _info("audit", command, at_ms, took_s, findings)


def of_doctor(command: str, diagnoses: Iterable[Diagnosis], at_ms: int, took_s: float) -> wire.CheckInfo:
    """The result of `doctor`: a finding for each line."""
    findings = [
        wire.CheckFinding(one.verdict, _short(f"{one.area}: {one.sentence}"), _short(one.mend)) for one in diagnoses
    ]
    return _info("doctor", command, at_ms, took_s, findings)


def _info(
    kind: CheckKind, command: str, at_ms: int, took_s: float, findings: list[wire.CheckFinding]
) -> wire.CheckInfo:
    worst_first = sorted(findings, key=lambda one: _ORDER[one.level])
    ok = all(one.level != "failure" for one in findings)
    return wire.CheckInfo(kind, command, at_ms, round(took_s, 1), ok, worst_first[:FINDINGS_MAX])


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"


def save(state: Path, result: wire.CheckInfo) -> None:
    """Replace the last result of a command, if the state folder is there and can be written within SAVE_S."""
    thread = threading.Thread(target=_save, args=(state, result), daemon=True)
    thread.start()
    thread.join(SAVE_S)


def _save(state: Path, result: wire.CheckInfo) -> None:
    try:
        owner = state.stat()

        def prepare(fd: int) -> None:
            if os.geteuid() == 0:  # so that a service can read what root found
                os.fchown(fd, owner.st_uid, owner.st_gid)

        write_whole(_path(state, result.kind), msgspec.json.encode(result), prepare)
    except OSError:
        return


def load(state: Path) -> list[wire.CheckInfo]:
    """The results that can be read, one for each command."""
    return [found for kind in get_args(CheckKind) if (found := _load(_path(state, kind))) is not None]


def _load(path: Path) -> wire.CheckInfo | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        return msgspec.json.decode(content, type=wire.CheckInfo) if len(content) <= FILE_BYTES_MAX else None
    except (OSError, msgspec.MsgspecError):
        return None


def _path(state: Path, kind: CheckKind) -> Path:
    return state / f"last_{kind}.json"
