"""The steps that recovery takes for an image, from its row, its batch and the configured stores. Pure.

A state that is not named here is not recoverable: what was cancelled or forgotten stays so. Some steps are only shown
(`SHOWN`), because a person must act first or because a file of somebody else would be overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from comfyledger import wire
from comfyledger.core.decide.recovery import is_owable, is_renumberable
from comfyledger.core.rows import BatchRow, ImageRow, Upload

Kind = Literal["upload", "renumber", "render", "fill", "missing", "different", "elsewhere"]
SHOWN: Final = frozenset({"different", "elsewhere"})
EXAMPLES_MAX: Final = 5


class Step(msgspec.Struct, frozen=True):
    """One thing to do, or to show, about one image and, except for `render`, one store."""

    kind: Kind
    image: ImageRow
    store: str = ""
    code: str = ""


class Scope(msgspec.Struct, frozen=True):
    """What is requested. `places`: the identities of usable stores. `fill`: also what `store` never had."""

    places: Mapping[str, str]
    store: str | None = None
    code: str | None = None
    fill: bool = False
    new_number: bool = False


def steps_of(image: ImageRow, batch: BatchRow, scope: Scope) -> Iterator[Step]:
    """The steps for what failed, was parked or, with `fill`, was never owed."""
    if image.state == "failed" and scope.store is None and scope.code in {None, image.code}:
        yield Step("render", image, code=image.code)
    if image.state in {"kept", "parked"}:
        yield from (_parked(image, batch, upload, scope) for upload in image.uploads if _is_meant(upload, scope))
    if scope.fill and scope.store is not None and scope.code is None and _never_owed(image, scope.store):
        kind: Kind = "fill" if is_there(batch, scope.store, scope) else "elsewhere"
        yield Step(kind, image, scope.store)


def _is_meant(upload: Upload, scope: Scope) -> bool:
    wanted = scope.store in {None, upload.store} and scope.code in {None, upload.code}
    return wanted and upload.state == "parked"


def _parked(image: ImageRow, batch: BatchRow, upload: Upload, scope: Scope) -> Step:
    kind: Kind = "upload"
    if not is_there(batch, upload.store, scope):
        kind = "elsewhere"
    elif scope.new_number and upload.code == "collision" and is_renumberable(image):
        kind = "renumber"
    return Step(kind, image, upload.store, upload.code)


def _never_owed(image: ImageRow, store: str) -> bool:
    upload = image.upload(store)
    return is_owable(image, store) and (upload is None or upload.state == "dropped")


def is_there(batch: BatchRow, store: str, scope: Scope) -> bool:
    """Whether a store can be used and is the place that the batch names, if it names one."""
    now = scope.places.get(store)
    return now is not None and all(ref.identity == now for ref in batch.stores if ref.name == store)


def stored_in(image: ImageRow, scope: Scope) -> Iterator[tuple[str, str]]:
    """The stores that have the image according to the log, each with the name of the image there."""
    if image.state in {"kept", "stored", "parked"}:
        for upload in image.uploads:
            if upload.state == "stored" and scope.store in {None, upload.store}:
                yield upload.store, upload.name or image.public_id


def summed(steps: Iterable[Step]) -> list[wire.RecoveryStep]:
    """One entry for all steps of one kind, store and code, with the first few names."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for step in steps:
        found.setdefault((step.kind, step.store, step.code), []).append(step.image.public_id)
    return [
        wire.RecoveryStep(kind, len(names), store, code, names[:EXAMPLES_MAX])
        for (kind, store, code), names in found.items()
    ]


def done(steps: Sequence[Step]) -> list[Step]:
    """The steps that change something."""
    return [step for step in steps if step.kind not in SHOWN]
