"""A request that was answered before is answered alike after a restart under another configuration."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from support.processes import House
from support.wire_app import Refusal

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}


async def test_a_repeat_gets_the_same_answer_without_its_workflow_and_limits(side_by_side: Any) -> None:
    await side_by_side(repeated_later, [signal.SIGTERM, signal.SIGKILL])


async def repeated_later(house: House, end: Any) -> None:
    (house.folder / "mine.json").write_text(json.dumps({"1": EMPTY, "9": SAVE}))
    empty = '[workflows.empty-image]\nfile = "sample:empty-image"\n'
    await house.begin(f'{empty}[workflows.mine]\nfile = "mine.json"\n')
    asked = {"workflow": "mine", "inputs": {}, "quantity": 4}
    async with house.app("app") as app:
        first = await app.submit("r1", **asked)
        await app.settled(first["batch_id"])
    house.daemon.signal(end)
    (house.folder / "mine.json").unlink()
    house.configure(f'{empty}[naming]\nfile = "{{username}}-{{character}}-{{number}}"\n[limits]\nquantity_max = 1')
    await house.daemon.begin()
    async with house.app("app") as app:
        assert await app.submit("r1", **asked) == {**first, "repeated": True}
        with pytest.raises(Refusal, match="request_id_conflict"):
            await app.submit("r1", **{**asked, "quantity": 1})
        with pytest.raises(Refusal, match="quantity_out_of_range"):
            await app.submit("r2", **asked)
