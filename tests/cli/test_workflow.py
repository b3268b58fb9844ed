"""`workflow check` and `workflow convert`: with a daemon, with a saved answer of ComfyUI, and with neither."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli import base, workflow_checks
from comfyledger.cli.ui.workflow_view import lines_of
from comfyledger.errors import Refused
from support.graphs import diffusion

FIELDS = {
    *("file", "verdict", "code", "message", "hint", "medium", "outputs", "seeds", "batch_size", "not_run"),
    *("unknown_classes", "inputs", "files", "models", "mistakes"),
}
INFO = json.dumps({"KSampler": {"input": {"required": {}}, "output": ["LATENT"]}}).encode()


CUT = gzip.compress(INFO, mtime=0)[:-9]
NO_JSON = gzip.compress(b"{" * 9, mtime=0)


def saved(tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


def graph_file(tmp_path: Path, name: str = "g.json", graph: Any = None) -> str:
    return saved(tmp_path, name, json.dumps(diffusion() if graph is None else graph).encode())


def refusing(code: str) -> Any:
    def answer(_: dict[str, Any]) -> Any:
        raise Refused(code)

    return answer


def rows(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_file_is_one_line_with_every_field(run: Any, tmp_path: Path) -> None:
    result = run("workflow", "check", "--json", graph_file(tmp_path), graph_file(tmp_path, "2.json", {}))
    good, bad = rows(result)
    assert good.keys() == bad.keys() >= FIELDS - {"mistakes"}
    assert (good["verdict"], good["medium"], good["seeds"]) == ("accepted", "image", ["3.seed"])
    assert bad["verdict"] == "refused"
    assert result.exit_code == base.REFUSED


def test_all_accepted_is_success(run: Any, tmp_path: Path) -> None:
    assert run("workflow", "check", graph_file(tmp_path), graph_file(tmp_path, "2.json")).exit_code == base.DONE


def test_a_file_that_cannot_be_read_is_a_line_and_stops_no_other(run: Any, tmp_path: Path) -> None:
    bad = [str(tmp_path / "none.json"), str(tmp_path), saved(tmp_path, "b.json", b"\xff"), saved(tmp_path, "e", b"")]
    bad.append(saved(tmp_path, "large.json", b" " * 5_000_000))
    found = rows(run("workflow", "check", "--json", *bad, graph_file(tmp_path)))
    assert [row["file"] for row in found] == [*bad, str(tmp_path / "g.json")]
    assert [row["verdict"] for row in found] == ["refused"] * 5 + ["accepted"]
    assert [row["code"] for row in found] == ["workflow_invalid"] * 4 + ["graph_too_large", ""]


def test_a_file_whose_name_is_no_utf_8_is_a_line_like_any_other(run: Any, tmp_path: Path) -> None:
    found = rows(run("workflow", "check", "--json", f"{tmp_path}/\udcff.json", graph_file(tmp_path)))
    assert [row["verdict"] for row in found] == ["refused", "accepted"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_saved_answer_tells_what_comfyui_lacks(run: Any, tmp_path: Path, pack: Any) -> None:
    info = saved(tmp_path, "info", pack(INFO))
    (found,) = rows(run("workflow", "check", "--json", "--object-info", info, graph_file(tmp_path)))
    assert "SaveImage" in found["unknown_classes"]
    assert "KSampler" not in found["unknown_classes"]
    assert found["verdict"] == "accepted"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"A": 1}', b"\x1f\x8b", CUT, NO_JSON, b"\xff"])
def test_a_file_that_is_no_answer_of_comfyui_is_a_usage_error(run: Any, tmp_path: Path, content: bytes) -> None:
    info = saved(tmp_path, "info", content)
    result = run("workflow", "check", "--object-info", info, graph_file(tmp_path))
    assert result.exit_code == base.USAGE
    assert result.stdout == ""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_answer_above_the_limit_is_not_taken(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any
) -> None:
    monkeypatch.setattr(workflow_checks, "INFO_BYTES_MAX", len(INFO) - 1)
    result = run("workflow", "check", "--object-info", saved(tmp_path, "i", pack(INFO)), graph_file(tmp_path))
    assert result.exit_code == base.USAGE
    assert "more than" in result.stderr


def test_strict_without_node_classes_is_a_usage_error(run: Any, tmp_path: Path) -> None:
    result = run("workflow", "check", "--strict", graph_file(tmp_path))
    assert result.exit_code == base.USAGE
    assert "--object-info" in result.stderr


def test_without_node_classes_a_document_in_the_ui_format_is_refused(run: Any, tmp_path: Path) -> None:
    ui = graph_file(tmp_path, graph={"nodes": [], "links": [], "padding": "x" * 600_000})
    result = run("workflow", "check", "--json", ui)
    assert [row["code"] for row in rows(result)] == ["backend_unknown"]
    assert "--object-info" in result.stderr


def test_a_daemon_that_runs_is_asked_for_each_file(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["check_workflow"] = wire.WorkflowReport("accepted", seeds=["3.seed"])
    files = [graph_file(tmp_path), str(tmp_path / "none.json"), graph_file(tmp_path, "2.json")]
    found = rows(run("workflow", "check", "--strict", "--json", *files))
    assert [row["verdict"] for row in found] == ["accepted", "refused", "accepted"]
    assert door.requests("check_workflow") == [{"workflow": diffusion(), "strict": True}] * 2


def test_a_saved_answer_is_used_although_a_daemon_runs(door: Any, run: Any, tmp_path: Path) -> None:
    run("workflow", "check", "--object-info", saved(tmp_path, "info", INFO), graph_file(tmp_path))
    assert door.requests("check_workflow") == []


def test_a_workflow_that_the_daemon_does_not_take_stops_no_other(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["check_workflow"] = refusing("frame_too_large")
    found = rows(run("workflow", "check", "--json", graph_file(tmp_path), graph_file(tmp_path, "2.json")))
    assert [row["code"] for row in found] == ["frame_too_large"] * 2


def test_a_daemon_that_a_person_names_must_answer(run: Any, tmp_path: Path) -> None:
    result = run("--url", "http://127.0.0.1:9", "workflow", "check", graph_file(tmp_path))
    assert (result.exit_code, result.stdout) == (base.NO_DAEMON, "")


def test_a_token_without_the_right_ends_the_command(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["check_workflow"] = refusing("forbidden")
    result = run("workflow", "check", graph_file(tmp_path), graph_file(tmp_path, "2.json"))
    assert result.exit_code == base.REFUSED
    assert len(door.requests("check_workflow")) == 1


def test_a_person_reads_every_finding() -> None:
    found = wire.WorkflowReport("refused", "unknown_input", "No such input.", "Did you mean 6.text?", "6.txt")
    report = replace(
        found,
        found=["seed: 3.seed"],
        inputs={"prompt": "6.text"},
        models=["a.ckpt"],
        files=["a.png"],
        unknown_classes=["B"],
    )
    text = "\n".join(lines_of(report))
    for word in ("6.txt: No such", "Did you", "3.seed", "prompt = 6.text", "a.ckpt", "a.png", "lacks: B"):
        assert word in text


# ---- the UI format, without a daemon

CLASSES = {
    "EmptyImage": {"input": {"required": {"width": ["INT", {}], "color": ["INT", {}]}}, "output": ["IMAGE"]},
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}},
        "output": [],
        "output_node": True,
    },
}
DOCUMENT = {
    "nodes": [
        {"id": 1, "type": "EmptyImage", "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [5]}],
         "widgets_values": [64, 7]},
        {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 5}],
         "widgets_values": ["x"]},
    ],
    "links": [[5, 1, 0, 9, 0, "IMAGE"]],
    "version": 0.4,
}  # fmt: skip


def test_a_document_is_converted_and_checked_with_a_saved_answer(run: Any, tmp_path: Path) -> None:
    info = ["--object-info", saved(tmp_path, "info", json.dumps(CLASSES).encode())]
    lacking = {**DOCUMENT, "nodes": [{**DOCUMENT["nodes"][0], "type": "Lacking"}, DOCUMENT["nodes"][1]]}  # type: ignore[dict-item,index]
    files = [graph_file(tmp_path, graph=DOCUMENT), graph_file(tmp_path, "2.json", lacking)]
    good, bad = rows(run("workflow", "check", "--strict", "--json", *info, *files))
    assert (good["verdict"], good["checked"], good["inputs"]) == ("accepted", "full", {})
    assert (bad["code"], bad["unknown_classes"]) == ("workflow_failed_validation", ["Lacking"])
    graph = json.loads(run("workflow", "convert", *info, files[0]).stdout)
    assert graph["1"]["inputs"] == {"width": 64, "color": 7}
    assert graph["9"]["inputs"]["images"] == ["1", 0]


# ---- convert


def test_the_wrappers_of_a_graph_are_removed(run: Any, tmp_path: Path) -> None:
    file = graph_file(tmp_path, graph={"prompt": diffusion(), "client_id": "x"})
    assert json.loads(run("workflow", "convert", file).stdout) == diffusion()


def test_a_graph_that_would_be_refused_is_converted_all_the_same(run: Any, tmp_path: Path) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}
    assert json.loads(run("workflow", "convert", graph_file(tmp_path, graph=graph)).stdout) == graph


def test_a_file_is_written_and_none_is_replaced(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run("workflow", "convert", graph_file(tmp_path), "-o", str(out)).exit_code == base.DONE
    assert json.loads(out.read_text("utf-8")) == diffusion()
    again = run("workflow", "convert", graph_file(tmp_path, "2.json", {"prompt": diffusion()}), "-o", str(out))
    assert again.exit_code == base.REFUSED
    assert json.loads(out.read_text("utf-8")) == diffusion()


def test_what_cannot_be_read_is_not_converted(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = run("workflow", "convert", graph_file(tmp_path, graph={"nodes": []}), "-o", str(out))
    assert result.exit_code == base.REFUSED
    assert "backend_unknown" in result.stderr
    assert not out.exists()


def test_a_daemon_converts_too(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["check_workflow"] = wire.WorkflowReport("refused", "workflow_no_output", graph={"1": {}})
    assert json.loads(run("workflow", "convert", graph_file(tmp_path)).stdout) == {"1": {}}
    assert door.requests("check_workflow") == [{"workflow": diffusion(), "convert": True}]
