"""What ComfyUI says is read whatever it says: recorded frames, frames that never were, and those that are cut."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyledger.comfyui import answers, fields
from comfyledger.comfyui import messages as m
from comfyledger.comfyui.fields import json_object

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


SLOWLY: dict[str, Any] = {"": math.nan}
"""What only the reader of fields can read, beside the fields."""
WELL_FORMED = st.fixed_dictionaries(
    {},
    optional={
        "prompt_id": st.text(max_size=4) | st.just("p" * (fields.ID_CHARS_MAX + 1)),
        "node": st.none() | st.text(max_size=4) | st.integers(),
        "nodes": st.lists(st.text(max_size=4), max_size=4),
        "value": st.integers() | st.floats() | st.booleans(),
        "max": st.integers(min_value=1, max_value=9) | st.floats(),
        "output": st.none() | st.dictionaries(st.text(max_size=4), st.lists(ANYTHING, max_size=2), max_size=2),
        "sid": st.none() | st.text(max_size=4),
        "status": ANYTHING | st.fixed_dictionaries({"exec_info": st.fixed_dictionaries({"queue_remaining": ANYTHING})}),
    },
)


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_frames_say_the_same_when_they_are_read_field_by_field(path: Path) -> None:
    for entry in recorded(path.stem, "ws"):
        _says_the_same(entry["message"]["type"], entry["message"]["data"])


@given(kind=st.sampled_from(KNOWN), data=WELL_FORMED)
def test_a_frame_says_the_same_however_it_is_read(kind: str, data: dict[str, Any]) -> None:
    _says_the_same(kind, data)


def _says_the_same(kind: str, data: dict[str, Any]) -> None:
    """Written out, 1 and 1.0 differ."""
    once, slowly = (m.parse_text(json.dumps({"type": kind, "data": one})) for one in (data, {**data, **SLOWLY}))
    assert repr(once) == repr(slowly)


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
        "p", "9", (m.ViewFile("a.png", "x", "output"),)
    )
    assert read("executed", prompt_id="p", node="9", output=None) == m.Executed("p", "9", ())
    assert read("feature_flags", supports_preview_metadata=True) == m.FeatureFlags(True)
    assert read("crystools.monitor", cpu=1) == m.Unknown("crystools.monitor")
    assert read("progress", value="many") == m.Unknown("progress")


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "x", "type": "output", **more}


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ({"images": [entry("a.png"), entry("b.png")], "animated": [False]}, ["a.png", "b.png"]),
        ({"images": [entry("a.mp4")], "animated": [True]}, ["a.mp4"]),
        (
            {"gifs": [entry("a.webm", format="video/webm", frame_rate=8, workflow="a.png", fullpath="/x/a.webm")]},
            ["a.webm"],
        ),
        ({"audio": [entry("a.flac")]}, ["a.flac"]),
        ({"3d": [entry("a.glb")]}, ["a.glb"]),
        ({"video": [entry("a.mp4")], "files": [entry("a.srt")]}, ["a.mp4", "a.srt"]),
        ({"result": ["a.glb", {"position": {}}, None, entry("b.glb")]}, ["b.glb"]),
        ({"text": ["a.png"], "b_anything": [entry("b.png")], "a_anything": [entry("a.png")]}, ["b.png", "a.png"]),
        ({"images": [entry("a.png")], "files": [entry("a.png"), entry("b.png"), entry("a.png")]}, ["a.png", "b.png"]),
        ({"images": [entry(""), entry(7), {"subfolder": "x"}, [entry("b.png")], "c.png", None]}, []),
        ({"images": entry("a.png"), "files": "a.png", "video": 7, "audio": None}, []),
        ([entry("a.png")], []),
        ("a.png", []),
    ],
)
def test_files_are_read_under_every_key_of_an_output(output: Any, names: list[str]) -> None:
    files = m.read_files(output)
    assert [file.filename for file in files] == names
    entries = {"p": {"outputs": {"9": output}, "status": {"status_str": "success"}}}
    history = answers.parse_history(json.dumps(entries), "p")
    assert history is not None
    assert history.outputs["9"] == files


def test_a_file_listed_twice_under_one_key_counts_twice() -> None:
    output = {"images": [entry("a.png"), entry("a.png")], "files": [entry("a.png"), entry("b.png")]}
    assert [file.filename for file in m.read_files(output)] == ["a.png", "a.png", "b.png"]


def test_one_name_in_two_folders_is_two_files() -> None:
    output = {"images": [entry("a.png"), entry("a.png", subfolder=""), entry("a.png", type="temp")]}
    assert [(file.subfolder, file.type) for file in m.read_files(output)] == [
        ("x", "output"),
        ("", "output"),
        ("x", "temp"),
    ]


def test_no_output_has_files_without_end() -> None:
    output = {key: [entry(f"{key}{place}") for place in range(3_000)] for key in ("gifs", "images")}
    files = m.read_files(output)
    assert len(files) == fields.LIST_MAX
    assert [file.filename for file in files[2_999:3_001]] == ["gifs2999", "images0"]


def test_not_json_numbers_that_comfyui_writes_are_read() -> None:
    frame = '{"type": "progress", "data": {"prompt_id": "p", "node": "3", "value": NaN, "max": 4}}'
    assert m.parse_text(frame) == m.Unknown("progress")
    assert m.parse_text('{"type": "execution_start", "data": {"prompt_id": "p", "x": Infinity}}') == (
        m.ExecutionStart("p")
    )


ODD: dict[str, tuple[bytes, Any]] = {
    "nan": (b'{"a": [NaN, Infinity, -Infinity], "b": 1}', 1),
    "a key that comes twice": (b'{"b": 2, "b": 1}', 1),
    "a byte order mark": (b'\xef\xbb\xbf{"b": 1}', 1),
    "bytes that are not UTF-8": (b'{"a": "\xff", "b": 1}', 1),
    "half a surrogate pair": (rb'{"a": "\ud800", "b": 1}', 1),
    "an integer of 5,000 digits": (b'{"a": ' + b"9" * 5_000 + b', "b": 1}', 1),
    "a float beyond all floats": (b'{"a": 1e999, "b": 1}', 1),
    "a list in a list, 5,000 times": (b'{"a": ' + b"[" * 5_000 + b'"]"' + b"]" * 5_000 + b', "b": 1}', 1),
    "objects in objects, 5,000 times": (b'{"a": ' + b'{"x":' * 5_000 + b"1" + b"}" * 5_000 + b', "b": 1}', 1),
}


@pytest.mark.parametrize("body", [body for body, _ in ODD.values()], ids=list(ODD))
def test_whatever_comfyui_writes_is_read_by_one_parser(body: bytes) -> None:
    assert json_object(body)["b"] == 1
    inside = body[body.index(b"{") :]
    entry = b'{"p": {"outputs": {}, "status": {"status_str": "success"}, "prompt": ' + inside + b"}}"
    found = answers.parse_history(entry, "p")
    assert found is not None
    assert found.ended == "success"
    queue = b'{"queue_running": [[1, "p", ' + inside + b', {}, []]], "queue_pending": []}'
    assert answers.parse_queue(queue) == answers.QueueIds(("p",), ())
    assert m.parse_text(b'{"type": "executing", "data": {"prompt_id": "p", "x": ' + inside + b"}}") == (
        m.Executing("p", None)
    )
    assert answers.parse_job(200, b'{"status": "pending", "workflow": ' + inside + b"}", "p") == "waiting"
    accepted = answers.parse_prompt_answer(200, b'{"prompt_id": "p", "number": 1, "x": ' + inside + b"}")
    assert isinstance(accepted, answers.PromptAnswer)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"status": "queued"}'),
        (200, b'{"status": "running"}'),
        (200, b'{"status": "PENDING"}'),
        (200, b'{"status": "Completed"}'),
        (200, b'{"status": null}'),
        (200, b'{"data": {"status": "in_progress"}}'),
        (200, b'[{"status": "pending"}]'),
        (200, b'{"status": "pending", "id": "another"}'),
        (200, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (404, b"{}"),
        (404, b'{"message": "no Route matched with those values"}'),
        (404, b'{"error": "Not Found"}'),
        (404, b'{"error": {"code": 404}}'),
        (404, b"<html>404</html>"),
        (404, b""),
        (403, b'{"error": "Job not found"}'),
        (502, b'{"status": "pending"}'),
    ],
)
def test_an_answer_about_a_job_that_is_not_comfyuis_says_nothing(status: int, body: bytes) -> None:
    assert answers.parse_job(status, body, "p") == "unknown"


def test_only_comfyuis_own_404_says_that_a_job_or_the_route_is_missing() -> None:
    assert answers.parse_job(404, b'{"error": "Job not found"}', "p") == "gone"
    assert answers.parse_job(404, b"404: Not Found", "p") == "no_route"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data": {"queue_running": [], "queue_pending": []}}',
        b'{"queue_running": []}',
        b'{"queue_running": [], "queue_pending": null}',
        b'{"queue_running": [], "queue_pending": {}}',
        b'{"queue_running": [], "queue_pending": [{"id": "p"}]}',
        b'{"queue_running": [[1]], "queue_pending": []}',
        b'{"queue_running": [], "queue_pending": [[1, 2]]}',
        b"[]",
        b"",
    ],
)
def test_a_queue_that_cannot_be_read_whole_is_not_an_empty_one(body: bytes) -> None:
    with pytest.raises(fields.BadFrame):
        answers.parse_queue(body)


def test_a_long_queue_is_read_to_its_end() -> None:
    pending = [[number, f"p{number}", {}, {}, []] for number in range(6_000)]
    assert answers.parse_queue(json.dumps({"queue_running": [], "queue_pending": pending})).pending[-1] == "p5999"


@pytest.mark.parametrize(
    "answered",
    [
        {"history": {"p": {"outputs": {}, "status": {"status_str": "success"}}}},
        {"error": "not found"},
        {"p": None},
        {"p": []},
        {"p": {}},
        {"p": {"status": {"status_str": "success"}}},
        {"p": {"outputs": {}, "status": {"status_str": "running", "completed": False}}},
        {"P": {"outputs": {}, "status": {"status_str": "success"}}},
    ],
)
def test_a_history_that_answers_something_else_is_not_an_empty_one(answered: Any) -> None:
    with pytest.raises(fields.BadFrame):
        answers.parse_history(json.dumps(answered), "p")


@pytest.mark.parametrize("status", [{"status_str": "SUCCESS"}, {"status_str": "done", "completed": True}])
def test_another_spelling_of_a_good_end_is_no_error(status: Any) -> None:
    found = answers.parse_history(json.dumps({"p": {"outputs": {}, "status": status}}), "p")
    assert found is not None
    assert found.ended == "success"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b'{"data": {"prompt_id": "p"}}'),
        (200, b'{"prompt_id": null}'),
        (400, b"<html>400 Bad Request</html>"),
        (400, b'{"message": "Bad Request"}'),
        (400, b'{"error": "Bad Request"}'),
    ],
)
def test_a_foreign_answer_neither_accepts_nor_refuses_a_prompt(status: int, body: bytes) -> None:
    with pytest.raises(fields.BadFrame):
        answers.parse_prompt_answer(status, body)


def test_whether_a_prompt_was_cancelled_is_said_or_not_known() -> None:
    for status, body, cancelled in [
        (200, b'{"cancelled": true}', True),
        (200, b'{"cancelled": false}', False),
        (200, b'{"data": {"cancelled": true}}', None),
        (200, b"{}", None),
        (200, b"<html>", None),
        (200, b'{"cancelled": "yes"}', None),
        (302, b"", False),
        (404, b"404: Not Found", False),
    ]:
        assert answers.parse_cancelled(status, body) is cancelled


@pytest.mark.parametrize("frame", ["", "{bad json", "[1]", "null", b"\xff\xfe", "[" * 100_000, "9" * 5_000])
def test_what_is_no_object_is_a_bad_frame(frame: str | bytes) -> None:
    with pytest.raises(fields.BadFrame):
        m.parse_text(frame)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KNOWN), DATA)
def test_no_object_is_too_strange(kind: str, data: Any) -> None:
    frame = json.dumps({"type": kind, "data": data})
    m.parse_text(frame).__class__.__name__.encode()
    job = json.dumps({"status": data, "cancelled": data, "error": data, "id": data})
    for status in (200, 404):
        answers.parse_job(status, job, "p")
        answers.parse_cancelled(status, job)
    with suppress(fields.BadFrame):
        answers.parse_queue(json.dumps({"queue_running": data, "queue_pending": [[1, data]]}))
    for entry in (
        {"prompt": data, "outputs": data, "status": data},
        {"outputs": {"9": data}, "status": {"status_str": data, "messages": [["execution_error", data], data]}},
    ):
        with suppress(fields.BadFrame):
            answers.parse_history(json.dumps({"p": entry}), "p")
    for status in (200, 400):
        body = {"error": data, "node_errors": {"1": data, "2": {"errors": [data]}}, "number": data, "prompt_id": "p"}
        answers.parse_prompt_answer(status, json.dumps(body))


def test_texts_are_cut_and_can_be_stored() -> None:
    data = {"prompt_id": "p" * 9_999, "exception_message": "x" * 99_999, "exception_type": "\ud800"}
    message = m.parse_text(json.dumps({"type": "execution_error", "data": data}))
    assert isinstance(message, m.ExecutionError)
    assert len(message.exception_message) == fields.TEXT_CHARS_MAX
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
    def ended(name: str) -> answers.HistoryEntry:
        body = answer(name, "/history/")
        found = answers.parse_history(body, next(iter(json.loads(body))))
        assert found is not None
        return found

    done, failed = ended("batch4"), ended("runtime_error")
    assert (done.ended, done.status_str, done.completed, done.error) == ("success", "success", True, None)
    assert [file.filename[-11:] for file in done.outputs["9"]] == [f"_0000{k}_.png" for k in (1, 2, 3, 4)]
    assert failed.ended == "error"
    assert failed.error is not None
    assert failed.error.node_type == "SaveImage"
    assert "outside the output folder" in failed.error.exception_message
    assert ended("foreign_interrupt").ended == "interrupted"
    assert ended("foreign_interrupt").outputs == {}
    assert 0 < ended("foreign_interrupt").ran_s < 60
    assert answers.parse_history("{}", "x") is None


def test_a_history_without_a_status_ended_well_if_it_has_files() -> None:
    outputs = {"9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
    for status, written, ended in [(None, outputs, "success"), (None, {}, "error"), ({}, outputs, "success")]:
        entry = answers.parse_history(json.dumps({"p": {"outputs": written, "status": status}}), "p")
        assert entry is not None
        assert entry.ended == ended


def test_the_queue_and_jobs() -> None:
    assert answers.parse_queue(answer("duplicate_id", "/queue")).pending == ("f53135e0-193a-4930-91d8-a73e8d56194c",)
    assert answers.parse_queue(answer("delete_pending", "/queue")).running == ("c3b55278-a8b4-4251-96f0-b7cfd99a2df7",)
    job = answer("runtime_error", "/api/jobs/")
    assert answers.parse_job(200, job, json.loads(job)["id"]) == "ended"
    assert answers.parse_job(404, answer("foreign_clear", "/api/jobs/"), "x") == "gone"
    said = [e["response"] for e in recorded("cancel_unknown", "http") if e["path"].endswith("/cancel")]
    assert [answers.parse_cancelled(200, json.dumps(one)) for one in said] == [False]


def test_a_refusal_says_in_one_sentence_what_is_wrong() -> None:
    calls = [entry for entry in recorded("invalid", "http") if entry["path"] == "/prompt"]
    refusals = [answers.parse_prompt_answer(c["status"], json.dumps(c["response"])) for c in calls]
    assert all(isinstance(refusal, answers.RefusalAnswer) for refusal in refusals)
    bad_width = refusals[2]
    assert isinstance(bad_width, answers.RefusalAnswer)
    assert bad_width.type == "prompt_outputs_failed_validation"
    assert bad_width.words(1_000) == (
        "Prompt outputs failed validation; node 1 (EmptyImage): Failed to convert an input value to a INT value "
        "(width, abc, invalid literal for int() with base 10: 'abc'), Required input is missing (color)"
    )
    assert len(bad_width.words(40)) == 40


def test_a_refusal_says_which_kinds_of_mistakes_it_is_about_and_where() -> None:
    calls = [entry for entry in recorded("invalid", "http") if entry["path"] == "/prompt"]
    refusals = [answers.parse_prompt_answer(c["status"], json.dumps(c["response"])) for c in calls]
    said = [one.mistakes() for one in refusals if isinstance(one, answers.RefusalAnswer)]
    assert said[0] == [("missing_node_type", "")]
    assert said[2] == [("invalid_input_type", "1.width"), ("required_input_missing", "1.color")]
    assert not any(said[1:2] + said[3:]), "what no node is about says nothing of this ComfyUI"


def test_a_refusal_may_be_plain_text() -> None:
    refusal = answers.parse_prompt_answer(500, b"500 Internal Server Error")
    assert isinstance(refusal, answers.RefusalAnswer)
    assert refusal.words(100) == "500 Internal Server Error"
    assert answers.RefusalAnswer(502, "", "", "", ()).words(100) == "HTTP 502"


def test_200_names_the_outputs_that_will_not_run() -> None:
    accepted = answers.parse_prompt_answer(200, answer("partly_invalid", "/prompt"))
    assert isinstance(accepted, answers.PromptAnswer)
    assert accepted.prompt_id == "d6ebc068-1b52-47bd-8644-73801f77258f"
    about = (("required_input_missing", "filename_prefix"),)
    assert accepted.node_errors == (
        answers.NodeErrors("9", "SaveImage", ("9",), ("Required input is missing (filename_prefix)",), about),
    )
