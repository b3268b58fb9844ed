"""Today's daemon goes on where one of an old release was killed: nothing is lost, numbered twice or stored twice."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.old_fleet import OldFleet
from support.old_ledger import Knows, OldHouse, Release, lacking, none_open, open_batches
from support.waiting import until
from support.wire_app import App, Frame, check_gap_free

CASES: list[tuple[Release, Knows]] = [
    ("cc50378", "everything"),
    ("cc50378", "files"),
    ("cc50378", "nothing"),
    ("a7c63d2", "everything"),
]
NOT_RECORDED: dict[Release, set[str]] = {"cc50378": {"version", "left_out"}, "a7c63d2": set()}
"""What the recipes of a release lack."""
ENDED = {"stored", "parked", "failed", "cancelled", "forgotten"}


async def test_what_an_old_release_left_open_ends_and_its_numbers_go_on(side_by_side: Any) -> None:
    await side_by_side(goes_on, CASES, make=OldHouse)


async def goes_on(old: OldHouse, case: tuple[Release, Knows]) -> None:
    release, knows = case
    await old.reopen(release, knows)
    await old_answers(old)
    async with old.app_of("") as app:
        await taken_up(app)
        await next_numbers(old, app)
        await none_open(app)
        await until_forgotten(app)
        for one in old.left["batches"]:
            await ended_as_expected(app, one, NOT_RECORDED[release])
        check_gap_free(await app.log())
    check_accounts(old)
    assert await asyncio.gather(command(old, "audit"), command(old, "replay", "--check")) == [(0, True)] * 2


@pytest.mark.parametrize("away", [False, True])
async def test_what_an_old_release_left_at_two_comfyuis_ends_also_if_one_is_away(tmp_path: Path, away: bool) -> None:
    """What is known there is not sent again. While one is away the other renders what may go there."""
    old = OldFleet(tmp_path)
    a, b = old.standins["a"], old.standins["b"]
    try:
        await old.unpack()
        if away:
            b.kill()
        await old.reopen("move_after_s = 0.3" if away else "")
        async with old.app() as app:
            if away:
                await until(lambda: happened(app, "prompt_moved"), "a prompt moves")
                await b.begin()
            await none_open(app)
            await until(lambda: nothing_left(app), "no stray is left")
            for one in old.left["answers"]:
                batch = await app.batch(one["answer"]["batch_id"])
                assert [image["state"] for image in batch["images"]] == ["stored"] * len(batch["images"])
                assert [image["number"] for image in batch["images"]] == one["answer"]["numbers"]
            assert bool(await happened(app, "stray_ended")) == away
            check_gap_free(await app.log())
        assert sorted(old.cloud.assets()) == sorted(name for one in old.left["answers"] for name in names_of(one))
        for standin in (a, b):
            assert len(standin.posted()) == len(set(standin.posted())), "what is known there was sent again"
        assert await asyncio.gather(command(old, "audit"), command(old, "replay", "--check")) == [(0, True)] * 2
    finally:
        old.end()


async def happened(app: App, kind: str) -> list[Frame]:
    return list((await app.ask("read_log", kinds=[kind]))["events"])


async def nothing_left(app: App) -> bool:
    return not (await app.ask("server_info"))["open"]["prompts"]


def names_of(answered: Frame) -> list[str]:
    return list(answered["answer"]["public_ids"])


async def old_answers(old: OldHouse) -> None:
    """Each request that comes again gets the answer that the old release gave to its repeat."""
    for label in {one["label"] for one in old.left["answers"]}:
        async with old.app_of(label) as app:
            for one in old.left["answers"]:
                if one["label"] == label:
                    again = await app.ask("submit_batch", **one["body"])
                    assert lacking(one["repeat"], again) == {}, one["body"]["request_id"]


async def taken_up(app: App) -> None:
    """What people had paused and held stands as they left it, until they let it go on."""
    held = {one["request_id"]: one["held"] for one in await open_batches(app) if one["status"] == "held"}
    assert held == {
        "removed by a person": "removed",
        "failed and held": "failing",
        "held by a person": "person",
    }
    lanes = {one["lane"]: one["paused"] for one in (await app.ask("server_info"))["lanes"]}
    assert lanes["user/paused"]
    for one in await open_batches(app):
        if one["status"] == "held":
            await app.ask("resume", scope=f"batch:{one['batch_id']}")
    await app.ask("resume", scope="user:paused")


async def next_numbers(old: OldHouse, app: App) -> None:
    """Every series goes on where it was; a new batch has exactly these numbers."""
    asked = {
        (one["body"]["username"], one["body"]["character"], one["body"].get("premade", False))
        for one in old.left["answers"]
    }
    wanted = dict(old.left["rows"]["series"])
    for username, character, premade in sorted(asked):
        about: Frame = {"username": username, "character": character, "premade": premade}
        opened = await app.ask("open_series", **about)
        key = next(key for key in wanted if key == opened["series"].casefold())
        assert opened["next"] == wanted[key], key
        new = await app.submit(f"new of {username[:20]} {premade}", quantity=2, **about)
        assert new["numbers"] == [wanted[key], wanted[key] + 1]


async def until_forgotten(app: App) -> None:
    """Stores that were away delete what they owed."""

    async def all_forgotten() -> bool:
        return not (await app.ask("list_images", state="forgetting"))["images"]

    await until(all_forgotten)


async def ended_as_expected(app: App, before: Frame, gaps: set[str]) -> None:
    """Each image keeps its number and name, has come to an end with a reason, and its story can be told."""
    after = await app.batch(before["batch_id"])
    for was, now in zip(before["images"], after["images"], strict=True):
        assert (now["number"], now["public_id"]) == (was["number"], was["public_id"])
        assert now["state"] in ENDED
        if was["state"] in ENDED:
            assert now["state"] == was["state"]
        if was["state"] in {"pending", "kept"} or now["state"] == "stored":
            assert {one["state"] for one in now["uploads"]} <= {"stored", "dropped"}, now
        if now["state"] in {"failed", "parked"}:
            assert now.get("code") or [one["code"] for one in now["uploads"] if one["state"] == "parked"]
        story = await app.ask("explain", what=now["image_id"])
        assert story["subject"] == "image"
        assert story["events"]
        await still_has_a_recipe(app, now, gaps if was["state"] == "stored" else None)


async def still_has_a_recipe(app: App, image: Frame, not_recorded: set[str] | None) -> None:
    """What the old release did not record is missing and said; the rest is there, the graph too."""
    recipe = await app.ask("get_recipe", image=image["image_id"], graph=True)
    gaps = {(gap["what"], gap["code"]) for gap in recipe.get("missing", [])}
    is_forgotten = image["state"] == "forgotten"
    assert ("graph" in recipe) == (recipe.get("attempt", 0) > 0 and not is_forgotten)
    assert is_forgotten == (("graph", "forgotten") in gaps)
    if not_recorded is not None and image["state"] == "stored":
        assert gaps == {(what, "not_recorded") for what in not_recorded}
        assert recipe["submitted_at_ms"] < min(recipe["stored_at_ms"].values())


def check_accounts(old: OldHouse) -> None:
    """Nothing was overwritten, nothing stored twice, and what was there before is there but for what was owed away."""
    for name, account in old.accounts.items():
        requests = account.requests()
        assert not [one for one in account.uploads() if one["is_replaced"]]
        news = Counter(one["public_id"] for one in requests if one["answer"] == "new" and one["is_stored"])
        assert not [public_id for public_id, times in news.items() if times > 1], "an image was stored twice"
        gone = set(old.left["assets"][name]) - set(account.assets())
        owed = [one for one in old.left["batches"] if one["request_id"] == "deletions are owed"]
        assert gone <= {image["public_id"] for one in owed for image in one["images"]}, name


async def command(old: OldHouse | OldFleet, *words: str) -> tuple[int | None, Any]:
    """A command on the ledger, beside the daemon: its exit code, and whether it found all well."""
    line = [sys.executable, "-m", "comfyledger", *words, "--json", "--config", str(old.folder / "config.toml")]
    process = await asyncio.create_subprocess_exec(
        *line,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(old.folder), **old.left.get("environment", {})},
    )
    out, aside = await process.communicate()
    assert out, aside.decode()
    said = json.loads(out)
    assert said.get("findings", []) == []
    return process.returncode, said.get("whole", True)
