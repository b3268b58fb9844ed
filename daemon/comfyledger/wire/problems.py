"""Refusals as HTTP answers: one status for each code, and problem details. (RFC 9457)"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from comfyledger.errors import CODES, Refused
from comfyledger.wire.answers.mistakes import MistakeInfo, mistakes_of
from comfyledger.wire.routes import Route

CONTENT_TYPE: Final = "application/problem+json"
STATUSES: Final[dict[str, int]] = {
    **dict.fromkeys(("unauthorized", "session_expired", "code_invalid"), 401),
    "page_unreachable": 409,
    "forbidden": 403,
    "forbidden_origin": 403,
    **dict.fromkeys(("signature_invalid", "signature_expired"), 403),
    "forbidden_host": 421,
    "input_missing": 404,
    "unknown_backend": 404,
    "thumbnail_unsupported": 404,
    **dict.fromkeys(("unknown_path", "unknown_batch", "unknown_image", "unknown_store", "unknown_subscription"), 404),
    "method_not_allowed": 405,
    **dict.fromkeys(("request_id_conflict", "name_taken", "nothing_to_do", "take_missing", "recipe_forgotten"), 409),
    "no_file": 409,
    "backend_exists": 409,
    "backend_busy": 409,
    "backends_limit": 409,
    "unknown_webhook": 404,
    "webhook_exists": 409,
    "webhooks_limit": 409,
    "unknown_box": 404,
    "box_present": 409,
    "other_box": 409,
    "boxes_limit": 409,
    "epoch_changed": 410,
    "frame_too_large": 413,
    "graph_too_large": 413,
    "input_too_large": 413,
    "file_too_large": 413,
    "content_type": 415,
    "rate_limited": 429,
    "too_many_open": 429,
    "internal": 500,
    **dict.fromkeys(("busy", "storage_full", "ledger_locked", "log_unreachable"), 503),
    **dict.fromkeys(("ledger_unusable", "not_running", "fenced"), 503),
    **dict.fromkeys(("plugin_broken", "series_unanswered", "store_unavailable", "backend_unknown"), 503),
    **dict.fromkeys(("box_away", "behind"), 503),
    "timeout": 408,
    **dict.fromkeys(("url_failed", "file_broken"), 502),
    "inputs_full": 507,
}
"""By code. Every other code is the request's own fault: 422 if its JSON could be read, else 400."""
UNREADABLE: Final = frozenset({"not_json", "not_utf8", "binary_frame", "bad_envelope"})


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was refused."""

    type: Annotated[str, Meta(description="A name of this kind of problem.", examples=["urn:comfyledger:error:busy"])]
    title: Annotated[str, Meta(description="What the code means.", examples=["There is no batch of this id."])]
    status: Annotated[int, Meta(description="The HTTP status.", examples=[404])]
    detail: Annotated[str, Meta(description="What is wrong with this request.", examples=["There is no batch '01M8'."])]
    code: Annotated[str, Meta(description="The stable code, as on the websocket.", examples=["unknown_batch"])]
    hint: Annotated[str, Meta(description="What to do.", examples=["Ask `list_batches` for the ids."])] = ""
    path: Annotated[
        str,
        Meta(
            description="Where: `$.FIELD` of the body, `path.NAME`, `query.NAME` or `header.NAME`.",
            examples=["$.quantity"],
        ),
    ] = ""
    retry_after_s: Annotated[
        float,
        Meta(
            description="In how many seconds the same request may go well; 0 where waiting alone does not help.",
            examples=[1.5],
        ),
    ] = 0.0
    mistakes: Annotated[
        list[MistakeInfo],
        Meta(description="What ComfyUI would not take, at most 100; only with the code `workflow_failed_validation`."),
    ] = []


def status_of(code: str) -> int:
    """The HTTP status of a refusal's code."""
    return STATUSES.get(code, 400 if code in UNREADABLE else 422)


def problem_of(refusal: Refused, route: Route | None = None) -> Problem:
    """The problem details of a refusal. `route`: the one that the request took, if it came so far."""
    waits = {"retry_after_s": refusal.retry_after_s} if refusal.retry_after_s else {}
    return Problem(
        type=f"urn:comfyledger:error:{refusal.code}",
        title=CODES[refusal.code],
        status=status_of(refusal.code),
        detail=refusal.message,
        code=refusal.code,
        hint=refusal.hint,
        path=_place(refusal.path, route),
        mistakes=mistakes_of(refusal),
        **waits,
    )


def _place(path: str, route: Route | None) -> str:
    """Where a field stands in a request over HTTP. Frames have it below `$.data`."""
    if not path.startswith("$"):
        return path
    inner = path.removeprefix("$.data").removeprefix("$").removeprefix(".")
    if route is None:
        return f"$.{inner}" if inner else "$"
    field, rest = re.fullmatch(r"(\w*)(.*)", inner, re.DOTALL).groups()  # type: ignore[union-attr]
    for name in route.in_path:
        if field == route.renamed.get(name, name):
            return f"path.{name}"
    if not route.has_body:
        names = {known: name for name, known in route.fields.items()}
        return f"query.{names.get(field, field)}{rest}" if inner else "query"
    return f"$.{inner}" if field else f"${inner}"
