"""What ComfyUI's answers mean: facts in, diagnoses out. PURE.

What ComfyUI does and says is as measured with 0.33.0; of earlier versions only this is known: before mid-2025 they
ignore the id that a prompt comes with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from comfyledger.comfyui.answers import PromptAnswer, RefusalAnswer
from comfyledger.comfyui.fields import cut
from comfyledger.comfyui.graph.read import check_against_object_info
from comfyledger.errors import Refused
from comfyledger.maintenance.doctor.judge import Diagnosis

TEXT_CHARS_MAX: Final = 300
CHOICES_NAMED: Final = 3
UPDATE: Final = "update ComfyUI"
RESTART: Final = "restart ComfyUI"
End = Literal["success", "error", "interrupted", "waiting", "gone"]
PROBE: Final = "comfyledger doctor --probe-comfyui"


class Socket(msgspec.Struct, frozen=True):
    """What came of a connection. `greeted`: its first frame was the `status` that ComfyUI begins with."""

    greeted: bool
    problem: str = ""


class Probe(msgspec.Struct, frozen=True):
    """What became of the probe's prompt. `returned_id`: what ComfyUI called it. `found`: ended under our id.

    `heard`: whether the websocket told of it. `left`: whether it could not be taken out of the history again.
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
    """The answer to a prompt without nodes under an id that is none: nothing of it is ever queued.

    0.33.0 refuses the id; a version that would ignore an id, or takes any, refuses the lack of outputs.
    """
    if isinstance(answer, RefusalAnswer) and answer.type == "invalid_prompt_id":
        return Diagnosis(area, "ok", "ComfyUI looks at the ids that prompts come with.")
    text = "ComfyUI does not say whether it honours the ids that prompts come with, as versions before mid-2025 do not."
    return Diagnosis(area, "warning", text, PROBE)


def of_socket(area: str, socket: Socket) -> Diagnosis:
    if socket.greeted:
        return Diagnosis(area, "ok", "The websocket opens and greets; --probe-comfyui sees whether it goes on.")
    if socket.problem:
        text = f"The websocket cannot be used: {cut(socket.problem, TEXT_CHARS_MAX)}"
        return Diagnosis(area, "failure", text, f"{RESTART}, or let what stands before it pass websockets")
    return Diagnosis(area, "failure", "The websocket opens and does not say the `status` it begins with.", RESTART)


def of_nodes(area: str, workflow: str, graph: Mapping[str, Any], known: Mapping[str, Any]) -> list[Diagnosis]:
    """Whether ComfyUI has the node classes of a workflow, and the models that it names. A request may name others."""
    try:
        check_against_object_info(dict(graph), known)
    except Refused as refusal:
        text = f"Workflow {workflow}: {refusal.message}"
        return [Diagnosis(area, "failure", text, f"install them, or [workflows.{workflow}]")]
    lacking = [
        Diagnosis(area, "warning", f"Workflow {workflow}: {sentence}", "install it, or give the input with each batch")
        for sentence in _not_offered(graph, known)
    ]
    return lacking or [Diagnosis(area, "ok", f"Workflow {workflow}: ComfyUI has its nodes and what they name.")]


def _not_offered(graph: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Every input that is to be one of a list and is not."""
    for node_id, node in graph.items():
        for name, value in node.get("inputs", {}).items():
            offered = _offered(known[node["class_type"]], name)
            if offered is None or not isinstance(value, str) or value in offered:
                continue
            named = ", ".join(map(str, offered[:CHOICES_NAMED])) or "none"
            more = f" and {len(offered) - CHOICES_NAMED} more" if len(offered) > CHOICES_NAMED else ""
            yield cut(f"node {node_id} wants {name} {value!r}; ComfyUI has {named}{more}.", TEXT_CHARS_MAX)


def _offered(info: Any, name: str) -> list[Any] | None:
    """The list that an input chooses from: `[[...]]`, or `["COMBO", {"options": [...]}]` of newer nodes."""
    inputs = info.get("input") if isinstance(info, dict) else None
    sections = inputs.values() if isinstance(inputs, dict) else ()
    found = next((one[name] for one in sections if isinstance(one, dict) and name in one), None)
    match found:
        case [list() as offered, *_] | ["COMBO", {"options": list() as offered}, *_]:
            return offered
        case _:
            return None


def of_probe(area: str, probe: Probe) -> list[Diagnosis]:
    if probe.refused:
        text = f"ComfyUI did not take the probe: {cut(probe.refused, TEXT_CHARS_MAX)}"
        return [Diagnosis(area, "failure", text, "look at ComfyUI's log")]
    if probe.returned_id != probe.sent_id:
        text = "ComfyUI gives prompts ids of its own: after a lost answer none could be found again."
        return [Diagnosis(area, "failure", text, UPDATE)]
    return [_of_end(area, probe), *_of_hearing(area, probe), *_of_leftover(area, probe)]


def _of_end(area: str, probe: Probe) -> Diagnosis:
    match probe.ended:
        case "success":
            return Diagnosis(area, "ok", "ComfyUI ran a prompt of ours and knew it by our id.")
        case "waiting":
            text = "The probe still waited when its time was over; it was taken out of the queue again."
            return Diagnosis(area, "warning", text, "try again when ComfyUI has less to do")
        case "gone":
            text = "ComfyUI took the probe and does not know its id any more: somebody cleared the queue, or it lies."
            return Diagnosis(area, "failure", text, PROBE)
        case _:
            text = f"The probe ended with {probe.ended}, though it only makes one colour."
            return Diagnosis(area, "failure", text, "look at ComfyUI's log")


def _of_hearing(area: str, probe: Probe) -> list[Diagnosis]:
    if probe.heard:
        return [Diagnosis(area, "ok", "The websocket told of the probe.")]
    if probe.ended == "waiting":
        return []
    text = "The websocket is open and was silent about the probe: it is deaf, and each image costs a sweep interval."
    return [Diagnosis(area, "failure", text, RESTART)]


def _of_leftover(area: str, probe: Probe) -> list[Diagnosis]:
    text = f"The probe {probe.sent_id} could not be taken out of ComfyUI's history."
    return [Diagnosis(area, "warning", text, RESTART)] if probe.left else []
