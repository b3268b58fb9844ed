"""`fleet give-up`, which asks a running daemon."""

from __future__ import annotations

import json
from typing import Any

from comfyledger import wire


def test_what_a_box_keeps_that_is_given_up_is_rendered_again(door: Any, run: Any) -> None:
    door.answers["give_up_box"] = wire.GivenUpBox("north", changed=True)
    said = run("fleet", "give-up", "north").stdout
    assert said == "north is given up: what only it keeps is rendered again.\n"
    assert json.loads(run("fleet", "give-up", "north", "--json").stdout)["changed"]
    assert door.requests("give_up_box") == [{"name": "north"}, {"name": "north"}]


def test_one_that_was_given_up_before_is_named(door: Any, run: Any) -> None:
    door.answers["give_up_box"] = wire.GivenUpBox("north", changed=False)
    assert run("fleet", "give-up", "north").stdout == "north is given up already.\n"
