"""Laws of giving out numbers: once, in order, to one request each, and only after the stores were asked."""

from __future__ import annotations

import pytest

from comfyledger.core.commands import CancelBatch, OpenSeries
from comfyledger.core.events import SeriesRaised
from comfyledger.core.reports import SeriesAnswered
from comfyledger.core.results import Accepted, Raised, SeriesNext, SeriesUnknown
from comfyledger.core.values import NUMBER_MAX, Evidence
from comfyledger.errors import Refused
from support.core_builders import cancel, given, one_stored, raising, series, stores, submit


def answered(**highest: int) -> SeriesAnswered:
    return SeriesAnswered(series(), tuple(Evidence(name, f"{name}:/there", number) for name, number in highest.items()))


def test_three_submits_in_one_group_get_nine_different_numbers() -> None:
    ledger = given()
    answers = [ledger.when(submit(batch)).answer for batch in ("b1", "b2", "b3")]
    assert [image.number for answer in answers for image in answer.images] == list(range(1, 10))


def test_the_names_of_a_batch_carry_its_numbers() -> None:
    answer = given(submit("b1", 1)).when(submit("b2", 2)).answer
    folder = "Areg/premade_characters/opal-fever/images"
    assert [image.public_id for image in answer.images] == [
        f"{folder}/Areg_opal-fever_image_2",
        f"{folder}/Areg_opal-fever_image_3",
    ]


def test_two_spellings_of_one_series_share_its_counter() -> None:
    ledger = given(submit("b1"), submit("b2", user="areg", character="opal  FEVER"))
    assert ledger.numbers("b1") + ledger.numbers("b2") == [1, 2, 3, 4, 5, 6]


def test_two_series_count_each_for_itself() -> None:
    ledger = given(submit("b1"), submit("b2", character="Ruby Frost"))
    assert ledger.numbers("b2") == [1, 2, 3]


def test_a_hundred_copies_of_one_request_make_one_batch() -> None:
    ledger = given()
    answers = [ledger.when(submit(f"b{copy}", request="r", body="same")).answer for copy in range(100)]
    assert {answer.batch_id for answer in answers} == {"b0"}
    assert {answer.images for answer in answers} == {answers[0].images}
    assert {answer.position for answer in answers} == {2}
    assert [answer.repeated for answer in answers] == [False] + [True] * 99
    assert len(ledger.log) == 2


def test_a_repeated_request_is_answered_alike_when_its_batch_is_over() -> None:
    ledger = given()
    first = ledger.when(submit(quantity=2, request="r", body="same")).answer
    ledger.given(one_stored(1), cancel())
    again = ledger.when(submit("b9", 2, request="r", body="same")).answer
    assert again == Accepted(first.batch_id, first.position, first.images, repeated=True)


def test_another_body_under_the_same_request_id_is_refused_at_no_cost() -> None:
    ledger = given(submit("b1", request="r", body="one"))
    with pytest.raises(Refused) as refusal:
        ledger.when(submit("b2", request="r", body="other"))
    assert refusal.value.code == "request_id_conflict"
    assert ledger.when(submit("b3")).answer.images[0].number == 4


def test_a_request_id_belongs_to_the_label_of_its_client() -> None:
    ledger = given(submit("b1", request="r", body="one", label="shop"))
    assert ledger.when(submit("b2", request="r", body="other", label="desk")).answer.batch_id == "b2"


def test_a_refused_command_leaves_no_event_and_no_row() -> None:
    ledger = given(submit("b1", request="r"))
    log, rows = list(ledger.log), dict(ledger.rows)
    for command in (submit("b2", request="r", body="other"), cancel(batch="nowhere"), cancel(7), CancelBatch("a", "")):
        with pytest.raises(Refused):
            ledger.when(command)
    assert (ledger.log, ledger.rows) == (log, rows)


def test_an_unused_series_waits_for_the_stores_and_uses_no_number() -> None:
    ledger = given()
    command = submit(trust=False, into=("folder", "cloud"))
    assert ledger.when(command).answer == SeriesUnknown(series(), stores("folder", "cloud"), "app")
    assert ledger.log == []
    ledger.given(answered(folder=0))
    assert not ledger.when(command).answer.repeated


def test_numbering_goes_on_after_the_highest_number_that_any_store_holds() -> None:
    ledger = given(answered(folder=3, cloud=57))
    assert ledger.when(submit(trust=False)).answer.images[0].number == 58


def test_the_stores_first_answer_opens_a_series_and_later_ones_are_ignored() -> None:
    ledger = given(answered(folder=57))
    then = ledger.when(answered(folder=99))
    assert then.events == ()
    assert then.answer == SeriesNext(series().key, 58)


@pytest.mark.parametrize("highest", [{}, {"folder": 0}, {"folder": -5}])
def test_a_series_of_which_no_store_holds_anything_begins_at_one(highest: dict[str, int]) -> None:
    assert given().when(answered(**highest)).answer.next == 1


def test_an_imported_store_is_not_asked_again_and_the_others_are() -> None:
    ledger = given(raising(("Areg", 57), store="cloud"))
    assert ledger.when(submit("b1", trust=False, into=("folder", "cloud"))).answer == SeriesUnknown(
        series(), stores("folder"), "app"
    )
    assert ledger.when(submit("b1", trust=False, into=("cloud",))).answer.images[0].number == 58


def test_answers_of_other_stores_never_lower_the_number_an_import_found() -> None:
    ledger = given(raising(("Areg", 57), store="cloud"), answered(folder=3))
    assert ledger.when(submit(trust=False, into=("folder", "cloud"))).answer.images[0].number == 58
    ledger = given(raising(("Areg", 57), store="cloud"), answered(folder=90))
    assert ledger.when(submit(trust=False, into=("folder", "cloud"))).answer.images[0].number == 91


def test_a_series_in_use_is_raised_by_an_import_and_never_lowered() -> None:
    ledger = given(submit("b1", 3))
    assert ledger.when(raising(("Areg", 2))).answer == Raised(0, 0, 1)
    then = ledger.when(raising(("areg", 7), ("Zoe", 4), ("Zoe", 4)))
    assert then.answer == Raised(opened=1, raised=1, unchanged=1)
    assert [event.next for event in then.events if isinstance(event, SeriesRaised)] == [8, 5]
    assert ledger.when(submit("b2", 1)).answer.images[0].number == 8


@pytest.mark.parametrize("lower", [1, 10, 56, 57])
def test_a_second_store_with_lower_numbers_is_known_and_lowers_nothing(lower: int) -> None:
    ledger = given(raising(("Areg", 57), store="cloud"))
    then = ledger.when(raising(("Areg", lower), store="folder"))
    assert [event.next for event in then.events if isinstance(event, SeriesRaised)] == [58]
    batch = ledger.when(submit("b1", trust=False, into=("folder", "cloud")))
    assert batch.answer.images[0].number == 58


def test_an_import_that_is_repeated_changes_nothing() -> None:
    ledger = given(raising(("Areg", 57), ("Zoe", 4)))
    assert ledger.when(raising(("Areg", 57), ("Zoe", 4))).events == ()


def test_what_an_import_saw_is_recorded_with_the_place_it_saw() -> None:
    (event,) = given().when(raising(("Areg", 57), store="cloud")).events
    assert isinstance(event, SeriesRaised)
    assert event.evidence == (Evidence("cloud", "cloud:/there", 57),)
    assert (event.reason, event.by) == ("import", "app")


def test_a_series_without_numbers_left_is_refused() -> None:
    ledger = given(answered(folder=NUMBER_MAX - 2))
    with pytest.raises(Refused) as refusal:
        ledger.when(submit(quantity=3))
    assert refusal.value.code == "quantity_out_of_range"
    assert ledger.when(submit(quantity=2)).answer.images[-1].number == NUMBER_MAX


def test_opening_a_series_says_what_it_gives_next_and_gives_nothing() -> None:
    ledger = given()
    assert ledger.when(OpenSeries("app", series(), stores("folder"))).answer == SeriesUnknown(
        series(), stores("folder"), "app"
    )
    trusting = OpenSeries("app", series(), stores("folder"), trust=True)
    assert ledger.when(trusting).answer == SeriesNext(series().key, 1)
    ledger.given(submit())
    assert ledger.when(trusting).answer == SeriesNext(series().key, 4)


def test_an_equal_graph_is_kept_once() -> None:
    ledger = given(submit("b1"))
    command = submit("b2")
    other_salt = type(command.template)("another digest", b"pepper", command.template.content, command.template.key)
    ledger.when(type(command)(**{**_fields(command), "template": other_salt}))
    assert ledger.batch("b2").template == ledger.batch("b1").template


def _fields(command: object) -> dict[str, object]:
    return {name: getattr(command, name) for name in command.__struct_fields__}  # type: ignore[attr-defined]


def test_a_prompt_is_fixed_when_its_batch_is_accepted() -> None:
    ledger = given(submit(quantity=5, per_prompt=2))
    assert [ledger.prompt(index).images for index in (1, 2, 3)] == [(1, 2), (3, 4), (5,)]
    assert [ledger.prompt(index).seed for index in (1, 2, 3)] == [1, 2, 3]
    assert [ledger.image(index).prompt for index in range(1, 6)] == [1, 1, 2, 2, 3]
