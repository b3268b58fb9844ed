"""Secrets with real processes: ComfyUI is given them, and nothing that is written has them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from support.processes import House
from support.waiting import DEADLINE_S, until
from support.wire_app import App, Refusal, of_kind

TYPED = "sk-typed-into-the-file-1111"
NAMED = "sk-named-in-the-environment-2222"
PAID = "comfyui-of-a-paid-node-3333"
REFUSED = "sk-that-comfyui-quotes-4444"
CONFIG = """
    default_workflow = "paid"
    [workflows.paid]
    file = "paid.json"
    secrets = { "6.text" = "env:NAMED" }
    [workflows.refused]
    file = "refused.json"
    secrets = { "4.ckpt_name" = "file:refused.key" }
"""


def sampled(checkpoint: str, **inputs: Any) -> dict[str, Any]:
    """A picture that needs a text and a checkpoint."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1], **inputs}}
    sampler = {
        "seed": 0,
        "steps": 1,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["6", 0],
        "latent_image": ["5", 0],
    }
    return {
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": text,
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }


def found_in(house: House, *words: str) -> dict[str, list[str]]:
    """The files below the daemon's folders, and its output, that hold one of the words."""
    files = [*house.state.rglob("*"), *house.images.rglob("*"), house.daemon.log, house.daemon.out]
    read = {str(path): path.read_bytes() for path in files if path.is_file()}
    return {word: [path for path, raw in read.items() if word.encode() in raw] for word in words}


async def test_comfyui_is_given_secrets_and_nothing_that_is_written_has_them(house: House) -> None:
    checkpoint = "v1-5-pruned-emaonly.safetensors"
    (house.folder / "paid.json").write_text(json.dumps(sampled(checkpoint, api_key=TYPED)))
    (house.folder / "refused.json").write_text(json.dumps(sampled(checkpoint)))
    (house.folder / "refused.key").write_text(f"{REFUSED}\n")
    house.daemon.environment |= {"NAMED": NAMED, "PAID": PAID}
    await house.comfyui.begin()
    house.configure(CONFIG, comfyui='extra_data = { api_key_comfy_org = "env:PAID" }')
    house.comfyui.control(hold=["start"])
    await house.daemon.begin()
    async with house.app() as app:
        paid = await app.submit("r1", quantity=1, inputs={})
        await until(lambda: house.comfyui.control()["held_at"] == "start", "it runs")
        ((_, _, graph, extra, _),) = house.comfyui.queue()["queue_running"]
        assert (graph["6"]["inputs"]["text"], graph["6"]["inputs"]["api_key"]) == (NAMED, TYPED)
        assert extra["api_key_comfy_org"] == PAID
    house.daemon.signal(signal.SIGKILL)
    house.comfyui.control(hold=[])
    await house.daemon.begin()
    async with house.app() as app:
        refused = await app.submit("r2", workflow="refused", quantity=1, inputs={})
        batches = await app.settled(paid["batch_id"], refused["batch_id"])
        assert [batch["stored"] for batch in batches] == [1, 0]
        log = await app.log()
        own = sampled(checkpoint, api_key=TYPED)
        assert await refused_at(app, workflow=own, inputs={}) == ("secret_input", "$.data.workflow.6.api_key")
        assert await refused_at(app, inputs={"6.text": NAMED}) == ("secret_input", "$.data.inputs.6.text")
        (event,) = of_kind(log, "prompt_refused")
        assert event["data"]["code"] == "prompt_outputs_failed_validation"
    house.daemon.signal(signal.SIGTERM)
    assert found_in(house, TYPED, NAMED, PAID, REFUSED) == {TYPED: [], NAMED: [], PAID: [], REFUSED: []}


async def refused_at(app: App, **asked: Any) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        await app.submit("refused", quantity=1, **asked)
    return caught.value.code, caught.value.data["path"]


async def test_a_secret_no_longer_configured_fails_the_image_until_a_retry(house: House) -> None:
    (house.folder / "paid.json").write_text(json.dumps(sampled("v1-5-pruned-emaonly.safetensors")))
    section = '[workflows.paid]\nfile = "paid.json"\n'
    named = 'secrets = { "6.text" = "env:NAMED" }\n'
    house.daemon.environment |= {"NAMED": NAMED}
    await house.comfyui.begin()
    house.configure(f'default_workflow = "paid"\n{section}{named}')
    await house.daemon.begin()
    async with house.app() as app:
        await app.ask("pause")
        asked = await app.submit("r1", quantity=1, inputs={})
    house.daemon.signal(signal.SIGTERM)
    house.configure(f'default_workflow = "paid"\n{section}')
    await house.daemon.begin()
    async with house.app() as app:
        await app.ask("resume")
        (batch,) = await app.settled(asked["batch_id"])
        (event,) = of_kind(await app.log(), "prompt_refused")
        assert (batch["failed"], event["data"]["code"]) == (1, "secret_missing")
    house.daemon.signal(signal.SIGTERM)
    house.configure(f'default_workflow = "paid"\n{section}{named}')
    await house.daemon.begin()
    async with house.app() as app:
        await app.ask("retry", batch_id=asked["batch_id"])
        await app.counted("stored", 1, asked["batch_id"])


async def ended(house: House) -> int:
    """The exit code of a daemon that ends by itself."""
    popen = house.daemon._popen
    assert popen is not None
    await until(lambda: popen.poll() is not None, "it ends")
    return popen.wait(timeout=DEADLINE_S)


async def test_a_missing_secret_ends_the_start_and_names_its_source(house: House) -> None:
    await house.comfyui.begin()
    house.configure(comfyui='extra_data = { api_key_comfy_org = "env:NOT_SET" }')
    house.expected_errors.add("daemon.ended")
    house.daemon.start()
    assert await ended(house) == 1
    assert "[comfyui.main] extra_data.api_key_comfy_org" in house.daemon.log.read_text()
