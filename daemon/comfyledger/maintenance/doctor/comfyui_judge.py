"""What ComfyUI's answers mean: facts in, diagnoses out. PURE.

Behaviour as measured with ComfyUI 0.33.0. Versions before mid-2025 are only known to ignore the id of a prompt.
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


def of_nodes(area: str, workflow: str, graph: Mapping[str, Any], known: Mapping[str, Any]) -> list[Diagnosis]:
    """Whether ComfyUI has the node classes and the models of a workflow. A request may name other models."""
    try:
        check_against_object_info(dict(graph), known)
    except Refused as refusal:
        text = f"Workflow {workflow}: {refusal.message}"
        return [Diagnosis(area, "failure", text, f"install them, or [workflows.{workflow}]")]
    lacking = [
        Diagnosis(area, "warning", f"Workflow {workflow}: {sentence}", "install it, or give the input with each batch")
        for sentence in _not_offered(graph, known)
    ]
    return lacking or [Diagnosis(area, "ok", f"Workflow {workflow}: ComfyUI has its nodes and their models.")]


def _not_offered(graph: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Every input that must be one of a list and is not."""
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
