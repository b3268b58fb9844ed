"""The chains of docs/inputs.md, sent one after the other as they stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.documents import ROOT, blocks
from support.graphs import node
from support.loaded_pictures import loading

PAGE = (ROOT / "docs" / "inputs.md").read_text("utf-8")
CHAIN = [json.loads(body) for mark, body in blocks(PAGE, "json") if mark == "chain"]
PLAIN = {"1": node("EmptyImage", width=64, height=64, batch_size=1, color=0), "9": node("SaveImage", images=["1", 0])}
WORKFLOWS = """
[workflows.empty-image]
file = "plain.json"
[workflows.enlarge]
file = "enlarge.json"
inputs = { picture = "5.image" }
"""


async def test_the_chains_of_the_page_are_made(open_door: Any, tmp_path: Path) -> None:
    (tmp_path / "enlarge.json").write_text(json.dumps(loading()))
    (tmp_path / "plain.json").write_text(json.dumps(PLAIN))
    async with open_door(tmp_path, WORKFLOWS) as door, door.app() as app:
        await app.ask("pause", scope="backend:main")
        asked = [await app.ask("submit_batch", **request) for request in CHAIN]
        waiting = [(await app.batch(one["batch_id"]))["pending"] for one in asked]
        await app.ask("resume", scope="backend:main")
        made = await app.settled(*(one["batch_id"] for one in asked))
        told = await app.ask("explain", what=asked[1]["names"][0])
    assert waiting == [1, 1, 1], "all of them may be sent at once"
    assert [batch["stored"] for batch in made] == [1, 1, 1]
    assert asked[0]["batch_id"] in json.dumps(told)
