"""What is kept of an answer of `/object_info` for further searches: bounded, and of no other answer."""

from __future__ import annotations

from typing import Any

from comfyledger.comfyui.graph.checks import find_image_mistakes
from comfyledger.comfyui.graph.checks import server as server_module
from comfyledger.comfyui.object_info import ObjectInfo

LISTS = 2 * server_module.SETS_KEPT


def answered(digest: str, *more: str) -> ObjectInfo:
    """A server whose loaders each have a long list of names of their own."""
    names = [[f"{one}-{place}" for place in range(server_module.FEW + 1)] + list(more) for one in range(LISTS)]
    return ObjectInfo(
        {f"Loader{one}": {"input": {"required": {"name": [names[one]]}}, "output": ["MODEL"]} for one in range(LISTS)},
        digest,
    )


GRAPH: dict[str, Any] = {str(one): {"class_type": f"Loader{one}", "inputs": {"name": ""}} for one in range(LISTS)}


def wrong(info: ObjectInfo, name: str) -> list[str]:
    values = {f"{one}.name": name.format(one) for one in range(LISTS)}
    found = find_image_mistakes(GRAPH, [values], info, feeding=set(GRAPH))
    return [mistake.node for mistake in found.get(0, ())]


def test_more_long_lists_than_are_kept_are_searched_again_and_again() -> None:
    info = answered("one")
    for _ in range(2):
        assert wrong(info, "{}-3") == []
        assert wrong(info, "none-{}") != []
    assert 0 < len(info.once(server_module._Kept)._sets) <= server_module.SETS_KEPT


def test_a_new_answer_is_not_taken_for_the_one_before() -> None:
    before, now = answered("same"), answered("same", "new")
    assert wrong(before, "new") != []
    assert wrong(now, "new") == []
