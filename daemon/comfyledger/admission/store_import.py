"""Imports the numbers of files that a store already has, page by page. The client keeps the totals between pages.

`survey_store` returns the series in one page of files, by the naming templates. `raise_series` checks what the client
sends back and makes one command of it. Nothing is remembered here, and no store is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from comfyledger import wire
from comfyledger.core.commands import RaiseSeries, SeriesFound
from comfyledger.core.naming.names import Series, Templates, extremes, series_in
from comfyledger.core.values import StoreRef
from comfyledger.errors import Refused
from comfyledger.plugin_api import Held, LaneFault, Store, StoreTrouble
from comfyledger.plugins import OpenedStore
from comfyledger.queries.dependencies import Dependencies

RETRY_AFTER_S: Final = {"throttled": 60.0, "unknown": 5.0}
"""For temporary faults, if the store does not give a time."""


async def survey_store(context: Dependencies, message: wire.SurveyStore) -> wire.Survey:
    """One page. Raises Refused(unknown_store, plugin_broken, store_unavailable)."""
    _, store = opened_store(context, message.store)
    try:
        page = await store.page(message.prefix, message.cursor)
    except StoreTrouble as trouble:
        raise unavailable(message.store, trouble.fault) from trouble
    found = held_series(context.policy.templates, page.held)
    return wire.Survey(found, len(page.held), len(page.held) - sum(series.images for series in found), page.cursor)


def held_series(templates: Templates, held: Iterable[Held]) -> list[wire.SeriesHeld]:
    """The series of these files, in the order of their first files. One number may have several files."""
    found: dict[str, wire.SeriesHeld] = {}
    for file in held:
        read = _read(templates, file.public_id)
        if read is not None:
            series, number = read
            before = found.get(series.key, wire.SeriesHeld(series.folder, series.stem, 0, 0, 0, series.suffix))
            found[series.key] = _with(before, number)
    return list(found.values())


def _read(templates: Templates, public_id: str) -> tuple[Series, int] | None:
    """As at the first use of a series: what follows the number after a dot is an extension."""
    read = series_in(templates, public_id)
    while read is None and "." in public_id.rpartition("/")[2]:
        public_id = public_id.rpartition(".")[0]
        read = series_in(templates, public_id)
    return read


def _with(before: wire.SeriesHeld, number: int) -> wire.SeriesHeld:
    second, highest = sorted({before.second, before.highest, number, -1})[-2:]
    all_extremes = extremes({*before.extremes, before.second, before.highest, number} - {0})
    return msgspec.structs.replace(
        before,
        highest=highest,
        second=max(second, 0),
        images=before.images + 1,
        extremes=() if {highest, second}.issuperset(all_extremes) else all_extremes,
    )


async def raise_series(context: Dependencies, label: str, message: wire.RaiseSeries) -> wire.SeriesRaised:
    """Raises Refused like `survey_store`, and Refused(invalid_field) for a series that the templates do not make."""
    opened, _ = opened_store(context, message.store)
    templates = context.policy.templates
    found = (
        SeriesFound(_checked(templates, one, f"$.data.found[{place}]"), one.highest if one.counts else 0)
        for place, one in enumerate(message.found)
    )
    command = RaiseSeries(label, StoreRef(opened.name, opened.identity), tuple(found))
    raised = await context.engine.command(command)
    return wire.SeriesRaised(raised.opened, raised.raised, raised.unchanged)


def _checked(templates: Templates, one: wire.SeriesFound, path: str) -> Series:
    read = series_in(templates, f"{one.folder}/{one.stem}1{one.suffix}")
    if read is None or (read[0].folder, read[0].stem, read[0].suffix) != (one.folder, one.stem, one.suffix):
        text = f"{one.folder[:200]}/{one.stem[:200]} is not a series of the naming templates."
        hint = "Send what `survey_store` found. If [naming] has changed since, start the import again."
        raise Refused("invalid_field", text, hint=hint, path=path)
    return read[0]


def opened_store(context: Dependencies, name: str) -> tuple[OpenedStore, Store]:
    """A configured store that can be used. Raises Refused(unknown_store, plugin_broken, store_unavailable)."""
    opened = context.stores.get(name)
    if opened is None:
        hint = f"Configured stores: {', '.join(context.stores) or 'none'}."
        raise Refused("unknown_store", f"There is no store {name[:64]!r}.", hint=hint, path="$.data.store")
    if opened.waiting is not None:
        raise unavailable(name, LaneFault("unknown", f"It could not be prepared yet: {opened.problem}"))
    store = opened.guarded
    if store is None:
        hint = "Repair the plugin or its section of the configuration, then restart."
        raise Refused("plugin_broken", f"The store {opened.name} cannot be used: {opened.problem}", hint=hint)
    return opened, store


def unavailable(name: str, fault: LaneFault) -> Refused:
    """A fault of a store as a refusal, with the time after which to ask again."""
    retry_after_s = fault.retry_after_s or RETRY_AFTER_S.get(fault.code, 0.0)
    when = (
        f"Ask again in {retry_after_s:.0f} s."
        if retry_after_s
        else "See `comfyledger status`, repair the store, then ask again."
    )
    text = f"The store {name} cannot answer ({fault.code}): {fault.text}"
    return Refused("store_unavailable", text, hint=when, retry_after_s=retry_after_s)
