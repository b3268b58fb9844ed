"""A ledger that was used a while, a spool and a store that fit it, and what an audit of them finds."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import msgspec
from msgspec.structs import replace

from comfyledger.core.commands import (
    AddBackend,
    AddInput,
    AddWebhook,
    ImagesOf,
    JoinBox,
    PauseLane,
    PauseWebhook,
    ReviewImages,
)
from comfyledger.core.decide.decide import Message, Policy
from comfyledger.core.reports import (
    FilesKept,
    InputSending,
    PromptHasFinished,
    SubmitIntended,
    UploadDone,
    UploadIntended,
)
from comfyledger.core.rows import ImageRow
from comfyledger.core.values import ImageAt, LoadedFile, Origin, OutputFile, Pinned
from comfyledger.ledger.commit_group import Terms, decide_group
from comfyledger.ledger.sqlite.log_table import read_head
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit import parallel, streams
from comfyledger.maintenance.audit.findings import Progress, Tally, silent
from comfyledger.maintenance.audit.parallel import Folders, Known, Scope, Task
from comfyledger.maintenance.audit.run import Audited, audit
from comfyledger.maintenance.audit.spool import YOUNG_S
from comfyledger.maintenance.open_read_only import open_read_only
from support.ledger_builders import NOW_MS, raw, submission

GIVEN = b"what a client gave" * 20
INPUT = hashlib.sha256(GIVEN).hexdigest()
TERMS = Terms(NOW_MS, Policy(), None)


def take_group(ledger: Ledger, *messages: Message) -> None:
    """A group of messages as the engine has it decided, with the texts that its events name."""
    outcomes, _ = decide_group(ledger, list(messages), TERMS)
    assert [outcome.error for outcome in outcomes if outcome.error is not None] == []


def picture(batch_id: str, index: int) -> bytes:
    return f"picture {index} of {batch_id}".encode() * 20


def pinned(batch_id: str, index: int) -> Pinned:
    content = picture(batch_id, index)
    md5 = hashlib.md5(content).hexdigest()
    return Pinned(index, hashlib.sha256(content).hexdigest(), md5, len(content), 8, 8, "png")


def render(ledger: Ledger, spool: Path, batch_id: str, indexes: Sequence[int], store: bool = True) -> None:
    """Render images of a batch into the spool, one prompt each, and say that the store has them."""
    for index in indexes:
        about = (batch_id, index, 1)
        file = spool / batch_id / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(batch_id, index))
        files = (OutputFile("a.png", "", "output"),)
        done = (PromptHasFinished(*about, files=files), FilesKept(*about, files=(pinned(batch_id, index),)))
        take_group(ledger, SubmitIntended(*about, "main"), *done)
        if store:
            up = (batch_id, index, "folder")
            take_group(ledger, UploadIntended(*up), UploadDone(*up, url="file:///x.png"))


def folders_of(state: Path) -> Folders:
    """The folders of files in a state folder."""
    return Folders(str(state / "spool"), str(state / "inputs"), str(state / "thumbnails"))


class Place:
    """A state folder with a ledger of two batches: three images stored, then two kept of three."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.spool = folder / "spool"

    def fill(self) -> None:
        ledger = Ledger.open(self.path)
        take_group(ledger, submission("r1", prompt="typed"), submission("r2", user="Ann"), PauseLane("app", "user/bob"))
        render(ledger, self.spool, "batch-app-r1", (1, 2, 3))
        render(ledger, self.spool, "batch-app-r2", (1, 2), store=False)
        ledger.close()

    def give(self) -> None:
        """Add an input loaded by a third batch beside an image of the first; a backend, webhooks, reviews and a box."""
        ledger = Ledger.open(self.path)
        source = LoadedFile("6.image", ImageAt("batch-app-r1", 1))
        asked = submission("r3", quantity=1)
        prompts = (replace(asked.prompts[0], loads=(LoadedFile("5.image", sha256=INPUT), source)),)
        file = self.folder / "inputs" / INPUT[:2] / f"{INPUT}.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(GIVEN)
        take_group(ledger, AddInput("app", INPUT, len(GIVEN), "png", 8, 8, "whole"))
        take_group(ledger, replace(asked, prompts=prompts, origin=Origin("batch-app-r1", 2)))
        take_group(ledger, InputSending(INPUT, "png", len(GIVEN), "main", "comfyledger/given.png", None))
        take_group(ledger, AddBackend("app", "gpu-7", "http://gpu-7.example:8188", ("flux",), 60, 1))
        take_group(ledger, AddWebhook("app", "shop", "https://shop.example/hook", ("batch_settled",)))
        take_group(ledger, PauseWebhook("app", "configured"))
        take_group(ledger, ReviewImages("app", (ImagesOf("batch-app-r1", (1, 2)),), "approved", 4))
        take_group(ledger, JoinBox("app", "north"))
        ledger.close()

    def copy_to(self, folder: Path) -> Place:
        shutil.copytree(self.folder, folder)
        return Place(folder)

    def look(self, anchor: Path | None = None) -> tuple[Audited, Tally]:
        tally = Tally()
        found = audit(self.path, folders_of(self.folder), anchor, now_s=self.later_s(), tally=tally, progress=silent)
        return found, tally

    def later_s(self) -> float:
        """A wall clock at which nothing in the spool is young."""
        return max(path.stat().st_mtime for path in self.folder.rglob("*")) + YOUNG_S

    def kinds(self) -> dict[str, list[str]]:
        """What an audit finds: the places of each kind."""
        _, tally = self.look()
        return {kind.kind: [finding.where for finding in kind.examples] for kind in tally.kinds}

    def tamper(self, *statements: str) -> None:
        """What somebody does who knows SQL and how to leave the schema as it was."""
        connection = raw(self.path)
        kept = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name in ("events_are_never_changed", "events_are_never_deleted"):
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for (sql,) in kept:
            connection.execute(sql)
        connection.close()

    def images(self) -> list[ImageRow]:
        connection = raw(self.path)
        rows = [msgspec.json.decode(text, type=ImageRow) for (text,) in connection.execute("SELECT row FROM images")]
        connection.close()
        return rows


def answered_here(tasks: Sequence[Task], _: Progress) -> list[bytes | None]:
    """What processes would answer."""
    return [parallel.run_task(task) for task in tasks]


def seen_in_parts(path: Path) -> Known:
    """What an audit of a long log sees, in parts of a few events each."""
    small = (patch.object(parallel, "EVENTS_A_SEGMENT", 5), patch.object(streams, "EVENTS_A_RANGE", 7))
    with open_read_only(path) as live, patch.object(parallel, "answers_to", answered_here), small[0], small[1]:
        scope = Scope(str(path), read_head(live), folders_of(path.parent), 0.0)
        return parallel.check_in_parallel(live, scope, silent)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but what SQLite itself keeps beside a ledger that is open."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
