"""`characters`: what it prints."""

from __future__ import annotations

import json
from typing import Any

from comfyledger import wire

DEFAULTS = wire.CharacterDefaultsInfo("text-to-image", {"steps": 30}, "a {prompt}")
WHOLE = wire.CharacterInfo("opal-fever", "Opal\x1b[2J Fever", DEFAULTS, DEFAULTS)
LACKS = wire.CharacterInfo("lost", "Lost", DEFAULTS, DEFAULTS, missing={"main": ["ckpt_name is 'x'."]})
UNSEEN = wire.CharacterInfo("new", "New", DEFAULTS, DEFAULTS, unchecked=["main"])


def test_characters_are_listed_over_all_pages_with_what_is_missing(door: Any, run: Any) -> None:
    pages = {
        None: wire.Characters([WHOLE, LACKS], more=True, next_cursor="lost"),
        "lost": wire.Characters([UNSEEN], more=False),
    }
    door.answers["list_characters"] = lambda data: pages[data.get("before")]
    lines = run("characters").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["opal-fever", "text-to-image", "complete"],
        ["lost", "text-to-image", "incomplete"],
        ["new", "text-to-image", "not"],
    ]
    assert lines[1].endswith(r"Opal\x1b[2J Fever")
    assert lines[4] == "lost: main lacks something. ckpt_name is 'x'."
    assert [one["name"] for one in json.loads(run("characters", "--json").stdout)] == ["opal-fever", "lost", "new"]


def test_without_characters_it_says_so(door: Any, run: Any) -> None:
    door.answers["list_characters"] = wire.Characters([], more=False)
    assert run("characters").stdout == "No character is configured.\n"
