"""Files that a workflow names: none outside ComfyUI's folders, unless the operator's own configuration has it so. PURE.

ComfyUI refuses some such names while it runs, custom nodes refuse what they like: a graph that an app sends is looked
at here, before it has a number. Texts may say what they like; only inputs that are called like files are meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from comfyledger.errors import Refused

_FILES: Final = re.compile(
    r"(?:^|_)(?:image|images|mask|video|audio|file|filename|path|name|prefix|folder|directory|dir|subfolder|model|lora|"
    r"ckpt|vae)(?:_?\d+)?(?:$|_)",
    re.IGNORECASE,
)
"""Inputs of ComfyUI's nodes that name files (`image`, `ckpt_name`, `filename_prefix`), and what others call theirs."""
_ROOT: Final = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


def check_graph(graph: Mapping[str, Any], own: str) -> None:
    """`own`: the address of the prefix that is filled in here. Raises Refused(workflow_unsafe_path)."""
    for node_id, node in graph.items():
        for name, value in node.get("inputs", {}).items():
            address = f"{node_id}.{name}"
            if address != own:
                check_input(address, value, address)


def check_input(address: str, value: Any, path: str) -> None:
    """Raises Refused(workflow_unsafe_path) at `path` for a value like `../x` or `/x` of an input that names a file."""
    name = address.partition(".")[2]
    if isinstance(value, str) and _FILES.search(name) and leads_outside(value):
        text = f"The input {name} names {value[:100]!r}, which is outside ComfyUI's folders."
        hint = "Give a name below the folder that the node reads or writes; else configure the workflow on the server."
        raise Refused("workflow_unsafe_path", text, hint=hint, path=path)


def leads_outside(value: str) -> bool:
    """Whether a file name begins at a root or a home, or climbs up, on any system."""
    return bool(_ROOT.match(value.strip())) or ".." in re.split(r"[/\\]", value.strip())
