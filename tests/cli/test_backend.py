"""`backend add` and `backend remove`."""

from __future__ import annotations

import json
from typing import Any

from comfyledger import wire

ADDED = wire.AddedBackend("gpu-7", "http://gpu-7.example:8188", ["flux"], 60, 1, True)


def test_one_is_added_with_all_that_is_said_of_it(door: Any, run: Any) -> None:
    door.answers["add_backend"] = ADDED
    words = ["backend", "add", "gpu-7", "http://gpu-7.example:8188", "--tag", "flux", "--tag", "48gb"]
    said = run(*words, "--ttl", "60", "--queue-depth", "1")
    assert said.stdout.split("\n")[0] == (
        "gpu-7 at http://gpu-7.example:8188 is used for 60 s; add it again to keep it."
    )
    assert door.requests("add_backend") == [
        {"name": "gpu-7", "url": ADDED.url, "tags": ["flux", "48gb"], "ttl_s": 60, "queue_depth": 1}
    ]
    assert json.loads(run(*words, "--json").stdout)["changed"]


def test_one_that_is_added_again_is_kept(door: Any, run: Any) -> None:
    door.answers["add_backend"] = wire.AddedBackend("gpu-7", ADDED.url, [], 0, 0, False)
    assert run("backend", "add", "gpu-7", ADDED.url).stdout == f"gpu-7 at {ADDED.url} is kept.\n"
    assert door.requests("add_backend") == [{"name": "gpu-7", "url": ADDED.url}]


def test_one_is_removed_and_its_prompts_move_only_if_that_is_said(door: Any, run: Any) -> None:
    door.answers["remove_backend"] = wire.RemovedBackend("gpu-7", 0)
    assert run("backend", "remove", "gpu-7").stdout == "gpu-7 is used no more.\n"
    door.answers["remove_backend"] = wire.RemovedBackend("gpu-7", 1)
    assert run("backend", "remove", "gpu-7", "--move").stdout == (
        "gpu-7 is used no more. It had 1 prompt: others get what they may take, the rest waits.\n"
    )
    assert door.requests("remove_backend") == [{"name": "gpu-7"}, {"name": "gpu-7", "move": True}]
    assert json.loads(run("backend", "remove", "gpu-7", "--json").stdout) == {"name": "gpu-7", "prompts": 1}
