"""ComfyUIs that clients add and remove, over the websocket, over HTTP and with the Python client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from comfyledger.client import Client
from comfyledger.comfyui.client import ComfyUI
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.scheduling.effects import SubmitPrompt
from comfyledger.errors import Refused
from comfyledger.server import tokens
from comfyledger.sim.comfyui.server import SimComfyUI, SimOptions, serve
from support.waiting import until
from support.wire_app import App, Frame, Refusal

NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True}


class Farm:
    """A daemon with one ComfyUI in its configuration, and another one that may be added."""

    def __init__(self, door: Any, other: SimComfyUI) -> None:
        self.door, self.other = door, other

    @property
    def url(self) -> str:
        return self.other.url

    async def http(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.door.token}"}
        async with aiohttp.request(method, self.door.url + path, json=body, headers=headers) as answer:
            return answer.status, json.loads(await answer.read())

    def runs(self, name: str = "gpu-7") -> bool:
        backend = self.door.backends.all.get(name)
        return backend is not None and backend.watcher.is_up


GRAPH: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["4", 1]}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
            "seed": 1,
            "steps": 1,
            "cfg": 1.0,
            "denoise": 1.0,
            "sampler_name": "euler",
            "scheduler": "normal",
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
}
PAID = """
[workflows.empty-image]
file = "sample:empty-image"
[workflows.paid]
file = "paid.json"
secrets = { "6.text" = "file:paid.key" }
"""


@pytest.fixture
async def farm(open_door: Any, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Farm]:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(await serve(SimOptions(output=tmp_path / "output-other")))
        more = getattr(request, "param", "")
        port = other.url.rpartition(":")[2]
        allowed = f'allowed = ["{other.url}", "http://10.1.*.*:8188/comfy", "http://gpu-*.example:{port}"]'
        (tmp_path / "paid.json").write_text(json.dumps(GRAPH))
        (tmp_path / "paid.key").write_text("xyzzy-secret")
        sections = f"[backends]\n{allowed}\n{more}{PAID}"
        yield Farm(await stack.enter_async_context(open_door(tmp_path, sections)), other)


async def refused(app: App, kind: str, **data: Any) -> Frame:
    """The error of a refusal."""
    with pytest.raises(Refusal) as found:
        await app.ask(kind, **data)
    assert found.value.data["hint"]
    return found.value.data


async def test_one_that_is_added_renders_what_needs_it_and_is_listed(farm: Farm) -> None:
    async with farm.door.app() as app:
        added = await app.ask("add_backend", name="gpu-7", url=f"{farm.url}/", tags=["flux", "flux"], ttl_s=60)
        assert added == {
            "name": "gpu-7",
            "url": farm.url,
            "tags": ["flux"],
            "ttl_s": 60,
            "queue_depth": 0,
            "changed": True,
        }
        await until(farm.runs, "it is connected")
        batch = await app.submit("r1", quantity=2, needs=["flux"])
        await app.settled(batch["batch_id"])
        assert len(farm.other.ledger.prompts) == 2
        shown = {one["name"]: one for one in (await app.ask("server_info"))["backends"]}
        assert shown["gpu-7"]["tags"] == ["flux"]
        assert set(shown) == {"main", "gpu-7"}


async def test_a_repeat_writes_nothing_and_other_values_count_at_once(farm: Farm) -> None:
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=farm.url)
        await until(farm.runs, "it is connected")
        watcher = farm.door.backends.all["gpu-7"].watcher
        with farm.door.unchanged():
            again = await app.ask("add_backend", name="gpu-7", url=farm.url)
        assert not again["changed"]
        assert (await app.ask("add_backend", name="gpu-7", url=farm.url, tags=["flux"]))["changed"]
        await until(lambda: farm.door.backends.tags["gpu-7"] == {"flux"}, "the tag counts")
        assert farm.door.backends.all["gpu-7"].watcher is watcher, "its connection stays"


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        ({"name": "main", "url": "http://10.1.2.3:8188/comfy"}, "backend_exists", "$.data.name"),
        ({"name": "b", "url": "main"}, "backend_exists", "$.data.url"),
        ({"name": "b", "url": "other"}, "backend_exists", "$.data.url"),
        ({"name": "b", "url": "http://10.1.2.3:8188/comfyx"}, "backend_not_allowed", "$.data.url"),
        ({"name": "b", "url": "http://169.254.169.254:8188/comfy"}, "backend_not_allowed", "$.data.url"),
        ({"name": "b", "url": "http://me:secret@10.1.2.3:8188/comfy"}, "invalid_field", "$.data.url"),
        ({"name": "b", "url": "10.1.2.3"}, "invalid_field", "$.data.url"),
        ({"name": "B", "url": "http://10.1.2.3:8188/comfy"}, "invalid_field", "$.data.name"),
        ({"name": "b", "url": "http://10.1.2.3:8188/comfy", "ttl_s": -1}, "invalid_field", "$.data.ttl_s"),
    ],
)
async def test_what_cannot_be_added_is_refused_and_changes_nothing(
    farm: Farm, data: dict[str, Any], code: str, path: str
) -> None:
    urls = {"main": farm.door.sim.url, "other": farm.url}
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=farm.url)
        with farm.door.unchanged():
            answer = await refused(app, "add_backend", **{**data, "url": urls.get(data["url"], data["url"])})
    assert (answer["code"], answer["path"], "secret" in str(answer)) == (code, path, False)


async def test_one_with_prompts_is_removed_only_if_they_may_move(farm: Farm) -> None:
    farm.other.breakpoints.hold(["in_node"])
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=farm.url, tags=["flux"])
        await until(farm.runs, "it is connected")
        batch_id = str((await app.submit("r1", quantity=1, needs=["flux"]))["batch_id"])
        await until(lambda: farm.other.breakpoints.held_at, "it renders")
        await until(lambda: farm.door.context.view.prompt(batch_id, 1).state == "accepted", "that is logged")
        with farm.door.unchanged(held=True):
            busy = await refused(app, "remove_backend", name="gpu-7")
        assert (busy["code"], busy["path"]) == ("backend_busy", "$.data.move")
        assert await app.ask("remove_backend", name="gpu-7", move=True) == {"name": "gpu-7", "prompts": 1}
        await until(lambda: not farm.runs(), "it is gone")
        farm.other.breakpoints.hold([])
        for name in ("gpu-7", "main", "nowhere"):
            assert (await refused(app, "remove_backend", name=name))["code"] == "unknown_backend"


async def test_the_same_over_http(farm: Farm) -> None:
    body = {"url": farm.url, "tags": ["flux"], "ttl_s": 60, "queue_depth": 1}
    assert await farm.http("PUT", "/v1/backends/gpu-7", body) == (200, {"name": "gpu-7", **body, "changed": True})
    assert await farm.http("PUT", "/v1/backends/gpu-7", body) == (200, {"name": "gpu-7", **body, "changed": False})
    await until(farm.runs, "it is connected")
    status, problem = await farm.http("PUT", "/v1/backends/main", body)
    assert (status, problem["code"]) == (409, "backend_exists")
    status, problem = await farm.http("PUT", "/v1/backends/b", {"url": "http://evil.example:8188"})
    assert (status, problem["code"]) == (422, "backend_not_allowed")
    assert await farm.http("DELETE", "/v1/backends/gpu-7?move=true") == (200, {"name": "gpu-7", "prompts": 0})
    status, problem = await farm.http("DELETE", "/v1/backends/gpu-7")
    assert (status, problem["code"]) == (404, "unknown_backend")


async def test_a_token_that_sees_its_own_work_does_not_learn_what_others_have(farm: Farm) -> None:
    token = tokens.add(farm.door.folder / "state" / "tokens.json", "gpu-7", "admin", 0.0, read_all=False)
    farm.door.context.access.keyring.refresh()
    await farm.http("PUT", "/v1/backends/gpu-7", {"url": farm.url}, token)
    assert await farm.http("DELETE", "/v1/backends/gpu-7", token=token) == (200, {"name": "gpu-7", "prompts": None})


async def test_the_python_client_adds_and_removes(farm: Farm) -> None:
    async with Client(state_dir=farm.door.folder / "state", name="app") as client:
        added = await client.add_backend("gpu-7", farm.url, tags=["flux"], ttl_s=60, queue_depth=3)
        assert (added.tags, added.ttl_s, added.queue_depth, added.changed) == (["flux"], 60, 3, True)
        assert (await client.remove_backend("gpu-7", move=True)).prompts == 0
        with pytest.raises(Refused, match="No ComfyUI 'gpu-7' was added"):
            await client.remove_backend("gpu-7")


# ---- what it gets


async def test_one_gets_no_secret(farm: Farm) -> None:
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=farm.url)
        await until(farm.runs, "it is connected")
        asked = {"workflow": "paid", "quantity": 1, "inputs": {}}
        pinned = await refused(app, "submit_batch", request_id="r1", **NAMES, **asked, backend="gpu-7")
        assert (pinned["code"], pinned["path"]) == ("no_backend", "$.data.workflow")
        batch = await app.ask("submit_batch", request_id="r2", **NAMES, **{**asked, "quantity": 6})
        await app.settled(batch["batch_id"])
        shown = {one["name"]: one for one in (await app.ask("server_info", fits=True))["backends"]}
    assert (len(farm.door.sim.ledger.prompts), len(farm.other.ledger.prompts)) == (6, 0)
    assert "paid" in shown["main"]["fits"]
    assert shown["gpu-7"]["lacks"]["paid"] == "It gets no workflow with secrets."


async def begin_where_no_secret_goes(farm: Farm, app: App) -> str:
    """An attempt begins at the added ComfyUI, as after the operator took back the trust in it. Everything is paused."""
    await app.ask("add_backend", name="gpu-7", url=farm.url)
    await until(farm.runs, "it is connected")
    await app.ask("pause")
    batch = await app.ask("submit_batch", request_id="r1", **NAMES, workflow="paid", quantity=1, inputs={})
    await farm.door.backends.all["gpu-7"].renderer.submit(SubmitPrompt(batch["batch_id"], 1, 1, "gpu-7"))
    return str(batch["batch_id"])


async def test_what_began_at_one_that_may_not_have_its_secrets_goes_to_others_without_them(farm: Farm) -> None:
    async with farm.door.app() as app:
        batch = await begin_where_no_secret_goes(farm, app)
        row = farm.door.context.view.prompt(batch, 1)
        assert (row.state, row.attempt, row.backend) == ("queued", 1, "gpu-7")
        await app.ask("resume")
        (settled,) = await app.settled(batch)
    assert settled["stored"] == 1
    assert (len(farm.door.sim.ledger.prompts), len(farm.other.ledger.prompts)) == (1, 0)


async def test_what_was_sent_before_the_trust_was_taken_back_is_followed(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waits(*_: Any) -> str:
        return "waiting"

    monkeypatch.setattr(ComfyUI, "where_is", waits)
    async with farm.door.app() as app:
        batch = await begin_where_no_secret_goes(farm, app)
        assert farm.door.context.view.prompt(batch, 1).state == "accepted"
    assert not farm.other.ledger.prompts


@pytest.mark.parametrize("farm", ['trusted = ["gpu-7"]'], indirect=True)
async def test_one_that_is_trusted_gets_them(farm: Farm) -> None:
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=farm.url)
        await until(farm.runs, "it is connected")
        batch = await app.ask(
            "submit_batch", request_id="r1", **NAMES, workflow="paid", quantity=1, inputs={}, backend="gpu-7"
        )
        await app.settled(batch["batch_id"])
    assert len(farm.other.ledger.prompts) == 1


async def test_a_name_that_means_a_link_local_address_is_never_called(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its calls nor its websocket: the name that is allowed leads to the stand-in or to such an address."""
    loop = asyncio.get_running_loop()
    resolve, means = loop.getaddrinfo, ["169.254.169.254"]

    async def getaddrinfo(host: Any, port: Any, **more: Any) -> Any:
        return await resolve(means[0] if host == "gpu-7.example" else host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    port = farm.url.rpartition(":")[2]
    async with farm.door.app() as app:
        await app.ask("add_backend", name="gpu-7", url=f"http://gpu-7.example:{port}")

        async def problem() -> str:
            shown = {one["name"]: one for one in (await app.ask("server_info"))["backends"]}
            return str(shown.get("gpu-7", {}).get("problem", ""))

        await until(lambda: farm.door.context.view.in_trouble("backend/gpu-7"), "it is in trouble")
        assert "link-local" in await problem()
        with pytest.raises(NotReached, match="link-local"):
            await farm.door.context.comfyui["gpu-7"].system_stats()
        assert not farm.other.ledger.requests
        means[0] = "127.0.0.1"
        await until(farm.runs, "it is connected")
