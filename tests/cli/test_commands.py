"""What the commands ask the daemon for, what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli import base
from comfyledger.cli.main import cli
from comfyledger.comfyui.graph import checks
from comfyledger.errors import NodeMistake
from support.waiting import DEADLINE_S

BATCH = "01JD0000000000000000ABCDEF"
OTHER = "01JD0000000000000000ABCXYZ"
ACCEPTED = wire.BatchAccepted(
    BATCH, "e1", 1, 1, [1], ["n_1"], ["f/n_1"], [wire.ImageGiven(1, 1, "n_1", "f/n_1")], found=["output: node 9"]
)
INFO = wire.Info(
    "0.1.0",
    1,
    "l1",
    "e1",
    9,
    True,
    3700,
    {"images": 2},
    [wire.LaneInfo("backend/main", False, "not_reached", "refused \x1b[2J"), wire.LaneInfo("store/folder", True)],
    [wire.WaitingInfo("a/b", "asleep", 2, 0)],
    [wire.BackendInfo("main", "http://127.0.0.1:8188", False)],
    [wire.StoreInfo("folder", "folder", "folder:/x", "full")],
    ["empty-image"],
    "The spool's disk has 1.0 MiB free.",
)

# ---- submit


def test_submit_sends_what_was_typed(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = ACCEPTED
    words = ("--premade", "-n", "3", "--seed", "7", "--priority", "high", "--tag", "a", "--metadata", '{"k": [1]}')
    result = run("submit", "Areg", "Opal Fever", *words, "--request-id", "r1")
    assert result.exit_code == 0
    (sent,) = door.requests("submit_batch")
    assert sent == {
        "request_id": "r1",
        "username": "Areg",
        "character": "Opal Fever",
        "premade": True,
        "quantity": 3,
        "seed": 7,
        "priority": "high",
        "tags": ["a"],
        "metadata": {"k": [1]},
    }


def test_submit_asks_for_one_image_by_default_and_prints_the_request_id(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = ACCEPTED
    result = run("submit", "Areg", "Opal Fever", "--json")
    (sent,) = door.requests("submit_batch")
    assert sent["quantity"] == 1
    assert json.loads(result.stdout)["request_id"] == sent["request_id"]
    assert sent["request_id"] in result.stderr


@pytest.mark.parametrize(("code", "is_named"), [("name_unusable", False), ("busy", False), ("internal", True)])
def test_a_request_id_is_shown_unless_a_refusal_made_it_useless(
    door: Any, run: Any, refuse: Any, code: str, is_named: bool
) -> None:
    door.answers["submit_batch"] = refuse(code)
    result = run("submit", "Areg", "Opal Fever")
    (sent,) = door.requests("submit_batch")
    assert (result.exit_code, sent["request_id"] in result.stderr) == (base.REFUSED, is_named)


def test_inputs_are_json_scalars_or_text_or_files(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["submit_batch"] = ACCEPTED
    (tmp_path / "p.txt").write_text("long text\n")
    typed = ["n=1", "f=1.5", "t=true", "z=null", 'q="7"', "w=two words", "e=", "l=[1]", f"p=@{tmp_path}/p.txt", "x=NaN"]
    run("submit", "a", "b", *(word for one in typed for word in ("--input", one)))
    assert door.requests("submit_batch")[0]["inputs"] == {
        "n": 1,
        "f": 1.5,
        "t": True,
        "z": None,
        "q": "7",
        "w": "two words",
        "e": "",
        "l": "[1]",
        "p": "long text",
        "x": "NaN",
    }


def test_a_sweep_keeps_its_order_and_a_repeated_name_has_more_values(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = ACCEPTED
    typed = ["z=4,7.5", "a=b,c d", 'p=["x, y"]', "z=null", "a=e"]
    run("submit", "a", "b", *(word for one in typed for word in ("--each", one)))
    sent = door.requests("submit_batch")[0]["inputs_each"]
    assert list(sent.items()) == [("z", [4, 7.5, None]), ("a", ["b", "c d", "e"]), ("p", ["x, y"])]


def test_images_and_graphs_come_from_files(door: Any, run: Any, tmp_path: Path) -> None:
    door.answers["submit_batch"] = ACCEPTED
    (tmp_path / "i.json").write_text('[{"inputs": {"color": 1}, "seed": 2}]')
    (tmp_path / "g.json").write_text('{"1": {"class_type": "X"}}')
    run("submit", "a", "b", "--images", str(tmp_path / "i.json"), "--workflow", str(tmp_path / "g.json"))
    (sent,) = door.requests("submit_batch")
    assert sent["images"] == [{"inputs": {"color": 1}, "seed": 2}]
    assert sent["workflow"] == {"1": {"class_type": "X"}}
    assert "quantity" not in sent


@pytest.mark.parametrize(
    "words",
    [
        ("--input", "color"),
        ("--input", "p=@/no/such/file"),
        ("--each", "color"),
        ("--each", "color=[1"),
        ("--metadata", "[1]"),
        ("--metadata", "{"),
        ("--images", "/no/such/file"),
        ("--workflow", "/no/such.json"),
        ("--priority", "highest"),
    ],
)
def test_what_cannot_be_understood_ends_with_2_and_asks_nobody(door: Any, run: Any, words: tuple[str, ...]) -> None:
    assert run("submit", "a", "b", *words).exit_code == base.USAGE
    assert not door.asked


def test_a_dry_run_says_what_was_found(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = wire.BatchAccepted("", "e1", 1, 4, dry_run=True, found=["seed: 3.seed"])
    result = run("submit", "a", "b", "--dry-run", "--watch")
    assert result.exit_code == 0
    assert "seed: 3.seed" in result.stdout
    assert "batch of 4; no number" in result.stdout


def test_submit_and_watch_is_one_command(door: Any, run: Any, batch: Any, story: Any) -> None:
    door.answers |= {"submit_batch": ACCEPTED, "get_batch": batch()}
    story()
    result = run("submit", "a", "b", "--watch", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0]["batch_id"] == BATCH
    assert [line["type"] for line in lines[1:]] == ["event"] * 4 + ["batch"]


# ---- refusals and exit codes


def test_a_refusal_ends_with_1_and_says_code_sentence_and_hint(door: Any, run: Any, refuse: Any) -> None:
    door.answers["submit_batch"] = refuse("unknown_workflow", "There is no \x1b[31m.")
    result = run("submit", "a", "b")
    assert result.exit_code == base.REFUSED
    assert result.stdout == ""
    assert r"unknown_workflow at $.data.x: There is no \x1b[31m." in result.stderr
    assert "Do that." in result.stderr


MISTAKES = tuple(
    NodeMistake(f"{n}", "KSampler", "steps", "value_smaller_than_min", "0", (), f"Node {n} (KSampler): steps is 0.")
    for n in (3, 4)
)


@pytest.mark.parametrize("count", [1, 2])
def test_each_mistake_of_a_workflow_has_a_line(door: Any, run: Any, count: int) -> None:
    def refuse(*_: Any) -> Any:
        raise checks.refusal(MISTAKES[:count])

    door.answers["submit_batch"] = refuse
    done = run("submit", "a", "b")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("workflow_failed_validation at 3.steps: ComfyUI would refuse the workflow")
    assert sum("Node 3 (KSampler)" in line for line in lines) == 1
    assert ("  Node 4 (KSampler): steps is 0." in lines) == (count == 2)
    told = json.loads(run("submit", "a", "b", "--json").stdout)
    assert [one["node"] for one in told["error"]["mistakes"]] == ["3", "4"][:count]


def test_with_json_the_refusal_is_json_on_standard_output(door: Any, run: Any, refuse: Any) -> None:
    door.answers["get_batch"] = refuse("unknown_batch")
    result = run("watch", BATCH, "--json")
    assert result.exit_code == base.REFUSED
    assert json.loads(result.stdout) == {
        "error": {"code": "unknown_batch", "message": "No.", "path": "$.data.x", "hint": "Do that."}
    }


def test_without_a_daemon_commands_end_with_4(run: Any) -> None:
    result = run("--url", "http://127.0.0.1:1", "status")
    assert result.exit_code == base.NO_DAEMON
    assert "comfyledger run" in result.stderr


def test_a_wrong_token_is_a_refusal(door: Any, run: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("guess")
    result = run("status", "--json")
    assert result.exit_code == base.REFUSED
    assert json.loads(result.stdout)["error"]["code"] == "unauthorized"


def test_ctrl_c_ends_with_130(door: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", lambda work: (work.close(), interrupted()))
    assert run("status").exit_code == base.INTERRUPTED


def test_every_exit_code_is_in_the_help(run: Any) -> None:
    help_text = run("--help").stdout
    words = " ".join(help_text.split())
    for code, meaning in base.EXIT_CODES.items():
        assert f" {code} {meaning}" in words
    assert max(map(len, help_text.splitlines())) <= 80


def test_every_command_that_reads_or_steers_speaks_json() -> None:
    reading = {"submit", "watch", "status", "batches", "images", "cancel", "retry", "priority", "pause", "resume"}
    reading |= {"log", "explain"}
    for name in reading:
        assert "as_json" in {parameter.name for parameter in cli.commands[name].params}


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_package_is_a_sentence_that_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from comfyledger.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "schema"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'comfyledger[daemon]'" in result.stderr


# ---- batch ids


@pytest.mark.parametrize("given", ["last", "ABCDEF", "abcdef", "000abcdef"])
def test_a_batch_is_found_by_part_of_its_id(door: Any, run: Any, batch: Any, given: str) -> None:
    door.answers |= {"cancel": wire.ChangedCount(1), "list_batches": wire.Batches([batch(), batch(OTHER)], False)}
    if given == "last":
        door.answers["list_batches"] = wire.Batches([batch()], True)
    assert run("cancel", given).exit_code == 0
    assert door.requests("cancel") == [{"batch_id": BATCH}]


@pytest.mark.parametrize(
    ("given", "said"), [("01JD00", OTHER), ("ABCDE", "6 characters"), ("QQQQQQ", "comfyledger batches")]
)
def test_a_part_that_fits_not_exactly_one_is_refused(door: Any, run: Any, batch: Any, given: str, said: str) -> None:
    door.answers["list_batches"] = wire.Batches([batch(), batch(OTHER)], False)
    result = run("cancel", given)
    assert result.exit_code == base.REFUSED
    assert said in result.stderr
    assert not door.requests("cancel")


def test_a_part_is_looked_for_on_every_page(door: Any, run: Any, batch: Any) -> None:
    pages = {None: wire.Batches([batch(OTHER)], True), OTHER: wire.Batches([batch()], False)}
    door.answers |= {"cancel": wire.ChangedCount(1), "list_batches": lambda data: pages[data.get("before")]}
    assert run("cancel", "ABCDEF").exit_code == 0


def test_a_whole_id_is_not_looked_up(door: Any, run: Any) -> None:
    door.answers["cancel"] = wire.ChangedCount(1)
    assert run("cancel", BATCH).exit_code == 0


# ---- reading


def test_names_cannot_steer_the_terminal_or_the_markup(door: Any, run: Any, batch: Any) -> None:
    name = "\x1b]0;owned\x07[bold]\u202egnp\r\n\x9b2J👩‍🎨"
    door.answers["list_batches"] = wire.Batches([batch(username=name)], False)
    result = run("batches")
    assert r"\x1b]0;owned\x07[bold]\u202egnp\r\n\x9b2J👩‍🎨 · Opal Fever" in result.stdout
    assert len(result.stdout.splitlines()) == 2
    as_json = run("batches", "--json").stdout
    assert as_json.isascii()
    assert json.loads(as_json)["batches"][0]["username"] == name


def test_batches_fit_on_80_columns_and_say_how_to_go_on(door: Any, run: Any, batch: Any) -> None:
    door.answers["list_batches"] = wire.Batches([batch()], True)
    result = run("batches", "--user", "Areg", "--open", "--limit", "1")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert f"--before {BATCH}" in result.stdout
    assert door.requests("list_batches") == [{"username": "Areg", "open_only": True, "limit": 1}]


def test_images_say_where_they_are_or_why_not(door: Any, run: Any) -> None:
    url = "https://example.org/" + "x" * 200
    there = wire.ImageInfo(
        *(f"{BATCH}/1", BATCH, 1, 1, "n_1", "f/n_1", "stored", 1), uploads=[wire.UploadInfo("s", "stored", 1, url)]
    )
    lost = wire.ImageInfo(
        f"{BATCH}/2", BATCH, 2, 2, "n_2", "f/n_2", "failed", 2, code="out_of_memory", text="CUDA\x1bc"
    )
    door.answers["list_images"] = wire.Images([there, lost], False)
    result = run("images", "--batch", BATCH)
    first, second = result.stdout.splitlines()[1:]
    assert first.endswith(url)
    assert second.endswith(r"out_of_memory: CUDA\x1bc")
    assert json.loads(run("images", "--json").stdout)["images"][1]["text"] == "CUDA\x1bc"


def test_status_says_what_stands_still_and_why(door: Any, run: Any, batch: Any) -> None:
    door.answers |= {"server_info": INFO, "list_batches": wire.Batches([batch(status="open", stored=1)], False)}
    said = run("status").stdout
    for words in (
        "up for 1 h 1 min",
        r"not_reached: refused \x1b[2J",
        "paused by a person",
        "asleep",
        "1.0 MiB free",
        "1/2",
    ):
        assert words in said
    assert "not reached" in said
    found = json.loads(run("status", "--json").stdout)
    assert found["lanes"][0]["code"] == "not_reached"
    assert found["open_batches"][0]["batch_id"] == BATCH


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stores": [wire.StoreInfo("cloud", "cloudinary", "", "no such file")]}, "store/cloud"),
        ({"backends": [wire.BackendInfo("main", "http://x", connected=False)]}, "backend/main"),
        ({}, "lanes: all work"),
    ],
)
def test_status_says_that_all_lanes_work_only_where_they_do(
    door: Any, run: Any, changed: dict[str, Any], said: str
) -> None:
    well = {"lanes": [], "stores": [wire.StoreInfo("f", "folder", "folder:/i")]}
    well |= {"backends": [wire.BackendInfo("main", "http://x", connected=True)]}
    door.answers |= {"server_info": replace(INFO, **(well | changed)), "list_batches": wire.Batches([], False)}
    text = run("status").stdout
    assert said in text
    assert ("all work" in text) == (not changed)


def test_status_says_which_promise_does_not_hold_for_a_store(door: Any, run: Any) -> None:
    caveat = "Promise 8 does not hold for this store."
    stores = [wire.StoreInfo("bucket", "s3", "s3:b", caveat=caveat), wire.StoreInfo("f", "folder", "folder:/i")]
    door.answers |= {"server_info": replace(INFO, stores=stores), "list_batches": wire.Batches([], False)}
    assert f"  bucket: {caveat}\n" in run("status").stdout
    assert [one.get("caveat") for one in json.loads(run("status", "--json").stdout)["stores"]] == [caveat, None]


def test_status_says_what_inputs_take_and_where_they_are_still_to_be_removed(door: Any, run: Any) -> None:
    held = wire.InputsHeld(2, 3 * 2**20, 2**30, {"": 1, "main": 2, "old": 1})
    backends = [wire.BackendInfo("main", "http://x", connected=True)]
    door.answers |= {
        "server_info": replace(INFO, inputs=held, backends=backends),
        "list_batches": wire.Batches([], False),
    }
    said = run("status").stdout
    for words in (
        "inputs: 2 files, 3.0 of 1,024 MiB",
        "still to be removed here: 1 file",
        "at the ComfyUI main: 2 files",
        "at the ComfyUI old, which is not configured any more: 1 file",
    ):
        assert words in said
    door.answers["server_info"] = replace(INFO, inputs=wire.InputsHeld(0, 0, 2**30))
    assert "inputs" not in run("status").stdout


GIB = 2**30


def test_status_says_how_much_is_free_on_each_disk_and_what_is_on_it(door: Any, run: Any) -> None:
    disks = [
        wire.DiskInfo("ledger", "", "/state", 12 * GIB, 100 * GIB, GIB // 4, 1),
        wire.DiskInfo("spool", "", "/state/spool", 12 * GIB, 100 * GIB, GIB, 1),
        wire.DiskInfo("inputs", "", "/inputs", None, None, GIB),
        wire.DiskInfo("store", "folder", "/srv", 3 * GIB, 4 * GIB, 0, 2),
    ]
    door.answers |= {"server_info": replace(INFO, disks=disks), "list_batches": wire.Batches([], False)}
    lines = [line.split() for line in run("status").stdout.splitlines()]
    assert ["ledger,", "spool", "12.0", "GiB", "100.0", "GiB", "1.0", "GiB"] in lines
    assert ["inputs", "cannot", "be", "read", "?", "1.0", "GiB"] in lines
    assert ["store", "folder", "3.0", "GiB", "4.0", "GiB", "-"] in lines
    assert json.loads(run("status", "--json").stdout)["disks"][1]["free_min_bytes"] == GIB


def test_status_of_a_daemon_that_tells_no_disks_has_no_table_of_them(door: Any, run: Any) -> None:
    door.answers |= {"server_info": INFO, "list_batches": wire.Batches([], False)}
    assert "NOTHING NEW BELOW" not in run("status").stdout


# ---- steering


@pytest.mark.parametrize(
    ("words", "kind", "sent"),
    [
        (("cancel", BATCH, "--image", "2", "--image", "3"), "cancel", {"batch_id": BATCH, "images": [2, 3]}),
        (("retry", BATCH), "retry", {"batch_id": BATCH}),
        (("priority", BATCH, "low"), "set_priority", {"batch_id": BATCH, "priority": "low"}),
        (("pause",), "pause", {}),
        (("pause", "user:Areg"), "pause", {"scope": "user:Areg"}),
        (("resume", "batch:ABCDEF"), "resume", {"scope": f"batch:{BATCH}"}),
    ],
)
def test_steering_sends_one_request_and_prints_what_changed(
    door: Any, run: Any, batch: Any, words: tuple[str, ...], kind: str, sent: dict[str, Any]
) -> None:
    door.answers |= {kind: wire.ChangedCount(2, {"stored": 1}), "list_batches": wire.Batches([batch()], False)}
    result = run(*words, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"images": 2, "left": {"stored": 1}}
    assert door.requests(kind) == [sent]
    assert run(*words).stdout.count("\n") == 1


# ---- watch


def test_watch_shows_each_image_with_its_url_in_plain_lines(door: Any, run: Any, batch: Any, story: Any) -> None:
    door.answers["get_batch"] = batch()
    story()
    result = run("watch", BATCH)
    assert result.exit_code == 0
    assert "00ABCDEF  1/2  stored  Areg_opal-fever_image_1  file:///i/1.png" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("lost", [{"parked": 1}, {"failed": 1}, {"cancelled": 1}])
def test_watch_ends_with_3_if_anything_is_not_stored(
    door: Any, run: Any, batch: Any, story: Any, lost: dict[str, int]
) -> None:
    door.answers["get_batch"] = batch(stored=1, **lost)
    story()
    assert run("watch", BATCH).exit_code == base.NOT_STORED


def test_watch_without_a_batch_takes_all_that_are_open(door: Any, run: Any, batch: Any, story: Any) -> None:
    door.answers |= {"list_batches": wire.Batches([batch()], False), "get_batch": batch()}
    story()
    assert run("watch").exit_code == 0
    assert door.requests("list_batches")[0]["open_only"] is True
    door.answers |= {"list_batches": wire.Batches([], False), "server_info": INFO}
    assert run("watch").exit_code == 0


# ---- without a daemon


def test_schema_prints_every_message(run: Any) -> None:
    assert set(json.loads(run("schema").stdout)["requests"]) == set(wire.REQUESTS)


def test_config_check_says_what_is_wrong(run: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(f'state_dir = "{tmp_path}"\n')
    bad.write_text("stat_dir = 1\n")
    assert json.loads(run("config", "check", "--config", str(good), "--json").stdout)["state_dir"] == str(tmp_path)
    result = run("config", "check", "--config", str(bad))
    assert result.exit_code == base.REFUSED
    assert "config_invalid" in result.stderr


def test_config_check_shows_all_mistakes_of_all_kinds_at_once(run: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(
        'stat_dir = 1\n[door]\nport = 70000\n[stores.c]\nkind = "cloudinary"\n[workflows.x]\nfile = "none.json"\n'
        'default_workflow = "y"\n'
    )
    result = run("config", "check", "--config", str(bad), "--json")
    said = json.loads(result.stdout)
    paths = ["stat_dir", "door.port", "workflows.x.default_workflow", "default_workflow", "stores.c", "workflows.x"]
    assert [one["path"] for one in said["mistakes"]] == paths
    assert all(one["hint"] for one in said["mistakes"])
    assert (said["usable"], result.exit_code) == (False, base.REFUSED)
    lines = run("config", "check", "--config", str(bad)).stderr.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1:2]] == paths
    assert lines[-1] == "config_invalid: 6 mistakes."


def test_config_show_names_the_source_of_each_value_and_masks_secrets(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    secrets = 'api_secret = "hidden"\ncloud_name = "demo"\n'
    file.write_text(f'[logging]\nlevel = "debug"\n[plugins.cloudinary]\n{secrets}[stores.c]\nkind = "cloudinary"\n')
    monkeypatch.setenv("COMFYLEDGER_DOOR__PORT", "9000")
    text = run("config", "show", "--config", str(file)).stdout
    shown = tomllib.loads(text)
    assert (shown["door"]["port"], shown["stores"]["c"]["api_secret"], "hidden" in text) == (9000, "***", False)
    said = json.loads(run("config", "show", "--config", str(file), "--json").stdout)
    sources = {one["key"]: one["source"] for one in said["values"]}
    assert sources["door.port"] == "COMFYLEDGER_DOOR__PORT"
    assert sources["door.host"] == "default"
    assert sources["state_dir"] == "command line"
    assert sources["logging.level"] == sources["stores.c.cloud_name"] == "file"


def test_config_show_shows_what_can_be_read_again(run: Any, tmp_path: Path) -> None:
    shown = tmp_path / "shown.toml"
    shown.write_text(run("config", "show").stdout)
    assert run("config", "show", "--config", str(shown), "--json").exit_code == 0
    assert run("config", "check", "--config", str(shown)).exit_code == 0


def test_config_check_asks_the_plugins_what_they_think_of_their_options(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[stores.c]\nkind = "cloudinary"\ncloud_nam = "x"\n')
    words = [sys.executable, "-m", "comfyledger", "config", "check", "--config", str(bad), "--json"]
    result = subprocess.run(words, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == base.REFUSED
    (mistake,) = json.loads(result.stdout)["mistakes"]
    assert (mistake["path"], "did you mean 'cloud_name'?" in mistake["message"]) == ("stores.c", True)
    assert "stores.c" not in mistake["message"], "the path says it"


def test_run_gives_the_settings_to_the_daemon_and_ends_as_it_does(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfyledger.app

    file = tmp_path / "c.toml"
    file.write_text(f'state_dir = "{tmp_path / "s"}"\n')
    monkeypatch.setattr(comfyledger.app, "run", lambda settings: 5 if settings.source == str(file) else 0)
    assert run("run", "--config", str(file)).exit_code == base.NO_LEDGER


def test_sim_passes_its_words_on(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfyledger.sim.__main__ as sim

    heard: list[Any] = []
    monkeypatch.setattr(sim, "main", lambda words: heard.extend(words) or 7)
    assert run("sim", "comfyui", "--port", "0", "--help").exit_code == 7
    assert heard == ["comfyui", "--port", "0", "--help"]
