"""What docs/webhooks.md shows: the body that is sent, receivers that check it, and configurations."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from comfyledger import settings
from comfyledger.core.webhooks import signature, signing_key
from comfyledger.workers.webhooks import deliverer
from support.documents import ROOT, WEBHOOKS, blocks
from support.door import Door
from support.receiver import SECRET, receiving
from support.waiting import DEADLINE_S, until

NAMES = {"username": "Areg", "character": "Opal Fever", "premade": True, "workflow": "empty-image"}
EXAMPLE = ROOT / "examples" / "receive_webhooks.py"
NODE = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
BODY = '{"type": "batch_settled", "é": "ü"}'.encode()
Opened = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "SAVE_S", 0.02)


def marked(language: str, mark: str) -> str:
    (found,) = (body for comment, body in blocks(WEBHOOKS, language) if comment == mark)
    return found


def shape(value: Any) -> Any:
    """The fields of a JSON document with the types of their values."""
    match value:
        case dict():
            return {key: shape(value[key]) for key in value}
        case list():
            return [shape(one) for one in value]
        case _:
            return type(value).__name__


def section(folder: Path, url: str) -> str:
    (folder / "shop.secret").write_text(SECRET)
    return f'\n[webhooks.shop]\nurl = "{url}"\nhttp = true\nsecret = "file:shop.secret"\n'


async def test_the_body_that_is_shown_is_sent(tmp_path: Path, open_door: Opened) -> None:
    async with (
        receiving() as receiver,
        open_door(tmp_path, section(tmp_path, receiver.url)) as door,
        door.app("app") as app,
    ):
        await app.ask("submit_batch", request_id="order-1001", quantity=1, metadata={"order": 7}, **NAMES)
        await until(lambda: len(receiver.taken) == 2, "both events are taken")
    sent, shown = receiver.received[0].body, json.loads(marked("json", "image_uploaded"))
    assert shape(sent) == shape(shown)
    for part, field in (("image", "public_id"), ("image", "state"), ("batch", "metadata"), ("batch", "request_id")):
        assert sent["data"][part][field] == shown["data"][part][field]
    assert (sent["type"], sent["data"]["event"]["kind"]) == (shown["type"], shown["data"]["event"]["kind"])


@asynccontextmanager
async def running(secret: Path) -> AsyncIterator[tuple[str, list[str]]]:
    """The address of the receiver of the examples, and the lines that it prints."""
    secret.write_text(SECRET)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), "0", str(secret), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    reading = asyncio.create_task(read_lines(process.stdout, lines))
    try:
        await until(lambda: bool(lines), "the receiver listens")
        yield lines.pop(0), lines
    finally:
        process.terminate()
        await process.wait()
        await reading


async def read_lines(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().rstrip())


def answer_to(url: str, body: bytes, at_s: int, signed: bytes | None = None) -> int:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": "v0,x " + signature(signing_key(SECRET), "msg_1", at_s, signed or body),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


async def test_the_receiver_of_the_examples_takes_each_event_once(tmp_path: Path, open_door: Opened) -> None:
    async with (
        running(tmp_path / "here.secret") as (url, told),
        open_door(tmp_path, section(tmp_path, url)) as door,
    ):
        async with door.app("app") as app:
            await app.ask("submit_batch", request_id="order-1", quantity=2, **NAMES)
            await until(lambda: len(told) == 3, "every event is told")
            delivered = door.context.webhooks["shop"].counts.outcomes
            await until(lambda: delivered.get("delivered") == 3, "every event is taken")
            await app.ask("replay_webhook", name="shop", since_position=1)
            await until(lambda: delivered.get("delivered") == 6, "every event is taken again")
        assert [line.split()[0] for line in told] == ["image_uploaded", "image_uploaded", "batch_settled"]
        assert told[0].split()[1] == "Areg_opal-fever_image_1"
        assert told[0].split()[2].startswith(door.url)
        now_s = int(time.time())
        assert await asyncio.to_thread(answer_to, url, BODY, now_s, BODY + b" ") == 401
        assert await asyncio.to_thread(answer_to, url, BODY, now_s - 301) == 401
        assert len(told) == 3


def test_the_receiver_that_is_shown_is_the_example() -> None:
    assert [body for _, body in blocks(WEBHOOKS, "python")] == [EXAMPLE.read_text("utf-8")]


# ---- JavaScript


def said(script: str) -> Any:
    done = subprocess.run(
        ["node", "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def signed(at_s: int) -> str:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(signing_key(SECRET), "msg_1", at_s, BODY),
    }
    return json.dumps(headers)


@NODE
def test_the_lines_of_node_that_are_shown_take_what_is_signed_and_nothing_else() -> None:
    block = next(body for comment, body in blocks(WEBHOOKS, "js") if not comment)
    script = f"""{block}
        const headers = {signed(1000)}, body = Buffer.from({json.dumps(BODY.decode())}), secret = '{SECRET}';
        const two = {{...headers, 'webhook-signature': `v1,AAAA ${{headers['webhook-signature']}}`}};
        console.log(JSON.stringify([
            isSigned(secret, headers, body, 1300), isSigned(secret, two, body, 700),
            isSigned(secret, headers, body, 1301), isSigned(secret, headers, Buffer.from('{{}}'), 1000),
            isSigned('whsec_AAAA', headers, body, 1000), isSigned(secret, {{}}, body, 1000),
        ]));"""
    assert said(script) == [True, True, False, False, False, False]


@NODE
def test_the_lines_for_n8n_that_are_shown_give_the_event() -> None:
    block = marked("js", "n8n").replace("whsec_...", SECRET)
    script = f"""
        import {{ createRequire }} from 'node:module';
        const require = createRequire('/');
        async function run($input) {{ {block} }}
        const n8n = (body) => ({{helpers: {{getBinaryDataBuffer: async () => Buffer.from(body)}}}});
        const of = (body, headers) => run.call(n8n(body), {{first: () => ({{json: {{headers}}}})}});
        const body = {json.dumps(BODY.decode())}, now = {signed(int(time.time()))}, old = {signed(1000)};
        const wrong = [of('{{}}', now), of(body, old)].map((one) => one.then(() => 'taken', (error) => error.message));
        console.log(JSON.stringify([await of(body, now), ...await Promise.all(wrong)]));"""
    refused = "This is not signed by comfyledger."
    taken, *wrong = said(script)
    assert taken == [{"json": {"id": "msg_1", **json.loads(BODY)}}]
    assert wrong == [refused, refused]


# ---- configurations


@pytest.mark.parametrize("shown", [body for _, body in blocks(WEBHOOKS, "toml")])
def test_the_configurations_that_are_shown_can_be_loaded(tmp_path: Path, shown: str) -> None:
    (tmp_path / "config.toml").write_text(shown)
    found = settings.load(tmp_path / "config.toml", tmp_path / "state")
    assert found.webhooks or found.webhooks_allowed
