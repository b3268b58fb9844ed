"""A short run of the fuzzers; `make fuzz` is the long one."""

from __future__ import annotations

import json
from typing import Any

from comfyledger.errors import CODES
from fuzzing import ASKED, Mutator, comfyui_frames, fuzz

INPUTS = 40_000


def test_no_input_raises_what_is_not_meant_to_be_raised() -> None:
    ends = fuzz(INPUTS, seed=1)
    assert {"taken", "not_json", "unknown_field", "invalid_field", "unknown_type"} <= set(ends["wire"])
    assert not [code for code in ends["wire"] if code.startswith("unknown code")]
    assert {"taken", "not_json", "not_utf8", "unknown_field", "invalid_field"} <= set(ends["http"])
    assert set(ends["http"]) <= set(CODES) | {"taken"}
    assert set(ends["comfyui"]) == {"taken", "bad frame"}
    assert min(ends["comfyui"].values()) > INPUTS // 50
    assert set(ends["documents"]) == {"taken", "workflow_invalid", "workflow_failed_validation"}


def test_the_fuzzer_begins_with_every_kind_of_frame_that_was_recorded() -> None:
    kinds = {one.get("type") for one in comfyui_frames()}
    assert {"status", "executing", "executed", "progress", "execution_error", "execution_success"} <= kinds


async def test_the_open_door_answers_every_frame_and_stays_open(door: Any) -> None:
    mutator = Mutator(5)
    async with door.raw() as raw, door.raw() as other:
        for number in range(300):
            kind, data = mutator.choice(ASKED)
            frame = mutator.frame({"type": kind, "id": number, "data": data})
            await raw.socket.send(frame, text=True)
            while (await raw.receive())["type"] not in {"result", "error"}:
                pass
        assert (await other.ask("server_info"))["type"] == "result"
        assert json.dumps((await raw.ask("server_info"))["data"]["open"])
