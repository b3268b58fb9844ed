"""Characters of a running daemon: what a request becomes, and what SIGHUP changes."""

from __future__ import annotations

import json
import os
import signal

from support.command_line import said
from support.processes import House
from support.waiting import until

KEYS = 'characters_dir = "who"\ncharacter_defaults_for = ["shop"]\n'
HERE = '[characters.plain]\nworkflow = "text-to-image"\nprompt = "plain {prompt}"\n'
OPAL = 'workflow = "text-to-image"\nprompt = "portrait of embedding:opal-fever, {prompt}"\n'


async def prompt_of(house: House, batch_id: str) -> str:
    """The prompt of the graph that was sent for the first image."""
    words = await said(house, "recipe", f"{batch_id}/1", "--graph")
    graph, _ = json.JSONDecoder().raw_decode(words[words.index("{") :])
    return str(graph["6"]["inputs"]["text"])


async def made(house: House, label: str, request_id: str, character: str, **more: object) -> str:
    async with house.app(label) as app:
        asked = await app.submit(request_id, character=character, inputs={"prompt": "red coat"}, quantity=1, **more)
        (batch,) = await app.settled(asked["batch_id"])
    assert batch["stored"] == 1
    return str(asked["batch_id"])


async def test_sighup_reads_characters_again_and_a_broken_reload_keeps_the_old_ones(house: House) -> None:
    who, config = house.folder / "who", house.folder / "config.toml"
    who.mkdir()
    (who / "opal-fever.toml").write_text(OPAL)
    (who / "torn.toml").write_text("workflow = ")
    await house.begin(KEYS + HERE)

    def facts(event: str) -> list[dict[str, object]]:
        return [fact for fact in house.daemon.facts() if fact["event"] == event]

    async def reload() -> None:
        before = len(facts("config.reloaded") + facts("config.not_reloaded"))
        os.kill(house.daemon.pid, signal.SIGHUP)
        await until(
            lambda: len(facts("config.reloaded") + facts("config.not_reloaded")) > before, "the file is read again"
        )

    first = await made(house, "shop", "r1", "Opal Fever")
    asked = await made(house, "other", "r1", "Plain", character_defaults=True)
    assert await prompt_of(house, first) == "portrait of embedding:opal-fever, red coat"
    assert await prompt_of(house, asked) == "plain red coat"
    assert "torn.toml: It is not TOML" in " ".join((await said(house, "status")).split())

    (who / "opal-fever.toml").write_text(OPAL.replace("portrait", "sketch"))
    (who / "torn.toml").write_text(OPAL)
    await reload()
    second = await made(house, "shop", "r2", "Opal Fever")
    assert await prompt_of(house, second) == "sketch of embedding:opal-fever, red coat"
    assert await made(house, "shop", "r1", "Opal Fever") == first, "a repeat gets the first answer"
    assert "characters:" not in await said(house, "status")

    (who / "opal-fever.toml").write_text(OPAL)
    config.write_text(config.read_text().replace("plain {prompt}", "plain"))
    await reload()
    assert await prompt_of(house, await made(house, "shop", "r3", "Opal Fever")) == (
        "sketch of embedding:opal-fever, red coat"
    )
    (refused,) = facts("config.not_reloaded")
    assert "characters.plain.prompt" in str(refused["error"])
    assert "The configuration was not read again:" in " ".join((await said(house, "status")).split())
    house.expected_errors = {"config.not_reloaded"}
