"""Digests that boxes tell each other: of what has to be the same on all of them, so that `doctor` finds where they
differ, and of where each is."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from comfyledger.plugins import OpenedStore
from comfyledger.queries.dependencies import WorkflowSource
from comfyledger.settings import Settings


def of_configuration(settings: Settings, workflows: Mapping[str, WorkflowSource]) -> dict[str, str]:
    """By part: which names follow from it, and what a request means. Secrets are not part of it."""
    graphs = {name: (one.graph, one.document.hex(), one.needs) for name, one in workflows.items()}
    parts = {
        "naming": settings.naming,
        "workflows": (settings.default_workflow, graphs),
        "characters": settings.characters,
    }
    return {part: _digest(value) for part, value in parts.items()}


def of_stores(stores: Mapping[str, OpenedStore]) -> dict[str, str]:
    """Where each store puts files. One whose identity is not known yet has no digest."""
    places = {f"store {name}": _digest(one.identity) for name, one in stores.items() if one.identity}
    return {"stores": _digest({name: one.kind for name, one in stores.items()}), **places}


def of_place(state: Path) -> str:
    """Which state folder of which machine it is."""
    return _digest((socket.gethostname(), str(state.resolve())))


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
