"""Each right on every door: all requests of the websocket and all HTTP routes, with every right."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from yarl import URL

from comfyledger import wire
from comfyledger.server import tokens
from comfyledger.server.tokens import RIGHTS, Right
from comfyledger.wire.routes import FILE, INPUTS, ROUTES
from support.http_requests import as_http

in_module = pytest.mark.asyncio(loop_scope="module")
BATCH = {"request_id": "r", "username": "a", "character": "b", "quantity": 1, "dry_run": True}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
SERIES = {"folder": "a/characters/b/images", "stem": "a_b_image_", "highest": 1}
ASKED: list[tuple[str, dict[str, Any], Right]] = [
    ("hello", {}, "read"),
    ("get_batch", {"batch_id": "x"}, "read"),
    ("list_batches", {}, "read"),
    ("get_image", {"image": "x/1"}, "read"),
    ("get_recipe", {"image": "x/1"}, "read"),
    ("list_images", {}, "read"),
    ("count_images", {}, "read"),
    ("unsubscribe", {"subscription": "s9"}, "read"),
    ("read_log", {}, "read"),
    ("explain", {"what": "x"}, "read"),
    ("server_info", {}, "read"),
    ("submit_batch", BATCH, "submit_configured"),
    ("submit_batch", {**BATCH, "workflow": GRAPH}, "submit"),
    ("check_workflow", {"workflow": GRAPH}, "submit"),
    ("describe_workflow", {"workflow": "empty-image"}, "submit_configured"),
    ("open_series", {"username": "a", "character": "b"}, "submit_configured"),
    ("list_characters", {}, "submit_configured"),
    ("list_inputs", {}, "read"),
    ("add_input", {"url": "http://nowhere.example/x.png"}, "submit_configured"),
    ("forget_input", {"input": "x"}, "submit_configured"),
    ("forget_input", {"input": "x", "all_labels": True}, "admin"),
    ("cancel", {"batch_id": "x"}, "submit_configured"),
    ("retry", {"batch_id": "x"}, "submit_configured"),
    ("set_priority", {"batch_id": "x", "priority": "high"}, "submit_configured"),
    ("pause", {"scope": "batch:x"}, "operate"),
    ("move", {"scope": "backend:x"}, "operate"),
    ("resume", {"scope": "batch:x"}, "operate"),
    ("recover", {"dry_run": True}, "operate"),
    ("forget", {"batch_id": "x"}, "admin"),
    ("review", {"images": ["x/1"], "rating": 1}, "operate"),
    ("review", {"images": ["x/1"], "verdict": "rejected", "forget": True}, "admin"),
    ("survey_store", {"store": "x"}, "admin"),
    ("raise_series", {"store": "x", "found": [SERIES]}, "admin"),
    ("add_backend", {"name": "x", "url": "http://x.example"}, "admin"),
    ("remove_backend", {"name": "x"}, "admin"),
    ("give_up_box", {"name": "x"}, "operate"),
    ("add_webhook", {"name": "x", "url": "https://x.example"}, "operate"),
    ("remove_webhook", {"name": "x"}, "operate"),
    ("list_webhooks", {}, "operate"),
    ("test_webhook", {"name": "x"}, "operate"),
    ("replay_webhook", {"name": "x", "since_position": 0}, "operate"),
    ("list_checks", {}, "operate"),
    ("activity", {}, "read"),
    ("subscribe", {"after": -1}, "read"),
]
"""Every request, and the least right that may send it. Events that a subscription pushes come after all answers."""
COUNTS_ALL = {kind for kind in wire.REQUESTS if "webhook" in kind}
COUNTS_ALL |= {"survey_store", "raise_series", "move", "give_up_box", "list_checks"}
"""These also need a token that sees all labels."""
SEES = pytest.mark.parametrize("read_all", [True, False], ids=["all labels", "its own"])
BY = pytest.mark.parametrize("right", RIGHTS)


def given(door: Any, right: Right, read_all: bool) -> dict[str, str]:
    """The header of a token with this right."""
    path, label = door.folder / "state" / "tokens.json", f"{right}-{read_all}"
    if label in {one.label for one in tokens.read_tokens(path)}:
        tokens.revoke(path, label)
    token = tokens.add(path, label, right, 0.0, read_all=read_all)
    door.context.access.keyring.refresh()
    return {"Authorization": f"Bearer {token}"}


def is_allowed(kind: str, needed: Right, right: Right, read_all: bool) -> bool:
    return RIGHTS.index(right) >= RIGHTS.index(needed) and (read_all or kind not in COUNTS_ALL)


def test_every_request_is_tried() -> None:
    assert {kind for kind, _, _ in ASKED} == set(wire.REQUESTS)


@in_module
@BY
@SEES
async def test_each_request_needs_its_right(lasting_door: Any, right: Right, read_all: bool) -> None:
    found = {}
    async with lasting_door.raw(additional_headers=given(lasting_door, right, read_all)) as raw:
        for place, (kind, data, _) in enumerate(ASKED):
            answer = await raw.ask(kind, **data)
            found[place] = answer["data"].get("code") != "forbidden"
    assert found == {place: is_allowed(kind, needed, right, read_all) for place, (kind, _, needed) in enumerate(ASKED)}


@in_module
@BY
@SEES
async def test_each_route_needs_the_same_right(lasting_door: Any, right: Right, read_all: bool) -> None:
    found, wanted = {}, {}
    async with aiohttp.ClientSession(headers=given(lasting_door, right, read_all)) as http:
        for route in ROUTES:
            for kind, data, needed in ASKED:
                placed = as_http(route, {} if route.part else data) if kind == route.kind else None
                if placed is not None:
                    url = URL(lasting_door.url).join(placed[0])
                    async with http.request(route.method, url, json=placed[1]) as answer:
                        found[route.method, route.path, needed] = answer.status != 403
                    wanted[route.method, route.path, needed] = is_allowed(kind, needed, right, read_all)
        for path in (FILE.format(image="x/1"), "/images/x"):
            async with http.get(lasting_door.url + path) as answer:
                assert answer.status == 404, "who may read may read files"
        async with http.put(f"{lasting_door.url}{INPUTS}", data=b"nothing") as answer:
            assert answer.status == (422 if RIGHTS.index(right) >= RIGHTS.index("submit_configured") else 403)
        async with http.get(f"{lasting_door.url}/metrics") as answer:
            assert answer.status == (200 if read_all else 403)
    assert found == wanted
    assert {one[:2] for one in found} == {(route.method, route.path) for route in ROUTES}


@in_module
async def test_a_recipe_with_a_graph_needs_the_right_of_that_graph(lasting_door: Any) -> None:
    async with lasting_door.app() as app:
        of_graph = await app.submit("of a graph", quantity=1, workflow=GRAPH, inputs={})
        configured = await app.submit("configured", quantity=1, workflow="text-to-image", inputs={})
    wanted = {
        ("read", "graph"): "forbidden",
        ("submit_configured", "graph"): "forbidden $.data.like",
        ("submit_configured", "configured"): "",
        ("submit_configured", "other"): "",
        ("submit", "graph"): "",
    }
    found = {}
    asked = {
        "graph": {"like": f"{of_graph['batch_id']}/1"},
        "configured": {"like": f"{configured['batch_id']}/1"},
        "other": {"like": f"{of_graph['batch_id']}/1", "workflow": "text-to-image"},
    }
    for right, what in wanted:
        async with lasting_door.raw(additional_headers=given(lasting_door, right, read_all=True)) as raw:
            answer = await raw.ask("submit_batch", request_id="again", dry_run=True, **asked[what])
        found[right, what] = f"{answer['data'].get('code', '')} {answer['data'].get('path', '')}".strip()
    assert found == wanted
