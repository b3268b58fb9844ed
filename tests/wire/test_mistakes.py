"""The mistakes of a workflow reach every client as they were found."""

from __future__ import annotations

import json

import jsonschema
import msgspec

from comfyledger import wire
from comfyledger.client.connecting import refusal_of
from comfyledger.comfyui.graph.checks import refusal
from comfyledger.errors import NodeMistake, Refused
from comfyledger.wire.problems import problem_of
from comfyledger.wire.schema.openapi import openapi

MISTAKES = (
    NodeMistake("3", "Nowhere", "", "missing_node_type", "Nowhere", (), "Node 3 (Nowhere): unknown."),
    NodeMistake("4", "Loader", "name", "value_not_in_list", "x", ("y", "z"), "Node 4 (Loader): name is 'x'."),
)


def test_a_client_has_the_mistakes_that_the_daemon_found() -> None:
    sent = wire.frame("error", wire.error_of(refusal(MISTAKES).below("$.data.workflow")), 7)
    said = wire.read_answer(wire.read_envelope(sent))
    assert isinstance(said, wire.ErrorInfo)
    refused = refusal_of(said)
    assert refused.mistakes == MISTAKES
    assert (refused.code, refused.path) == ("workflow_failed_validation", "$.data.workflow.3")


def test_problem_details_have_the_same_mistakes() -> None:
    refused = refusal(MISTAKES)
    problem = json.loads(msgspec.json.encode(problem_of(refused)))
    assert problem["status"] == 422
    assert problem["mistakes"] == msgspec.to_builtins(wire.error_of(refused).mistakes)
    components = openapi("1")["components"]
    jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Problem", "components": components}).validate(
        problem
    )


def test_a_refusal_of_another_kind_has_no_mistakes() -> None:
    assert b"mistakes" not in wire.frame("error", wire.error_of(Refused("busy")))
    assert b"mistakes" not in msgspec.json.encode(problem_of(Refused("busy")))
