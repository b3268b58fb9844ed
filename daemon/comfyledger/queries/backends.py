"""How each ComfyUI is, with the reason if it cannot be used, and the work that waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.values import backend_lane
from comfyledger.queries import fleet
from comfyledger.queries.dependencies import Dependencies


class Fits(NamedTuple):
    """Which configured workflows one ComfyUI can run, and what it lacks for the others."""

    fits: list[str]
    lacks: dict[str, str]


def shown(
    context: Dependencies, lanes: Iterable[wire.LaneInfo], fits: Mapping[str, Fits]
) -> Iterator[wire.BackendInfo]:
    """What a client may see of each ComfyUI. `lanes`: those that are paused or in trouble, with their texts. `fits`: by
    the name of each ComfyUI, as far as that was asked and is known.
    """
    texts = {lane.lane: lane.text for lane in lanes if lane.code}
    standing = context.view.open_work()
    for one in (*context.backends(standing), *fleet.backends_elsewhere(context, standing)):
        problem = ": ".join(filter(None, (one.problem, texts.get(backend_lane(one.name), ""))))
        fit, is_all = fits.get(one.name), context.only is None
        yield replace(
            one,
            problem=problem,
            work=one.work if is_all else None,
            warm=one.warm if is_all else None,
            fits=fit.fits if fit is not None else None,
            lacks=fit.lacks if fit is not None else None,
        )


def demanded(context: Dependencies) -> list[wire.DemandInfo]:
    """The work that waits, of all labels, by what it needs."""
    return [
        wire.DemandInfo(
            one.label, list(one.need.tags), one.need.backend, one.queued, one.running, one.queued_s, one.wanted
        )
        for one in context.view.open_work().demand
    ]
