"""From a request to a command. Everything that can be checked without the ledger is checked here, once.

Pure: ids, salts and seeds come in as an argument. A refusal names the field, and nothing has changed by then. The
command fixes the images, their order, their seeds and the graph for ever.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from comfyledger import wire
from comfyledger.admission import levels
from comfyledger.admission.shots import check_quantity, check_seeds, prompts_of, shots_asked, whose
from comfyledger.admission.webhooks import named
from comfyledger.core.commands import OpenSeries, SubmitBatch
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series, Templates, series_of
from comfyledger.core.naming.slugs import fold
from comfyledger.core.values import Blob, Origin, StoreRef, blob_of
from comfyledger.errors import Refused
from comfyledger.queries.dependencies import AdmissionPolicy, IdSource, ReadyWorkflow

METADATA_LEVELS_MAX: Final = 64
SERIES_KEPT: Final = 4_096
_OF_OUTPUTS: Final = frozenset({"workflow_no_output", "workflow_output_unsupported"})


class Admitted(msgspec.Struct, frozen=True):
    """A request that passed, as a command, the workflow that it uses, and the inputs of each shot by address."""

    command: SubmitBatch
    workflow: ReadyWorkflow
    inputs: list[dict[str, Any]]
    """Values and files."""
    below: levels.Lower
    """What the request takes from elsewhere."""
    refused: Mapping[str, Refused] = {}
    """What ComfyUIs say that would not take it, by name."""


def check_message(message: wire.SubmitBatch, policy: AdmissionPolicy) -> None:
    """What can be refused before anybody looks at the workflow. Raises Refused."""
    _check_request_id(message.request_id)
    check_seeds(message, shots_asked(message, policy.quantity_max))
    _check_depth(message.metadata)
    _series(policy.templates, *whose(message))


def admit(
    message: wire.SubmitBatch,
    ground: levels.Ground,
    below: levels.Lower,
    *,
    raw: bytes,
    label: str,
    policy: AdmissionPolicy,
    stores: Sequence[StoreRef],
    secret: bytes,
    ids: IdSource,
    origin: Origin | None = None,
    needs: tuple[str, ...] = (),
) -> Admitted:
    """Fix everything in a request but its numbers, after `check_message`. Raises Refused.

    `ground`: with the workflow that the request means. `below`: what is filled in where the request gives nothing.
    `origin`: the image whose recipe is used again. `needs`: tags that a ComfyUI must have. `raw`: the data of the frame
    as sent, for the digest; `secret` is its key.
    """
    workflow = ground.workflow
    username, character, premade = whose(message)
    asked = shots_asked(message, policy.quantity_max)
    of_images = _series(policy.templates, username, character, premade)
    media = tuple(output.medium for output in workflow.plan.every_output)
    check_quantity(message, len(asked) * len(media), policy.quantity_max)
    inputs = levels.inputs_of(message, asked, ground, below)
    prompts, texts = prompts_of(message, asked, inputs, workflow, ids, secret)
    metadata = _metadata(message, ids)
    webhook, webhook_url = named(message.webhook, policy.webhooks)
    command = SubmitBatch(
        label=label,
        request_id=message.request_id,
        request_digest=request_digest(raw, secret),
        batch_id=ids.batch_id(),
        username=username,
        user_key=fold(username),
        character=character,
        premade=premade,
        series=(of_images,) if media == ("image",) else _every_series(message, policy.templates, media),
        media=media,
        prompts=prompts,
        workflow=workflow.name,
        template=blob_of(workflow.template, ids.salt(), workflow.key),
        plan=msgspec.to_builtins(workflow.plan),
        stores=tuple(stores),
        priority=wire.PRIORITIES.index(message.priority),
        texts=(*texts, *([metadata] if metadata else ())),
        metadata=metadata.digest if metadata else None,
        trust=policy.trust,
        origin=origin,
        needs=needs,
        backend=message.backend or "",
        webhook=webhook,
        webhook_url=webhook_url,
    )
    return Admitted(command, workflow, inputs, below)


def open_series(
    message: wire.OpenSeries, label: str, policy: AdmissionPolicy, stores: Sequence[StoreRef]
) -> OpenSeries:
    series = _series(policy.templates, message.username, message.character, message.premade, message.medium)
    return OpenSeries(label, series, tuple(stores), policy.trust)


def request_digest(raw: bytes, secret: bytes) -> str:
    """The keyed digest of a request's sorted JSON without its request_id: it tells two requests of one id apart.

    With a key, the log does not reveal the texts.
    """
    body = msgspec.json.decode(raw)
    body.pop("request_id", None)
    if isinstance(body.get("inputs_each"), dict):
        body["inputs_each"] = list(body["inputs_each"].items())  # another order gives the numbers to other images
    return _digest(body, secret)


def request_digests(raw: bytes, secret: bytes) -> tuple[str, ...]:
    """All digests that the ledger may have of a request: today's, and that of releases that included the request_id."""
    return request_digest(raw, secret), _digest(msgspec.json.decode(raw), secret)


def _digest(body: Any, secret: bytes) -> str:
    return hmac.digest(secret, msgspec.json.encode(body, order="deterministic"), "sha256").hex()


def _check_request_id(request_id: str) -> None:
    if not 1 <= len(request_id.encode()) <= wire.REQUEST_ID_BYTES_MAX:
        raise Refused(
            "invalid_field",
            f"request_id must have 1 to {wire.REQUEST_ID_BYTES_MAX} bytes.",
            hint="Send a new string for each batch, for example a UUID.",
            path="$.data.request_id",
        )


def _check_depth(metadata: Mapping[str, Any]) -> None:
    """Refuse deep nesting here, because encoding it later from a deeper stack could fail."""
    level: list[Any] = [metadata]
    for _ in range(METADATA_LEVELS_MAX):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise Refused(
        "invalid_field",
        f"metadata is nested more than {METADATA_LEVELS_MAX} levels deep.",
        hint="Replace the deepest part by a string that contains its JSON.",
        path="$.data.metadata",
    )


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


@lru_cache(maxsize=SERIES_KEPT)
def _series(templates: Templates, username: str, character: str, premade: bool, medium: Medium = "image") -> Series:
    """Cached, because making a name portable checks each of its characters."""
    try:
        return series_of(templates, username, character, premade, medium)
    except Refused as refusal:
        raise refusal.below("$.data") from refusal


def _every_series(message: wire.SubmitBatch, templates: Templates, media: Iterable[Medium]) -> tuple[Series, ...]:
    return tuple(_series(templates, *whose(message), medium) for medium in media)


def _metadata(message: wire.SubmitBatch, ids: IdSource) -> Blob | None:
    """Tags and metadata are the user's own text: kept where they can be forgotten."""
    if not message.tags and not message.metadata:
        return None
    content = {"tags": message.tags, "metadata": message.metadata}
    return blob_of(msgspec.json.encode(content, order="sorted"), ids.salt())
