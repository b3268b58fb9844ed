"""The node classes of one ComfyUI, as its `/object_info` describes them: inputs, ranges, choices, outputs. PURE.

A class is read when it is asked for, because a server may have thousands. Nothing that a server says raises: what is
not understood is left out, and an input without a description takes anything.

The names of dynamic inputs follow ComfyUI 0.29.0, `comfy_api/latest/_io.py`: the choice `mode` of a dynamic combo
brings `mode.width`, and the growing list `images` has `images.image0`, `images.image1`, and so on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from comfyledger.comfyui.fields import BadFrame, json_object

T = TypeVar("T")

ANY: Final = "*"
COMBO: Final = "COMBO"
DYNAMIC_COMBO: Final = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW: Final = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT: Final = "COMFY_DYNAMICSLOT_V3"
_DYNAMIC: Final = frozenset({DYNAMIC_COMBO, AUTOGROW, DYNAMIC_SLOT})
WIDGETS: Final = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", COMBO, DYNAMIC_COMBO})
"""Types whose value a person may type in. All others come through a link, custom widgets aside."""
GROWN_MAX: Final = 100
"""As many names as ComfyUI gives a growing input (`Autogrow._MaxNames`)."""
_CUSTOM_MODULES: Final = "custom_nodes"
"""Where ComfyUI loads custom nodes from; its own classes are in `nodes`, `comfy_extras` and `comfy_api_nodes`."""
NESTED_MAX: Final = 8
"""Dynamic inputs within dynamic inputs."""


class Input(NamedTuple):
    """One input of a node class."""

    name: str
    type: str
    """As ComfyUI writes it: "INT", "MODEL", "IMAGE,MASK", "*". A plain list of choices is "COMBO"."""
    required: bool
    options: tuple[Any, ...] | None
    """The choices of a combo, also those of a dynamic combo; None for other types, and where they come from elsewhere
    (`remote`)."""
    low: float | None
    high: float | None
    """The smallest and the largest number, inclusive; an int where ComfyUI gives an int. None if there is no limit."""
    config: Mapping[str, Any]
    """Everything else that the server says of it: `default`, `multiselect`, `forceInput`, `control_after_generate`,
    `image_upload`, ..."""

    @property
    def is_widget(self) -> bool:
        """Whether people type its value in, unless it is linked."""
        return self.type in WIDGETS and self.config.get("forceInput") is not True


class NodeClass(NamedTuple):
    """One class of nodes."""

    name: str
    display_name: str
    described: tuple[Input, ...]
    """Its inputs as they are described. A node has those of `inputs_of`."""
    outputs: tuple[str, ...]
    """The types of its outputs, by slot."""
    is_output: bool
    """Whether ComfyUI runs it for its own sake: a saver or a preview."""
    is_custom: bool = False
    """Whether a custom node provides it, and not ComfyUI itself."""


class ObjectInfo:
    """What one server said. Two with equal `digest` say the same. Read-only."""

    def __init__(self, classes: Mapping[str, Any], digest: str) -> None:
        """`classes`: the answer by name of class, each decoded or still raw. `digest`: of its bytes, sha256 in hex."""
        self.digest = digest
        self._raw = classes
        self._read: dict[str, NodeClass | None] = {}
        self._made: dict[Callable[[], Any], Any] = {}

    def __contains__(self, class_type: object) -> bool:
        return isinstance(class_type, str) and class_type in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def get(self, class_type: str) -> NodeClass | None:
        """The class of this name; None if the server has none, or describes it in a way that is not understood."""
        if class_type not in self._raw:  # not remembered: strangers ask for any name
            return None
        if class_type not in self._read:
            self._read[class_type] = _node_class(class_type, self._raw[class_type])
        return self._read[class_type]

    def once(self, make: Callable[[], T]) -> T:
        """What somebody keeps as long as this answer: the same for each call with the same `make`."""
        if make not in self._made:
            self._made.setdefault(make, make())
        made: T = self._made[make]
        return made


def read_object_info(body: bytes, digest: str) -> ObjectInfo:
    """The answer of `GET /object_info`. Raises BadFrame unless it is a JSON object.

    The classes stay raw: 10 MB take 10 ms so, and ten times as long and as much memory when all are decoded. Limits
    without an end, which Python writes as `Infinity`, are no limits.
    """
    for text in (body, _without_infinities(body)):
        try:
            classes = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except (ValueError, RecursionError):
            continue
        return ObjectInfo(classes, digest)
    return ObjectInfo(json_object(body), digest)


def _without_infinities(body: bytes) -> bytes:
    """With null for the numbers that JSON does not have, where they are values. Each step takes milliseconds, so that
    other threads go on. What it misses is read in the slow way.
    """
    for word in (b"Infinity", b"-Infinity", b"NaN"):
        for before, after in itertools.product((b": ", b", ", b"["), (b",", b"}", b"]")):
            body = body.replace(before + word + after, before + b"null" + after)
    return body


def inputs_of(node_class: NodeClass, given: Mapping[str, Any]) -> dict[str, Input]:
    """Every input that a node has with the values `given` in its graph, by name: required ones first, in the order of
    the class. Dynamic inputs are expanded as ComfyUI expands them: what a chosen option requires is required, even if
    the choice itself is optional.
    """
    found: dict[str, Input] = {}
    for one in node_class.described:
        _expand(one, given, found, 0)
    return found


def described_inputs(node_class: NodeClass) -> list[Input]:
    """The inputs of a class as they are described, in the order of `inputs_of`, with none expanded."""
    return list(node_class.described)


def chosen_inputs(one: Input, value: object) -> list[Input]:
    """The further inputs that a value of a dynamic combo brings, with none expanded."""
    for option in _list(one.config.get("options")):
        if isinstance(option, dict) and option.get("key") == value:
            return _inner(one, _dict(option.get("inputs")))
    return []


def grown_inputs(one: Input) -> list[Input]:
    """The inputs of a growing list, as many as it may have; the first `min` of them are required."""
    template = _dict(one.config.get("template"))
    inner = next(iter(_sections(_dict(template.get("input")))), None)
    if inner is None:
        return []
    names = [str(name) for name in _list(template.get("names"))]
    most = template.get("max", 10)
    if not names and isinstance(most, int):
        names = [f"{template.get('prefix', '')}{place}" for place in range(min(most, GROWN_MAX))]
    least = grown_min(one)
    return [
        _input(f"{one.name}.{name}", inner[1], inner[2] and place < least)
        for place, name in enumerate(names[:GROWN_MAX])
    ]


def grown_min(one: Input) -> int:
    """How many inputs of a growing list are required."""
    least = _dict(one.config.get("template")).get("min", 1)
    return least if isinstance(least, int) else 0


def _node_class(name: str, said: object) -> NodeClass | None:
    if isinstance(said, msgspec.Raw):
        said = _decoded(said)
    if not isinstance(said, dict) or not isinstance(said.get("input"), dict):
        return None
    outputs = said.get("output")
    types = tuple(_type_of(one) for one in outputs) if isinstance(outputs, list) else ()
    is_custom = str(said.get("python_module") or "").startswith(_CUSTOM_MODULES)
    shown = str(said.get("display_name") or name)
    described = tuple(_input(*section) for section in _sections(said["input"]))
    return NodeClass(name, shown, described, types, said.get("output_node") is True, is_custom)


def _decoded(said: msgspec.Raw) -> Mapping[str, Any] | None:
    try:
        return json_object(bytes(said))
    except BadFrame:
        return None


def _sections(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Name, description, and whether it is required."""
    for section in ("required", "optional"):
        described = inputs.get(section)
        if isinstance(described, dict):
            for name, spec in described.items():
                yield name, spec, section == "required"


def _expand(one: Input, given: Mapping[str, Any], found: dict[str, Input], depth: int) -> None:
    if one.type not in _DYNAMIC:
        found[one.name] = one
        return
    if one.type == AUTOGROW:
        found |= {grown.name: grown for grown in grown_inputs(one)}
        return
    found[one.name] = one
    if depth < NESTED_MAX:
        for inner in _brought_in(one, given):
            _expand(inner, given, found, depth + 1)


def _brought_in(one: Input, given: Mapping[str, Any]) -> list[Input]:
    """The further inputs that the value of a dynamic input brings."""
    if one.type == DYNAMIC_SLOT and one.name in given:
        return _inner(one, _dict(one.config.get("inputs")))
    return chosen_inputs(one, given.get(one.name)) if one.type == DYNAMIC_COMBO else []


def _inner(one: Input, inputs: Mapping[str, Any]) -> list[Input]:
    return [_input(f"{one.name}.{name}", spec, required) for name, spec, required in _sections(inputs)]


def _input(name: str, spec: Any, required: bool) -> Input:
    """One input from `[type]` or `[type, config]`."""
    parts = spec if isinstance(spec, list) and spec else [ANY]
    config = _dict(parts[1]) if len(parts) > 1 else {}
    kind = _type_of(parts[0])
    return Input(
        name, kind, required, _options(parts[0], kind, config), _limit(config, "min"), _limit(config, "max"), config
    )


def _type_of(said: object) -> str:
    """A list of choices is a combo, also where an output gives one."""
    if isinstance(said, list):
        return COMBO
    return said if isinstance(said, str) and said else ANY


def _options(said: object, kind: str, config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if isinstance(said, list):
        return tuple(said)
    options = config.get("options")
    if not isinstance(options, list) or (kind == COMBO and config.get("remote")):
        return None
    if kind == DYNAMIC_COMBO:
        return tuple(option.get("key") for option in options if isinstance(option, dict))
    return tuple(options) if kind == COMBO else None


def _limit(config: Mapping[str, Any], key: str) -> float | None:
    value = config.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
