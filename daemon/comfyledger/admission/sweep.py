"""Sweeps: the shots that `inputs_each` asks for, and where a request gives what one shot has. Pure.

The combinations come in the order of nested loops over the inputs as the request names them, the last one innermost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

from comfyledger import wire


def shots_of(message: wire.SubmitBatch) -> int:
    """How many shots all combinations are."""
    return math.prod(map(len, message.inputs_each.values())) * _of_each(message)


def expanded(message: wire.SubmitBatch) -> list[wire.ImageAsked]:
    """One entry for each shot; those of one combination follow each other, and are one object."""
    each = message.inputs_each
    combined = (wire.ImageAsked(dict(zip(each, values, strict=True))) for values in product(*each.values()))
    return [shot for shot in combined for _ in range(_of_each(message))]


def own_inputs(message: wire.SubmitBatch, shot: int) -> Mapping[str, wire.InputValue]:
    """What the request gives for one shot alone. The first shot is 0."""
    if message.images is not None:
        return message.images[shot].inputs
    return {name: message.inputs_each[name][place] for name, place in _places(message, shot).items()}


def own_path(message: wire.SubmitBatch, shot: int, name: str) -> str:
    """The field of the request that gives an input of one shot."""
    if message.images is not None:
        return f"$.data.images[{shot}].inputs.{name}"
    place = _places(message, shot).get(name)
    return f"$.data.inputs_each.{name}" + (f"[{place}]" if place is not None else "")


def _places(message: wire.SubmitBatch, shot: int) -> dict[str, int]:
    """Which value of each input one shot has."""
    places, left = {}, shot // _of_each(message)
    for name, values in reversed(message.inputs_each.items()):
        left, places[name] = divmod(left, len(values))
    return places


def _of_each(message: wire.SubmitBatch) -> int:
    return 1 if message.quantity is None else message.quantity
