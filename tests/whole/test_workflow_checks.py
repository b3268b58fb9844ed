"""A workflow that ComfyUI would refuse is refused before it costs a number; what ComfyUI takes is taken."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from support.checked_graphs import FORMS, RIGHT, WRONG, Case
from support.processes import House
from support.waiting import DEADLINE_S
from support.wire_app import App, Refusal

SMALL: dict[str, Any] = {"quantity": 1, "inputs": {}}
CASES_MIN = 30


def object_info(house: House) -> Any:
    with urllib.request.urlopen(f"{house.comfyui.url}/object_info", timeout=DEADLINE_S) as answer:
        return json.load(answer)


async def said_of(app: App, name: str, case: Case, info: Any, **more: Any) -> tuple[str, frozenset[Any]]:
    """The code with which a workflow is refused, and its mistakes."""
    workflow = FORMS[case.form](case.graph, info)
    with pytest.raises(Refusal) as refused:
        await app.submit(name, workflow=workflow, **SMALL, **more)
    return refused.value.code, plain(refused.value.data.get("mistakes", []))


def plain(mistakes: list[Any]) -> frozenset[Any]:
    """Node, input and kind of each."""
    return frozenset((one["node"], one.get("input", ""), one["kind"]) for one in mistakes)


async def test_a_strict_check_says_what_a_submission_says(house: House) -> None:
    await house.begin()
    info = object_info(house)
    async with house.app() as app:
        for name, case in {**WRONG, **RIGHT}.items():
            workflow = FORMS[case.form](case.graph, info)
            report = await app.ask("check_workflow", workflow=workflow, strict=True)
            code = "workflow_failed_validation" if case.mistakes else ""
            assert (report.get("code", ""), plain(report.get("mistakes", []))) == (code, case.mistakes), name
            assert report["verdict"] == ("refused" if case.mistakes else "accepted"), name


async def test_wrong_workflows_cost_no_number_and_right_ones_run(house: House) -> None:
    assert min(len(WRONG), len(RIGHT)) >= CASES_MIN
    await house.begin(depth=8)
    info = object_info(house)
    async with house.app() as app:
        (before,) = (await app.submit("before", quantity=1))["numbers"]
        for dry_run in (True, False):
            said = {name: await said_of(app, name, case, info, dry_run=dry_run) for name, case in WRONG.items()}
            assert said == {name: ("workflow_failed_validation", case.mistakes) for name, case in WRONG.items()}
        (after,) = (await app.submit("after", quantity=1))["numbers"]
        assert after == before + 1
        batches = [
            await app.submit(name, workflow=FORMS[case.form](case.graph, info), **SMALL) for name, case in RIGHT.items()
        ]
        assert [number for batch in batches for number in batch["numbers"]] == [
            after + 1 + place for place in range(len(RIGHT))
        ]
        settled = await app.settled(*(batch["batch_id"] for batch in batches))
    stored = {name: (batch["stored"], batch["failed"]) for name, batch in zip(RIGHT, settled, strict=True)}
    assert stored == dict.fromkeys(RIGHT, (1, 0))
    assert len(house.comfyui.posted()) == len(RIGHT) + 2, "a wrong workflow was sent to ComfyUI"
