"""`doctor`: all checks run at the same time. Each is bounded in time, and none can end the others.

This module decides what is checked and in which order it is reported. `machine`, `comfyui` and the stores' plugins
gather facts; `judge`, `comfyui_judge` and `rights` say what they mean. It works with and without a running daemon.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from comfyledger import __version__
from comfyledger.accounts import Keeper, keeper_of
from comfyledger.comfyui.client import ComfyUI
from comfyledger.core.scheduling.fit import allowed
from comfyledger.guarded import Guarded
from comfyledger.maintenance.doctor import backends, fleet, judge, machine, rights, webhooks
from comfyledger.maintenance.doctor.comfyui import PROBE_S, Examination
from comfyledger.maintenance.doctor.comfyui_judge import Draft, Planned
from comfyledger.maintenance.doctor.inputs import inputs as files_of_inputs
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.maintenance.doctor.prompts_left import added_to, prompts_at
from comfyledger.maintenance.doctor.thumbnails import of_thumbnails, thumbnails
from comfyledger.plugin_api import Store, StoreTrouble
from comfyledger.plugins import OpenedStore, open_stores, store_kinds
from comfyledger.settings import Settings

CHECK_S: Final = 6.0
"""For one check."""
STORE_S: Final = 8.0
"""For one store, which may be far away."""
FLEET_S: Final = 20.0
"""For the database of a fleet, which may be away: several connections, one after the other."""
COMFYUIS_AT_ONCE: Final = 8
"""Each may answer with some 20 MB of node classes."""
CALL_S: Final = 5.0
"""For one call to ComfyUI."""

Found = Sequence[Diagnosis]


class Report(msgspec.Struct, frozen=True):
    """What was found, in a fixed order. `overdue`: a check was abandoned, and its thread may never end.

    `lacking`: with several ComfyUIs, by workflow and by ComfyUI, what is missing there.
    """

    diagnoses: tuple[Diagnosis, ...]
    overdue: bool = False
    lacking: Mapping[str, Mapping[str, Sequence[str]]] = {}

    @property
    def verdict(self) -> judge.Verdict:
        """The worst verdict of all diagnoses."""
        found = {one.verdict for one in self.diagnoses}
        return "failure" if "failure" in found else "warning" if "warning" in found else "ok"


class Bounds:
    """Limits the time of every check, and turns its errors into diagnoses. `overdue`: one was abandoned."""

    def __init__(self) -> None:
        self.overdue = False

    async def check(self, area: str, work: Awaitable[Found], limit_s: float | None = None) -> Found:
        """The result of a check, or a failure. The text of an unforeseen error is not shown: it may contain secrets."""
        limit_s = CHECK_S if limit_s is None else limit_s
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except TimeoutError:
            self.overdue = True
            return [Diagnosis(area, "failure", f"This did not answer within {limit_s:g} s.", "make it reachable")]
        except OSError as error:
            text = f"This cannot be checked: {error.strerror or type(error).__name__}."
            return [Diagnosis(area, "failure", text, "check path, permissions and disk")]
        except Exception as error:
            return [Diagnosis(area, "failure", f"The check itself failed: {type(error).__name__}.", "report it")]


class Doctor:
    """The checks of one configuration. `workflows` are its own by name, `drafts` those in the UI format; `ids` makes
    UUIDs.
    """

    def __init__(
        self,
        settings: Settings,
        workflows: Mapping[str, Planned],
        drafts: Mapping[str, Draft],
        session: aiohttp.ClientSession,
        ids: Callable[[], str],
        bounds: Bounds,
        *,
        probe: bool,
    ) -> None:
        self._settings, self._workflows, self._session, self._ids = settings, workflows, session, ids
        self._bounds, self._probe, self._drafts = bounds, probe, drafts
        self.lacking: dict[str, dict[str, list[str]]] = {}
        """With several ComfyUIs, by workflow and by ComfyUI, what is missing there."""

    async def examine(self) -> list[Diagnosis]:
        """Run every check that needs a configuration."""
        settings = self._settings
        ledger, spool, inputs = settings.ledger_path.parent, settings.spool_path, settings.inputs_path
        since = time.time() - time.monotonic()
        found = await asyncio.gather(
            self._bounds.check("configuration", self._configuration()),
            self._bounds.check("ledger", self._ledger()),
            self._bounds.check("fleet", self._fleet(), FLEET_S),
            self._bounds.check("disk ledger", self._disk("ledger", ledger, settings.ledger.free_min_bytes)),
            self._bounds.check("disk spool", self._disk("spool", spool, settings.spool.free_min_bytes)),
            self._bounds.check("disk inputs", self._disk("inputs", inputs, settings.spool.free_min_bytes)),
            self._bounds.check("inputs", self._inputs()),
            self._bounds.check("thumbnails", self._thumbnails()),
            *(self._bounds.check(f"output {name}", self._output(name)) for name in settings.comfyui),
            *(self._bounds.check(f"input {name}", self._input(name)) for name in settings.comfyui),
            self._bounds.check("output", self._shared_folders()),
            self._backends(),
            self._bounds.check("comfyui", self._prompts_left()),
            self._bounds.check("stores", self._stores(), STORE_S + CALL_S),
            *(self._bounds.check(f"webhook {name}", self._webhook(name)) for name in settings.webhooks),
            self._bounds.check("webhooks", self._webhooks()),
            self._bounds.check("token", self._token()),
            self._bounds.check("daemon", self._daemon()),
        )
        clock = await self._bounds.check("clock", self._clock(since))
        return [*(diagnosis for one in found for diagnosis in one), *clock]

    async def _configuration(self) -> Found:
        found = rights.of_configuration(await machine.in_thread(lambda: machine.configured(self._settings)))
        return [*found, *judge.of_naming(self._settings.naming.file)]

    async def _ledger(self) -> Found:
        path = self._settings.ledger_path
        seen = await machine.in_thread(lambda: machine.ledger(path))
        files = await machine.in_thread(lambda: machine.ledger_files(path))
        return rights.of_ledger(files, await self._keeper()) or judge.of_ledger(seen)

    async def _fleet(self) -> Found:
        return await machine.in_thread(lambda: fleet.fleet(self._settings, os.environ))

    async def _keeper(self) -> Keeper:
        return await machine.in_thread(lambda: keeper_of(self._settings.state_path))

    async def _disk(self, section: str, path: Path, free_min: int) -> Found:
        keeper = await self._keeper()
        seen = await machine.in_thread(lambda: machine.disk_of(path, keeper))
        kept = await machine.in_thread(lambda: machine.folder(path))
        found = judge.of_disk(section, seen, free_min, refuses_network=section == "ledger")
        open_to = rights.of_folder(section, kept, keeper)
        return [*open_to, *(one for one in found if not open_to or one.verdict != "ok")]

    async def _output(self, name: str) -> Found:
        folder = self._settings.comfyui[name].output_dir
        keeper = await self._keeper()
        seen = await machine.in_thread(lambda: machine.disk_of(Path(folder), keeper)) if folder else None
        return judge.of_output(name, seen)

    async def _input(self, name: str) -> Found:
        folder = self._settings.comfyui[name].input_dir
        if not folder:
            return []
        keeper = await self._keeper()
        return judge.of_input(name, await machine.in_thread(lambda: machine.disk_of(Path(folder), keeper)))

    async def _shared_folders(self) -> Found:
        output = {name: one.output_dir for name, one in self._settings.comfyui.items() if one.output_dir}
        real = await machine.in_thread(lambda: {name: os.path.realpath(folder) for name, folder in output.items()})
        return backends.of_shared_folders("output", real)

    async def _inputs(self) -> Found:
        settings = self._settings
        seen = await machine.in_thread(lambda: files_of_inputs(settings.ledger_path, settings.inputs_path, time.time()))
        return judge.of_inputs(seen, settings.inputs.quota_bytes, settings.comfyui)

    async def _thumbnails(self) -> Found:
        folder, quota_bytes = self._settings.thumbnails_path, self._settings.thumbnails.quota_bytes
        kept = await machine.in_thread(lambda: machine.folder(folder))
        seen = await machine.in_thread(lambda: thumbnails(folder))
        return [*rights.of_folder("thumbnails", kept, await self._keeper()), *of_thumbnails(seen, quota_bytes)]

    async def _webhook(self, name: str) -> Found:
        """The secret first: nobody is called who could not be delivered to."""
        one = self._settings.webhooks[name]
        wrong = await machine.in_thread(lambda: webhooks.of_secret(name, one, os.environ))
        return wrong or [await webhooks.of_endpoint(name, one.url)]

    async def _webhooks(self) -> Found:
        settings = self._settings
        seen = await machine.in_thread(lambda: webhooks.in_ledger(settings.ledger_path))
        now_ms = time.time_ns() // 1_000_000
        return webhooks.of_states(seen, settings.webhooks, settings.webhooks_allowed, now_ms)

    async def _token(self) -> Found:
        return rights.of_token(await machine.in_thread(lambda: machine.token(self._settings)))

    async def _daemon(self) -> Found:
        left = await machine.in_thread(lambda: machine.left_behind(self._settings))
        return judge.of_daemon(await machine.asked(left, self._session, self._settings.ledger_path), __version__)

    async def _clock(self, since: float) -> Found:
        """Runs last, so that it compares the wall clock over the whole run."""
        servers = self._settings.comfyui
        asked = (machine.clock_of(self._session, f"{one.url.rstrip('/')}/prompt") for one in servers.values())
        ahead = dict(zip(servers, await asyncio.gather(*asked), strict=True))
        seen = await machine.in_thread(lambda: machine.ledger(self._settings.ledger_path))
        log_ahead = None if seen.newest_ms is None else seen.newest_ms / 1000 - time.time()
        step = time.time() - time.monotonic() - since
        return judge.of_clock(judge.Clock(step, ahead, log_ahead))

    # ---- ComfyUI

    async def _backends(self) -> Found:
        """Each ComfyUI, a few at a time, and what they are together if there are several."""
        few = asyncio.Semaphore(COMFYUIS_AT_ONCE)

        async def examined(name: str) -> tuple[Examination, Found]:
            async with few:
                return await self._comfyui(name)

        found = await asyncio.gather(*map(examined, self._settings.comfyui))
        each = [diagnosis for _, one in found for diagnosis in one]
        if len(found) == 1:
            return each
        by_name = dict(zip(self._settings.comfyui, (examination for examination, _ in found), strict=True))
        versions = {name: one.version for name, one in by_name.items() if one.version}
        fits = {name: one.fits for name, one in by_name.items() if one.fits}
        tags = {name: one.tags for name, one in self._settings.comfyui.items()}
        configured, every = self._settings.workflows, (*self._workflows, *self._drafts)
        needs = {name: configured[name].needs for name in every if name in configured}
        self.lacking = backends.lacking(needs, tags, fits)
        may_have = {name: allowed(tags, "", wanted) for name, wanted in needs.items()}
        return [*each, *backends.of_versions(versions), *backends.of_workflows(may_have, fits)]

    async def _prompts_left(self) -> Found:
        path = self._settings.ledger_path
        prompts = await machine.in_thread(lambda: prompts_at(path))
        added = await machine.in_thread(lambda: added_to(path))
        left = backends.of_prompts_left(prompts, {*self._settings.comfyui, *added})
        return [*backends.of_added(added), *left]

    async def _comfyui(self, name: str) -> tuple[Examination, Found]:
        comfyui = ComfyUI(
            self._session, self._settings.comfyui[name].url, connect_timeout_s=CALL_S, request_timeout_s=CALL_S
        )
        examination = Examination(name, comfyui, self._workflows, self._ids, self._drafts)
        area = f"comfyui {name}"
        (reached,) = await self._bounds.check(area, _as_list(examination.reach()))
        if reached.verdict == "failure":
            return examination, [reached]
        asked = [examination.probe()] if self._probe else [examination.ids(), examination.socket()]
        limit_s = PROBE_S + 2 * CHECK_S if self._probe else CHECK_S
        *found, nodes = await asyncio.gather(
            *(self._bounds.check(area, check, limit_s) for check in asked),
            self._bounds.check(area, examination.nodes()),
        )
        if len(self._settings.comfyui) == 1 or not examination.fits:
            found.append(nodes)
        return examination, [reached, *(diagnosis for one in found for diagnosis in one)]

    # ---- stores

    async def _stores(self) -> Found:
        opened = open_stores(store_kinds(), self._settings.stores, self._settings.state_path)
        found = await asyncio.gather(
            *(self._bounds.check(f"store {name}", self._store(one), STORE_S) for name, one in opened.items())
        )
        return [diagnosis for one in found for diagnosis in one]

    async def _store(self, opened: OpenedStore) -> Found:
        area, section = f"store {opened.name}", f"[stores.{opened.name}]"
        if opened.waiting is None:
            named = str(self._settings.stores[opened.name].get("credential", ""))
            is_passed = bool(os.environ.get("CREDENTIALS_DIRECTORY"))
            return [rights.of_unopened(area, opened.problem, "" if is_passed else named, await self._keeper())]
        try:
            return await _remarks(area, Guarded(opened.name, opened.waiting, opened.died))
        except StoreTrouble as trouble:
            return [of_trouble(area, section, trouble)]
        finally:
            await opened.close()


async def _remarks(area: str, store: Store) -> Found:
    return [Diagnosis(area, one.verdict, one.sentence, one.mend) for one in await store.diagnose()]


def of_trouble(area: str, section: str, trouble: StoreTrouble) -> Diagnosis:
    """A throttled store is a warning, not a failure."""
    fault = trouble.fault
    if fault.code == "throttled":
        return Diagnosis(area, "warning", fault.text, "wait; uploads continue by themselves")
    mend = (
        f"{section}: its secret and options" if fault.code == "configuration" else f"{section}, or its network or disk"
    )
    return Diagnosis(area, "failure", fault.text, mend)


async def _as_list(check: Awaitable[Diagnosis]) -> Found:
    return [await check]


async def examine(
    settings: Settings,
    workflows: Mapping[str, Planned],
    ids: Callable[[], str],
    *,
    probe: bool,
    drafts: Mapping[str, Draft] = {},
) -> Report:
    """Run every check. `workflows`: the usable ones by name; `drafts`: those in the UI format. `probe`: let ComfyUI run
    a prompt of ours.
    """
    bounds = Bounds()
    async with aiohttp.ClientSession() as session:
        doctor = Doctor(settings, workflows, drafts, session, ids, bounds, probe=probe)
        base, rest = await asyncio.gather(installed(bounds), doctor.examine())
    return Report((*base, *rest), bounds.overdue, doctor.lacking)


async def installed(bounds: Bounds) -> list[Diagnosis]:
    """Run the checks that need no configuration: SQLite and the plugins."""
    sqlite, plugins = await asyncio.gather(bounds.check("SQLite", _sqlite()), bounds.check("plugins", _plugins()))
    return [*sqlite, *plugins]


async def _sqlite() -> Found:
    return judge.of_sqlite(sqlite3.sqlite_version_info, await machine.in_thread(machine.refused_settings))


async def _plugins() -> Found:
    return judge.of_plugins(await machine.in_thread(machine.plugins))
