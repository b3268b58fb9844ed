"""A password in the URL of ComfyUI opens what stands before it, and is shown nowhere."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from support.processes import House
from support.waiting import DEADLINE_S, until
from support.wire_app import coloured

SECRET = "s3cret-pä@ss"
SPELLED = "s3cret-p%C3%A4%40ss"
BASIC = "Basic " + b64encode(f"areg:{SECRET}".encode()).decode()


@asynccontextmanager
async def guarded(target: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that asks for a user before it hands anything on; its port, and whom it turned away."""
    turned_away: list[str] = []

    async def hand_on(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != BASIC:
            turned_away.append(request.path)
            return web.Response(status=401, text=f"not you, {request.headers.get('Authorization')}")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await socket(request)
        async with http.request(
            request.method,
            target + request.path_qs,
            data=await request.read(),
            headers={"Content-Type": "application/json"},
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def socket(request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with http.ws_connect(target + request.path_qs) as far:

            async def copy(source: Any, sink: Any) -> None:
                async for message in source:
                    is_text = message.type is aiohttp.WSMsgType.TEXT
                    await (sink.send_str(message.data) if is_text else sink.send_bytes(message.data))
                await sink.close()

            await asyncio.gather(copy(near, far), copy(far, near), return_exceptions=True)
        return near

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", hand_on)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    async with aiohttp.ClientSession() as http:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield str(runner.addresses[0][1]), turned_away
        await runner.cleanup()


async def test_the_password_works_for_calls_and_socket_and_is_shown_nowhere(house: House) -> None:
    await house.comfyui.begin()
    async with guarded(house.comfyui.url) as (port, turned_away):
        url = f"http://areg:{SPELLED}@127.0.0.1:{port}"
        house.configure('[logging]\nlevel = "debug"', url=url)
        await house.daemon.begin()
        async with house.app() as app:
            asked = await app.submit("r1", images=coloured(3))
            (batch,) = await app.settled(asked["batch_id"])
            info = await app.ask("server_info")
        house.check_stored(batch)
        assert turned_away == []
        assert info["backends"][0]["url"] == f"http://***@127.0.0.1:{port}"
        config = ["--config", str(house.folder / "config.toml")]
        said = [await typed(house, *words) for words in (["status"], ["status", "--json"], ["config", "show", *config])]
        said += [await typed(house, "config", "check", *config), await typed(house, "doctor", *config)]
    await until(lambda: any(fact["event"] == "lane.stuck" for fact in house.daemon.facts()), "the proxy is gone")
    async with house.app() as app:
        said.append(str(await app.ask("server_info")))
    assert await asyncio.to_thread(house.daemon.signal, signal.SIGTERM) == 0
    said.append(house.daemon.log.read_text())
    said.append((house.state / "ledger.db").read_bytes().decode("latin-1"))
    for text in said:
        assert "s3cret" not in text
        assert BASIC.partition(" ")[2] not in text
    assert f"http://***@127.0.0.1:{port}" in said[0]


async def typed(house: House, *words: str) -> str:
    command = [sys.executable, "-m", "comfyledger", "--state-dir", str(house.state), *words]
    ran = await asyncio.to_thread(
        subprocess.run, command, check=False, capture_output=True, text=True, timeout=DEADLINE_S
    )
    return ran.stdout + ran.stderr
