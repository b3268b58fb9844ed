"""Laws of batches with several outputs: images take turns, and each series counts for itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import RaiseSeries, RenumberImages, SeriesFound, SubmitBatch
from comfyledger.core.events import BatchRequested, ImageRenumbered, SeriesOpened
from comfyledger.core.media import Medium
from comfyledger.core.naming.names import Series, Templates, series_of
from comfyledger.core.reports import SeriesAnswered
from comfyledger.core.results import Accepted, SeriesUnknown
from comfyledger.core.values import NUMBER_MAX, Evidence, OutputNamed
from comfyledger.errors import Refused
from support.core_builders import (
    PlainLedger,
    folded,
    given,
    kept,
    rendering,
    stores,
    submit,
    unwanted,
    wrote,
)

MEDIA: tuple[Medium, ...] = ("image", "video")
NODES = ("9", "12", "15")


def of(medium: Medium) -> Series:
    return series_of(Templates(), "Areg", "Opal Fever", True, medium)


def shots(batch: str, count: int, media: tuple[Medium, ...] = MEDIA, *, trust: bool = True) -> SubmitBatch:
    """So many shots, each in a run of its own."""
    asked = submit(batch, count * len(media), per_prompt=len(media), trust=trust)
    outputs = [{"node": node} for node in NODES[: len(media)]]
    return replace(
        asked, series=tuple(map(of, media)), media=media, plan={"output": "9", "prefix": "9.p", "outputs": outputs}
    )


def answered(medium: Medium, highest: int) -> SeriesAnswered:
    return SeriesAnswered(of(medium), (Evidence("folder", "folder:/there", highest),))


def test_images_take_turns_and_each_series_counts_from_one() -> None:
    answer = given().when(shots("b1", 2)).answer
    assert [(image.index, image.output, image.file) for image in answer.images] == [
        (1, 1, "Areg_opal-fever_image_1"),
        (2, 2, "Areg_opal-fever_video_1"),
        (3, 1, "Areg_opal-fever_image_2"),
        (4, 2, "Areg_opal-fever_video_2"),
    ]
    assert answer.media == MEDIA


def test_each_series_goes_on_where_it_stands() -> None:
    ledger = given(submit("b1", 5), shots("b2", 2))
    assert ledger.numbers("b2") == [6, 1, 7, 2]
    ledger.given(shots("b3", 1), submit("b4", 1))
    assert ledger.numbers("b3") + ledger.numbers("b4") == [8, 3, 9]


def test_two_outputs_of_one_medium_share_a_series() -> None:
    ledger = given(shots("b1", 2, ("image", "image", "video")), submit("b2", 1))
    assert ledger.numbers("b1") == [1, 2, 1, 3, 4, 2]
    assert ledger.numbers("b2") == [5]


def test_the_event_and_the_rows_name_each_output() -> None:
    ledger = given(shots("b1", 1))
    named = tuple(OutputNamed(node, medium, of(medium).key) for node, medium in zip(("9", "12"), MEDIA, strict=True))
    (requested,) = [entry.event for entry in ledger.log if isinstance(entry.event, BatchRequested)]
    assert (requested.series, requested.outputs) == (of("image").key, named)
    assert ledger.batch("b1").every_output == named
    assert [(ledger.image(index).output, ledger.image(index).medium) for index in (1, 2)] == [
        (1, "image"),
        (2, "video"),
    ]
    assert folded(ledger.log, narrow=True) == {key: row for key, row in ledger.rows.items() if key[0] != "template"}


def test_a_batch_of_images_alone_has_the_row_of_a_batch_before_there_were_outputs() -> None:
    ledger = given(submit("b1", 1))
    assert ledger.batch().outputs == ()
    assert ledger.batch().every_output == (OutputNamed("9", "image", of("image").key),)


def test_all_series_that_nobody_knows_are_asked_about_at_once() -> None:
    then = given().when(shots("b1", 1, trust=False))
    assert then.events == ()
    asked = then.answer
    assert isinstance(asked, SeriesUnknown)
    assert [one.series for one in (asked, *asked.also)] == [of("image"), of("video")]


def test_nothing_is_opened_while_one_series_is_unknown() -> None:
    """Neither when the other is open, nor when an import has gone through it."""
    ledger = given(submit("b0", 1))
    then = ledger.when(shots("b1", 1, trust=False))
    assert (then.events, then.answer.series, then.answer.also) == ((), of("video"), ())
    ledger = given(answered("video", 4))
    then = ledger.when(shots("b1", 1, trust=False))
    assert (then.events, then.answer.series) == ((), of("image"))


def test_once_all_are_known_the_batch_goes_on_above_what_the_stores_hold() -> None:
    ledger = given(answered("image", 57), answered("video", 4))
    assert [image.number for image in ledger.when(shots("b1", 1, trust=False)).answer.images] == [58, 5]


def test_a_trusted_batch_opens_all_of_its_series_in_its_own_message() -> None:
    then = given().when(shots("b1", 1))
    assert [type(event) for event in then.events] == [SeriesOpened, SeriesOpened, BatchRequested]


def test_a_repeat_gets_numbers_outputs_and_media_again() -> None:
    ledger: PlainLedger = given()
    first = ledger.when(shots("b1", 2)).answer
    again = ledger.when(replace(shots("b9", 2), request_id="request of b1", request_digest="body of b1")).answer
    assert isinstance(again, Accepted)
    assert again == replace(first, repeated=True)


# ---- new numbers


def collided(ledger: PlainLedger, *images: int) -> None:
    ledger.given(rendering(1), wrote(1, files=(1, 1)), kept(1, 2), *(unwanted(image) for image in images))


def renumber(*media: Medium) -> RenumberImages:
    return RenumberImages("app", "b1", tuple(of(medium).key for medium in media), (1, 2))


def test_each_image_gets_the_next_number_of_its_own_series() -> None:
    ledger = given(submit("b0", 4), shots("b1", 1))
    collided(ledger, 1, 2)
    then = ledger.when(renumber(*MEDIA))
    events = [event for event in then.events if isinstance(event, ImageRenumbered)]
    assert [(event.series, event.file) for event in events] == [
        (of("image").key, "Areg_opal-fever_image_6"),
        (of("video").key, "Areg_opal-fever_video_2"),
    ]
    assert [ledger.when(shots(batch, 1)).answer.images[1].number for batch in ("b2", "b3")] == [3, 4]
    assert folded(ledger.log, narrow=True) == {key: row for key, row in ledger.rows.items() if key[0] != "template"}


@pytest.mark.parametrize("known", [("image",), ("video",), ()])
def test_new_numbers_need_every_series_of_the_batch(known: tuple[Medium, ...]) -> None:
    ledger = given(shots("b1", 1))
    collided(ledger, 2)
    with pytest.raises(Refused, match="naming templates no longer give"):
        ledger.when(renumber(*known))


def test_a_series_at_its_end_refuses_before_another_gave_a_number() -> None:
    ledger = given(shots("b1", 1), RaiseSeries("app", stores("folder")[0], (SeriesFound(of("video"), NUMBER_MAX),)))
    collided(ledger, 1, 2)
    before = len(ledger.log)
    with pytest.raises(Refused, match="Too few numbers are left"):
        ledger.when(renumber(*MEDIA))
    assert len(ledger.log) == before
