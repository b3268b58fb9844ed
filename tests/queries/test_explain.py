"""The story of an image as the door tells it: why something waits, which events belong to it, and what is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.events import KINDS
from comfyledger.core.rows import BatchRow, ImageRow, LaneRow, PromptRow, Upload
from comfyledger.core.scheduling.fit import Fit
from comfyledger.core.values import OutputFile, Pinned, StoreRef
from comfyledger.ledger.eventlog import Line
from comfyledger.ledger.ports import Turns
from comfyledger.queries import explain
from comfyledger.queries.explain import bounded, concerns, skipped
from comfyledger.queries.reasons import Situation, owed, together
from support.ledger_builders import submission
from support.wire_app import Refusal, of_kind

BATCH = "01JD0000000000000000ABCDEF"
BATCH_ROW = BatchRow(
    batch_id=BATCH,
    label="app",
    request_id="r1",
    username="Areg",
    user_key="areg",
    character="Opal Fever",
    premade=True,
    series="s",
    workflow="empty",
    priority=1,
    template="",
    plan={},
    stores=(StoreRef("folder", "folder:/x"), StoreRef("cloud", "cloud:y")),
    prompts=4,
    position=2,
    at_ms=0,
    pending=4,
)
PROMPT = PromptRow(BATCH, 2, (3,), 7, "main")
PENDING = ImageRow(BATCH, 3, 12, "f", "n_12", 2, "areg", uploads=(Upload("folder"), Upload("cloud")))
KEPT = replace(PENDING, state="kept")
TEXTS = {"w": "no such host"}


def lanes(*rows: LaneRow) -> dict[str, LaneRow]:
    return {row.name: row for row in rows}


def paused(name: str) -> LaneRow:
    return LaneRow(name, person=True, since_ms=5)


def troubled(name: str, code: str = "not_reached") -> LaneRow:
    return LaneRow(name, code=code, words="w", since_ms=6)


def there(*rows: LaneRow, held: str = "", failures: tuple[str, ...] = ()) -> Situation:
    return Situation(
        replace(BATCH_ROW, held=held, failures=failures), lanes(*rows), TEXTS, Turns(4, 2), fit=Fit({"main": ()})
    )


def uploads(**states: Upload) -> tuple[Upload, ...]:
    return tuple(states.values())


FILE = OutputFile("a.png", "", "output")
LYING = Pinned(1, "", "", 1, 1, 1, "png")
TAKE = f"comfyledger retry {BATCH} --take first"
RETRY = f"comfyledger retry {BATCH} --image 3"
ANOTHER = f"comfyledger recover --batch {BATCH} --code collision --new-number"
RESUME = f"comfyledger resume batch:{BATCH}"
TRIED = "The daemon tries again automatically."
WAITS: dict[str, tuple[ImageRow, PromptRow, Situation, list[tuple[str, str, str, str]]]] = {
    "its turn": (
        *(PENDING, PROMPT, there()),
        [("render", "turn", "It waits for its turn: 3 other prompts of its batch and 2 open batches", "")],
    ),
    "another output failed": (
        *(PENDING, replace(PROMPT, state="finished", code="oom", files=(replace(FILE, output=2),)), there()),
        [("render", "under_way", "Its run gave it no file (oom). It is rendered again once", "")],
    ),
    "another output gave too many files": (
        *(replace(PENDING, state="failed", code="oom"), replace(PROMPT, state="done", waiting=(LYING,)), there()),
        [("decide", "oom", "It could not be rendered (oom). It can be retried once a choice is made", TAKE)],
    ),
    "held by a person": (
        *(PENDING, PROMPT, there(held="person")),
        [("render", "held", "The batch was paused by a person.", RESUME)],
    ),
    "held since somebody took a prompt out": (
        *(PENDING, PROMPT, there(held="removed")),
        [("render", "held", "Somebody removed one of its prompts from ComfyUI's queue", RESUME)],
    ),
    "held since all fail alike": (
        *(PENDING, PROMPT, there(held="failing", failures=("broken", "broken"))),
        [("render", "held", "Its first prompts all failed in the same way, so the batch is held (broken).", RESUME)],
    ),
    "held for a reason that a later version has": (
        *(PENDING, PROMPT, there(held="moon")),
        [("render", "held", "The batch is held: moon.", RESUME)],
    ),
    "everything that stands in the way": (
        *(PENDING, PROMPT),
        there(paused("everything"), paused("user/areg"), troubled("backend/main"), troubled("spool"), held="person"),
        [
            ("render", "held", "The batch was paused by a person.", RESUME),
            ("render", "paused", "Everything was paused by a person.", "comfyledger resume everything"),
            ("render", "paused", "The user areg was paused by a person.", "comfyledger resume user:areg"),
            ("render", "not_reached", f"ComfyUI main does not work (not_reached): no such host {TRIED}", ""),
            ("render", "not_reached", "Spool does not work", ""),
        ],
    ),
    "a backend that is paused and in trouble": (
        *(PENDING, PROMPT, there(LaneRow("backend/main", True, "not_reached", "w", 6))),
        [
            ("render", "paused", "ComfyUI main was paused by a person.", "comfyledger resume backend:main"),
            ("render", "not_reached", "ComfyUI main does not work", ""),
        ],
    ),
    "other people's lanes": (
        *(PENDING, PROMPT, there(paused("user/ann"), paused("backend/other"), paused("store/folder"))),
        [("render", "turn", "It waits for its turn", "")],
    ),
    "a suspect": (
        *(PENDING, replace(PROMPT, strikes=2), there()),
        [("render", "alone", "ComfyUI stopped 2 times while it ran this prompt, so it runs alone", "")],
    ),
    "on its way": (
        *(PENDING, replace(PROMPT, state="submitting", attempt=2, prompt_id="p-2"), there(paused("everything"))),
        [("render", "submitting", "It is being sent to ComfyUI main (attempt 2, prompt id p-2).", "")],
    ),
    "at ComfyUI, which is away": (
        *(PENDING, replace(PROMPT, state="accepted", attempt=1, prompt_id="p"), there(troubled("backend/main"))),
        [
            ("render", "not_reached", "ComfyUI main does not work", ""),
            ("render", "at_comfyui", "It is queued or running at ComfyUI main", ""),
        ],
    ),
    "being taken out": (
        *(PENDING, replace(PROMPT, state="cancelling", attempt=1), there()),
        [("render", "at_comfyui", "It is being removed from ComfyUI main", "")],
    ),
    "to be fetched": (
        *(PENDING, replace(PROMPT, state="finished", files=(FILE,)), there()),
        [("fetch", "under_way", "It is rendered; its file is being fetched from ComfyUI main.", "")],
    ),
    "two stores, one of them paused, one in trouble": (
        *(KEPT, PROMPT, there(paused("store/folder"), troubled("store/cloud", "throttled"), held="person")),
        [
            ("upload", "paused", "The store folder was paused by a person.", "comfyledger resume store:folder"),
            ("upload", "throttled", "The store cloud does not work (throttled): no such host", ""),
        ],
    ),
    "kept while everything is paused": (
        *(replace(KEPT, uploads=(Upload("folder"),)), PROMPT, there(paused("everything"), paused("user/areg"))),
        [("upload", "paused", "Everything was paused by a person.", "comfyledger resume everything")],
    ),
    "a name that a shell would take apart": (
        *(replace(KEPT, uploads=(Upload("my disk"),)), PROMPT, there(paused("store/my disk"))),
        [("upload", "paused", "The store my disk was paused", "comfyledger resume 'store:my disk'")],
    ),
    "one store has it, one is at it, one was given up": (
        replace(
            KEPT, uploads=uploads(a=Upload("a", "stored"), b=Upload("b", "uploading", 2), c=Upload("c", "dropped"))
        ),
        *(PROMPT, there()),
        [("upload", "under_way", "It is being uploaded to the store b (attempt 2).", "")],
    ),
    "in the spool": (
        *(replace(KEPT, uploads=(Upload("folder"),)), PROMPT, there()),
        [("upload", "turn", "It is in the spool and waits for its turn at the store folder.", "")],
    ),
    "parked": (
        replace(PENDING, state="parked", uploads=(Upload("folder", "parked", 1, "", "collision", "w"),)),
        *(PROMPT, there(paused("store/folder"))),
        [("decide", "collision", "The store folder does not accept it (collision): no such host", ANOTHER)],
    ),
    "parked for another reason": (
        replace(PENDING, state="parked", uploads=(Upload("folder", "parked", 1, "", "refused", "w"),)),
        *(PROMPT, there()),
        [("decide", "refused", "The store folder does not accept it (refused): no such host", RETRY)],
    ),
    "failed": (
        *(replace(PENDING, state="failed", code="poison"), replace(PROMPT, state="done"), there()),
        [("decide", "poison", "It could not be rendered (poison).", RETRY)],
    ),
    "stored": (replace(PENDING, state="stored"), replace(PROMPT, state="done"), there(held="person"), []),
    "cancelled": (replace(PENDING, state="cancelled", code="cancelled"), PROMPT, there(), []),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_is_owed_says_why_it_waits_and_what_goes_on(case: str) -> None:
    image, prompt, situation, expected = WAITS[case]
    found = owed(image, prompt, situation)
    assert [(one.what, one.code, one.command) for one in found] == [
        (what, code, then) for what, code, _, then in expected
    ]
    for one, (_, _, text, _) in zip(found, expected, strict=True):
        assert one.text.startswith(text)
        assert one.images == [3]


def test_what_several_images_wait_for_alike_is_said_once() -> None:
    def failed(index: int, code: str = "broken") -> wire.OwedInfo:
        return wire.OwedInfo("decide", code, "It failed.", f"comfyledger retry {BATCH} --image {index}", images=[index])

    found = together([failed(1), failed(2), failed(3, "poison"), failed(2)], BATCH)
    assert [(one.code, one.images, one.command) for one in found] == [
        ("broken", [1, 2], f"comfyledger retry {BATCH}"),
        ("poison", [3], f"comfyledger retry {BATCH} --image 3"),
    ]


# ---- which events belong to a story


def line(kind: str, position: int = 1, **data: Any) -> Line:
    return Line(position, BATCH, kind, 1, 0, json.dumps({"batch_id": BATCH, **data}), b"")


@pytest.mark.parametrize(
    ("told", "is_about"),
    [
        (line("batch_requested", images=[{"index": 9}], prompts=[]), True),
        (line("batch_held", reason="person"), True),
        (line("prompt_lost", prompt=2, attempt=1), True),
        (line("prompt_lost", prompt=3, attempt=1), False),
        (line("image_kept", prompt=2, image=3), True),
        (line("image_kept", prompt=2, image=4), False),
        (line("image_uploaded", image=3), True),
        (line("image_uploaded", image=2), False),
        (line("image_failed", images=[1, 3], prompts=[1, 2]), True),
        (line("image_cancelled", images=[1], prompts=[1, 2]), False),
        (line("store_dropped", images=[3], store="x"), True),
        (line("batch_reopened", by="cli", upload=[3]), True),
        (line("batch_reopened", by="cli", render=[1], images=[1]), False),
    ],
)
def test_an_event_of_the_batch_is_told_of_the_images_that_it_is_about(told: Line, is_about: bool) -> None:
    assert concerns(told, image=3, prompt=2) is is_about


def test_a_long_story_keeps_its_ends_and_counts_what_is_left_out() -> None:
    short = [line("image_kept", place) for place in range(100)]
    assert bounded(short, 100) == (short, {})
    everyday = [*short, line("image_failed", 100)]
    assert bounded(everyday, 100) == (everyday[100:], {"image_kept": 100})
    failures = [line("prompt_failed", place) for place in range(1_000)]
    kept, left_out = bounded(failures, 2_000)
    assert [one.position for one in kept] == [*range(200), *range(800, 1_000)]
    assert left_out == {"prompt_failed": 600}


def test_everyday_kinds_are_kinds() -> None:
    assert set(KINDS) >= explain.EVERYDAY


@pytest.mark.parametrize(
    ("number", "code"), [(1, "held"), (57, "held"), (58, "raised"), (999, "raised"), (1_000, "unknown")]
)
def test_a_number_that_was_passed_over_has_a_reason_in_the_log(number: int, code: str) -> None:
    opened = {"next": 58, "evidence": [{"store": "a", "highest": 3}, {"store": "b", "highest": 57}]}
    assert skipped(number, [opened, {"next": 1_000}]) == code


def test_what_a_restore_passed_over_may_have_been_given_and_is_no_stores() -> None:
    raised = {"next": 1_158, "reason": "restore", "evidence": [{"store": "old ledger", "highest": 157}]}
    assert [skipped(number, [raised]) for number in (100, 1_000, 1_158)] == ["raised", "raised", "unknown"]


def test_a_series_that_waits_for_a_store_says_so_and_why() -> None:
    asked = wire.WaitingInfo("s", "cloud: throttled", 1, 7)
    context: Any = SimpleNamespace(waiting=lambda keys: [asked] if keys == ["r", "s"] else [])
    (waits,) = explain._asking(context, ["r", "s"])
    assert (waits.what, waits.code, waits.since_ms) == ("number", "asking", 7)
    assert waits.text == "A batch waits for its numbers: cloud: throttled."


# ---- through the door


async def test_a_stored_image_is_told_by_every_name_that_it_has(door: Any) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", quantity=2)
        await app.settled(asked["batch_id"])
        log = await app.log()
        submitted = of_kind(log, "prompt_submitting")[1]["data"]
        image = asked["images"][1]
        for what in (
            image["public_id"],
            image["public_id"].upper(),
            image["name"],
            f"{image['name'].lower()}.png",
            f"{asked['batch_id']}/2",
            submitted["prompt_id"],
        ):
            told = await app.ask("explain", what=what)
            assert (told["subject"], told["image"]["image_id"]) == ("image", f"{asked['batch_id']}/2"), what
        numbered = await app.ask("explain", what="2", username="AREG", character="opal fever")
        assert numbered["image"]["image_id"] == f"{asked['batch_id']}/2"
    assert told["owed"] == []
    assert "images" not in told["batch"]
    assert [event["kind"] for event in told["events"]] == [
        "batch_requested",
        "prompt_submitting",
        "prompt_accepted",
        "prompt_finished",
        "image_kept",
        "upload_started",
        "image_uploaded",
        "batch_settled",
    ]
    by_position = {event["position"]: event for event in log}
    for event in told["events"]:
        assert event.items() <= by_position[event["position"]].items()


async def test_what_waits_says_who_paused_it_and_the_lane_is_in_the_story(door: Any) -> None:
    async with door.app("app") as app:
        await app.ask("pause", scope="backend:main")
        asked = await app.submit("r1", quantity=3)
        await app.ask("pause", scope="store:folder")
        told = await app.ask("explain", what=asked["batch_id"].lower())
        assert (told["subject"], told["batch"]["pending"]) == ("batch", 3)
        (waits,) = told["owed"]
        assert (waits["code"], waits["command"]) == ("paused", "comfyledger resume backend:main")
        assert waits["images"] == [1, 2, 3]
        one = await app.ask("explain", what=f"{asked['batch_id']}/2")
        assert [event["kind"] for event in one["events"]] == ["batch_requested", "lane_paused"]
        await app.ask("cancel", batch_id=asked["batch_id"], images=[2])
        gone = await app.ask("explain", what=asked["images"][1]["name"])
        assert (gone["image"]["state"], gone["owed"]) == ("cancelled", [])
        assert gone["events"][-1]["kind"] == "image_cancelled"


async def test_a_review_is_in_the_story_and_what_befell_the_lanes_until_then_is_not(door: Any) -> None:
    async with door.app("app") as app:
        asked = await app.submit("r1", quantity=2)
        await app.settled(asked["batch_id"])
        await app.ask("pause", scope="store:folder")
        await app.ask("resume", scope="store:folder")
        await app.ask("review", images=[f"{asked['batch_id']}/1"], rating=5)
        for what in (f"{asked['batch_id']}/1", asked["batch_id"]):
            told = await app.ask("explain", what=what)
            assert told["events"][-1]["kind"] == "image_reviewed"
            assert not [event for event in told["events"] if event["kind"].startswith("lane")]
        other = await app.ask("explain", what=f"{asked['batch_id']}/2")
        assert other["events"][-1]["kind"] != "image_reviewed"


async def test_what_comfyui_said_is_in_the_story_and_in_what_is_owed(tmp_path: Path, open_door: Any) -> None:
    graph = {
        "1": {"class_type": "ColourOfMyOwn", "inputs": {}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    async with open_door(tmp_path, '[limits]\ncheck_workflows = "off"') as door, door.app("app") as app:
        asked = await app.submit("r1", quantity=1, workflow=graph, inputs={})
        await app.settled(asked["batch_id"])
        told = await app.ask("explain", what=asked["names"][0])
        page = await app.ask("read_log", kinds=["image_failed"])
    (failed,) = [event for event in told["events"] if event["kind"] == "image_failed"]
    assert page["events"] == [failed]
    (words,) = failed["texts"].values()
    assert "ColourOfMyOwn" in words
    (owes,) = told["owed"]
    assert owes["command"] == f"comfyledger retry {asked['batch_id']} --image 1"
    assert words in owes["text"]


async def test_a_video_is_told_with_its_own_series_beside_an_image_of_its_number(door: Any) -> None:
    async with door.app("app") as app:
        await app.ask("pause", scope="everything")
        made = await door.context.engine.command(submission("both", character="Video Star", media=("image", "video")))
        of = {"username": "Areg", "character": "Video Star"}
        told = await app.ask("explain", what="Areg_video-star_video_2.mp4")
        with pytest.raises(Refusal, match="Several images match"):
            await app.ask("explain", what="2", **of)
        never = await app.ask("explain", what="Areg_video-star_video_9")
        log = await app.ask("read_log", **of)
        await app.ask("cancel", batch_id=made.batch_id)
        await app.ask("resume", scope="everything")
    assert (told["image"]["image_id"], told["number"], told["next"]) == (f"{made.batch_id}/4", 2, 4)
    assert (told["image"]["medium"], told["image"]["output"]) == ("video", 2)
    assert told["series"].endswith("/areg_video-star_video_")
    assert [output["medium"] for output in told["batch"]["outputs"]] == ["image", "video"]
    assert (never["subject"], never["next"]) == ("never", 4)
    assert [event["kind"] for event in log["events"]] == ["batch_requested"]


async def test_a_number_without_an_image_is_explained_by_what_the_store_held(door: Any) -> None:
    held = door.folder / "images/Areg/characters/opal-fever/images"
    held.mkdir(parents=True)
    (held / "Areg_opal-fever_image_17.png").write_bytes(b"somebody else's")
    async with door.app("app") as app:
        never = await app.ask("explain", what="18", username="Areg", character="Opal Fever")
        assert (never["subject"], never.get("next", 0), never["events"]) == ("never", 0, [])
        asked = await app.submit("r1", quantity=1)
        assert asked["numbers"] == [18]
        for what in ("Areg_opal-fever_image_5", "Areg/characters/opal-fever/images/areg_opal-fever_image_005"):
            gap = await app.ask("explain", what=what)
            assert (gap["subject"], gap["code"], gap["number"], gap["next"]) == ("gap", "held", 5, 19)
            assert [event["kind"] for event in gap["events"]] == ["series_opened"]
        never = await app.ask("explain", what="Areg_opal-fever_image_19")
        assert (never["subject"], never["next"]) == ("never", 19)
        await app.settled(asked["batch_id"])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"what": "nobody_image_3"}, "unknown_image"),
        ({"what": "nothing"}, "unknown_image"),
        ({"what": "/"}, "unknown_image"),
        ({"what": "3/1"}, "unknown_image"),
        ({"what": "00000000-0000-0000-0000-000000000000"}, "unknown_image"),
        ({"what": "3", "username": "Areg"}, "invalid_field"),
        ({"what": "three", "username": "Areg", "character": "Fox"}, "invalid_field"),
        ({"what": "3", "username": "//", "character": "Fox"}, "name_unusable"),
        ({"what": ""}, "invalid_field"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_there_is_not_is_refused(lasting_door: Any, asked: dict[str, str], code: str) -> None:
    async with lasting_door.app() as app:
        with pytest.raises(Refusal, match=code) as refused:
            await app.ask("explain", **asked)
    assert refused.value.data["hint"]
    if code == "unknown_image":
        assert "no image, batch or prompt" in refused.value.data["message"]


@pytest.mark.parametrize(
    ("asked", "code", "path"),
    [
        ({"kinds": ["image_painted"]}, "invalid_field", "$.data.kinds"),
        ({"epoch": "other"}, "epoch_changed", "$.data.epoch"),
        ({"after": 1}, "invalid_field", "$.data.epoch"),
        ({"character": "Fox"}, "invalid_field", "$.data.username"),
        ({"limit": 501}, "invalid_field", "$.data.limit"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_that_cannot_be_meant_is_refused(
    lasting_door: Any, asked: dict[str, Any], code: str, path: str
) -> None:
    async with lasting_door.app() as app:
        with pytest.raises(Refusal, match=code) as refused:
            await app.ask("read_log", **asked)
    assert refused.value.data["path"] == path


async def test_pages_of_the_log_are_what_a_subscription_shows(door: Any) -> None:
    async with door.app("app") as app:
        first = await app.submit("r1", quantity=1)
        second = await app.submit("r2", quantity=1, character="Fox", premade=True)
        await app.settled(first["batch_id"], second["batch_id"])
        log = [{key: one[key] for key in one if key not in {"subscription", "epoch"}} for one in await app.log()]
        page = await app.ask("read_log", limit=500)
        assert (page["events"], page["more"], page["position"]) == (log, False, len(log))
        of_fox = await app.ask("read_log", username="areg", character="FOX")
        assert of_fox["events"] == [one for one in log if one["stream"] == second["batch_id"]]
        newest = await app.ask("read_log", batch_id=first["batch_id"], reverse=True, limit=1)
        assert [one["kind"] for one in newest["events"]] == ["batch_settled"]
        assert newest["more"]


def test_a_prompt_that_another_backend_may_take_waits_for_no_backend_in_trouble() -> None:
    row = LaneRow("backend/main", code="not_reached")
    situation = replace(there(row), fit=Fit({"main": (), "other": ()}))
    assert [one.code for one in owed(PENDING, PROMPT, situation)] == ["turn"]
    pinned = replace(situation, batch=replace(situation.batch, backend="main"))
    assert [one.code for one in owed(PENDING, PROMPT, pinned)] == ["not_reached"]
