"""The list of crash points and the code agree, and the variable that arms one is read with care."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from comfyledger import crash_points

SOURCE = Path(crash_points.__file__).parent
TWO_WAYS_OUT = ("reply.sending", "event.sending", "event.sent")
"""What leaves by the websocket and over HTTP, each with the point of its own call."""
OF_AN_UPLOAD = ("reply.sending",)
"""The answer to a PUT, which is no request of the websocket."""


def placed() -> Counter[str]:
    """How often each name stands in a call `crash_points.at(...)`; one that is no plain string is no name."""
    calls: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash_points.at":
                calls[ast.literal_eval(node.args[0])] += 1
    return calls


def test_each_point_stands_in_the_code_once_for_each_way_out_and_no_other_does() -> None:
    assert placed() == Counter([*crash_points.POINTS, *TWO_WAYS_OUT, *OF_AN_UPLOAD])


def test_a_point_is_armed_for_the_first_time_or_the_one_that_is_named() -> None:
    assert crash_points.armed("") == ("", 1)
    assert crash_points.armed("group.written") == ("group.written", 1)
    assert crash_points.armed("group.written:3") == ("group.written", 3)


@pytest.mark.parametrize("text", ["nowhere", "nowhere:2", "group.written:0", "group.written:x", "group.written:-1"])
def test_what_names_no_point_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(SystemExit, match=r"COMFYLEDGER_CRASH_AT .*\.$"):
        crash_points.armed(text)


def ending(text: str, reached: int) -> int:
    """How a process ends that is armed and reaches a point so many times."""
    program = f"from comfyledger import crash_points\nfor _ in range({reached}): crash_points.at('group.written')"
    environment = {**os.environ, crash_points.VARIABLE: text}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False).returncode


def test_the_process_is_killed_at_the_time_that_is_named_and_not_before() -> None:
    assert ending("group.written:2", reached=1) == 0
    assert ending("group.written:2", reached=2) == -9
    assert ending("group.committed", reached=2) == 0
