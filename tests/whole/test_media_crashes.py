"""The daemon dies at every named place while one prompt makes a file of each medium, and every file is kept once.

One graph with six savers gives six images. A world is killed once for each of them at one place: at its first file, at
its second, and so on. Uploads may be written to the log together, so a world dies at the first one, life after life.
"""

from __future__ import annotations

import io
from functools import partial

import pytest

from comfyledger import crash_points
from comfyledger.workers.media.media_file import pin
from support.doomed_lives import Seen, die, last_life
from support.ledger_builders import check_tables
from support.media_graphs import SAVERS, savers_of, several
from support.processes import House
from support.wire_app import App

MEDIA = ("mp4", "webm", "flac", "glb", "webp", "exr")
OF_A_FILE = [name for name in crash_points.POINTS if name.startswith(("fetch.asked", "spool."))]
OF_A_PROMPT = [
    *("prompt.owed", "prompt.intended", "prompt.posting", "prompt.accepted", "prompt.ended", "prompt.end_logged"),
    *("fetch.whole", "fetch.logged"),
]
OF_AN_UPLOAD = [name for name in crash_points.POINTS if name.startswith("upload.")]
WORLDS = {
    **{name: [f"{name}:{place}" for place in range(1, len(MEDIA) + 1)] for name in OF_A_FILE},
    **{name: [name] * (1 if name == "upload.logged" else 3) for name in OF_AN_UPLOAD},
    "prompt": OF_A_PROMPT,
    "answer": ["prompt.answered", "prompt.sought"],
}


@pytest.fixture
def house(doomed_house: House) -> House:
    return doomed_house


async def ask(app: App, seen: Seen) -> None:
    await seen.subscribe(app)
    asked = {"workflow": several(*MEDIA, color=7), "outputs": savers_of(*MEDIA), "inputs": {}}
    seen.replies.append(await app.submit("r1", quantity=1, **asked))


def written(house: House, batch_id: str, place: int, medium: str) -> bytes:
    """What the stand-in wrote for an output in the first attempt, as it is kept."""
    ending = SAVERS[medium][2]
    prefix = "1-a1" if place == 1 else f"1-a1-o{place}"
    name = prefix + (ending if "0" in ending else f"_00001{ending}")
    out = io.BytesIO()
    raw = (house.comfyui.output / "comfyledger" / batch_id.lower() / name).read_bytes()
    pin(io.BytesIO(raw), out, strip=True, pixels_max=10**8)
    return out.getvalue()


@pytest.mark.parametrize("world", WORLDS)
async def test_files_of_every_medium_are_kept_once_whatever_dies(house: House, world: str) -> None:
    seen, since = Seen(), len(house.comfyui.posted())
    go_on = partial(ask, seen=seen)
    for place in WORLDS[world]:
        await die(house, place, seen, go_on)
    batch = await last_life(house, seen, go_on)
    seen.check_replies()
    assert [image["state"] for image in batch["images"]] == ["stored"] * len(MEDIA)
    stored = house.stored()
    assert sorted(stored) == sorted(seen.replies[0]["public_ids"])
    for place, (image, medium) in enumerate(zip(batch["images"], MEDIA, strict=True), 1):
        kept = written(house, batch["batch_id"], place, medium)
        assert stored[image["public_id"]].read_bytes() == kept, medium
        assert (house.state / "spool" / batch["batch_id"] / f"{place}.{image['extension']}").read_bytes() == kept
    assert len(list((house.state / "spool").glob("*/*"))) == len(MEDIA)
    lines = check_tables(house.state / "ledger.db")
    told = [(event["position"], event["kind"]) for event in seen.events]
    assert told == [(line.position, line.kind) for line in lines]
    assert house.daemon.errors() == []
    assert len(house.comfyui.posted()) - since == 1
