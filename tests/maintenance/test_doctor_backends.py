"""What the doctor says of several ComfyUIs together."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from comfyledger.comfyui.graph.find import plan_workflow
from comfyledger.core.commands import AddBackend, RemoveBackend
from comfyledger.core.reports import SubmitIntended
from comfyledger.ledger.sqlite.writer import Ledger
from comfyledger.maintenance.doctor import backends, run
from comfyledger.maintenance.doctor.comfyui_judge import Planned
from comfyledger.maintenance.doctor.judge import Diagnosis
from comfyledger.maintenance.doctor.prompts_left import added_to
from comfyledger.sim.comfyui import server
from support.doctor_report import about, ids, report, verdicts
from support.ledger_builders import raw, submission
from support.ledger_on_disk import take_group

FINE = Diagnosis("comfyui x", "ok", "Workflow w: ComfyUI has its nodes and their models.")
LACKS = Diagnosis("comfyui x", "failure", "Workflow w: It lacks Foo.", "install the custom nodes")
OTHER = Diagnosis("comfyui x", "warning", "Workflow w: a.safetensors is missing.", "install it")


def of_workflow(**found: list[Diagnosis]) -> Diagnosis:
    (one,) = backends.of_workflows({"w": list(found)}, {name: {"w": said} for name, said in found.items()})
    return one


def test_a_workflow_is_compared_with_those_that_have_its_tags() -> None:
    fits = {"a": {"w": [FINE]}, "b": {"w": [LACKS]}}
    (one,) = backends.of_workflows({"w": ["a"]}, fits)
    assert (one.verdict, one.sentence) == ("ok", "Workflow w fits all ComfyUIs that have its tags: a.")
    (one,) = backends.of_workflows({"w": ["b"]}, fits)
    assert one.sentence.startswith("Workflow w fits no ComfyUI that has its tags. b: It lacks Foo.")
    (one,) = backends.of_workflows({"w": ["away"]}, fits)
    assert (one.verdict, one.mend) == ("warning", "[comfyui.NAME] tags, or [workflows.w] needs")


def test_a_workflow_that_fits_everywhere_is_one_line() -> None:
    one = of_workflow(a=[FINE], b=[FINE])
    assert (one.verdict, one.sentence) == ("ok", "Workflow w fits all ComfyUIs: a, b.")


def test_a_workflow_that_fits_some_names_them_and_what_the_others_lack() -> None:
    one = of_workflow(a=[FINE], b=[LACKS, OTHER], c=[OTHER])
    assert one.verdict == "warning"
    said = "Workflow w fits a only. b: It lacks Foo. (and 1 more) c: a.safetensors is missing."
    assert (one.sentence, one.mend) == (said, "install the custom nodes")


def test_a_workflow_that_fits_none_is_a_failure_unless_a_request_may_mend_it() -> None:
    assert of_workflow(a=[LACKS], b=[LACKS]).verdict == "failure"
    assert of_workflow(a=[LACKS], b=[OTHER]).verdict == "warning"


def test_of_many_that_lack_something_the_first_are_named() -> None:
    one = of_workflow(**{f"b{n}": [LACKS] for n in range(50)})
    assert one.sentence.endswith(" 45 more lack something.")


def test_the_matrix_has_what_is_missing_at_each_that_could_be_asked() -> None:
    fits = {"a": {"w": [FINE], "x": [FINE]}, "b": {"w": [LACKS, OTHER], "x": [FINE]}}
    tags = {"a": ("flux",), "b": (), "away": ("flux",)}
    assert backends.lacking({"w": (), "x": ("flux", "48gb")}, tags, fits) == {
        "w": {"a": [], "b": ["It lacks Foo.", "a.safetensors is missing."]},
        "x": {"a": ["It does not have the tags: 48gb."], "b": ["It does not have the tags: flux, 48gb."]},
    }


def test_what_clients_added_is_named_and_left_to_the_daemon() -> None:
    assert backends.of_added([]) == []
    (one,) = backends.of_added(["gpu-1", "gpu-2"])
    assert (one.verdict, "by it alone: gpu-1, gpu-2." in one.sentence) == ("ok", True)
    (one,) = backends.of_added([f"gpu-{n}" for n in range(30)])
    assert "gpu-4 and 25 more." in one.sentence


async def test_prompts_at_an_added_comfyui_are_not_left(loaded: Any, tmp_path: Path) -> None:
    settings, path = loaded(""), tmp_path / "state" / "ledger.db"
    assert added_to(path) == []
    path.parent.mkdir(exist_ok=True)
    ledger = Ledger.open(path)
    take_group(ledger, submission("r1", quantity=2))
    take_group(ledger, *(AddBackend("app", f"gpu-{n}", f"http://gpu-{n}.example:8188") for n in (1, 2, 3)))
    take_group(ledger, RemoveBackend("app", "gpu-3"))
    take_group(ledger, *(SubmitIntended("batch-app-r1", n, 1, f"gpu-{n}") for n in (1, 2)))
    ledger.close()
    assert added_to(path) == ["gpu-1", "gpu-2"]
    found = await report(settings)
    said = [line.sentence for line in found.diagnoses if "gpu-1" in line.sentence or "gpu-1" in line.area]
    assert len(said) == 1, said
    assert said[0].startswith("Added to the running daemon")
    raw(path).execute("DROP TABLE backends")
    assert added_to(path) == []


def test_versions_that_differ_are_a_warning_with_the_names() -> None:
    assert backends.of_versions({"a": "0.29.0", "b": "0.29.0"}) == []
    (one,) = backends.of_versions({"a": "0.33.0", "b": "0.29.0", "c": "0.33.0"})
    assert "0.29.0 (b); 0.33.0 (a, c)" in one.sentence
    assert one.verdict == "warning"


def test_a_shared_output_folder_is_named_and_is_no_fault() -> None:
    (one,) = backends.of_shared_folders("output", {"a": "/x", "b": "/y", "c": "/x"})
    assert (one.verdict, one.sentence) == ("ok", "a, c share /x; it is cleared once for all of them.")


async def test_every_comfyui_is_reached_and_all_are_compared(loaded: Any, tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    async with AsyncExitStack() as stack:
        options = server.SimOptions(output=tmp_path / "out")
        big, small = [await stack.enter_async_context(await server.serve(options)) for _ in range(2)]
        small._installed.change(None, ["EmptyImage"])
        lines = f"output_dir = '{tmp_path}'\n[comfyui.big]\nurl = '{big.url}'\noutput_dir = '{tmp_path}/.'\n"
        (tmp_path / "mine.json").write_text(json.dumps(graph))
        more = f"[comfyui.small]\nurl = '{small.url}'\n[workflows.empty-image]\nfile = 'mine.json'\n"
        settings = loaded(lines + more)
        found = await run.examine(settings, {"empty-image": Planned(*plan_workflow(graph))}, ids, probe=False)
    assert verdicts(about(found, "comfyui main")) == ["failure"]
    assert set(verdicts(about(found, "comfyui big"))) == set(verdicts(about(found, "comfyui small"))) == {"ok"}
    (one,) = about(found, "workflows")
    assert one.sentence.startswith("Workflow empty-image fits big only. small: Node 1 (EmptyImage)")
    assert list(found.lacking) == ["empty-image"]
    assert found.lacking["empty-image"].keys() == {"big", "small"}
    assert (found.lacking["empty-image"]["big"], len(found.lacking["empty-image"]["small"])) == ([], 1)
    assert any("main, big share" in line.sentence for line in about(found, "output main"))
    (clock,) = about(found, "clock")
    assert clock.sentence.endswith("agrees with 2 ComfyUIs.")
