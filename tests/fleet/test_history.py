"""The checker of histories finds each kind of broken history, and nothing in a whole one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from comfyledger.core.commands import CancelBatch
from comfyledger.ledger.eventlog import Head, lines_of
from fleet.history import GENESIS, End, History, Refusal, Row, Told, hash_of, violations
from support.ledger_builders import submission
from support.ledger_kinds import Model

SERIES = "ann/images/ann_image_"


def chained(*events: tuple[str, dict[str, Any]]) -> list[Row]:
    """A log of these events, whole in itself."""
    rows: list[Row] = []
    for position, (kind, event) in enumerate(events, 1):
        row = Row(position, event.get("batch_id", "ledger"), kind, 1, 1_000 + position, json.dumps(event), b"")
        rows.append(row._replace(hash=hash_of(rows[-1].hash if rows else GENESIS, row)))
    return rows


def opened(number: int = 1) -> tuple[str, dict[str, Any]]:
    return "series_opened", {"series": SERIES, "next": number}


def batch(request: str, *numbers: int, **more: Any) -> tuple[str, dict[str, Any]]:
    images = [{"index": n, "number": n, "folder": "Ann/images", "file": f"Ann_image_{n}"} for n in numbers]
    event = {"batch_id": f"b-{request}", "label": "app", "request_id": request, "series": SERIES, "images": images}
    return "batch_requested", event | more


def answer(request: str, position: int, *numbers: int) -> Told:
    return Told(request, f"b-{request}", position, tuple((n, f"Ann/images/Ann_image_{n}") for n in numbers))


def history(log: list[Row], *told: Told, replicas: Iterable[End] | None = None, head: End | None = None) -> History:
    end = End(log[-1].position, log[-1].hash)
    return History(told, log, head or end, dict(zip("abc", [end] * 3 if replicas is None else replicas, strict=False)))


WHOLE = chained(opened(), batch("r1", 1, 2), batch("r2", 3), ("batch_cancelled", {"batch_id": "b-r2"}))


def laws(given: History, harmed: bool = True) -> list[str]:
    return [one.law for one in violations(given, harmed)]


def test_a_whole_history_has_no_violation() -> None:
    told = [answer("r1", 2, 1, 2), answer("r2", 3, 3), answer("r1", 4, 1, 2)]
    assert laws(history(WHOLE, *told), harmed=False) == []
    assert laws(History((), (), End(0, GENESIS), {"a": End(0, GENESIS)})) == []


def test_what_the_daemon_writes_is_a_whole_history() -> None:
    model = Model()
    model.given(submission("r1"), submission("r2", media=("image", "video")), CancelBatch("app", "batch-app-r1"))
    lines = lines_of(Head(), model.log, {})
    rows = [Row(one.position, one.stream, one.kind, one.schema, one.at_ms, one.data, one.hash) for one in lines]
    assert len(rows) > 3
    assert violations(history(rows)) == []


def test_a_gap_in_the_positions_is_found() -> None:
    assert "positions" in laws(history([WHOLE[0], *WHOLE[2:]]))


def test_a_log_whose_beginning_is_gone_is_found() -> None:
    assert "positions" in laws(history(WHOLE[1:]))


@pytest.mark.parametrize("change", [{"data": "{}"}, {"at_ms": 7}, {"stream": "x"}, {"kind": "x"}, {"schema": 2}])
def test_any_changed_column_breaks_the_chain(change: dict[str, Any]) -> None:
    log = [*WHOLE[:3], WHOLE[3]._replace(**change)]
    assert laws(history(log)) == ["chain"]


def test_a_head_that_is_not_the_last_line_is_found() -> None:
    assert laws(history(WHOLE, head=End(3, WHOLE[2].hash))) == ["head"]
    assert laws(history(WHOLE, head=End(4, b"other"))) == ["head"]


@pytest.mark.parametrize("end", [End(3, WHOLE[2].hash), End(5, b"more"), End(4, b"other")])
def test_a_replica_that_is_behind_ahead_or_other_is_found(end: End) -> None:
    assert laws(history(WHOLE, replicas=[End(4, WHOLE[3].hash), end])) == ["replica"]


def test_an_acknowledged_batch_that_is_not_in_the_log_is_lost() -> None:
    assert laws(history(WHOLE, answer("r3", 5, 4))) == ["lost"]


def test_a_batch_that_was_told_before_it_was_in_the_log_is_lost() -> None:
    assert laws(history(WHOLE, answer("r2", 2, 3))) == ["lost"]


def test_another_number_or_name_than_in_the_log_is_found() -> None:
    assert laws(history(WHOLE, answer("r2", 3, 4))) == ["answer"]
    assert laws(history(WHOLE, answer("r2", 3, 3)._replace(images=((3, "Ann/images/other"),)))) == ["answer"]


def test_two_answers_to_one_request_are_found() -> None:
    log = chained(opened(), batch("r1", 1), batch("r1", 2, batch_id="b-again", request_id="r9"))
    told = [answer("r1", 3, 1), answer("r1", 3, 2)._replace(batch_id="b-again")]
    assert laws(history(log, *told)) == ["answer"]


def test_one_request_with_two_batches_is_found() -> None:
    assert laws(history(chained(opened(), batch("r1", 1), batch("r1", 2, batch_id="b-again")))) == ["request"]


def test_a_number_given_twice_is_found_also_under_another_name() -> None:
    renamed = batch("r2", 1)[1]["images"][0] | {"file": "Ann_image_01"}
    assert laws(history(chained(opened(), batch("r1", 1), batch("r2", images=[renamed])))) == ["twice"]


def test_a_number_below_where_the_series_begins_is_found() -> None:
    assert laws(history(chained(opened(58), batch("r1", 57)))) == ["twice"]


def test_a_gap_in_the_numbers_without_an_event_is_found() -> None:
    assert laws(history(chained(opened(), batch("r1", 1), batch("r2", 3)))) == ["gap"]


def test_a_gap_that_an_event_explains_is_none() -> None:
    raised = ("series_raised", {"series": SERIES, "next": 9, "reason": "restore"})
    assert laws(history(chained(opened(), batch("r1", 1), raised, batch("r2", 9)))) == []


def test_a_name_given_twice_is_found_in_any_spelling() -> None:
    other = batch("r2", 2)[1]["images"][0] | {"file": "ANN_IMAGE_1"}
    assert laws(history(chained(opened(), batch("r1", 1), batch("r2", images=[other])))) == ["name"]


@pytest.mark.parametrize("kind", ["image_added", "image_renumbered"])
def test_a_number_that_an_image_got_later_is_counted(kind: str) -> None:
    later = {"batch_id": "b-r1", "series": SERIES, "number": 2, "folder": "Ann/images", "file": "Ann_image_2"}
    assert laws(history(chained(opened(), batch("r1", 1), (kind, later), batch("r2", 3)))) == []
    assert laws(history(chained(opened(), batch("r1", 1), (kind, later), batch("r2", 2)))) == ["twice", "name"]


def test_the_numbers_of_each_output_are_those_of_its_series() -> None:
    outputs = [{"series": SERIES}, {"series": "ann/videos/ann_video_"}]
    images = [batch("r1", 1)[1]["images"][0], {"number": 1, "folder": "Ann/videos", "file": "Ann_video_1", "output": 2}]
    log = chained(opened(), batch("r1", outputs=outputs, images=images))
    assert (
        laws(history(log, Told("r1", "b-r1", 2, ((1, "Ann/images/Ann_image_1"), (1, "Ann/videos/Ann_video_1"))))) == []
    )


def test_a_box_that_gave_up_is_found() -> None:
    given = history(WHOLE)._replace(ended=[Refusal("a", "The shared log has lost events")])
    assert laws(given) == ["ended"]


def test_a_refusal_is_a_violation_only_where_nothing_was_harmed() -> None:
    given = history(WHOLE)._replace(refused=[Refusal("a", "could not serialize access")])
    assert laws(given) == []
    assert laws(given, harmed=False) == ["refused"]
