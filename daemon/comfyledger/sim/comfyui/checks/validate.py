"""How the stand-in checks a graph: ComfyUI's checks in ComfyUI's order, with its texts and shapes.

It takes the parsed body of `POST /prompt` and returns what will run, or the refusal. As in ComfyUI, a text that spells
a number becomes that number in the graph itself, and whatever goes wrong within a check is an error of its node. The
source is `execution.py` of ComfyUI 0.29.0; the recordings `invalid` and `partly_invalid` have some of its answers.
Nothing is read but the input folder: a loader's name must be there.

Where ComfyUI calls itself for the nodes above, a check here is a generator that says which node it needs first: graphs
may be longer than Python's stack.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final

import msgspec

from comfyledger.sim.comfyui.checks.inputs import Described, described
from comfyledger.sim.comfyui.graph import Graph, is_link
from comfyledger.sim.comfyui.installed import Installed
from comfyledger.sim.comfyui.nodes import NodeClass

Problem = dict[str, Any]
Steps = Generator[str, bool, bool]
"""A check under way: it yields the node that it needs checked, is sent whether that node is valid, and returns whether
its own is."""

SHOWN_MAX: Final = 20
"""A longer list is not printed into an error."""
_ANY: Final = frozenset({"*", "COMFY_MATCHTYPE_V3"})
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


def check(body: dict[str, Any], installed: Installed) -> Runnable | Refusal:
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
    missing = next(_missing_classes(graph, installed.classes), None)
    if missing:
        return Refusal(missing, {})
    targets = body.get("partial_execution_targets")
    outputs = [node_id for node_id, node in graph.items() if installed.classes[node["class_type"]].is_output]
    return _check_outputs(graph, installed, [node_id for node_id in outputs if targets is None or node_id in targets])


def _missing_classes(graph: Graph, classes: Mapping[str, NodeClass]) -> Iterator[Problem]:
    for node_id, node in graph.items():
        name = node.get("class_type")
        if name in classes:
            continue
        title = node.get("_meta", {}).get("title", name)
        message = f"Node '{title}' not found. The custom node may not be installed."
        if "class_type" not in node:
            named = f"Node '{title or f'ID #{node_id}'}'"
            message = f"{named} has no class_type. The workflow may be corrupted or a custom node is missing."
        about = {"node_id": node_id, "class_type": name, "node_title": title}
        yield _problem("missing_node_type", message, f"Node ID '#{node_id}'", about)


def _check_outputs(graph: Graph, installed: Installed, outputs: list[str]) -> Runnable | Refusal:
    if not outputs:
        return _refusal("prompt_no_outputs", "Prompt has no outputs", "")
    checks = _Checks(graph, installed)
    node_errors: dict[str, Any] = {}
    good: list[str] = []
    words: list[str] = []
    for output in outputs:
        if checks.is_valid(output):
            good.append(output)
        else:
            words += [f"{problem['message']}: {problem['details']}" for problem in checks.found[output][1]]
            _add_errors(node_errors, output, graph, checks.found)
    if good:
        return Runnable(graph, good, node_errors)
    kind, message = "prompt_outputs_failed_validation", "Prompt outputs failed validation"
    return Refusal(_problem(kind, message, "\n".join(words)), node_errors)


def _add_errors(
    node_errors: dict[str, Any], output: str, graph: Graph, found: Mapping[str, tuple[bool, list[Problem]]]
) -> None:
    """Add everything that was found so far; ComfyUI lists an output even with nodes that it does not depend on."""
    for node_id, (is_valid, problems) in found.items():
        if problems and not is_valid:
            entry = {"errors": problems, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
            node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)


class _Checks:
    """The checks of one graph. `found`: whether a node and everything above it is valid, and its own problems."""

    def __init__(self, graph: Graph, installed: Installed) -> None:
        self.found: dict[str, tuple[bool, list[Problem]]] = {}
        self._graph = graph
        self._installed = installed
        self._path: list[str] = []

    def is_valid(self, output: str) -> bool:
        """Check an output and everything above it."""
        try:
            return self._walk(output)
        except Exception as error:
            self.found[output] = (False, [_exception("exception_during_validation", "validating node", error, {})])
            return False

    def _walk(self, output: str) -> bool:
        """Run the check of a node, and first those of the nodes that it needs."""
        under_way = [self._steps(output)]
        answer: bool | None = None
        failure: Exception | None = None
        while under_way:
            try:
                needed = under_way[-1].throw(failure) if failure else under_way[-1].send(answer)  # type: ignore[arg-type]
            except StopIteration as stop:
                under_way.pop()
                answer, failure = bool(stop.value), None
            except Exception as error:
                under_way.pop()
                failure = error
            else:
                under_way.append(self._steps(needed))
                answer, failure = None, None
        if failure:
            raise failure
        return bool(answer)

    def _steps(self, node_id: str) -> Steps:
        if node_id in self.found:
            return self.found[node_id][0]
        if node_id in self._path:
            self._note_cycle(node_id)
            return False
        inputs = self._graph[node_id]["inputs"]
        node = self._installed.classes[self._graph[node_id]["class_type"]]
        problems: list[Problem] = []
        above_is_valid = True
        for one in described(node, inputs):
            if one.name not in inputs:
                problems += _missing(one)
            elif isinstance(inputs[one.name], list):
                above_is_valid &= yield from self._link(node_id, one, inputs[one.name], problems)
            else:
                problems += _value_problems(inputs, one, looks_itself=_looks_itself(node, one))
        problems += self._file_problems(node, inputs)
        # A cycle that was found on the way has already left its problem with this node.
        valid, known = self.found.get(node_id, (True, []))
        known = known + [problem for problem in problems if problem not in known]
        self.found[node_id] = (valid and above_is_valid and not problems, known)
        return self.found[node_id][0]

    def _link(self, node_id: str, one: Described, value: list[Any], problems: list[Problem]) -> Steps:
        """Check a link and the node that it leads to. Raises KeyError, IndexError or TypeError for one that leads to
        nothing, as ComfyUI does.
        """
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            problems.append(_problem("bad_linked_input", message, one.name, one.info(received_value=value)))
            return True
        above = self._installed.classes[self._graph[value[0]]["class_type"]]
        received = (list(above.returns) if above.is_v3 else above.returns)[value[1]]
        if not _fits(received, one.kind):
            details = f"{one.name}, received_type({received}) mismatch input_type({one.kind})"
            info = one.info(received_type=received, linked_node=value)
            message = "Return type mismatch between linked nodes"
            problems.append(_problem("return_type_mismatch", message, details, info))
            return True
        self._path.append(node_id)
        try:
            return (yield value[0])
        except Exception as error:
            info = one.info(linked_node=value, exception_message=str(error))
            self.found[value[0]] = (
                False,
                [_exception("exception_during_inner_validation", "validating inner node", error, info)],
            )
            return False
        finally:
            self._path.pop()

    def _file_problems(self, node: NodeClass, inputs: Mapping[str, Any]) -> Iterator[Problem]:
        """A class that looks for its file itself says so in its own words. Raises TypeError or AttributeError if there
        is no text to look for, as ComfyUI does.
        """
        loads = node.loads
        if loads is None or not loads.refusal:
            return
        if loads.name not in inputs:
            function = "validate_inputs" if node.is_v3 else "VALIDATE_INPUTS"
            raise TypeError(f"{node.name}.{function}() missing 1 required positional argument: '{loads.name}'")
        wanted: Any = None if is_link(inputs[loads.name]) else inputs[loads.name]
        is_none = loads.takes_all and (not wanted or wanted == "none")
        if not is_none and not self._installed.folders.exists(wanted):
            for name in _named(node, inputs) if loads.takes_all else [loads.name]:
                message, details = "Custom validation failed for node", f"{name} - {loads.refusal}: {wanted}"
                yield _problem("custom_validation_failed", message, details, {"input_name": name})

    def _note_cycle(self, node_id: str) -> None:
        path = [*self._path[self._path.index(node_id) :], node_id]
        nodes = list(dict.fromkeys(path))
        details = " -> ".join(f"{each} ({self._graph[each]['class_type']})" for each in path)
        for each in nodes:
            about = {"node_id": each, "cycle_nodes": nodes}
            self.found[each] = (False, [_problem("dependency_cycle", "Dependency cycle detected", details, about)])


def _looks_itself(node: NodeClass, one: Described) -> bool:
    loads = node.loads
    return loads is not None and bool(loads.refusal) and (loads.takes_all or loads.name == one.name)


def _named(node: NodeClass, inputs: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in inputs if name in node.required or name in node.optional)


def _missing(one: Described) -> Iterator[Problem]:
    if one.required:
        message = "Required input is missing"
        yield _problem("required_input_missing", message, one.short_name, {"input_name": one.name})


def _value_problems(inputs: dict[str, Any], one: Described, *, looks_itself: bool) -> Iterator[Problem]:
    """Convert a value in place, and say what is wrong with it. ComfyUI stops at the first thing."""
    value = inputs[one.name]
    try:
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        convert = _CONVERTERS.get(one.kind) if isinstance(one.kind, str) else None
        value = convert(value) if convert else value
        inputs[one.name] = value
    except Exception as error:
        message = f"Failed to convert an input value to a {one.kind} value"
        info = one.info(received_value=value, exception_message=str(error))
        yield _problem("invalid_input_type", message, f"{one.name}, {value}, {error}", info)
        return
    if not looks_itself:
        yield from _limit_problems(value, one)


def _limit_problems(value: Any, one: Described) -> Iterator[Problem]:
    info = one.info(received_value=value)
    least, most = one.config.get("min"), one.config.get("max")
    if least is not None and value < least:
        message = f"Value {value} smaller than min of {least}"
        yield _problem("value_smaller_than_min", message, one.name, info)
    elif most is not None and value > most:
        yield _problem("value_bigger_than_max", f"Value {value} bigger than max of {most}", one.name, info)
    elif one.options is not None:
        several = value if one.config.get("multiselect") and isinstance(value, list) else [value]
        wrong = [each for each in several if each not in one.options]
        if wrong:
            is_long = len(one.options) > SHOWN_MAX
            listed = f"(list of length {len(one.options)})" if is_long else str(one.options)
            details = f"{one.name}: {', '.join(repr(each) for each in wrong)} not in {listed}"
            info |= {"input_config": None} if is_long else {}
            yield _problem("value_not_in_list", "Value not in list", details, info)


def _fits(received: str, wanted: Any) -> bool:
    """Whether an output of this type may be linked to an input of that one, which may be a list of choices."""
    if received == wanted or received in _ANY or (isinstance(wanted, str) and wanted in _ANY):
        return True
    return isinstance(wanted, str) and not set(received.split(",")).isdisjoint(wanted.split(","))


def _exception(kind: str, doing: str, error: Exception, info: dict[str, Any]) -> Problem:
    raised = {"exception_type": type(error).__name__, "traceback": ['  File "/opt/ComfyUI/execution.py", line 1\n']}
    return _problem(kind, f"Exception when {doing}", str(error), info | raised)


def _is_canonical(prompt_id: object) -> bool:
    try:
        return isinstance(prompt_id, str) and str(uuid.UUID(prompt_id)) == prompt_id
    except ValueError:
        return False


def _refusal(kind: str, message: str, details: str) -> Refusal:
    return Refusal(_problem(kind, message, details), {})


def _problem(kind: str, message: str, details: str, extra_info: dict[str, Any] | None = None) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}
