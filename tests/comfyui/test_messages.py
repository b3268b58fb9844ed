"""What ComfyUI says is read whatever it says: recorded frames, frames that never were, and those that are cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.comfyui import messages as m

RECORDINGS = Path(__file__).parents[1] / "recordings" / "comfyui-0.33.0"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KNOWN = [
    "status",
    "execution_start",
    "execution_cached",
    "executing",
    "progress",
    "progress_state",
    "executed",
    "execution_success",
    "execution_error",
    "execution_interrupted",
    "feature_flags",
]
KEYS = [
    "status",
    "exec_info",
    "queue_remaining",
    "prompt_id",
    "nodes",
    "node",
    "output",
    "images",
    "filename",
    "value",
    "max",
    "sid",
]
DATA = st.recursive(
    ANYTHING, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner | st.lists(inner)), max_leaves=20
)


def recorded(name: str, kind: str) -> list[dict[str, Any]]:
    lines = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def answer(name: str, path: str) -> bytes:
    found = [entry["response"] for entry in recorded(name, "http") if entry["path"].startswith(path)]
    return json.dumps(found[-1]).encode()


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_recorded_frame_is_known(path: Path) -> None:
    for entry in recorded(path.stem, "ws"):
        message = m.parse_text(json.dumps(entry["message"]))
        assert not isinstance(message, m.Unknown), entry
        assert getattr(message, "prompt_id", None) == entry["message"]["data"].get("prompt_id")


def test_frames_become_values() -> None:
    def read(kind: str, **data: Any) -> m.Message:
        return m.parse_text(json.dumps({"type": kind, "data": data}).encode())

    depth = {"exec_info": {"queue_remaining": 3}}
    assert read("status", status=depth, sid="s") == m.Status(3, "s")
    assert read("status", status=depth) == m.Status(3, None)
    assert read("executing", prompt_id="p", node=None) == m.Executing("p", None)
    assert read("executing", prompt_id="p", node="9", new=1) == m.Executing("p", "9")
    assert read("execution_cached", prompt_id="p", nodes=["1", "9"]) == m.ExecutionCached("p", ("1", "9"))
    assert read("progress", prompt_id="p", node="3", value=1, max=4) == m.Progress("p", "3", 1, 4)
    image = {"filename": "a.png", "subfolder": "x", "type": "output"}
    assert read("executed", prompt_id="p", node="9", output={"images": [image, 7]}) == m.Executed(
        "p", "9", (m.OutputFile("a.png", "x", "output"),)
    )
    assert read("executed", prompt_id="p", node="9", output=None) == m.Executed("p", "9", ())
    assert read("feature_flags", supports_preview_metadata=True) == m.FeatureFlags(True)
    assert read("crystools.monitor", cpu=1) == m.Unknown("crystools.monitor")
    assert read("progress", value="many") == m.Unknown("progress")


def test_not_json_numbers_that_comfyui_writes_are_read() -> None:
    frame = '{"type": "progress", "data": {"prompt_id": "p", "node": "3", "value": NaN, "max": 4}}'
    assert m.parse_text(frame) == m.Unknown("progress")
    assert m.parse_text('{"type": "execution_start", "data": {"prompt_id": "p", "x": Infinity}}') == (
        m.ExecutionStart("p")
    )


@pytest.mark.parametrize("frame", ["", "{bad json", "[1]", "null", b"\xff\xfe", "[" * 100_000, "9" * 5_000])
def test_what_is_no_object_is_a_bad_frame(frame: str | bytes) -> None:
    with pytest.raises(m.BadFrame):
        m.parse_text(frame)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KNOWN), DATA)
def test_no_object_is_too_strange(kind: str, data: Any) -> None:
    frame = json.dumps({"type": kind, "data": data})
    m.parse_text(frame).__class__.__name__.encode()
    for read in (m.parse_queue, m.parse_job):
        read(json.dumps({"queue_running": data, "queue_pending": [[1, data]], "status": data}))
    m.parse_history(json.dumps({"p": {"prompt": data, "outputs": data, "status": data}}), "p")
    m.parse_history(json.dumps({"p": {"status": {"messages": [["execution_error", data], data]}}}), "p")
    for status in (200, 400):
        body = json.dumps({"error": data, "node_errors": {"1": data, "2": {"errors": [data]}}, "number": data})
        m.parse_prompt_answer(status, body)


def test_texts_are_cut_and_can_be_stored() -> None:
    data = {"prompt_id": "p" * 9_999, "exception_message": "x" * 99_999, "exception_type": "\ud800"}
    message = m.parse_text(json.dumps({"type": "execution_error", "data": data}))
    assert isinstance(message, m.ExecutionError)
    assert len(message.exception_message) == m.TEXT_CHARS_MAX
    assert len(message.prompt_id) == 200
    message.exception_type.encode("utf-8")


@pytest.mark.parametrize(
    ("frame", "preview"),
    [
        (b"\0\0\0\1\0\0\0\1JPEG", m.Preview("image/jpeg", b"JPEG")),
        (b"\0\0\0\1\0\0\0\2PNG", m.Preview("image/png", b"PNG")),
        (b"\0\0\0\1\0\0\0\7?", None),
        (b"\0\0\0\2\0\0\0\1raw", None),
        (b"\0\0\0\3\0\0\0\1text", None),
        (b"\0\0\0", None),
        (b"", None),
        (b"\0\0\0\4\0\0\0\2{}JPEG", m.Preview("image/jpeg", b"JPEG")),
        (b"\0\0\0\4\0\0\0\2{}", None),
        (b"\0\0\0\4\xff\xff\xff\xff{}JPEG", None),
        (
            b'\0\0\0\4\0\0\0\x1f{"prompt_id":"p","node_id":"3"}JPEG',
            m.Preview("image/jpeg", b"JPEG", "p", "3"),
        ),
    ],
)
def test_previews(frame: bytes, preview: m.Preview | None) -> None:
    assert m.parse_preview(frame) == preview


def test_history_says_how_a_prompt_ended() -> None:
    def entry(name: str) -> m.HistoryEntry:
        body = answer(name, "/history/")
        found = m.parse_history(body, next(iter(json.loads(body))))
        assert found is not None
        return found

    done, failed = entry("batch4"), entry("runtime_error")
    assert (done.ended, done.status_str, done.completed, done.error) == ("success", "success", True, None)
    assert [file.filename[-11:] for file in done.outputs["9"]] == [f"_0000{k}_.png" for k in (1, 2, 3, 4)]
    assert failed.ended == "error"
    assert failed.error is not None
    assert failed.error.node_type == "SaveImage"
    assert "outside the output folder" in failed.error.exception_message
    assert entry("foreign_interrupt").ended == "interrupted"
    assert entry("foreign_interrupt").outputs == {}
    assert 0 < entry("foreign_interrupt").ran_s < 60
    assert m.parse_history("{}", "x") is None


def test_a_history_without_a_status_ended_well_if_it_has_files() -> None:
    outputs = {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
    for status, written, ended in [(None, outputs, "success"), (None, {}, "error"), ({}, outputs, "success")]:
        entry = m.parse_history(json.dumps({"p": {"outputs": written, "status": status}}), "p")
        assert entry is not None
        assert entry.ended == ended


def test_the_queue_and_jobs() -> None:
    assert m.parse_queue(answer("duplicate_id", "/queue")).pending == ("f53135e0-193a-4930-91d8-a73e8d56194c",)
    assert m.parse_queue(answer("delete_pending", "/queue")).running == ("c3b55278-a8b4-4251-96f0-b7cfd99a2df7",)
    assert m.parse_job(answer("runtime_error", "/api/jobs/")).status == "failed"


def test_a_refusal_says_in_one_sentence_what_is_wrong() -> None:
    calls = [entry for entry in recorded("invalid", "http") if entry["path"] == "/prompt"]
    refusals = [m.parse_prompt_answer(c["status"], json.dumps(c["response"])) for c in calls]
    assert all(isinstance(refusal, m.RefusalAnswer) for refusal in refusals)
    bad_width = refusals[2]
    assert isinstance(bad_width, m.RefusalAnswer)
    assert bad_width.type == "prompt_outputs_failed_validation"
    assert bad_width.words(1_000) == (
        "Prompt outputs failed validation; node 1 (EmptyImage): Failed to convert an input value to a INT value "
        "(width, abc, invalid literal for int() with base 10: 'abc'), Required input is missing (color)"
    )
    assert len(bad_width.words(40)) == 40


def test_a_refusal_may_be_plain_text() -> None:
    refusal = m.parse_prompt_answer(500, b"500 Internal Server Error")
    assert isinstance(refusal, m.RefusalAnswer)
    assert refusal.words(100) == "500 Internal Server Error"
    assert m.RefusalAnswer(502, "", "", "", ()).words(100) == "HTTP 502"


def test_200_names_the_outputs_that_will_not_run() -> None:
    accepted = m.parse_prompt_answer(200, answer("partly_invalid", "/prompt"))
    assert isinstance(accepted, m.PromptAnswer)
    assert accepted.prompt_id == "d6ebc068-1b52-47bd-8644-73801f77258f"
    assert accepted.node_errors == (
        m.NodeErrors("9", "SaveImage", ("9",), ("Required input is missing (filename_prefix)",)),
    )
