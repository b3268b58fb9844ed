"""`log`: which pages it asks for, what it shows of them, and where the past ends and the live part begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from comfyledger.cli import base
from comfyledger.cli.commands.log import moment

BATCH = "01JD0000000000000000ABCDEF"
OTHER = "01JD0000000000000000ABCXYZ"
NOW_MS = 1_800_000_000_000


def positions(stdout: str) -> list[int]:
    return [json.loads(line)["position"] for line in stdout.splitlines()]


@pytest.fixture
def long_log(door: Any) -> None:
    for number in range(1, 101):
        stream = BATCH if number % 2 else OTHER
        kind = "image_kept" if number % 5 else "image_failed"
        door.happen(kind, {"batch_id": stream, "image": number}, stream, {"d": "words\x1b[0m"})


@pytest.mark.usefixtures("long_log")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), list(range(51, 101))),
        (("--limit", "2"), [99, 100]),
        (("--after", "97"), [98, 99, 100]),
        (("--after", "10", "--limit", "2"), [11, 12]),
        (("--after", "100"), []),
        (("--after", "10", "--to", "12"), [11, 12]),
        (("--to", "3", "--limit", "2"), [2, 3]),
        (("--to", "2"), [1, 2]),
        (("--batch", BATCH, "--limit", "2"), [97, 99]),
        (("--batch", BATCH, "--kind", "image_failed"), list(range(5, 101, 10))),
        (("--user", "Areg", "--limit", "1"), [99]),
        (("--kind", "image_failed", "--after", "90", "-f", "--limit", "2"), [95, 100]),
    ],
)
def test_the_log_shows_what_was_asked_for_and_ends(run: Any, words: tuple[str, ...], expected: list[int]) -> None:
    assert positions(run("log", *words, "--json").stdout) == expected


@pytest.mark.usefixtures("long_log")
def test_the_last_ones_are_read_backwards_and_not_from_the_beginning(door: Any, run: Any) -> None:
    run("log")
    (asked,) = door.requests("read_log")
    assert (asked["reverse"], asked["limit"], asked["upto"]) == (True, 50, 100)
    assert not door.requests("subscribe")


@pytest.mark.usefixtures("long_log")
def test_pages_follow_each_other_without_gap_or_double(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger.cli.commands.log.PAGE", 7)
    assert positions(run("log", "--after", "0", "--json").stdout) == list(range(1, 101))
    assert positions(run("log", "--limit", "30", "--json").stdout) == list(range(71, 101))


@pytest.mark.usefixtures("long_log")
def test_what_is_to_come_begins_where_the_past_ended(door: Any, run: Any) -> None:
    answers = door._page

    def page(data: dict[str, Any]) -> Any:
        """Two events happen after the hello and before the subscription."""
        if len(door.events) == 100:
            door.happen("image_kept", {"batch_id": BATCH})
            door.happen("image_kept", {"batch_id": BATCH})
        return answers(data)

    door._page = page
    found = run("log", "--after", "98", "--follow", "--limit", "4", "--json")
    assert positions(found.stdout) == [99, 100, 101, 102]
    assert door.requests("subscribe")[0]["after"] == 100


@pytest.mark.usefixtures("long_log")
def test_of_one_character_what_is_to_come_is_asked_for_event_by_event(door: Any, run: Any) -> None:
    answers = door._page
    door._page = lambda data: door_of_character(door, answers, data)
    found = run("log", "--user", "Areg", "--character", "Fox", "--after", "100", "-f", "--limit", "1", "--json")
    assert positions(found.stdout) == [103]


def door_of_character(door: Any, answers: Any, data: dict[str, Any]) -> Any:
    """The first page makes three events happen; only the last of them is the character's."""
    assert data["character"] == "Fox"
    if len(door.events) == 100:
        page = answers(data)
        for _ in range(3):
            door.happen("image_kept", {"batch_id": BATCH})
        return page
    return answers(data) if data["upto"] == 103 else answers({**data, "kinds": []})


def test_filters_are_the_daemons_work(door: Any, run: Any) -> None:
    words = ("--user", "Areg", "--character", "Opal Fever", "--kind", "image_kept", "--since", "1970-01-01T00:00:01Z")
    assert run("log", *words, "--until", "1970-01-01T00:00:02Z").exit_code == 0
    assert door.requests("read_log")[0] == {
        "upto": 0,
        "epoch": "e1",
        "username": "Areg",
        "character": "Opal Fever",
        "kinds": ["image_kept"],
        "since_ms": 1000,
        "until_ms": 2000,
        "limit": 500,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "yesterday"), "not a time"),
        (("--follow", "--to", "3"), "no end"),
        (("--character", "Fox"), "--user"),
    ],
)
def test_what_cannot_be_meant_is_refused(door: Any, run: Any, words: tuple[str, ...], said: str) -> None:
    result = run("log", *words)
    assert result.exit_code == base.USAGE
    assert said in result.stderr
    assert not door.requests("read_log")


@pytest.mark.parametrize(
    ("typed", "ms"),
    [
        ("90s", NOW_MS - 90_000),
        ("30m", NOW_MS - 1_800_000),
        ("30min", NOW_MS - 1_800_000),
        ("2h", NOW_MS - 7_200_000),
        ("7d", NOW_MS - 7 * 86_400_000),
        ("1w", NOW_MS - 7 * 86_400_000),
        ("2026-11-22T03:00:00Z", int(datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-22T03:00:00+01:00", int(datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp() * 1000)),
        ("2026-11-22", int(datetime(2026, 11, 22).timestamp() * 1000)),
    ],
)
def test_a_time_is_absolute_or_so_long_ago(typed: str, ms: int) -> None:
    assert moment(typed, NOW_MS) == ms


@pytest.mark.usefixtures("long_log")
def test_log_lines_are_for_people(run: Any) -> None:
    (line,) = run("log", "--limit", "1").stdout.splitlines()
    assert line.split()[:1] == ["100"]
    assert r"image_failed      00ABCXYZ  image=100  words\x1b[0m" in line
