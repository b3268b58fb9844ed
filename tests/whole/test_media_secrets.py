"""A secret that ComfyUI writes into its files is in no byte that is kept, whatever the medium.

A text is searched: one with the secret in it is not kept.
"""

from __future__ import annotations

import json
import signal

from support.media_graphs import SAVERS, graph_of
from support.processes import House

SECRET = "sk-named-in-the-environment-5555"


async def test_no_secret_is_in_a_stored_byte_of_any_medium(house: House) -> None:
    sections = ['default_workflow = "png"']
    for medium in SAVERS:
        graph = graph_of(medium, 3, prefix="x")
        node, name = ("1", "value") if medium == "text" else ("9", "api_key")
        graph[node]["inputs"][name] = ""
        (house.folder / f"{medium}.json").write_text(json.dumps(graph))
        secrets = f'secrets = {{ "{node}.{name}" = "env:NAMED" }}'
        sections.append(f'[workflows.{medium}]\nfile = "{medium}.json"\n{secrets}')
    house.daemon.environment |= {"NAMED": SECRET}
    await house.comfyui.begin()
    house.configure("\n".join(sections))
    await house.daemon.begin()
    async with house.app() as app:
        asked = [await app.submit(medium, workflow=medium, quantity=1, inputs={}) for medium in SAVERS]
        batches = await app.settled(*(one["batch_id"] for one in asked))
    states = {medium: batch["images"][0]["state"] for medium, batch in zip(SAVERS, batches, strict=True)}
    assert states == {**dict.fromkeys(SAVERS, "stored"), "text": "failed"}
    (failed,) = [image for batch in batches for image in batch["images"] if image["state"] == "failed"]
    assert failed["text"].startswith("unstrippable: A secret of the workflow text may be in the .txt file.")
    assert len(house.comfyui.posted()) == len(SAVERS), "another render would change nothing"
    house.daemon.signal(signal.SIGTERM)
    for medium, batch in zip(SAVERS, batches, strict=True):
        folder = house.comfyui.output / "comfyledger" / batch["batch_id"].lower()
        given = b"".join(path.read_bytes() for path in folder.iterdir())
        assert SECRET.encode() in given, f"there is nothing to find in {medium}"
    files = [*house.state.rglob("*"), *house.images.rglob("*"), house.daemon.log, house.daemon.out]
    read = {str(path): path.read_bytes() for path in files if path.is_file()}
    assert [path for path, raw in read.items() if SECRET.encode() in raw] == []
    assert [path for path in house.stored().values() if b"class_type" in path.read_bytes()] == []
