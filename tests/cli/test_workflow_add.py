"""`workflow add`: the configuration gains a section that works, and whatever goes wrong leaves it as it was."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from comfyledger import durable, settings
from comfyledger.admission.configured import made_ready, read_workflows
from comfyledger.cli import base
from support.documents import CONFIG
from support.graphs import diffusion, image, node

SMALL = '# mine\nstate_dir = "state"'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "its" / "config.toml"
    path.parent.mkdir()
    path.write_text(SMALL, encoding="utf-8")
    return path


def graph_file(config: Path, graph: Any = None) -> str:
    path = config.parent.parent / "g.json"
    path.write_text(json.dumps(diffusion() if graph is None else graph), encoding="utf-8")
    return str(path)


def added(run: Any, config: Path, *words: str, graph: Any = None, name: str = "portrait") -> Any:
    return run("workflow", "add", name, graph_file(config, graph), "--config", str(config), *words)


def is_untouched(config: Path, content: str = SMALL) -> bool:
    return config.read_text("utf-8") == content and sorted(config.parent.iterdir()) == [config]


@pytest.mark.parametrize("before", [SMALL, CONFIG, ""])
def test_the_section_is_appended_and_can_be_used(run: Any, config: Path, before: str) -> None:
    config.write_text(before, encoding="utf-8")
    result = added(run, config)
    assert result.exit_code == base.DONE, result.output
    assert config.read_text("utf-8").startswith(before)
    known = read_workflows(settings.load(config))
    assert known.keys() == {"portrait", "empty-image", "text-to-image"}
    assert made_ready(known["portrait"]).plan.inputs["prompt"] == "6.text"
    assert json.loads((config.parent / "workflows" / "portrait.json").read_text("utf-8")) == diffusion()


def test_the_samples_stay_only_where_they_were_there(run: Any, config: Path) -> None:
    assert added(run, config).exit_code == base.DONE
    assert added(run, config, name="other").exit_code == base.DONE
    assert config.read_text("utf-8").count("sample:empty-image") == 1


def test_the_file_keeps_its_mode(run: Any, config: Path) -> None:
    config.chmod(0o640)
    added(run, config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert stat.S_IMODE((config.parent / "workflows" / "portrait.json").stat().st_mode) == 0o640


def test_a_graph_with_a_secret_is_nobody_elses_to_read(run: Any, config: Path) -> None:
    config.chmod(0o644)
    graph = image(**{"1": node("MakeImage", api_key="sk-12345", batch_size=1)})
    result = added(run, config, graph=graph)
    assert "1.api_key" in result.stderr
    assert stat.S_IMODE((config.parent / "workflows" / "portrait.json").stat().st_mode) == 0o640
    assert "sk-12345" not in config.read_text("utf-8") + result.output


def test_a_link_to_the_configuration_stays_a_link(run: Any, config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    assert added(run, link).exit_code == base.DONE
    assert link.is_symlink()
    assert "[workflows.portrait]" in config.read_text("utf-8")


def test_outputs_that_a_person_names_are_written(run: Any, config: Path) -> None:
    graph = diffusion() | {"10": node("SaveImage", images=["8", 0], filename_prefix="y")}
    assert added(run, config, "--output", "10", graph=graph).exit_code == base.DONE
    assert settings.load(config).workflows["portrait"].output == "10"
    assert added(run, config, "--output", "9", "--output", "10", graph=graph, name="both").exit_code == base.DONE
    assert settings.load(config).workflows["both"].outputs == ("9", "10")


def test_node_ids_with_odd_characters_are_written_as_they_are(run: Any, config: Path) -> None:
    graph = json.loads(json.dumps(diffusion()).replace('"6"', '"a \\"b\\\\ é#"'))
    assert added(run, config, graph=graph).exit_code == base.DONE
    assert settings.load(config).workflows["portrait"].inputs["prompt"] == 'a "b\\ é#.text'


def test_a_dry_run_shows_the_section_and_writes_nothing(run: Any, config: Path) -> None:
    result = added(run, config, "--dry-run", "--json")
    said = json.loads(result.stdout)
    assert "[workflows.portrait]" in said["section"]
    assert (said["written"], said["inputs"]["prompt"]) == (False, "6.text")
    assert is_untouched(config)


@pytest.mark.parametrize("name", ["", "a b", "../x", "ä", "a.b", "x" * 65])
def test_a_name_that_is_no_file_and_no_key_is_refused(run: Any, config: Path, name: str) -> None:
    result = added(run, config, name=name)
    assert (result.exit_code, "name_unusable" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config)


def test_a_name_that_is_taken_is_refused(run: Any, config: Path) -> None:
    content = '[workflows.portrait]\nfile = "sample:empty-image"\n'
    config.write_text(content, encoding="utf-8")
    result = added(run, config)
    assert (result.exit_code, "name_taken" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config, content)


def test_a_file_of_another_graph_is_not_replaced(run: Any, config: Path) -> None:
    taken = config.parent / "workflows" / "portrait.json"
    taken.parent.mkdir()
    taken.write_text("{}", encoding="utf-8")
    assert "name_taken" in added(run, config).stderr
    assert taken.read_text("utf-8") == "{}"
    assert config.read_text("utf-8") == SMALL


@pytest.mark.parametrize(
    "content",
    [
        'workflows = {a = {file = "sample:empty-image"}}\n',
        "workflows = 3\n",
        "not toml",
        '[workflows.x]\nfile = "sample:x"\n[[workflows.y]]',
    ],
)
def test_a_file_that_cannot_be_extended_stays_as_it_is(run: Any, config: Path, content: str) -> None:
    config.write_text(content, encoding="utf-8")
    result = added(run, config)
    assert (result.exit_code, "config_invalid" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config, content)


def test_mistakes_that_were_there_before_do_not_matter(run: Any, config: Path) -> None:
    config.write_text("[door]\nport = -5\n", encoding="utf-8")
    assert added(run, config).exit_code == base.DONE


def test_a_section_that_the_daemon_would_not_take_is_not_written(
    run: Any, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyledger.cli.workflow_section.suggested_inputs", lambda *_: {"prompt": "6.none"})
    monkeypatch.setattr("comfyledger.cli.workflow_section._section", lambda *_: '[workflows.portrait]\nfile = "x"\n')
    result = added(run, config)
    assert (result.exit_code, "config_invalid" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config)


def test_a_disk_that_fails_leaves_everything_as_it_was(run: Any, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = durable.write_whole, []

    def write(path: Path, *rest: Any) -> None:
        calls.append(path)
        if path == config:
            raise OSError(28, "No space left on device", str(path))
        whole(path, *rest)

    monkeypatch.setattr(durable, "write_whole", write)
    result = added(run, config)
    assert (result.exit_code, "No space left" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config)
    assert len(calls) == 3


def test_a_file_that_changes_meanwhile_is_not_overwritten(
    run: Any, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = durable.write_whole

    def write(path: Path, *rest: Any) -> None:
        whole(path, *rest)
        config.write_text("# edited", encoding="utf-8")

    monkeypatch.setattr(durable, "write_whole", write)
    assert added(run, config).exit_code == base.REFUSED
    assert is_untouched(config, "# edited")


def test_what_a_call_that_died_left_is_used(run: Any, config: Path) -> None:
    added(run, config)
    config.write_text(SMALL, encoding="utf-8")
    assert added(run, config).exit_code == base.DONE


def test_a_workflow_that_would_be_refused_is_not_added(run: Any, config: Path) -> None:
    result = added(run, config, graph={"1": node("EmptyImage", width=64)})
    assert (result.exit_code, "workflow_no_output" in result.stderr) == (base.REFUSED, True)
    assert is_untouched(config)


def test_without_a_configuration_none_is_made(run: Any, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(json.dumps(diffusion()), encoding="utf-8")
    assert run("workflow", "add", "x", str(tmp_path / "g.json")).exit_code == base.REFUSED
    missing = run("workflow", "add", "x", str(tmp_path / "g.json"), "--config", str(tmp_path / "none.toml"))
    assert missing.exit_code == base.REFUSED
    assert os.listdir(tmp_path) == ["g.json"]
