"""What a worker reports of a prompt that has ended: what is finished is found, and no entry of ours stays behind."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.comfyui.answers import HistoryEntry, ViewFile
from comfyledger.comfyui.outstanding import Ending
from comfyledger.core.reports import (
    PromptHasFailed,
    PromptHasFinished,
    PromptIsGone,
    PromptWasInterrupted,
    Report,
)
from comfyledger.core.results import Wanted
from comfyledger.core.rows import BatchRow, PromptRow
from comfyledger.core.scheduling.effects import FollowPrompt
from comfyledger.core.values import Blob, blob_of, prompt_uuid
from comfyledger.wire.requests.submitting import IMAGES_PER_PROMPT_MAX
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.comfyui.renderer import Renderer
from comfyledger.workers.reporting import NO_SECRETS
from support.core_builders import accepted, given, intended, submit

PROMPT_ID = prompt_uuid("b1", 1, 1)
PLAN = {"output": "9", "prefix": "9.filename_prefix", "seeds": [], "batch_size": "5.batch_size", "inputs": {}}
INTERRUPTED = HistoryEntry(PROMPT_ID, "error", False, "interrupted", {})


class Backend:
    """A renderer between a ComfyUI that has some files, a watcher with one end, and a reporter that notes."""

    def __init__(self, images: int, state: str = "accepted") -> None:
        ledger = given(submit(quantity=images, per_prompt=images), intended(1), accepted(1))
        self.batch_row: BatchRow = replace(ledger.batch(), plan=PLAN)
        self.prompt_row: PromptRow = replace(ledger.prompt(), state=state)
        self.number = ledger.image(1).number
        self.on_disk: set[str] = set()
        self.reports: list[Report] = []
        self.forgotten: list[str] = []
        self.text_max = 2_000
        self.server = "127.0.0.1:8188"
        self.wanted = True
        self.ending = Ending(None)
        self._image = ledger.image(1)

    # rows
    async def batch(self, _: str) -> BatchRow:
        return self.batch_row

    async def prompt(self, *_: Any) -> PromptRow:
        return self.prompt_row

    async def image(self, *_: Any) -> Any:
        return self._image

    # ComfyUI and its watcher
    async def has(self, file: ViewFile) -> bool:
        return file.filename in self.on_disk

    async def follow(self, _: Any) -> Ending:
        return self.ending

    def was_running(self, _: str) -> bool:
        return False

    # reporter and history cleanup
    async def report(self, report: Report) -> Any:
        self.reports.append(report)
        return Wanted(self.wanted) if isinstance(report, PromptHasFinished) else None

    def error_text(self, text: str) -> Blob:
        return blob_of(text.encode(), b"salt")

    def forget(self, prompt_id: str) -> None:
        self.forgotten.append(prompt_id)

    def writes(self, count: int) -> None:
        self.on_disk = {f"{self.number}-a1_{place:05}_.png" for place in range(1, count + 1)}

    async def ended(self, ending: Ending) -> Report:
        self.ending = ending
        part: Any = self
        bounds = Bounds(10**6, 10**6, True)
        more: dict[str, Any] = {"wants_previews": lambda _: False, "node_check": part, "version": part}
        more |= {"input_files": part, "warm": part}
        renderer = Renderer(part, part, part, part, part, part, bounds, NO_SECRETS, **more)
        await renderer.follow(FollowPrompt("b1", 1, 1, "main", PROMPT_ID, self.prompt_row.images))
        (report,) = self.reports
        return report


def success(files: int) -> Ending:
    outputs = {"9": tuple(ViewFile(f"{place}.png", "x", "output") for place in range(files))}
    return Ending(HistoryEntry(PROMPT_ID, "success", True, "success", outputs))


ROADS = {
    "cleared history": Ending(None, restarted=False),
    "restart": Ending(None, restarted=True),
    "restart while it ran": Ending(None, restarted=True, running=True),
    "interrupted": Ending(INTERRUPTED),
    "cancelled for its time": Ending(INTERRUPTED, timed_out=True),
}


@pytest.mark.parametrize("ending", ROADS.values(), ids=list(ROADS))
async def test_a_complete_set_on_disk_is_taken_however_the_prompt_ended(ending: Ending) -> None:
    backend = Backend(images=2)
    backend.writes(2)
    report = await backend.ended(ending)
    assert isinstance(report, PromptHasFinished)
    assert [file.filename for file in report.files] == ["1-a1_00001_.png", "1-a1_00002_.png"]
    assert backend.forgotten == []


@pytest.mark.parametrize(
    ("road", "kind"),
    [
        ("cleared history", PromptIsGone),
        ("restart", PromptIsGone),
        ("interrupted", PromptWasInterrupted),
        ("cancelled for its time", PromptHasFailed),
    ],
)
@pytest.mark.parametrize("written", [0, 1])
async def test_a_set_that_is_not_complete_is_not_taken(road: str, kind: type[Report], written: int) -> None:
    backend = Backend(images=2)
    backend.writes(written)
    assert isinstance(await backend.ended(ROADS[road]), kind)


async def test_a_set_on_the_disk_that_is_larger_than_expected_is_told_whole() -> None:
    backend = Backend(images=1)
    backend.writes(3)
    report = await backend.ended(ROADS["cleared history"])
    assert isinstance(report, PromptHasFinished)
    assert len(report.files) == 3
    assert report.words is not None


async def test_nobody_looks_for_the_files_of_a_prompt_that_is_being_cancelled() -> None:
    backend = Backend(images=1, state="cancelling")
    backend.writes(1)
    assert isinstance(await backend.ended(ROADS["cleared history"]), PromptIsGone)


@pytest.mark.parametrize("files", [0, 1, 3])
async def test_a_wrong_count_names_both_numbers_and_the_key_to_change(files: int) -> None:
    backend = Backend(images=2)
    report = await backend.ended(success(files))
    assert isinstance(report, PromptHasFinished)
    assert report.words is not None
    text = report.words.content.decode()
    assert f"{files} file" in text
    assert "2 were expected" in text
    assert files == 0 or f"images_per_prompt = {files}" in text


async def test_a_wrong_count_of_a_workflow_without_batch_size_says_how_to_ask_for_so_many() -> None:
    backend = Backend(images=1)
    backend.batch_row = replace(backend.batch_row, plan=PLAN | {"batch_size": None})
    report = await backend.ended(success(3))
    assert isinstance(report, PromptHasFinished)
    assert report.words is not None
    text = report.words.content.decode()
    assert "If each run saves 3, send images_per_prompt = 3, and a multiple of 3 as quantity. Otherwise name" in text
    assert "batch_size in [workflows.NAME]" in text


async def test_a_wrong_count_names_no_number_that_a_request_may_not_have() -> None:
    backend = Backend(images=1)
    report = await backend.ended(success(IMAGES_PER_PROMPT_MAX + 1))
    assert isinstance(report, PromptHasFinished)
    assert report.words is not None
    assert "images_per_prompt" not in report.words.content.decode()


@pytest.mark.parametrize("wanted", [True, False])
async def test_an_entry_that_no_fetch_will_ask_for_is_deleted(wanted: bool) -> None:
    backend = Backend(images=1)
    backend.wanted = wanted
    await backend.ended(success(1))
    assert backend.forgotten == ([] if wanted else [PROMPT_ID])
