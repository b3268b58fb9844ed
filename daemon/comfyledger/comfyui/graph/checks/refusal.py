"""Mistakes as a refusal, with a sentence and a hint for people. PURE."""

from __future__ import annotations

from typing import Final

from comfyledger.comfyui.graph.nodes import printable
from comfyledger.errors import NodeMistake, Refused

MISTAKES_MAX: Final = 100
UNCHECKED: Final = "not checked: ComfyUI could not be asked"
"""What is found in a workflow that ComfyUI may still refuse."""
TOLD_MAX: Final = 3
"""How many mistakes the sentence has."""

_CHANGE: Final = "Change the workflow in ComfyUI and export it again."
_HINTS: Final = {
    "missing_node_type": "Install the custom nodes that provide what is missing, and restart ComfyUI.",
    "value_not_in_list": "Name something that ComfyUI has, or add the file to ComfyUI's folder of models or inputs.",
    **dict.fromkeys(
        ("value_smaller_than_min", "value_bigger_than_max", "invalid_input_type"), "Give a value that the node takes."
    ),
}


def refusal(mistakes: tuple[NodeMistake, ...]) -> Refused:
    """The refusal (workflow_failed_validation) for at least one mistake. Its path is the first mistake's address."""
    told, first = summary(mistakes), mistakes[0]
    if len(mistakes) > TOLD_MAX:
        told = f"{told} {len(mistakes) - TOLD_MAX} more are in `mistakes`."
    return Refused(
        "workflow_failed_validation",
        f"ComfyUI would refuse the workflow: {told}",
        hint=" ".join(dict.fromkeys(map(_hint, mistakes[:TOLD_MAX]))),
        path=printable(f"{first.node}.{first.input}" if first.input else first.node, 200),
        mistakes=mistakes,
    )


def _hint(mistake: NodeMistake) -> str:
    if not mistake.is_file:
        return _HINTS.get(mistake.kind, _CHANGE)
    address = printable(f"{mistake.node}.{mistake.input}", 200)
    return f'Add the file with `comfyledger input add FILE`, and give {{"input": "sha256:…"}} as {address}.'


def summary(mistakes: tuple[NodeMistake, ...]) -> str:
    """How many mistakes there are, and the first of them, for people."""
    count = len(mistakes)
    several = f"at least {count}" if count == MISTAKES_MAX else str(count)
    told = " ".join(mistake.message for mistake in mistakes[:TOLD_MAX])
    return f"{several} mistake{'' if count == 1 else 's'}. {told}"
