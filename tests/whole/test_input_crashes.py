"""The daemon dies at every place between the upload of an input and the prompt that loads it, and nothing is lost."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest

from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables, log_of
from support.loaded_pictures import INPUT, NAME, RED, SHA256, add, loading
from support.processes import Doomed, House
from support.waiting import until
from support.wire_app import App, Refusal

PLACES = ("input.sending", "input.uploaded", "input.verified")


@pytest.fixture
def house(doomed_house: House) -> House:
    return doomed_house


async def ask(app: App, seen: Seen) -> None:
    await seen.subscribe(app)
    seen.replies.append(await app.submit("r1", quantity=2, workflow=loading(), inputs={"5.image": INPUT}))


@pytest.mark.parametrize("places", [PLACES, *((place,) * 2 for place in PLACES), ("input.uploaded", "prompt.posting")])
async def test_a_file_is_whole_at_comfyui_and_known_to_the_ledger_whatever_dies(
    house: House, places: tuple[str, ...]
) -> None:
    house.daemon = Doomed(house)
    await house.daemon.begin()
    await add(house, RED)
    house.daemon.end()
    (house.comfyui.input / NAME).unlink(missing_ok=True)
    seen, since = Seen(), len(house.comfyui.uploads())
    go_on = partial(ask, seen=seen)
    for place in places:
        await die(house, place, seen, go_on)
        (house.comfyui.input / NAME).unlink(missing_ok=True)
    batch = await last_life(house, seen, go_on)
    seen.check_replies()
    assert [image["state"] for image in batch["images"]] == ["stored"] * 2
    assert (house.comfyui.input / NAME).read_bytes() == RED
    assert 1 <= len(house.comfyui.uploads()) - since <= len(places) + 1
    sent = [line for line in check_tables(house.state / "ledger.db") if line.kind == "input_sent"]
    assert [SHA256 in line.data for line in sent] == [True]
    assert house.daemon.errors() == []


async def forget(app: App, seen: Seen) -> None:
    await seen.subscribe(app)
    with suppress(Refusal):
        await app.ask("forget_input", input=f"sha256:{SHA256}")


@pytest.mark.parametrize("places", [("input.removing", "input.removed"), ("input.removed",) * 2])
async def test_a_forgotten_file_is_removed_once_whatever_dies(house: House, places: tuple[str, ...]) -> None:
    house.daemon = Doomed(house)
    await house.daemon.begin()
    await add(house, RED)
    house.daemon.end()
    seen = Seen()
    await last_life(house, seen, partial(ask, seen=seen))
    house.daemon.end()
    for place in places:
        await die(house, place, seen, partial(forget, seen=seen))
    house.daemon = Doomed(house)
    await house.daemon.begin()
    gone = [f'"{name}"' for name in ("main", NAME)]
    await until(lambda: any(gone[0] in line and gone[1] in line for line in removals(house)), "that is logged")
    assert len(removals(house)) == 2
    check_tables(house.state / "ledger.db")
    assert (house.comfyui.input / NAME).stat().st_size < 100
    assert house.daemon.errors() == []


def removals(house: House) -> list[str]:
    return [line.data for line in log_of(house.state / "ledger.db") if line.kind == "input_removed"]
