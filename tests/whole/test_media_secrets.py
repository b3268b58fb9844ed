"""A secret that ComfyUI writes into its files is in no byte that is kept, whatever the medium.

A text that says the secret cannot be kept without it, so its image fails.
"""

from __future__ import annotations

import json
import signal

from support.media_graphs import SAVERS, Graph, graph_of
from support.processes import House

SECRET = "sk-named-in-the-environment-5555"
TOLD = "told"
"""A workflow whose text is the secret itself."""


def section(house: House, name: str, graph: Graph, address: str) -> str:
    """A configured workflow that is given the secret at an address."""
    graph["9"]["inputs"].setdefault("api_key", "")
    (house.folder / f"{name}.json").write_text(json.dumps(graph))
    return f'[workflows.{name}]\nfile = "{name}.json"\nsecrets = {{ "{address}" = "env:NAMED" }}\n'


async def test_no_secret_is_in_a_stored_byte_of_any_medium(house: House) -> None:
    sections = [section(house, medium, graph_of(medium, 3, prefix="x"), "9.api_key") for medium in SAVERS]
    sections.append(section(house, TOLD, graph_of("text", 3, prefix="x"), "1.value"))
    house.daemon.environment |= {"NAMED": SECRET}
    await house.comfyui.begin()
    house.configure('default_workflow = "png"\n' + "".join(sections))
    await house.daemon.begin()
    async with house.app() as app:
        names = [*SAVERS, TOLD]
        asked = [await app.submit(name, workflow=name, quantity=1, inputs={}) for name in names]
        batches = await app.settled(*(one["batch_id"] for one in asked))
    images = {name: batch["images"][0] for name, batch in zip(names, batches, strict=True)}
    failed = images.pop(TOLD)
    assert (failed["state"], failed["code"], failed["text"].partition(":")[0]) == ("failed", "broken", "unstrippable")
    assert {image["state"] for image in images.values()} == {"stored"}
    assert len(house.comfyui.posted()) == len(names), "another render would change nothing"
    house.daemon.signal(signal.SIGTERM)
    for name, batch in zip(names, batches, strict=True):
        folder = house.comfyui.output / "comfyledger" / batch["batch_id"].lower()
        given = b"".join(path.read_bytes() for path in folder.iterdir())
        assert (SECRET.encode() in given) == (name != "text"), f"there is nothing to find in {name}"
    files = [*house.state.rglob("*"), *house.images.rglob("*"), house.daemon.log, house.daemon.out]
    read = {str(path): path.read_bytes() for path in files if path.is_file()}
    assert [path for path, raw in read.items() if SECRET.encode() in raw] == []
    assert [path for path in house.stored().values() if b"class_type" in path.read_bytes()] == []
