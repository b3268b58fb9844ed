"""A restore, while no daemon runs: verify the backup, collect the numbers given after it, replace the old ledger.

The numbers come from the old ledger, as far as it can be read, and from the stores. Files in ComfyUI's output folder
show nothing, because they may belong to anybody. Files in the spool carry no numbers; their count is a lower bound.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from comfyledger.core.commands import (
    AddBackend,
    AddWebhook,
    Forget,
    ForgetInput,
    PauseWebhook,
    RemoveBackend,
    RemoveWebhook,
    RestoreLedger,
    ResumeWebhook,
    SeriesSeen,
)
from comfyledger.core.events import BackendAdded, WebhookAdded, WebhookPaused, WebhookRemoved, WebhookResumed
from comfyledger.core.naming.names import outlier_in
from comfyledger.core.reports import InputSending
from comfyledger.core.rows import UNOPENED
from comfyledger.core.values import Evidence
from comfyledger.errors import LedgerUnusable, Refused
from comfyledger.guarded import PluginDied
from comfyledger.ledger.eventlog import Head
from comfyledger.ledger.file_lock import Hold, made
from comfyledger.ledger.sqlite import mark, replace
from comfyledger.maintenance.audit.findings import Progress
from comfyledger.maintenance.audit.run import PREPARE_S
from comfyledger.maintenance.backup import copy, remove, verified
from comfyledger.maintenance.open_read_only import Identity, open_read_only
from comfyledger.maintenance.salvage import Lost, Salvaged, Trace, salvage, series_in, unknown_files
from comfyledger.plugin_api import Doubted, Series, Store, StoreTrouble
from comfyledger.plugins import OpenedStore, prepared

MARGIN: Final = 1_000
"""How far above all evidence a series continues: more than the numbers likely to be given between two backups."""
OLD: Final = "old ledger"
"""The name of the replaced ledger in the evidence; no store can have this name."""
_ASKED_AT_ONCE: Final = 8


class Wanted(msgspec.Struct, frozen=True):
    """What to restore, and where. `epoch`: the new one. `stores`: None if they are not to be asked. Without a `file`
    the present ledger is kept, and the loss of its end is accepted.

    `now_ms` is the wall clock, `by` the label of the caller.
    """

    file: Path | None
    path: Path
    spool: Path
    stores: Mapping[str, OpenedStore] | None
    epoch: str
    now_ms: int
    by: str
    margin: int = MARGIN
    replace: bool = False


class Restored(msgspec.Struct, frozen=True):
    """What was restored, and what is known to be lost. `aside`: the old ledger's new path, empty if there was none.

    `margin` is at least the number of files in the spool whose batch is unknown (`strangers`). `forgotten`: how many
    times images and inputs were forgotten again that had been forgotten after the backup. `acknowledged`: the position
    that the old ledger reached by its mark, 0 if it has not lost its end.
    """

    ledger_id: str
    epoch_before: str
    epoch: str
    position_before: int
    position: int
    series: int
    margin: int
    first: int
    evidence: tuple[Evidence, ...]
    stores_asked: bool
    strangers: int
    forgotten: int
    aside: str = ""
    lost: Lost | None = None
    problems: tuple[str, ...] = ()
    acknowledged: int = 0


async def restore(wanted: Wanted, progress: Progress) -> Restored:
    """Raises Refused for a ledger that exists and for a store that does not answer, LedgerUnusable for a backup that is
    not whole or a ledger that a daemon holds, OSError, sqlite3.Error. Then nothing has changed.
    """
    with replace.held(wanted.path) as held:
        end = _check_free(wanted)
        with _scratch(held) as scratch:
            if end is not None and wanted.file is None and not replace.has_tables(held.path):
                replace.bear(scratch, end.mark)
            else:
                with open_read_only(wanted.file or held.path) as source:
                    copy(source, scratch.path, progress)
            found = await _found(wanted, scratch.path, end, progress)
            replaced = mark.read_whole(held.path)
            again = (
                *_sendings(found.salvaged),
                *found.forgets,
                *_backends(found.salvaged, wanted.by),
                *_webhooks(found.salvaged),
            )
            new = replace.write(scratch, found.command, again, wanted.now_ms, replaced)
            at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wanted.now_ms / 1000))
            aside = replace.put_in_place(scratch, held, at, new)
    return found.restored(new.head.position, aside)


def _check_free(wanted: Wanted) -> mark.Lost | None:
    """What the present ledger has lost of its end, as far as its mark shows. Raises Refused."""
    end = None
    with suppress(sqlite3.Error, OSError):
        end = mark.lost_end(wanted.path)
    if wanted.file is None:
        if end is None:
            hint = "Start the daemon; `comfyledger audit` shows other faults."
            raise Refused(
                "nothing_to_do", f"The ledger {wanted.path} has lost nothing: it agrees with its mark.", hint=hint
            )
        return end
    if not wanted.file.is_file():
        raise Refused("invalid_field", f"There is no file {wanted.file}.", hint="Name a backup.")
    if not wanted.path.exists():
        return end
    if wanted.path.samefile(wanted.file):
        raise Refused("invalid_field", f"{wanted.file} is the ledger itself.", hint="Name a backup.")
    if not wanted.replace:
        hint = "Give --replace: the old ledger is renamed, not removed. Or choose another --state-dir."
        raise Refused("invalid_field", f"There is a ledger already: {wanted.path}.", hint=hint)
    return end


@contextmanager
def _scratch(held: Hold) -> Iterator[Hold]:
    """A file in the ledger's folder. The file of a killed restore is removed first."""
    scratch = held.path.with_name(held.path.name + ".restoring")
    remove(scratch)
    try:
        with closing(made(scratch)) as holding:
            yield holding
    finally:
        remove(scratch)


class _Found(msgspec.Struct, frozen=True):
    """Everything that was found, and the command that follows from it."""

    backup: Identity
    head: Head
    salvaged: Salvaged
    strangers: int
    command: RestoreLedger
    forgets: tuple[Forget | ForgetInput, ...]
    stores_asked: bool
    acknowledged: int

    def restored(self, position: int, aside: Path | None) -> Restored:
        command = self.command
        return Restored(
            ledger_id=self.backup.ledger_id,
            epoch_before=command.epoch_before,
            epoch=command.epoch,
            position_before=self.head.position,
            position=position,
            series=len(command.seen),
            margin=command.margin,
            first=command.first,
            evidence=command.evidence,
            stores_asked=self.stores_asked,
            strangers=self.strangers,
            forgotten=len(self.forgets),
            aside=str(aside or ""),
            lost=self.salvaged.lost if self.salvaged.is_counted else None,
            problems=self.salvaged.problems,
            acknowledged=self.acknowledged,
        )


async def _found(wanted: Wanted, scratch: Path, end: mark.Lost | None, progress: Progress) -> _Found:
    backup, head = verified(scratch, progress)
    with open_read_only(scratch) as connection:
        known = series_in(connection)
        lost_files = unknown_files(wanted.spool, connection)
        there = wanted.path.exists()
        salvaged = salvage(wanted.path, backup, head, progress) if there else Salvaged()
        if end is not None:
            salvaged = msgspec.structs.replace(salvaged, whole=False, problems=(end.sentence, *salvaged.problems))
        forgets = _forgets(connection, salvaged, wanted.by)
        old_first = _first_of(wanted.path)
        first = max(_first_in(connection), old_first)
    traces = known | {key: trace for key, trace in salvaged.traces.items() if key not in known}
    given = {key: max(trace.highest, salvaged.traces.get(key, trace).highest) for key, trace in traces.items()}
    evidence = await _ask_all(wanted.stores or {}, traces, given, progress)
    for key in traces:
        seen = salvaged.traces[key].highest if key in salvaged.traces else old_first - 1
        if key in salvaged.traces or seen:
            evidence[key].append(Evidence(OLD, salvaged.ledger_id, seen))
    margin = wanted.margin if salvaged.whole else max(wanted.margin, lost_files)
    command = RestoreLedger(
        wanted.by,
        epoch_before=backup.epoch,
        epoch=wanted.epoch,
        evidence=_highest(evidence),
        margin=margin,
        first=first if salvaged.whole else first + margin,
        seen=tuple(SeriesSeen(key, traces[key].folder, tuple(answers)) for key, answers in evidence.items()),
    )
    upto = end.mark.head.position if end is not None else 0
    return _Found(backup, head, salvaged, lost_files, command, forgets, wanted.stores is not None, upto)


def _forgets(connection: sqlite3.Connection, salvaged: Salvaged, by: str) -> tuple[Forget | ForgetInput, ...]:
    """The forgotten images and inputs that the backup has. An event may also name images that came later."""
    sql = "SELECT image FROM images WHERE batch_id = ?"
    images = list[Forget]()
    for one in salvaged.forgotten:
        had = {image for (image,) in connection.execute(sql, (one.batch_id,))}
        if again := tuple(image for image in one.images if image in had):
            images.append(Forget(by, one.batch_id, again, one.stores))
    inputs = _inputs_in(connection) if salvaged.lost is not None else frozenset[str]()
    given_up = (one for one in salvaged.inputs_forgotten if one.sha256 in inputs)
    return (*images, *(ForgetInput(by, one.sha256, one.labels) for one in given_up))


def _sendings(salvaged: Salvaged) -> Iterator[InputSending]:
    """Where copies of inputs were sent after the backup, so that a forget removes them there too."""
    for one in salvaged.inputs_sent if salvaged.lost is not None else ():
        yield InputSending(one.sha256, one.extension, one.size_bytes, one.backend, one.name, None)


def _backends(salvaged: Salvaged, by: str) -> Iterator[AddBackend | RemoveBackend]:
    """What clients added and removed after the backup: a machine that was removed gets no prompt again. Removed ones
    come first, because an address may have another name since.
    """
    found = salvaged.backends if salvaged.lost is not None else ()
    yield from (RemoveBackend(by, one.name) for one in found)
    for one in found:
        if isinstance(one, BackendAdded):
            yield AddBackend(by, one.name, one.url, one.tags, one.ttl_s, one.queue_depth)


def _webhooks(salvaged: Salvaged) -> Iterator[AddWebhook | RemoveWebhook | PauseWebhook | ResumeWebhook]:
    """What became of webhooks after the backup, in its order, so that each has the secret that its receiver knows, and
    none delivers that was removed or paused. The events carry the labels of those who asked for it.
    """
    for one in salvaged.webhooks if salvaged.lost is not None else ():
        match one:
            case WebhookAdded(name=name, url=url, kinds=kinds, by=by):
                yield AddWebhook(by, name, url, kinds)
            case WebhookRemoved(name=name, by=by):
                yield RemoveWebhook(by, name)
            case WebhookPaused(name=name, by=by):
                yield PauseWebhook(by, name)
            case WebhookResumed(name=name, by=by):
                yield ResumeWebhook(by, name)


def _inputs_in(connection: sqlite3.Connection) -> frozenset[str]:
    """A backup of an older release has none."""
    with suppress(sqlite3.OperationalError):
        return frozenset(sha256 for (sha256,) in connection.execute("SELECT sha256 FROM inputs"))
    return frozenset()


def _first_in(connection: sqlite3.Connection) -> int:
    """The first number of an unused series there: more than 1 after an earlier restore."""
    row = connection.execute("SELECT next FROM series WHERE key = ?", (UNOPENED,)).fetchone()
    return int(row[0]) if row is not None else 1


def _first_of(path: Path) -> int:
    """The same for the ledger that is replaced, if it can be read."""
    if path.exists():
        with suppress(sqlite3.Error, LedgerUnusable, TypeError, ValueError), open_read_only(path) as connection:
            return _first_in(connection)
    return 1


def _highest(evidence: Mapping[str, Sequence[Evidence]]) -> tuple[Evidence, ...]:
    """For each store that was asked, the answer with the highest number."""
    found: dict[tuple[str, str], Evidence] = {}
    for one in (one for answers in evidence.values() for one in answers):
        before = found.get((one.store, one.identity))
        if before is None or one.highest > before.highest:
            found[one.store, one.identity] = one
    return tuple(found.values())


async def _ask_all(
    stores: Mapping[str, OpenedStore], traces: Mapping[str, Trace], given: Mapping[str, int], progress: Progress
) -> dict[str, list[Evidence]]:
    """The highest numbers of each series in each store. `given`: those known so far. Raises
    Refused(store_unavailable)."""
    answers: dict[str, list[Evidence]] = {key: [] for key in traces}
    for opened in stores.values():
        ready = await prepared(opened, PREPARE_S)
        store = ready.guarded
        if store is None:
            raise _unanswered(ready.name, ready.problem)
        try:
            highest = await _ask_one(ready.name, store, traces, given, progress)
        except PluginDied as died:
            raise _unanswered(ready.name, f"its plugin died: {died.said}") from died
        except StoreTrouble as trouble:
            raise _unanswered(ready.name, f"{trouble.fault.code}: {trouble.fault.text}") from trouble
        for key, number in highest.items():
            answers[key].append(Evidence(ready.name, ready.identity, number))
    return answers


async def _ask_one(
    name: str, store: Store, traces: Mapping[str, Trace], given: Mapping[str, int], progress: Progress
) -> dict[str, int]:
    """Ask for a few series at a time, so that a store with a quota is not asked in one burst."""
    numbers: dict[str, int] = {}
    keys = list(traces)
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        some = keys[start : start + _ASKED_AT_ONCE]
        found = await asyncio.gather(*(_highest_number(store, traces[key].asked, given[key]) for key in some))
        numbers.update(zip(some, found, strict=True))
        progress(f"series in {name}", len(numbers), len(keys))
    return numbers


async def _highest_number(store: Store, series: Series, given: int) -> int:
    """A store's doubt is ignored for numbers up to the last one given. Raises StoreTrouble."""
    try:
        return await store.highest_number(series)
    except Doubted as doubt:
        if outlier_in((number for number in doubt.extremes if number > given), given) is not None:
            raise
        return max(given, *doubt.extremes)


def _unanswered(name: str, problem: str) -> Refused:
    hint = (
        "Repair the store, then restore again. Or give --without-stores, and a --margin above every number that the"
        " store may have."
    )
    return Refused("store_unavailable", f"The store {name} cannot say which numbers it has: {problem}", hint=hint)
