"""The inputs that a node of a graph has, as ComfyUI finds them: those of its class, and those that its values bring.

A dynamic combo brings the inputs of the option that is chosen, and is itself one only then; a growing list has its
numbered inputs instead of itself. The names follow `_expand_schema_for_dynamic` of ComfyUI 0.29.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.nodes import Config, NodeClass

Sections = Mapping[str, Mapping[str, Config]]

_COMBO: Final = "COMFY_DYNAMICCOMBO_V3"
_AUTOGROW: Final = "COMFY_AUTOGROW_V3"


class Described(msgspec.Struct, frozen=True):
    """One input. `kind` is its type, or its choices where an older class lists them in the place of the type."""

    name: str
    required: bool
    kind: Any
    config: Mapping[str, Any]
    short_name: str
    """As an error about a missing one calls it."""

    @property
    def options(self) -> list[Any] | None:
        """What can be chosen; None where anything of its type will do."""
        if isinstance(self.kind, list):
            return self.kind
        return self.config.get("options", []) if self.kind == "COMBO" else None

    def info(self, **more: Any) -> dict[str, Any]:
        """The `extra_info` of an error."""
        return {"input_name": self.name, "input_config": [self.kind, self.config], **more}


def described(node: NodeClass, given: Mapping[str, Any]) -> list[Described]:
    """All inputs of a node whose values are `given`."""
    sections: Sections = {"required": node.required, "optional": node.optional}
    found = list(_expanded(sections, given, "") if node.is_v3 else _plain(sections))
    is_dynamic = any("." in name for name, _, _ in found)
    return [
        Described(name, required, config[0], config[1] if len(config) > 1 else {}, _short(name) if is_dynamic else name)
        for name, config, required in found
    ]


def _plain(sections: Sections) -> Iterator[tuple[str, Config, bool]]:
    for section, configs in sections.items():
        for name, config in configs.items():
            yield name, config, section == "required"


def _expanded(sections: Sections, given: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Config, bool]]:
    for name, config, required in _plain(sections):
        path = f"{prefix}{name}"
        if config[0] == _AUTOGROW:
            yield from _grown(path, config[1]["template"])
        elif config[0] != _COMBO:
            yield path, config, required
        else:
            for option in config[1]["options"]:
                if path in given and option["key"] == given[path]:
                    yield from _expanded(option["inputs"], given, f"{path}.")
                    yield path, config, required


def _grown(path: str, template: Mapping[str, Any]) -> Iterator[tuple[str, Config, bool]]:
    ((_, config, required),) = _plain(template["input"])
    names = template.get("names") or [f"{template['prefix']}{place}" for place in range(template["max"])]
    for place, name in enumerate(names):
        yield f"{path}.{name}", config, required and place < template["min"]


def _short(name: str) -> str:
    return name.rpartition(".")[2]
