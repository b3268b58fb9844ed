"""The ledgers of old releases, as a kill left them, opened by this code without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from comfyledger.core.events import KINDS
from comfyledger.core.naming.names import Templates, series_of
from comfyledger.core.results import Accepted
from comfyledger.core.rows import ImageRow, PromptRow
from comfyledger.core.values import ImageAt, LoadedFile
from comfyledger.ledger.ports import Descent
from comfyledger.ledger.sqlite.reader import Reader
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.audit.findings import Tally, silent
from comfyledger.maintenance.audit.run import check_projections
from comfyledger.maintenance.open_read_only import open_read_only
from comfyledger.maintenance.rebuild import rebuild
from support.ledger_builders import check_tables, raw, submission, take
from support.ledger_on_disk import seen_in_parts
from support.old_ledger import Release, unpack
from support.wire_app import Frame

pytestmark = pytest.mark.parametrize("release", get_args(Release))


def opened(folder: Path, release: Release) -> tuple[Ledger, Frame]:
    left = unpack(folder, release, output=False)
    return Ledger.open(folder / "state" / "ledger.db"), left


def check_audit(path: Path) -> None:
    """The audit of a short log, and that of a long one, find nothing."""
    tally = Tally()
    with open_read_only(path) as live:
        check_projections(live, tally, silent)
    assert [kind.examples for kind in tally.kinds] == []
    assert seen_in_parts(path).tables


def test_it_opens_with_all_acknowledged_work_and_tables_match_its_log(tmp_path: Path, release: Release) -> None:
    ledger, left = opened(tmp_path, release)
    assert (ledger.ledger_id, ledger.epoch) == (left["info"]["ledger_id"], left["info"]["epoch"])
    assert ledger.head.position >= left["info"]["position"]
    ledger.close()
    path = tmp_path / "state" / "ledger.db"
    lines = check_tables(path)
    assert len(lines) == sum(left["rows"]["kinds"].values())
    check_audit(path)


def test_it_has_every_kind_of_event_and_every_state_of_work(tmp_path: Path, release: Release) -> None:
    ledger, left = opened(tmp_path, release)
    rows = ledger.open_rows()
    ledger.close()
    released = KINDS.keys() & left["rows"]["kinds"].keys()
    assert len(released) == 32, "an event of the old release is known no more"
    prompts = {row.state for row in rows if isinstance(row, PromptRow)}
    assert prompts == {"queued", "submitting", "accepted", "finished", "cancelling"}
    assert {"kept", "forgetting"} == {row.state for row in rows if isinstance(row, ImageRow)}


def test_each_series_gives_its_next_number(tmp_path: Path, release: Release) -> None:
    ledger, left = opened(tmp_path, release)
    for username in ("Areg", "Mina", "Running"):
        series = series_of(Templates(), username, "Opal Fever", False)
        next_one = left["rows"]["series"][series.key]
        (answer,) = take(ledger, replace(submission(f"new of {username}", user=username), series=(series,)))
        assert isinstance(answer, Accepted)
        assert [image.number for image in answer.images] == [next_one, next_one + 1, next_one + 2]
    ledger.close()
    check_tables(tmp_path / "state" / "ledger.db")


async def test_what_was_made_from_its_images_is_known(tmp_path: Path, release: Release) -> None:
    """By the old release, and since."""
    ledger, left = opened(tmp_path, release)
    batches = {one["body"]["request_id"]: one["answer"]["batch_id"] for one in left["answers"]}
    source = ImageAt(next(one["answer"]["batch_id"] for one in left["answers"]), 2)
    asked = submission("made from it", quantity=1)
    loads = (LoadedFile("5.image", source),)
    take(ledger, replace(asked, prompts=tuple(replace(prompt, loads=loads) for prompt in asked.prompts)))
    ledger.close()
    path = tmp_path / "state" / "ledger.db"
    reader = Reader(path)
    like = tuple(batches[one] for one in ("made like another", "made like another and forgotten") if one in batches)
    assert await reader.descent(source.batch_id, 2) == Descent(like, loading=(asked.batch_id,))
    await reader.close()
    assert len(like) == {"cc50378": 0, "a7c63d2": 2}[release]
    check_tables(path)
    check_audit(path)


def test_its_tables_can_be_made_again_before_it_was_ever_opened(tmp_path: Path, release: Release) -> None:
    unpack(tmp_path, release, output=False)
    path = tmp_path / "state" / "ledger.db"
    rebuild(path, silent)
    connection = raw(path)
    (made_like,) = connection.execute("SELECT count(*) FROM image_uses WHERE kind = 'like'").fetchone()
    connection.close()
    assert made_like == {"cc50378": 0, "a7c63d2": 2}[release]
    Ledger.open(path).close()
    check_tables(path)
    check_audit(path)
