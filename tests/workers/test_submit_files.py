"""A prompt that loads files: it is sent when they are at ComfyUI, and names them as they are called there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger.comfyui.answers import PromptAnswer, RefusalAnswer
from comfyledger.comfyui.object_info import ObjectInfo
from comfyledger.comfyui.transfer import NotReached
from comfyledger.core.reports import PromptWasAccepted, SubmitIntended
from comfyledger.core.values import LoadedFile
from comfyledger.workers.comfyui.fetch import Bounds
from comfyledger.workers.comfyui.input_files import FileFault
from comfyledger.workers.inputs.loaded_bytes import BytesLater
from comfyledger.workers.spool.spool import Spool
from support.core_builders import cancel, loading, submit
from support.graphs import node
from support.output_house import GRAPH, IMAGES, House, plan_of

NAME = "comfyledger/1f/1f.png"
REFUSED = RefusalAnswer(400, "prompt_outputs_failed_validation", "Prompt outputs failed validation", "", ())
PICTURES = [["other.png"], {"image_upload": True}]
INFO = ObjectInfo(
    {
        "LoadImage": {"input": {"required": {"image": PICTURES}}, "output": ["IMAGE"]},
        "SaveImage": {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True},
    },
    "digest",
)


class FileHouse(House):
    """A house whose prompt loads one file. `trouble`: what placing raises; `meanwhile`: what happens while it places.

    `gone`: how often the file is gone when ComfyUI was asked. `answers`: what ComfyUI says to prompts, else yes.
    """

    def __init__(self, folder: Path) -> None:
        command = replace(submit(quantity=1, loads=(loading("1f"),)), plan=plan_of((IMAGES,)))
        super().__init__(Spool(folder / "spool"), command, Bounds(10**6, 10**6, True))
        self.graph = {**GRAPH, "5": node("LoadImage", image=None)}
        self.graph["9"] = node("SaveImage", images=["5", 0], filename_prefix="")
        self.trouble: Exception | None = None
        self.meanwhile: Callable[[], Any] = lambda: None
        self.gone = 0
        self.answers: list[RefusalAnswer] = []
        self.placings = 0
        self.stuck_by: list[str] = []
        self.at_comfyui = "gone"
        self.troubled = False
        self.waits = False
        self.calls: list[str] = []

    async def placed(self, graph: dict[str, Any], loads: Sequence[LoadedFile]) -> dict[str, str]:
        assert graph["5"]["inputs"] == {"image": None}
        assert any(isinstance(report, SubmitIntended) for report in self.reports)
        self.calls.append("place")
        self.placings += 1
        self.meanwhile()
        if self.trouble is not None:
            raise self.trouble
        return dict.fromkeys([load.at for load in loads], NAME)

    async def must_wait(self, loads: Sequence[LoadedFile]) -> bool:
        assert loads
        assert not any(isinstance(report, SubmitIntended) for report in self.reports)
        return self.waits

    async def are_there(self, _: Any, loads: Sequence[LoadedFile]) -> bool:
        self.gone -= 1
        return self.gone < 0

    async def post_prompt(self, graph: dict[str, Any], **more: Any) -> PromptAnswer | RefusalAnswer:  # type: ignore[override]
        answer = await super().post_prompt(graph, **more)
        return self.answers.pop(0) if self.answers else answer

    async def where_is(self, _: str) -> str:
        return self.at_comfyui

    async def stuck(self, lane: str, code: str, _: str) -> None:
        self.stuck_by.append(f"{lane} {code}")

    async def system_stats(self) -> dict[str, Any]:
        self.calls.append("ask")
        return {}

    def in_trouble(self, _: str) -> bool:
        return self.troubled

    async def refused(self) -> None:
        """What is known of the node classes may be out of date."""

    def loaded(self) -> list[str]:
        return [graph["5"]["inputs"]["image"] for graph, _ in self.posted]


@pytest.fixture
def house(tmp_path: Path) -> FileHouse:
    return FileHouse(tmp_path)


async def test_the_graph_names_the_file_as_it_is_called_at_comfyui(house: FileHouse) -> None:
    await house.submit()
    assert house.loaded() == [NAME]
    assert isinstance(house.reports[-1], PromptWasAccepted)


@pytest.mark.parametrize(("final", "state", "code"), [(True, "done", "input_failed"), (False, "queued", "")])
async def test_a_prompt_whose_file_cannot_be_placed_is_not_sent(
    house: FileHouse, final: bool, state: str, code: str
) -> None:
    house.trouble = FileFault("The bytes are gone.", final=final)
    await house.submit()
    assert (house.posted, house.ledger.prompt().state, house.ledger.image().code) == ([], state, code)
    if final:
        assert house.text(1) == "The bytes are gone."


async def test_a_prompt_whose_bytes_cannot_be_had_now_is_tried_later(house: FileHouse) -> None:
    house.trouble = BytesLater("The store does not answer.")
    await house.submit()
    assert (house.posted, house.ledger.prompt().state) == ([], "submitting")
    house.trouble = None
    await house.submit(resumed=True)
    assert house.loaded() == [NAME]


async def test_a_prompt_whose_bytes_only_a_store_has_that_does_not_answer_takes_no_place(house: FileHouse) -> None:
    house.waits = True
    await house.submit()
    assert (house.reports, house.posted, house.ledger.prompt().state) == ([], [], "queued")
    house.waits = False
    await house.submit()
    assert house.loaded() == [NAME]


async def test_a_comfyui_that_is_not_reached_pauses_its_lane(house: FileHouse) -> None:
    house.trouble = NotReached("timeout", "It did not answer in time.", sent=True)
    await house.submit()
    assert (house.posted, house.stuck_by, house.ledger.prompt().state) == ([], ["backend/main timeout"], "submitting")


async def test_a_lane_in_trouble_is_not_probed_by_a_file(house: FileHouse) -> None:
    house.troubled = True
    await house.submit()
    assert house.calls == ["ask", "place"]


async def test_a_prompt_that_is_refused_for_a_lost_file_is_sent_once_more(house: FileHouse) -> None:
    house.answers, house.gone = [REFUSED], 1
    await house.submit()
    assert (house.loaded(), house.placings) == ([NAME, NAME], 2)
    assert isinstance(house.reports[-1], PromptWasAccepted)


@pytest.mark.parametrize(("answers", "gone", "posts"), [([REFUSED], 0, 1), ([REFUSED] * 2, 2, 2)])
async def test_a_prompt_is_refused_if_its_files_do_not_explain_it(
    house: FileHouse, answers: list[RefusalAnswer], gone: int, posts: int
) -> None:
    house.answers, house.gone = list(answers), gone
    await house.submit()
    assert (len(house.posted), house.ledger.image().code) == (posts, REFUSED.type)


async def test_a_prompt_that_was_cancelled_while_its_file_was_sent_is_not_sent(house: FileHouse) -> None:
    house.meanwhile = lambda: house.ledger.when(cancel())
    await house.submit()
    assert (house.posted, house.ledger.prompt().state) == ([], "cancelling")


async def test_nothing_is_placed_for_a_prompt_that_comfyui_has(house: FileHouse) -> None:
    house.trouble = BytesLater("Not now.")
    await house.submit()
    house.at_comfyui = "running"
    await house.submit(resumed=True)
    assert (house.placings, house.posted, house.ledger.prompt().state) == (1, [], "accepted")


async def test_a_file_that_comfyui_does_not_list_yet_is_no_mistake(house: FileHouse) -> None:
    house.node_classes = INFO
    await house.submit()
    assert house.loaded() == [NAME]


async def test_a_file_for_a_node_that_is_left_out_is_not_placed(house: FileHouse) -> None:
    house.graph["9"] = node("SaveImage", images=["1", 0], filename_prefix="")
    house.graph["5"] = node("LoaderOfMine", image=None)
    house.node_classes = ObjectInfo({"SaveImage": {"input": {}, "output_node": True}, "EmptyImage": {"input": {}}}, "d")
    del house.graph["10"]
    await house.submit()
    assert (house.placings, sorted(house.posted[0][0])) == (0, ["1", "9"])
