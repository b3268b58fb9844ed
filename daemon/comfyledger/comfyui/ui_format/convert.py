"""Turns a document in ComfyUI's UI format into a graph in its API format, as ComfyUI's own page does it. PURE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from comfyledger.comfyui.graph.forms import document_in
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import Refused
from comfyledger.wire.picture import EXPORT_HINT

GRAPHS_A_DOCUMENT: Final = 8
"""A document has sizes, positions, colours and slots beside the graph: so much longer may it be than the graph."""


def read_document(text: bytes, info: ObjectInfo, graph_bytes_max: int) -> dict[str, Any]:
    """The graph of a document that is JSON and may stand in a wrapper.

    Raises Refused: graph_too_large, workflow_invalid, and as `convert` does.
    """
    if len(text) > GRAPHS_A_DOCUMENT * graph_bytes_max:
        raise Refused("graph_too_large", f"The workflow has {len(text):,} bytes.", hint=EXPORT_HINT)
    document = document_in(_object(text))
    if document is None:
        raise Refused("workflow_invalid", "The workflow is not in the UI format.", hint=EXPORT_HINT)
    return convert(document, info, graph_bytes_max)


def convert(document: Mapping[str, Any], info: ObjectInfo, graph_bytes_max: int) -> dict[str, Any]:
    """The graph of a document. Raises Refused: workflow_ui_format."""
    raise Refused("workflow_ui_format", hint=EXPORT_HINT)


def _object(text: bytes) -> dict[str, Any]:
    try:
        try:
            decoded = msgspec.json.decode(text)
        except msgspec.DecodeError:
            decoded = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise Refused("workflow_invalid", f"The workflow is not JSON: {str(fault)[:200]}.", hint=EXPORT_HINT) from None
    if not isinstance(decoded, dict):
        raise Refused("workflow_invalid", "The workflow is not a JSON object.", hint=EXPORT_HINT)
    return decoded
