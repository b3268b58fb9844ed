"""What was made from an image: named through the protocol `Reader`, one level deep or through all levels."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.commands import MadeFrom, SubmitBatch
from comfyledger.core.values import ImageAt, LoadedFile, Origin
from comfyledger.ledger.ports import Dependents, Descent
from comfyledger.ledger.sqlite import image_uses
from comfyledger.queries.limited_reader import LimitedReader
from support.ledger_builders import submission
from support.ledger_kinds import Kind, together


def like(request: str, image: int, label: str = "app") -> SubmitBatch:
    return replace(submission(request, label=label), origin=Origin("batch-app-r1", image))


def made_from(request: str, *sources: tuple[str, int] | None, label: str = "app") -> SubmitBatch:
    """A batch with a prompt for each source; None: one that loads nothing."""
    asked = submission(request, quantity=len(sources), label=label)
    loads = [(LoadedFile("5.image", ImageAt(*source)),) if source is not None else () for source in sources]
    prompts = tuple(replace(prompt, loads=one) for prompt, one in zip(asked.prompts, loads, strict=True))
    return replace(asked, prompts=prompts)


def fill(kind: Kind) -> None:
    """r1 is copied, loaded, and what loads it is loaded again, also by another label."""
    with kind.opened() as ledger:
        first = [submission("r1"), like("r2", 1), like("r3", 3), like("r4", 1), like("r5", 1, "other")]
        chain = [
            made_from("s1", ("batch-app-r1", 1), None, ("batch-app-r1", 1)),
            made_from("s2", ("batch-app-s1", 2), ("batch-app-s1", 3)),
            made_from("s3", ("batch-app-s2", 2), label="other"),
            made_from("s4", ("batch-other-s3", 1), ("batch-app-r1", 2)),
        ]
        outcomes = together(ledger, [*first, *chain])
        assert [outcome.error for outcome in outcomes if outcome.error] == []


async def test_what_was_made_like_an_image_and_what_loads_it_are_told_apart(kind: Kind) -> None:
    fill(kind)
    of_app = ("batch-app-r2", "batch-app-r4")
    async with kind.reading() as reader:
        found = await reader.descent("batch-app-r1", 1)
        assert found == Descent((*of_app, "batch-other-r5"), loading=("batch-app-s1",))
        assert (await reader.descent("batch-app-r1", 1, "app")).like == of_app
        assert (await reader.descent("batch-app-r1", None, "app")).like == (of_app[0], "batch-app-r3", of_app[1])
        assert (await reader.descent("batch-app-r1", None)).loading == ("batch-app-s1", "batch-app-s4")
        assert await reader.descent("batch-app-r1", 12) == Descent()


async def test_more_than_an_answer_names_is_said(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(kind)
    monkeypatch.setattr(image_uses, "DESCENT_MAX", 1)
    async with kind.reading() as reader:
        assert await reader.descent("batch-app-r1", None) == Descent(
            ("batch-app-r2",), like_more=True, loading=("batch-app-s1",), loading_more=True
        )


async def test_dependents_are_found_through_all_levels(kind: Kind) -> None:
    fill(kind)
    async with kind.reading() as reader:
        found = await reader.dependents("batch-app-r1", (1,))
        assert found == Dependents(
            (
                MadeFrom("batch-app-s1", (1, 3)),
                MadeFrom("batch-app-s2", (2,)),
                MadeFrom("batch-other-s3", (1,)),
                MadeFrom("batch-app-s4", (1,)),
            )
        )
        every = await reader.dependents("batch-app-r1", None)
        assert every.found[-1] == MadeFrom("batch-other-s3", (1,))
        assert MadeFrom("batch-app-s4", (1, 2)) in every.found
        assert await reader.dependents("batch-app-r2", None) == Dependents()


async def test_a_bound_on_dependents_is_said(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(kind)
    monkeypatch.setattr(image_uses, "PROMPTS_MAX", 4)
    async with kind.reading() as reader:
        found = await reader.dependents("batch-app-r1", (1,))
        assert (found.more, [one.batch_id for one in found.found]) == (True, ["batch-app-s1", "batch-app-s2"])


async def test_a_label_is_told_of_its_own_batches_only(kind: Kind) -> None:
    fill(kind)
    async with kind.reading() as reader:
        ours = LimitedReader(reader, "app")
        found = await ours.dependents("batch-app-r1", (1,))
        assert [one.batch_id for one in found.found] == ["batch-app-s1", "batch-app-s2", "batch-app-s4"]
        theirs = LimitedReader(reader, "other")
        assert await theirs.dependents("batch-app-r1", None) == Dependents()
        assert await theirs.descent("batch-app-r1", None) == Descent()
