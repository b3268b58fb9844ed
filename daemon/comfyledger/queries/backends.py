"""How each ComfyUI is, with the reason if it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.values import backend_lane
from comfyledger.queries.dependencies import Dependencies


def shown(context: Dependencies, lanes: Iterable[wire.LaneInfo]) -> Iterator[wire.BackendInfo]:
    """What a client may see of each ComfyUI. `lanes`: those that are paused or in trouble, with their texts."""
    texts = {lane.lane: lane.text for lane in lanes if lane.code}
    for one in context.backends(context.view.open_work()):
        problem = ": ".join(filter(None, (one.problem, texts.get(backend_lane(one.name), ""))))
        yield replace(one, problem=problem, work=one.work if context.only is None else None)
