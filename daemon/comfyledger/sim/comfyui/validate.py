"""How the stand-in checks a graph: ComfyUI's checks, texts and shapes. PURE.

It takes the parsed body of `POST /prompt` and returns what will run, or the refusal. As in ComfyUI, a text that spells
a number becomes that number in the graph itself. The shapes are those of the recordings `invalid` and `partly_invalid`;
checks that were not recorded follow the names of ComfyUI 0.33.0.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.catalogue import NODES
from comfyledger.sim.comfyui.graph import Graph, is_link, needed
from comfyledger.sim.comfyui.nodes import Config

Problem = dict[str, Any]

_DYNAMIC: Final = "COMFY_DYNAMICCOMBO_V3"
_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class Runnable(msgspec.Struct, frozen=True):
    """A graph of which at least one output can run; `node_errors` names what cannot."""

    graph: Graph
    outputs: list[str]
    node_errors: dict[str, Any]


class Refusal(msgspec.Struct, frozen=True):
    """The body of a 400."""

    error: Problem
    node_errors: dict[str, Any]


def check(body: dict[str, Any]) -> Runnable | Refusal:
    """What can run of a body of `POST /prompt`, or why nothing can."""
    if "prompt" not in body:
        return _refusal("no_prompt", "No prompt provided", "No prompt provided")
    if body.get("prompt_id") is not None and not _is_canonical(body["prompt_id"]):
        return _refusal(
            "invalid_prompt_id",
            "prompt_id must be a valid UUID",
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            "omit it to let the server generate one",
        )
    graph: Graph = body["prompt"]
    missing = next(_missing_classes(graph), None)
    if missing:
        return Refusal(missing, {})
    return _check_outputs(graph, _wanted_outputs(graph, body.get("partial_execution_targets")))


def _check_outputs(graph: Graph, outputs: list[str]) -> Runnable | Refusal:
    if not outputs:
        return _refusal("prompt_no_outputs", "Prompt has no outputs", "")
    node_errors: dict[str, Any] = {}
    try:
        good = [output for output in outputs if not _errors_above(graph, output, node_errors)]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return _refusal("exception_during_validation", "Exception when validating node", str(error))
    if good:
        return Runnable(graph, good, node_errors)
    words = ("prompt_outputs_failed_validation", "Prompt outputs failed validation", "")
    return Refusal(_problem(*words), node_errors)


def _wanted_outputs(graph: Graph, targets: list[str] | None) -> list[str]:
    outputs = [node_id for node_id, node in graph.items() if NODES[node["class_type"]].is_output]
    return [output for output in outputs if targets is None or output in targets]


def _missing_classes(graph: Graph) -> Iterator[Problem]:
    for node_id, node in graph.items():
        name = node.get("class_type")
        if name in NODES:
            continue
        title = node.get("_meta", {}).get("title", name)
        yield _problem(
            "missing_node_type",
            f"Node '{title}' not found. The custom node may not be installed.",
            f"Node ID '#{node_id}'",
            {"node_id": node_id, "class_type": name, "node_title": title},
        )


def _errors_above(graph: Graph, output: str, node_errors: dict[str, Any]) -> bool:
    """Whether a node that the output needs has an error; adds it to `node_errors`."""
    faulty = False
    for node_id in needed(graph, output):
        problems = list(_node_problems(graph, node_id))
        if problems:
            faulty = True
            class_type = graph[node_id]["class_type"]
            entry = {"errors": problems, "dependent_outputs": [], "class_type": class_type}
            node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
    return faulty


def _node_problems(graph: Graph, node_id: str) -> Iterator[Problem]:
    inputs = graph[node_id]["inputs"]
    node = NODES[graph[node_id]["class_type"]]
    for name, config in _expanded({**node.required, **node.optional}, inputs).items():
        if name not in inputs:
            if name not in node.optional:
                info = {"input_name": name}
                yield _problem("required_input_missing", "Required input is missing", name, info)
        elif isinstance(inputs[name], list):
            yield from _link_problems(graph, name, config, inputs[name])
        else:
            yield from _value_problems(inputs, name, config)


def _expanded(configs: dict[str, Config], inputs: dict[str, Any]) -> dict[str, Config]:
    """With the inputs that the chosen option of a dynamic combo brings, as `{input}.{name of its own}`."""
    found = dict(configs)
    for name, config in configs.items():
        if config[0] == _DYNAMIC:
            for option in config[1]["options"]:
                if option["key"] == inputs.get(name):
                    found |= {f"{name}.{own}": inner for own, inner in option["inputs"]["required"].items()}
    return found


def _options(config: Config) -> list[Any] | None:
    """What an input can be chosen from; None if anything of its kind will do."""
    if isinstance(config[0], list):
        return config[0]
    if config[0] == "COMBO":
        return list(config[1]["options"])
    return [option["key"] for option in config[1]["options"]] if config[0] == _DYNAMIC else None


def _link_problems(graph: Graph, name: str, config: Config, value: list[Any]) -> Iterator[Problem]:
    info: dict[str, Any] = {"input_name": name, "input_config": config}
    if not is_link(value):
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        yield _problem("bad_linked_input", message, name, info | {"received_value": value})
        return
    returns = NODES[graph[value[0]]["class_type"]].returns
    received = returns[value[1]] if 0 <= value[1] < len(returns) else None
    if config[0] != "*" and received not in str(config[0]).split(","):
        details = f"{name}, received_type({received}) mismatch input_type({config[0]})"
        info |= {"received_type": received, "linked_node": value}
        yield _problem("return_type_mismatch", "Return type mismatch between linked nodes", details, info)


def _value_problems(inputs: dict[str, Any], name: str, config: Config) -> Iterator[Problem]:
    kind, value = config[0], inputs[name]
    info = {"input_name": name, "input_config": config, "received_value": value}
    options = _options(config)
    if options is not None:
        if value not in options:
            yield _problem("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {options}", info)
        return
    try:
        inputs[name] = _CONVERTERS.get(kind, _as_it_is)(value)
    except (ValueError, TypeError) as error:
        message = f"Failed to convert an input value to a {kind} value"
        info["exception_message"] = str(error)
        yield _problem("invalid_input_type", message, f"{name}, {value}, {error}", info)
        return
    yield from _range_problems(inputs[name], name, config[1] if len(config) > 1 else {}, info)


def _range_problems(value: Any, name: str, limits: dict[str, Any], info: dict[str, Any]) -> Iterator[Problem]:
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        yield _problem("value_smaller_than_min", message, name, info)
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        yield _problem("value_bigger_than_max", message, name, info)


def _as_it_is(value: Any) -> Any:
    return value


def _is_canonical(prompt_id: object) -> bool:
    try:
        return isinstance(prompt_id, str) and str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        return False


def _refusal(kind: str, message: str, details: str) -> Refusal:
    return Refusal(_problem(kind, message, details), {})


def _problem(kind: str, message: str, details: str, extra_info: dict[str, Any] | None = None) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}
