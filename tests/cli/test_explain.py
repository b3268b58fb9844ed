"""`explain`: each kind of event has its sentence, and a history ends with what is owed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.cli.commands.explain import descent, ending, heading
from comfyledger.cli.ui.timeline import WORDS, passed, sentence, timeline, took
from comfyledger.core.events import KINDS

BATCH = "01JD0000000000000000ABCDEF"
RENDER = {"batch_id": BATCH, "prompt": 2, "attempt": 1}
NAMED = [{"index": 1, "number": 17, "folder": "f", "file": "n_17", "prompt": 1}]
SENTENCES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "series_opened": [
        (
            {"series": "s", "folder": "f", "next": 58, "evidence": [{"store": "disk", "identity": "i", "highest": 57}]},
            "the series was opened: disk held numbers up to 57; its first number is 58",
        ),
        (
            {"series": "s", "folder": "f", "next": 1, "evidence": [{"store": "disk", "identity": "i", "highest": 0}]},
            "the series was opened: disk held none; its first number is 1",
        ),
        (
            {"series": "s", "folder": "f", "next": 1, "asked": False},
            "the series was opened: the stores were not asked; its first number is 1",
        ),
        (
            {"series": "s", "folder": "f", "next": 1},
            "the series was opened: there are no stores; its first number is 1",
        ),
    ],
    "series_raised": [
        (
            {
                "series": "s",
                "folder": "f",
                "next": 58,
                "evidence": [{"store": "disk", "identity": "i", "highest": 57}],
                "reason": "import",
                "by": "cli",
            },
            "the series was raised: its next number is 58 (import by cli, disk held numbers up to 57)",
        )
    ],
    "batch_requested": [
        (
            {
                "label": "app",
                "username": "Areg",
                "character": "Opal Fever",
                "images": NAMED,
                "prompts": [{}],
                "stores": [{"name": "disk"}],
            },
            "asked for by app: 1 image for Areg · Opal Fever, number 17, in 1 prompt, for disk",
        ),
        (
            {
                "label": "app",
                "username": "Areg",
                "character": "Fox",
                "images": [*NAMED, {"number": 18}],
                "prompts": [{}, {}],
                "stores": [],
            },
            "asked for by app: 2 images for Areg · Fox, numbers 17 to 18, in 2 prompts, for no store",
        ),
        (
            {
                "label": "app",
                "username": "Areg",
                "character": "Fox",
                "outputs": [{"series": "f/i_", "medium": "image"}, {"series": "f/v_", "medium": "video"}],
                "images": [*NAMED, {"number": 1, "output": 2}, {"number": 18}, {"number": 2, "output": 2}],
                "prompts": [{}, {}],
                "stores": [],
            },
            "asked for by app: 4 images for Areg · Fox, image numbers 17 to 18, video numbers 1 to 2, in 2 prompts, "
            "for no store",
        ),
    ],
    "batch_held": [
        ({"batch_id": BATCH, "reason": "person"}, "a person paused the batch"),
        ({"batch_id": BATCH, "reason": "moon"}, "held: moon"),
    ],
    "batch_resumed": [({"batch_id": BATCH}, "the batch continues")],
    "batch_cancelled": [({"batch_id": BATCH, "by": "cli"}, "the batch was cancelled by cli")],
    "batch_settled": [
        ({"stored": 2, "parked": 0, "failed": 1, "cancelled": 0}, "the batch is settled: 2 stored, 1 failed")
    ],
    "batch_reopened": [
        (
            {"batch_id": BATCH, "by": "cli", "render": [1], "images": [1, 2], "upload": [3]},
            "retried by cli: images 1, 2 to be rendered again; images 3 to be stored again",
        ),
        (
            {"by": "cli", "render": [1], "images": [1], "source": {"batch_id": "01SOURCE", "image": 2}},
            "retried by cli with 01SOURCE/2, which they are made from: images 1 to be rendered again",
        ),
    ],
    "prompt_submitting": [
        ({**RENDER, "prompt_id": "p", "backend": "main"}, "attempt 1 goes to ComfyUI main (prompt id p)"),
        (
            {**RENDER, "prompt_id": "p", "backend": "main", "outputs": [2]},
            "attempt 1 goes to ComfyUI main for output 2 alone (prompt id p)",
        ),
    ],
    "prompt_accepted": [(RENDER, "ComfyUI has attempt 1")],
    "prompt_refused": [
        ({**RENDER, "code": "no_outputs"}, "ComfyUI refused attempt 1 (no_outputs)"),
        (
            {**RENDER, "code": "missing_node_type", "again": True},
            "ComfyUI refused attempt 1 (missing_node_type), it goes to another one",
        ),
    ],
    "prompt_finished": [
        ({**RENDER, "files": [{"filename": "a.png"}, {"filename": "b.png"}]}, "ComfyUI rendered it: a.png, b.png"),
        (
            {**RENDER, "files": [{"filename": "a.png"}], "code": "execution_error"},
            "ComfyUI rendered a.png, then the run failed (execution_error)",
        ),
    ],
    "files_waiting": [
        (
            {**RENDER, "images": [1], "files": [{}, {}, {}]},
            "3 files came for 1 image: they are in the spool until `retry --take`",
        )
    ],
    "files_taken": [
        (
            {"prompt": 2, "images": [1], "files": [3], "take": "last", "by": "cli"},
            "cli took last of the waiting files: 3",
        )
    ],
    "image_added": [
        (
            {"image": 3, "prompt": 2, "number": 58, "folder": "f", "file": "n_58", "by": "cli"},
            "cli took one more file: number 58, f/n_58",
        )
    ],
    "prompt_failed": [
        ({**RENDER, "code": "broken", "again": True}, "attempt 1 failed (broken), another attempt follows"),
        ({**RENDER, "code": "broken", "again": False}, "attempt 1 failed (broken), there is no further attempt"),
    ],
    "prompt_lost": [
        (RENDER, "ComfyUI stopped while it waited and no longer knows attempt 1: another one follows"),
        (
            {**RENDER, "running": True},
            "ComfyUI stopped while it ran and no longer knows attempt 1: another one follows",
        ),
    ],
    "prompt_removed": [
        ({**RENDER, "by": "cancel"}, "attempt 1 was taken out of ComfyUI"),
        ({**RENDER, "by": "foreign"}, "somebody took attempt 1 out of ComfyUI, at its own page"),
    ],
    "prompt_moved": [
        (
            {**RENDER, "backend": "main", "reason": "away", "running": True},
            "attempt 1 was left at ComfyUI main, which does not work and had been running it",
        ),
        (
            {**RENDER, "backend": "main", "reason": "overtaken"},
            "attempt 1 was left at ComfyUI main, because an earlier attempt has finished",
        ),
    ],
    "stray_ended": [
        (
            {**RENDER, "backend": "main", "outcome": "used"},
            "attempt 1, which was left at ComfyUI main, had finished: its files are used",
        ),
        (
            {**RENDER, "backend": "main", "outcome": "gone"},
            "attempt 1, which was left at ComfyUI main, is not there any more",
        ),
    ],
    "image_kept": [
        (
            {"image": 3, "width": 64, "height": 32, "extension": "png", "size_bytes": 12345, "sha256": "ab"},
            "kept in the spool: 64 x 32 png, 12,345 bytes, sha256 ab",
        ),
        (
            {
                "image": 3,
                "width": 64,
                "height": 32,
                "extension": "webp",
                "size_bytes": 12345,
                "sha256": "ab",
                "checked": "structure",
            },
            "kept in the spool: 64 x 32 webp, 12,345 bytes, sha256 ab, too large to be decoded: only its structure was"
            " checked",
        ),
    ],
    "upload_started": [({"image": 3, "store": "disk", "attempt": 2}, "attempt 2 to store it in disk")],
    "image_uploaded": [
        ({"image": 3, "store": "disk", "url": "u"}, "stored in disk: u"),
        ({"image": 3, "store": "disk", "url": "u", "replayed": True}, "stored in disk, which had it already: u"),
    ],
    "image_parked": [
        ({"image": 3, "store": "disk", "code": "collision"}, "disk does not take it (collision), it stays in the spool")
    ],
    "store_dropped": [({"images": [3], "store": "disk", "by": "cli"}, "given up for the store disk by cli")],
    "store_owed": [
        (
            {"images": [3], "store": {"name": "disk", "identity": "i"}, "by": "cli"},
            "owed to the store disk again by cli",
        )
    ],
    "image_lost": [
        ({"images": [3], "prompts": [2]}, "its bytes are lost everywhere: it is rendered again, under its number")
    ],
    "image_renumbered": [
        (
            {"image": 3, "number": 58, "folder": "f", "file": "n_58", "before": "f/n_3", "by": "cli"},
            "f/n_3 is taken by something else: number 58 by cli, now f/n_58",
        )
    ],
    "image_failed": [({"images": [3], "code": "poison"}, "failed (poison): its number stays used")],
    "image_cancelled": [({"images": [3]}, "cancelled: its number stays used")],
    "image_forgotten": [
        (
            {"images": [3], "stores": True, "by": "cli"},
            "forgotten by cli, its number stays used: the stores are asked to delete it",
        ),
        (
            {"images": [3], "stores": False, "by": "cli"},
            "forgotten by cli, its number stays used: what stores have stays there",
        ),
    ],
    "blob_erased": [({"digests": ["a", "b"], "by": "cli"}, "2 texts erased by cli")],
    "image_deleted": [
        ({"image": 3, "store": "disk"}, "deleted from disk"),
        ({"image": 3, "store": "disk", "found": False}, "deleted from disk, which did not have it"),
    ],
    "image_left": [
        (
            {"image": 3, "store": "disk", "code": "foreign"},
            "what disk has under this name is not deleted (foreign)",
        )
    ],
    "image_reviewed": [
        ({"images": [3], "by": "app", "verdict": "approved", "rating": 4}, "approved and rated 4 of 5 by app"),
        ({"images": [3], "by": "app", "verdict": "rejected"}, "rejected by app"),
        ({"images": [3], "by": "cli", "verdict": "none"}, "the verdict was taken back by cli"),
        ({"images": [3], "by": "cli", "rating": 0}, "the rating was taken back by cli"),
    ],
    "lane_paused": [
        ({"lane": "store/disk", "cause": "person", "code": "person"}, "the store disk was paused by a person"),
        ({"lane": "backend/main", "cause": "trouble", "code": "not_reached"}, "ComfyUI main stopped (not_reached)"),
        ({"lane": "spool", "cause": "trouble", "code": "spool_full"}, "the spool stopped (spool_full)"),
        (
            {"lane": "store/disk@north", "cause": "trouble", "code": "full"},
            "the store disk at box north stopped (full)",
        ),
        ({"lane": "everything", "cause": "person", "code": "person"}, "everything was paused by a person"),
    ],
    "lane_resumed": [
        ({"lane": "user/areg", "cause": "person"}, "the user areg was resumed by a person"),
        ({"lane": "backend/main", "cause": "trouble"}, "ComfyUI main works again"),
    ],
    "ledger_restored": [
        (
            {
                "epoch_before": "e1",
                "epoch": "e2",
                "position_before": 40,
                "evidence": [{"store": "disk", "identity": "i", "highest": 57}],
                "margin": 1000,
                "by": "cli",
            },
            "the ledger was restored from a backup at position 40 by cli: epoch e2, margin 1000, "
            "disk showed numbers up to 57",
        ),
        (
            {"epoch": "e2", "position_before": 40, "evidence": [], "margin": 0, "by": "cli"},
            "the ledger was restored from a backup at position 40 by cli: epoch e2, margin 0",
        ),
    ],
    "input_added": [({"sha256": "47", "by": "app"}, "the input file was added by app")],
    "input_sent": [
        (
            {"sha256": "47", "backend": "main", "name": "comfyledger/47.png"},
            "it is uploaded to ComfyUI main as comfyledger/47.png",
        )
    ],
    "input_forgotten": [({"sha256": "47", "labels": ["app"], "by": "cli"}, "forgotten by cli")],
    "input_erased": [
        ({"sha256": "47", "reason": "quota"}, "nothing needs the input file any more, it is removed (quota)")
    ],
    "input_removed": [
        ({"sha256": "47", "backend": "main"}, "removed from ComfyUI main"),
        ({"sha256": "47", "found": False}, "removed from the folder of input files, which did not have it"),
        (
            {"sha256": "47", "backend": "old", "found": False, "given_up": True, "by": "cli"},
            "not removed from ComfyUI old, which was given up by cli",
        ),
    ],
    "sources_fixed": [
        ({**RENDER, "loads": [{"source": {}}, {"source": {}}]}, "the 2 images that it is made from are there"),
        ({**RENDER, "loads": [{"source": {}}, {}]}, "the 1 image that it is made from is there"),
    ],
    "backend_added": [
        ({"name": "gpu-7", "url": "http://g", "by": "cli"}, "ComfyUI gpu-7 at http://g was added by cli"),
        (
            {"name": "gpu-7", "url": "http://g", "by": "cli", "ttl_s": 60},
            "ComfyUI gpu-7 at http://g was added by cli, for 60 s unless it is added again",
        ),
    ],
    "image_taken_over": [
        (
            {"batch_id": "b", "image": 1, "box": "south", "before": "north"},
            "the box north left: the box south has the file, from a store",
        )
    ],
    "box_joined": [({"box": "north", "term": 2}, "the box north joined the fleet for the 2. time")],
    "box_left": [
        ({"box": "north", "term": 2, "reason": "lease"}, "the box north was not heard from any more"),
        ({"box": "north", "term": 2, "reason": "stopped"}, "the box north was stopped"),
        ({"box": "north", "term": 2, "reason": "person", "by": "cli"}, "the box north left the fleet by cli"),
    ],
    "box_given_up": [({"box": "north", "by": "cli"}, "the box north was given up by cli")],
    "backend_removed": [
        ({"name": "gpu-7", "reason": "person", "by": "cli"}, "ComfyUI gpu-7 was removed by cli"),
        ({"name": "gpu-7", "reason": "expired"}, "ComfyUI gpu-7 ended, because it was not added again in time"),
        (
            {"name": "gpu-7", "reason": "not_allowed"},
            "ComfyUI gpu-7 is used no more: [backends] allowed does not name its address",
        ),
        ({"name": "gpu-7", "reason": "configured"}, "ComfyUI gpu-7 is used as the configuration has it"),
    ],
    "webhook_added": [
        (
            {"name": "shop", "url": "https://shop.example/hook", "kinds": ["batch_settled"], "by": "cli"},
            "the webhook shop to https://shop.example/hook was added by cli",
        )
    ],
    "webhook_removed": [({"name": "shop", "by": "cli"}, "the webhook shop was removed by cli")],
    "webhook_paused": [
        ({"name": "shop", "reason": "person", "by": "cli"}, "the webhook shop was paused by cli"),
        ({"name": "shop", "reason": "gone"}, "the webhook shop stopped: its endpoint answered 410 (Gone)"),
        ({"name": "shop", "reason": "dead"}, "the webhook shop stopped: its endpoint took nothing for five days"),
    ],
    "batch_prioritized": [
        ({"batch_id": BATCH, "priority": 0, "by": "cli"}, "the priority is high now, set by cli"),
        ({"batch_id": BATCH, "priority": 2, "by": "cli"}, "the priority is low now, set by cli"),
    ],
    "webhook_resumed": [({"name": "shop", "by": "cli"}, "the webhook shop was resumed by cli")],
}


def event(kind: str, data: dict[str, Any], at_ms: int = 0, **texts: str) -> wire.PastEvent:
    return wire.PastEvent(1, kind, at_ms, BATCH, msgspec.Raw(msgspec.json.encode(data)), texts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_its_sentence(kind: str) -> None:
    assert kind in WORDS, f"{kind} has no words in cli/ui/timeline.py"
    for data, words in SENTENCES[kind]:
        assert sentence(event(kind, data)) == words


def test_there_are_no_words_for_what_never_happens() -> None:
    assert set(WORDS) == set(KINDS) == set(SENTENCES)


def test_the_words_of_a_foreign_server_come_after_ours() -> None:
    assert sentence(event("prompt_refused", {**RENDER, "code": "c"}, d="no node")) == (
        "ComfyUI refused attempt 1 (c): no node"
    )


def test_a_kind_that_a_newer_daemon_writes_is_called_by_its_name() -> None:
    assert sentence(event("image_framed", {"image": 3})) == "image framed"


@pytest.mark.parametrize(
    ("kind", "data", "about"),
    [
        ("upload_started", {"image": 3, "store": "s", "attempt": 1}, "image 3: "),
        ("image_cancelled", {"images": [3]}, "image 3: "),
        ("image_forgotten", {"images": [3], "stores": False, "by": "cli"}, "image 3: "),
        ("image_reviewed", {"images": [1, 3], "rating": 5, "by": "cli"}, "images 1, 3: "),
        ("image_cancelled", {"images": [3, 4]}, "images 3, 4: "),
        ("image_cancelled", {"images": list(range(1, 41))}, "images 1 to 40 (40): "),
        ("prompt_accepted", RENDER, "prompt 2: "),
        ("batch_resumed", {}, "the batch"),
    ],
)
def test_in_the_story_of_a_batch_each_step_says_which_image_it_is_about(
    kind: str, data: dict[str, Any], about: str
) -> None:
    assert sentence(event(kind, data), whole=True).startswith(about)
    assert kind == "batch_resumed" or not sentence(event(kind, data)).startswith(about)


def test_a_step_says_how_long_after_the_one_before_it_came() -> None:
    steps = timeline([event("batch_resumed", {}, at) for at in (1_000, 1_250, 63_250, 60_000)])
    assert [step.after for step in steps] == ["", "+250 ms", "+1 min 2 s", "by an earlier clock"]
    assert [passed(ms) for ms in (0, -4)] == ["+0 ms", "+0 ms"]


def test_how_long_it_took_counts_from_the_first_attempt_to_the_last_store() -> None:
    def at(kind: str, at_ms: int) -> wire.PastEvent:
        return event(kind, {}, at_ms)

    asked, rendered = at("batch_requested", 0), at("prompt_finished", 9_000)
    told = [asked, at("prompt_submitting", 500), at("prompt_submitting", 6_000), rendered]
    said = "500 ms until it went to ComfyUI, 8 s until it was rendered"
    assert took(told) == said
    stored = [at("image_uploaded", 10_000), at("image_uploaded", 12_000)]
    assert took([*told, *stored]) == f"{said}, 3 s until it was stored"
    assert took([asked]) == took([]) == ""


def test_files_of_an_attempt_that_was_left_behind_count_as_rendered_if_they_are_used() -> None:
    told = [event("prompt_submitting", {}, at_ms=0), event("stray_ended", {"outcome": "used"}, at_ms=8_000)]
    assert took(told) == "8 s until it was rendered"
    assert took([told[0], event("stray_ended", {"outcome": "late"}, at_ms=8_000)]) == ""


# ---- the command

IMAGE = wire.ImageInfo(f"{BATCH}/1", BATCH, 1, 17, "n_17", "f/n_17", "stored", 1)


def told(**changed: Any) -> wire.Explanation:
    facts: dict[str, Any] = {"subject": "gap", "epoch": "e1", "events": [], "owed": [], "series": "f/n_", "number": 17}
    return wire.Explanation(**(facts | changed))


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (told(code="held", next=58), "There is no image of it: it was skipped: a store already had higher numbers"),
        (told(code="raised", next=58), "the series was raised above it"),
        (told(code="unknown", next=58), "run `comfyledger audit`"),
        (told(subject="never", next=5), "It was never given. The next one is 5."),
        (told(subject="never"), "It was never given. The series has given no number yet."),
    ],
)
def test_a_number_without_an_image_says_why(story: wire.Explanation, said: str) -> None:
    first, second = heading(story)
    assert first == "number 17 of f/n_"
    assert said in second
    assert ending(story) == []


@pytest.mark.parametrize("subject", ["image", "batch"])
def test_what_was_made_like_an_image_names_it(batch: Any, subject: str) -> None:
    of = batch()
    image = IMAGE if subject == "image" else None
    made = msgspec.structs.replace(of, like="01JD0000000000000000ABCDEF/2")
    line = "Made like 01JD0000000000000000ABCDEF/2."
    assert line in heading(told(subject=subject, image=image, batch=made))
    assert not any("Made like" in one for one in heading(told(subject=subject, image=image, batch=of)))


def test_batches_that_were_made_like_an_image_are_named(batch: Any) -> None:
    story = told(subject="image", image=IMAGE, batch=batch(), made_like=["b2", "b3"])
    lines = ["Batch b2 was made like it.", "Batch b3 was made like it."]
    assert descent(story) == lines
    others = [*lines, "There are others that were made like it."]
    assert descent(msgspec.structs.replace(story, made_like_more=True)) == others
    loaded = msgspec.structs.replace(story, loaded_by=["b4"], loaded_by_more=True)
    assert descent(loaded) == [*lines, "Batch b4 loads it.", "There are others that load it."]
    files = [wire.RecipeFile("picture", "5.image", "b0/2"), wire.RecipeFile("7.image", "7.image", sha256="ab")]
    loading = msgspec.structs.replace(story, loads=files, loads_more=True)
    made = ["Made from image b0/2, as picture.", "Made from input sha256:ab, as 7.image."]
    assert descent(loading) == [*made, "It was made from other files too.", *lines]
    assert descent(told(subject="image", image=IMAGE, batch=batch())) == []


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_a_number_whose_image_came_to_nothing_says_that_it_stays_used(batch: Any, state: str) -> None:
    image = msgspec.structs.replace(IMAGE, state=state)
    lines = heading(told(subject="image", image=image, batch=batch()))
    assert any("There is no image of this number" in line and "stays used" in line for line in lines)


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({"workflow": "portrait", "seed": 7, "run": [1]}, "Recipe: workflow portrait, seed 7."),
        ({"seed": 0, "run": [1, 2]}, "Recipe: a graph of the request, seed 0, in one run with image 2."),
        ({"seed": 7, "run": [3, 1, 2]}, "Recipe: a graph of the request, seed 7, in one run with images 3, 2."),
        ({}, ""),
        ({"seed": 7, "run": [1], "state": "forgotten"}, ""),
    ],
)
def test_the_essentials_of_a_recipe_are_named(batch: Any, known: dict[str, Any], line: str) -> None:
    image = msgspec.structs.replace(IMAGE, **known)
    lines = [one for one in heading(told(subject="image", image=image, batch=batch())) if one.startswith("Recipe")]
    assert lines == ([f"{line} See `comfyledger recipe {IMAGE.image_id}`."] if line else [])


def test_a_story_is_a_timeline_with_an_ending(door: Any, run: Any, batch: Any) -> None:
    stored = wire.UploadInfo("disk", "stored", 1, "file:///x.png")
    image = msgspec.structs.replace(IMAGE, uploads=[stored])
    owed = wire.OwedInfo("upload", "paused", "The store cloud is paused.", "comfyledger resume store:cloud")
    events = [
        event("prompt_accepted", RENDER),
        event("image_uploaded", {"image": 1, "store": "d", "url": "\x1b[2J"}, 999),
    ]
    door.answers["explain"] = told(subject="image", image=image, batch=batch(), events=events, owed=[owed])
    result = run("explain", "N_17", "--user", "Areg", "--character", "Fox")
    assert result.exit_code == 0
    assert door.requests("explain") == [{"what": "N_17", "username": "Areg", "character": "Fox"}]
    lines = result.stdout.splitlines()
    assert lines[0] == "f/n_17"
    assert f"stored: image 1 of 2 of batch {BATCH}" in lines[1]
    assert "disk: file:///x.png" in lines
    assert any(line.endswith("ComfyUI has attempt 1") for line in lines)
    assert any(line.endswith(r"+999 ms  stored in d: \x1b[2J") for line in lines)
    assert lines[-2:] == [
        "owed: to be stored: The store cloud is paused.",
        "  continue with: comfyledger resume store:cloud",
    ]


def test_what_goes_on_by_itself_names_no_command_and_of_a_batch_the_images() -> None:
    waits = wire.OwedInfo("render", "turn", "Its turn has not come.", images=list(range(1, 15)))
    assert ending(told(subject="image", owed=[waits])) == ["owed: to be rendered: Its turn has not come."]
    (line,) = ending(told(subject="batch", owed=[waits]))
    assert line == "owed: to be rendered: images 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 …: Its turn has not come."


def test_nothing_owed_is_said_too_and_what_is_left_out(door: Any, run: Any, batch: Any) -> None:
    door.answers["explain"] = told(subject="batch", batch=batch(), left_out={"image_kept": 90})
    lines = run("explain", BATCH).stdout.splitlines()
    assert f"  Left out: 90 image_kept. See `comfyledger log --batch {BATCH}`." in lines
    assert lines[-1] == "Nothing is owed."


def test_json_is_the_story_as_it_is_on_the_wire(door: Any, run: Any) -> None:
    door.answers["explain"] = story = told(code="held", next=58, events=[event("batch_resumed", {"batch_id": BATCH})])
    assert json.loads(run("explain", "n_17", "--json").stdout) == json.loads(msgspec.json.encode(story))


@pytest.mark.parametrize("part", ["last", "abcdef"])
def test_a_batch_may_be_named_in_part(door: Any, run: Any, refuse: Any, batch: Any, part: str) -> None:
    answers = {part: refuse("unknown_image"), BATCH: lambda: told(subject="batch", batch=batch())}
    door.answers |= {
        "explain": lambda data: answers[data["what"]](),
        "list_batches": wire.Batches([batch()], False),
    }
    assert run("explain", part).exit_code == 0
    assert [asked["what"] for asked in door.requests("explain")] == [part, BATCH]


def test_what_is_neither_an_image_nor_a_part_of_a_batch_id_is_said(
    door: Any, run: Any, refuse: Any, batch: Any
) -> None:
    door.answers |= {"explain": refuse("unknown_image"), "list_batches": wire.Batches([batch()], False)}
    result = run("explain", "nonsense")
    assert (result.exit_code, len(door.requests("explain"))) == (base.REFUSED, 1)
    assert "unknown_image" in result.stderr
    assert "batch" not in result.stderr, "the daemon's own sentence names everything that was looked for"


def test_what_there_is_not_ends_with_1(door: Any, run: Any, refuse: Any) -> None:
    door.answers["explain"] = refuse("unknown_image")
    result = run("explain", "nobody_image_3")
    assert (result.exit_code, door.requests("list_batches")) == (base.REFUSED, [])
    assert "unknown_image" in result.stderr
    assert run("explain", "3", "--user", "Areg").exit_code == base.USAGE
