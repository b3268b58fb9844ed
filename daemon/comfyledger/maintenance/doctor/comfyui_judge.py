"""What ComfyUI's answers mean: facts in, diagnoses out. PURE.

Behaviour as measured with ComfyUI 0.33.0. Versions before mid-2025 are only known to ignore the id of a prompt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal, NamedTuple

import msgspec

from comfyledger.comfyui.answers import PromptAnswer, RefusalAnswer
from comfyledger.comfyui.fields import cut
from comfyledger.comfyui.graph.checks import find_mistakes
from comfyledger.comfyui.graph.nodes import Graph
from comfyledger.comfyui.graph.plan import Plan, addresses_of_the_run
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.errors import NodeMistake, Refused
from comfyledger.maintenance.doctor.judge import Diagnosis

TEXT_CHARS_MAX: Final = 300
MISTAKES_SHOWN: Final = 10
_OF_VALUES: Final = frozenset(
    {"value_not_in_list", "value_smaller_than_min", "value_bigger_than_max", "invalid_input_type"}
)
UPDATE: Final = "update ComfyUI"
RESTART: Final = "restart ComfyUI"
End = Literal["success", "error", "interrupted", "waiting", "gone"]
PROBE: Final = "comfyledger doctor --probe-comfyui"


class Planned(NamedTuple):
    """A configured workflow."""

    graph: Graph
    plan: Plan
    files: Collection[str] = ()
    """The addresses that get an input file."""


Draft = Callable[[bytes, ObjectInfo], Awaitable[Planned]]
"""Makes a workflow of a document in the UI format, for a ComfyUI that says this of its nodes: as it said it, and as it
was read. Raises Refused."""


class Socket(msgspec.Struct, frozen=True):
    """The result of a connection. `greeted`: its first frame was ComfyUI's `status`."""

    greeted: bool
    problem: str = ""


class Probe(msgspec.Struct, frozen=True):
    """What happened to the probe's prompt. `returned_id`: the id that ComfyUI answered.

    `heard`: whether the websocket sent messages about it. `left`: whether it could not be removed from the history.
    """

    sent_id: str
    returned_id: str = ""
    refused: str = ""
    ended: End = "gone"
    heard: bool = False
    left: bool = False


def of_reach(area: str, url: str, version: str, problem: str, backend: str) -> Diagnosis:
    """`problem`: why there was no answer; empty if there was one."""
    if problem:
        text = f"ComfyUI does not answer at {url}: {cut(problem, TEXT_CHARS_MAX)}"
        return Diagnosis(area, "failure", text, f"start it, or [comfyui.{backend}] url")
    return Diagnosis(area, "ok", f"ComfyUI {version or 'of unknown version'} answers at {url}.")


def of_id(area: str, answer: PromptAnswer | RefusalAnswer) -> Diagnosis:
    """The answer to a prompt without nodes whose id is no UUID: it is never queued.

    0.33.0 refuses the id. A version that ignores ids, or accepts any, refuses the missing outputs instead.
    """
    if isinstance(answer, RefusalAnswer) and answer.type == "invalid_prompt_id":
        return Diagnosis(area, "ok", "ComfyUI uses the ids that prompts are sent with.")
    text = "ComfyUI does not show whether it uses the ids of prompts; versions before mid-2025 do not."
    return Diagnosis(area, "warning", text, PROBE)


def of_socket(area: str, socket: Socket) -> Diagnosis:
    if socket.greeted:
        return Diagnosis(area, "ok", "The websocket opens and sends `status`; --probe-comfyui checks the rest.")
    if socket.problem:
        text = f"The websocket cannot be used: {cut(socket.problem, TEXT_CHARS_MAX)}"
        return Diagnosis(area, "failure", text, f"{RESTART}, or configure the proxy in front of it to pass websockets")
    return Diagnosis(area, "failure", "The websocket opens, and ComfyUI does not send its first `status`.", RESTART)


def of_nodes(area: str, name: str, workflow: Planned, info: ObjectInfo) -> list[Diagnosis]:
    """Whether ComfyUI would take a workflow. A request may give other values, so a wrong one is a warning."""
    outputs = [output.node for output in workflow.plan.every_output]
    filled = {*addresses_of_the_run(workflow.plan), *workflow.files}
    mistakes = find_mistakes(workflow.graph, outputs, info, filled=filled)
    found = [_of_mistake(area, name, mistake) for mistake in mistakes[:MISTAKES_SHOWN]]
    if len(mistakes) > MISTAKES_SHOWN:
        text = f"Workflow {name}: ComfyUI would not take {len(mistakes) - MISTAKES_SHOWN} other things either."
        found.append(Diagnosis(area, "failure", text, f"[workflows.{name}]"))
    return found or [Diagnosis(area, "ok", f"Workflow {name}: ComfyUI has its nodes and their models.")]


def of_draft(area: str, name: str, refusal: Refused) -> Diagnosis:
    """A document that cannot be converted with the nodes that a ComfyUI has."""
    return Diagnosis(area, "failure", f"Workflow {name}: {cut(refusal.message, TEXT_CHARS_MAX)}", refusal.hint)


def _of_mistake(area: str, name: str, mistake: NodeMistake) -> Diagnosis:
    text = f"Workflow {name}: {mistake.message}"
    if mistake.kind in _OF_VALUES:
        return Diagnosis(area, "warning", text, "install or correct it, or give the input with each batch")
    mend = "install the custom nodes" if mistake.kind == "missing_node_type" else "correct the workflow"
    return Diagnosis(area, "failure", text, f"{mend}, or [workflows.{name}]")


def of_probe(area: str, probe: Probe) -> list[Diagnosis]:
    if probe.refused:
        text = f"ComfyUI refused the probe: {cut(probe.refused, TEXT_CHARS_MAX)}"
        return [Diagnosis(area, "failure", text, "check ComfyUI's log")]
    if probe.returned_id != probe.sent_id:
        text = "ComfyUI replaces the ids of prompts: after a lost answer a prompt could not be found."
        return [Diagnosis(area, "failure", text, UPDATE)]
    return [_of_end(area, probe), *_of_hearing(area, probe), *_of_leftover(area, probe)]


def _of_end(area: str, probe: Probe) -> Diagnosis:
    match probe.ended:
        case "success":
            return Diagnosis(area, "ok", "ComfyUI ran the probe under our id.")
        case "waiting":
            text = "The probe still waited at the end of its time; it was removed from the queue."
            return Diagnosis(area, "warning", text, "try again when ComfyUI has less to do")
        case "gone":
            text = "ComfyUI accepted the probe and no longer knows its id: perhaps somebody cleared the queue."
            return Diagnosis(area, "failure", text, PROBE)
        case _:
            text = f"The probe ended with {probe.ended}, although it only makes an image of one colour."
            return Diagnosis(area, "failure", text, "check ComfyUI's log")


def _of_hearing(area: str, probe: Probe) -> list[Diagnosis]:
    if probe.heard:
        return [Diagnosis(area, "ok", "The websocket sent messages about the probe.")]
    if probe.ended == "waiting":
        return []
    text = "The websocket is open but sent nothing about the probe: each image waits up to a sweep interval."
    return [Diagnosis(area, "failure", text, RESTART)]


def _of_leftover(area: str, probe: Probe) -> list[Diagnosis]:
    text = f"The probe {probe.sent_id} could not be removed from ComfyUI's history."
    return [Diagnosis(area, "warning", text, RESTART)] if probe.left else []
