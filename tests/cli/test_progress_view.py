"""The progress of a batch from its events, the screens that show it, and the demo's proof."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from rich.console import Console

from comfyledger import wire
from comfyledger.cli.commands.demo import config_text, folder_section
from comfyledger.cli.demo_proof import (
    BATCHES,
    FILES,
    fault_of_picture,
    fault_of_video,
    faults,
    faults_of_files,
    faults_of_names,
)
from comfyledger.cli.ui import progress_view, terminal
from comfyledger.cli.ui.batch_progress import BatchProgress
from comfyledger.sim.comfyui.media import clips
from comfyledger.sim.comfyui.pictures import Picture


def event(kind: str, data: dict[str, Any], at_ms: int = 0, **texts: str) -> wire.LoggedEvent:
    return wire.LoggedEvent("s", "e", 1, kind, at_ms, "b", msgspec.Raw(json.dumps(data).encode()), texts)


def requested(stores: int = 1, quantity: int = 2) -> wire.LoggedEvent:
    images = [{"index": index, "file": f"n_{index}"} for index in range(1, quantity + 1)]
    data = {"username": "Areg", "character": "Opal Fever", "images": images, "stores": [{}] * stores}
    return event("batch_requested", data, at_ms=1000)


def uploaded(image: int, store: str = "folder", at_ms: int = 2000) -> wire.LoggedEvent:
    return event("image_uploaded", {"image": image, "store": store, "url": f"{store}:{image}"}, at_ms)


def told(*events: Any) -> BatchProgress:
    story = BatchProgress("b")
    for one in events:
        story.see(one)
    return story


# ---- the story


def test_an_image_is_stored_when_the_last_store_has_it() -> None:
    story = told(requested(stores=2))
    assert story.see(uploaded(1, "one")) == []
    assert story.see(uploaded(1, "one")) == []
    assert story.stored == 0
    assert story.see(uploaded(1, "two")) == [("stored", "n_1", "two:1")]
    assert (story.stored, story.total, story.title) == (1, 2, "Areg · Opal Fever")


def test_without_stores_what_is_kept_is_stored() -> None:
    assert told(requested(stores=0), event("image_kept", {"image": 1})).stored == 1
    assert told(requested(stores=1), event("image_kept", {"image": 1})).stored == 0


def test_the_rate_is_that_of_the_events() -> None:
    assert told(requested()).rate == ""
    assert told(requested(), uploaded(1, at_ms=1500)).rate == "2.0/s"
    assert told(requested(), uploaded(1, at_ms=11_000)).rate == "6.0/min"


def test_what_is_lost_is_told_with_its_reason_and_can_come_back() -> None:
    story = told(requested())
    parked = event("image_parked", {"image": 1, "code": "collision"}, words="other bytes")
    assert story.see(parked) == [("parked", "n_1", "collision: other bytes")]
    failed = event("image_failed", {"images": [1, 2], "code": "oom"})
    assert [news.where for news in story.see(failed)] == ["oom", "oom"]
    assert story.see(event("batch_reopened", {"images": [1], "upload": [2]}))[0].where == "2 images"
    assert story.states == {}


def test_the_step_is_the_last_that_was_heard_of() -> None:
    story = told(requested(), wire.Progress("s", "b", 1, [1], "3", 12.0, 20.0))
    assert story.step == "12/20"


def test_an_event_of_a_later_version_changes_nothing() -> None:
    assert BatchProgress("b").see(event("image_dreamt", {})) == []


# ---- screens


def test_bars_show_names_as_they_are_and_never_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, markup=False, highlight=False, emoji=False)
    monkeypatch.setattr(progress_view, "console", lambda: console)
    with progress_view._bars() as bars:
        screen = progress_view.BarScreen(bars)
        story = BatchProgress("b")
        screen.see(story, requested())
        story.title = "[bold]\x1b[2JA :smile: very long name that goes on"
        screen.see(story, uploaded(1))
        (task,) = bars.tasks
        assert task.description.startswith(r"[bold]\x1b[2JA :smile:")
        assert len(task.description) == progress_view.TITLE_CELLS_MAX
        assert (task.completed, task.total) == (1, 2)
    assert "\x1b[2J" not in file.getvalue()
    assert "[bold]" in file.getvalue()


@pytest.mark.parametrize(("text", "shown"), [("a\tb", r"a\tb"), ("\x7f", r"\x7f"), ("\u2066x", r"\u2066x"), ("é", "é")])
def test_steering_signs_are_made_visible(text: str, shown: str) -> None:
    assert terminal.clean(text) == shown


def test_durations_have_two_parts_at_most() -> None:
    assert [terminal.duration(seconds) for seconds in (0, 59, 3661, 90_000)] == ["0 s", "59 s", "1 h 1 min", "1 d 1 h"]


def test_wide_signs_keep_columns_straight(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say_table(("A", "B"), [("日本", "x"), ("abcd", "y" * 200)])
    assert capsys.readouterr().out.splitlines() == ["A     B", "日本  x", "abcd  " + "y" * 200]


# ---- the demo's proof


def test_the_demo_configuration_is_toml_whatever_the_folder_is_called() -> None:
    folder = Path('/tmp/a "b" \\ é')
    read = tomllib.loads(config_text(folder, {"main": "http://127.0.0.1:1"}) + folder_section(folder))
    assert read["stores"]["folder"] == {"kind": "folder", "root": str(folder / "images")}
    assert read["state_dir"] == str(folder / "state")
    assert read["door"]["port"] == 0


def test_the_demo_expects_one_file_of_its_own_colour_for_each_image() -> None:
    colours = [colour for asked in BATCHES for colour in asked.colours]
    assert len(colours) == len(set(colours)) == len(FILES)


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    """The demo's outcome as it should be."""
    numbers: dict[tuple[str, str], int] = {}
    given = []
    for asked in BATCHES:
        images = []
        medium = "video" if asked.extension == "mp4" else "image"
        for index, colour in enumerate(asked.colours, start=1):
            number = numbers[asked.username, medium] = numbers.get((asked.username, medium), 0) + 1
            start = f"{asked.username}/{'premade_characters' if asked.premade else 'characters'}/opal-fever/images/"
            name = f"{asked.username}_opal-fever_{medium}_{number}"
            images.append(wire.ImageGiven(index, number, name, start + name))
            file = tmp_path / f"{start}{name}.{asked.extension}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if medium == "video":
                file.write_bytes(clips.mp4(f"video {Picture(4, 4, colour).mark}", {}))
            else:
                Image.new("RGB", (4, 4), f"#{colour:06x}").save(file)
        given.append((asked, wire.BatchAccepted("b", "e", 1, len(images), images=images)))
    return tmp_path, given


def test_the_proof_finds_no_fault_in_what_is_right(drawn: Any) -> None:
    root, given = drawn
    (root / ".comfyledger").write_text("the store's mark")
    assert faults(root, given) == []


def test_the_proof_finds_swapped_broken_missing_foreign_and_doubled(drawn: Any) -> None:
    root, given = drawn
    files = [root / name for name in sorted(FILES)]
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    files[2].write_bytes(files[2].read_bytes()[:-40])
    files[3].unlink()
    (root / "stranger.png").write_bytes(first)
    found = " ".join(faults(root, given))
    for words in (f"{files[0].name} is the picture of another", f"{files[2].name} cannot be read", "is missing"):
        assert words in found
    assert "stranger.png should not be there" in found
    assert faults_of_names(["a", "a"]) == ["a was given 2 times."]
    assert len(faults_of_files(set())) == len(FILES)


def test_a_file_that_is_no_picture_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    assert "cannot be read" in fault_of_picture(tmp_path / "x.png", 0)


def test_a_cut_or_swapped_video_is_a_fault(drawn: Any) -> None:
    root, given = drawn
    (video,) = root.rglob("*.mp4")
    whole, colour = video.read_bytes(), next(asked.colours[0] for asked in BATCHES if asked.extension == "mp4")
    assert fault_of_video(video, colour) == ""
    assert "is the video of another number" in fault_of_video(video, colour + 1)
    video.write_bytes(whole[:-1])
    assert [fault for fault in faults(root, given) if "cannot be read" in fault]
