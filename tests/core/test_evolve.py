"""Laws of the fold: the log alone is the state, an event needs no more than it touches, and its form never changes."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from comfyledger.core import events as module
from comfyledger.core.commands import (
    AddBackend,
    AddWebhook,
    ForgetInput,
    GiveUpBox,
    JoinBox,
    LeaveBox,
    PauseLane,
    PauseWebhook,
    RemoveBackend,
    RemoveWebhook,
    ResumeLane,
    ResumeWebhook,
)
from comfyledger.core.events import KIND_OF, KINDS, Event, ImageKept, ImageUploaded, Recorded, stream_of
from comfyledger.core.evolve import evolve as fold
from comfyledger.core.evolve.evolve import evolve, touches
from comfyledger.core.evolve.transitions import COUNT, moved
from comfyledger.core.keys import BatchKey
from comfyledger.core.reports import InputGone, LaneWorks
from comfyledger.core.rows import BatchRow, ImageRow, ImageState, PromptRow, Slice, TemplateRow, Upload
from support.core_builders import (
    PlainLedger,
    adding,
    brought_back,
    cancel,
    deleted,
    dropping,
    failing,
    finished,
    folded,
    foreign,
    forget,
    given,
    gone,
    hold,
    intended,
    interrupted,
    kept,
    laid_by,
    left,
    loading,
    lost,
    made_from,
    miscounted,
    name_of,
    one_kept,
    one_stored,
    owing,
    pinned,
    prioritizing,
    raising,
    refused,
    release,
    rendered,
    rendering,
    renumbering,
    restoring,
    retry,
    reviewing,
    sending,
    sources_of,
    stuck,
    submit,
    taking,
    unwanted,
    uploaded,
)

GOLDEN = {
    "series_opened": "series folder next evidence asked",
    "series_raised": "series folder next evidence reason by",
    "batch_requested": (
        "batch_id label request_id request_digest username user_key character premade series workflow"
        " template plan images prompts stores priority metadata outputs unchecked origin needs backend"
        " webhook webhook_url"
    ),
    "batch_held": "batch_id reason",
    "batch_resumed": "batch_id",
    "batch_cancelled": "batch_id by",
    "batch_settled": "batch_id stored parked failed cancelled forgotten",
    "batch_reopened": "batch_id by render images upload source",
    "prompt_submitting": "batch_id prompt attempt prompt_id backend outputs choice_over version left_out server",
    "prompt_accepted": "batch_id prompt attempt",
    "prompt_refused": "batch_id prompt attempt code words",
    "prompt_finished": "batch_id prompt attempt files code words",
    "files_waiting": "batch_id prompt attempt images files words",
    "files_taken": "batch_id prompt images files take by",
    "image_added": "batch_id prompt series image number folder file by",
    "prompt_failed": "batch_id prompt attempt code again words",
    "prompt_lost": "batch_id prompt attempt",
    "prompt_removed": "batch_id prompt attempt by",
    "image_kept": "batch_id prompt attempt image name sha256 md5 size_bytes width height extension checked medium box",
    "upload_started": "batch_id image store attempt",
    "image_uploaded": "batch_id image name store url replayed details",
    "image_parked": "batch_id image name store code words",
    "store_dropped": "batch_id store images by",
    "store_owed": "batch_id store images by",
    "image_lost": "batch_id images prompts",
    "image_renumbered": "batch_id series image number folder file before by",
    "image_failed": "batch_id images prompts code words",
    "image_cancelled": "batch_id images prompts",
    "image_forgotten": "batch_id images prompts stores by",
    "blob_erased": "batch_id digests by",
    "image_deleted": "batch_id image name store found",
    "image_left": "batch_id image name store code",
    "lane_paused": "lane cause code words",
    "lane_resumed": "lane cause",
    "ledger_restored": "epoch_before epoch position_before evidence margin by first",
    "input_added": "sha256 size_bytes extension width height by checked",
    "input_sent": "sha256 size_bytes extension backend name",
    "input_forgotten": "sha256 labels by",
    "input_erased": "sha256 reason",
    "input_removed": "sha256 backend found name given_up by",
    "sources_fixed": "batch_id prompt loads",
    "prompt_moved": "batch_id prompt attempt backend reason running",
    "stray_ended": "batch_id prompt attempt backend outcome files",
    "backend_added": "name url by tags ttl_s queue_depth",
    "backend_removed": "name reason by",
    "webhook_added": "name url kinds generation by",
    "webhook_removed": "name by",
    "webhook_paused": "name reason by",
    "webhook_resumed": "name by",
    "batch_prioritized": "batch_id priority by",
    "image_reviewed": "batch_id images by verdict rating",
    "box_joined": "box term",
    "box_left": "box term reason by",
    "box_given_up": "box by",
    "image_taken_over": "batch_id image box before",
}
"""Kinds and fields as ledgers hold them. What stands here is never renamed or removed; what is new is added."""


def eventful() -> PlainLedger:
    """A ledger in which every kind of event has happened."""
    lane = "store/folder"
    return given(
        *(submit("b1", 12, per_prompt=2, into=("folder", "cloud")), submit("b2"), submit("b3", 60, user="Mara")),
        *(rendering(1), gone(1, restarted=True), rendering(2), interrupted(2), release()),
        *(one_stored(1, batch="b2"), one_kept(2, batch="b2"), unwanted(2, batch="b2"), intended(3, batch="b2")),
        *(refused(3, batch="b2"), retry(batch="b2"), uploaded(2, batch="b2"), hold("b2"), cancel(batch="b2")),
        reviewing("b2/1", "b2/2", verdict="approved", rating=3),
        *(failing(3), cancel(7), retry(5), cancel()),
        *(failing(prompt, times=1, batch="b3") for prompt in range(1, 4)),
        *(
            release("b3"),
            *one_stored(4, batch="b3"),
            *one_stored(5, batch="b3"),
            forget(1, 4, 5, batch="b3", stores=True),
        ),
        *(deleted(4, batch="b3"), foreign(5, batch="b3"), forget(batch="b2")),
        *(raising(("Areg", 99), ("Zoe", 5)), dropping("cloud", "b1")),
        *(submit("b4", 2), one_kept(1, batch="b4"), unwanted(1, batch="b4"), renumbering(1, batch="b4")),
        *(lost(1, batch="b4"), owing(2, store="cloud", batch="b4")),
        *(submit("b5", 1), rendering(1, batch="b5"), miscounted(1, files=3, batch="b5"), laid_by(3, batch="b5")),
        *(taking("all", batch="b5"), kept(1, 3, prompt=1, batch="b5")),
        *(stuck(lane), stuck(lane, "full"), LaneWorks(lane), PauseLane("app", lane), ResumeLane("app", lane)),
        restoring(("Areg", 120), ("Kim", 3)),
        *(adding("1f"), sending("1f"), submit("b6", 1, loads=(loading("1f"),)), one_stored(1, batch="b6")),
        *(submit("b7", 1, loads=(made_from("b6"),)), sources_of("b7", made_from("b6", sha256=pinned(1).sha256))),
        *(ForgetInput("app", "1f"), InputGone("1f", "main", name_of("1f"))),
        *(submit("b8", 1), rendering(1, batch="b8"), left(1, batch="b8"), finished(1, batch="b8")),
        *(AddBackend("app", "gpu-7", "http://gpu-7.example"), RemoveBackend("app", "gpu-7")),
        *(AddWebhook("app", "shop", "https://shop.example/hook", ("batch_settled",)), PauseWebhook("app", "shop")),
        *(ResumeWebhook("app", "shop"), RemoveWebhook("app", "shop"), submit("b9"), prioritizing(0, "b9")),
        *(JoinBox("app", "north"), LeaveBox("app", "north", 1, "lease"), GiveUpBox("app", "north")),
        *(submit("b10", 1), one_kept(batch="b10"), brought_back(batch="b10", box="")),
    )


def of_each_kind() -> list[Event]:
    first = {type(entry.event): entry.event for entry in reversed(eventful().log)}
    return list(first.values())


def test_the_kinds_and_fields_of_events_are_frozen() -> None:
    for kind, fields in GOLDEN.items():
        assert KINDS[kind].__struct_fields__[: len(fields.split())] == tuple(fields.split()), kind


def test_every_kind_of_event_stands_in_the_golden_list() -> None:
    assert list(KINDS) == list(GOLDEN)


def test_every_event_type_has_one_kind() -> None:
    types = {
        each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Event) and each != Event
    }
    assert types == set(KINDS.values())
    assert {KINDS[kind]: kind for kind in KINDS} == KIND_OF


def test_every_kind_of_event_happens() -> None:
    assert {type(event) for event in of_each_kind()} == set(KINDS.values())


@pytest.mark.parametrize("event", of_each_kind(), ids=lambda event: KIND_OF[type(event)])
def test_an_event_comes_back_from_json_as_it_was(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event


@pytest.mark.parametrize("event", of_each_kind(), ids=lambda event: KIND_OF[type(event)])
def test_an_event_of_a_later_version_with_more_fields_can_be_read(event: Event) -> None:
    raw: dict[str, Any] = msgspec.to_builtins(event) | {"field_of_the_future": 1}
    assert msgspec.convert(raw, type=type(event)) == event


@pytest.mark.parametrize("event", of_each_kind(), ids=lambda event: KIND_OF[type(event)])
def test_an_event_belongs_to_a_stream(event: Event) -> None:
    about = next(
        (
            value
            for key in ("batch_id", "series", "lane", "sha256", "name", "box")
            if (value := getattr(event, key, ""))
        ),
        "ledger",
    )
    assert stream_of(event).endswith(about)
    assert about


def test_folding_the_log_gives_the_rows_and_needs_only_what_events_touch() -> None:
    ledger = eventful()
    rows = {each: row for each, row in ledger.rows.items() if not isinstance(row, TemplateRow)}
    assert folded(ledger.log, narrow=True) == rows
    assert folded(ledger.log, narrow=False) == rows


def test_a_fold_of_what_was_written_down_gives_the_same_rows() -> None:
    ledger = eventful()
    read = [
        Recorded(
            entry.position,
            entry.at_ms,
            msgspec.json.decode(msgspec.json.encode(entry.event), type=type(entry.event)),
        )
        for entry in ledger.log
    ]
    assert folded(read, narrow=True) == folded(ledger.log, narrow=True)


def test_an_event_changes_no_row_in_place() -> None:
    ledger = eventful()
    rows = dict(ledger.rows)
    encoded = msgspec.json.encode(list(rows.values()))
    for entry in ledger.log[-20:]:
        evolve(Slice(rows.values()), entry)
    assert msgspec.json.encode(list(rows.values())) == encoded


def test_an_event_whose_rows_are_not_loaded_is_a_fault_and_not_a_guess() -> None:
    for entry in eventful().log:
        if any(isinstance(key, BatchKey) for key in touches(entry.event)):
            with pytest.raises(KeyError):
                evolve(Slice(), entry)


def test_every_state_of_an_image_is_counted() -> None:
    assert set(COUNT) == set(get_args(ImageState))
    assert set(COUNT.values()) <= set(BatchRow.__struct_fields__)


@pytest.mark.parametrize("before", get_args(ImageState))
@pytest.mark.parametrize("to", get_args(ImageState))
def test_each_move_takes_an_image_from_one_count_to_another(before: ImageState, to: ImageState) -> None:
    (batch,) = (row for row in given(submit("b1")).rows.values() if isinstance(row, BatchRow))
    image = ImageRow(batch.batch_id, 1, 1, "folder", "file", 1, "areg", state=before)
    for images in ([image], [image, image]):
        counts = {name: getattr(batch, name) for name in COUNT.values()}
        counts[COUNT[before]] -= len(images)
        counts[COUNT[to]] += len(images)
        assert moved(batch, images, to) == replace(batch, **counts)


@pytest.mark.parametrize("before", get_args(ImageState))
def test_the_answer_of_an_only_store_counts_like_one_beside_a_store_that_was_dropped(before: ImageState) -> None:
    (batch,) = (row for row in given(submit("b1")).rows.values() if isinstance(row, BatchRow))
    image = ImageRow(batch.batch_id, 1, 1, "folder", "file", 1, "areg", state=before, code="late", words="w")
    only, gone = Upload("folder", "uploading", 2), Upload("cloud", "dropped")
    found = []
    for uploads in ((only,), (only, gone)):
        state = Slice()
        state.put((batch, replace(image, uploads=uploads)))
        event = ImageUploaded(batch.batch_id, 1, "folder/file", "folder", "file:///a.png")
        rows = evolve(state, Recorded(1, 1, event))
        found.append([replace(row, uploads=row.uploads[:1]) if isinstance(row, ImageRow) else row for row in rows])
    assert found[0] == found[1]


def test_a_prompt_changes_with_the_last_image_that_is_kept_and_not_before() -> None:
    ledger, state = given(submit("b1", 3, per_prompt=3), rendered(files=3), kept(2), kept(1, 3)), Slice()
    changes = []
    for entry in ledger.log:
        rows = evolve(state, entry)
        state.put(rows)
        if isinstance(entry.event, ImageKept):
            changes.append([row.state for row in rows if isinstance(row, PromptRow)])
    assert changes == [[], [], ["done"]]


def test_a_series_keeps_the_spelling_of_its_first_use() -> None:
    ledger = given(submit("b1"), submit("b2", user="areg"))
    (row,) = (row for each, row in ledger.rows.items() if each[0] == "series")
    assert row.folder.startswith("Areg/")  # type: ignore[union-attr]
    assert row.next == 7  # type: ignore[union-attr]


def test_every_kind_of_event_has_a_fold() -> None:
    assert set(KINDS.values()) == fold._CHANGES.keys() | fold._DATED.keys()
