"""The configuration: what is refused and how it is said, and where things lie without one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from comfyledger import settings
from comfyledger.errors import Refused
from comfyledger.settings import showing
from comfyledger.settings.showing import as_toml


def load(tmp_path: Path, text: str) -> settings.Settings:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return settings.load(path)


def refused(tmp_path: Path, text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        load(tmp_path, text)
    assert caught.value.code == "config_invalid"
    return caught.value


def test_spool_and_inputs_have_a_folder_each(tmp_path: Path) -> None:
    said = refused(tmp_path, "[spool]\npath = 'kept'\n[inputs]\npath = './kept/'").message
    assert f"the same folder: {tmp_path / 'kept'}" in said
    assert load(tmp_path, "[spool]\npath = 'kept'").spool_path == tmp_path / "kept"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[door]\nprot = 1", "port"),
        ("[limits]\nquantity_maximum = 3", "quantity_max"),
        ("[comfyui.main]\nqueue_dept = 2", "queue_depth"),
        ("defaultworkflow = 'x'", "default_workflow"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, text: str, meant: str) -> None:
    assert f"`{meant}`" in refused(tmp_path, text).hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[door]\nport = 70000", "door.port"),
        ("[door]\nport = '1'", "door.port"),
        ("[door]\nhost = '0.0.0.0'", "not loopback"),
        ("[comfyui.a]\nurl = 'nothing'", "not a URL"),
        ("[comfyui.a]\n[comfyui.b]", "[comfyui.a] and [comfyui.b] have the same address"),
        ("[comfyui.'a b']", "comfyui"),
        ("[stores.x]\nroot = '/x'", "no `kind`"),
        ("default_workflow = 'nope'", "nope"),
        ("[naming]\nfile = '{username}{number}'", "{number}"),
        ("[naming]\nfolder = 'all/{number}'", "{number}"),
        ("source = 'x'", "source"),
        ("not toml", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text).message


FLEET = "[ledger]\nshared = 'env:LOG'\n[box]\nname = 'north'\n"


@pytest.mark.parametrize(
    ("stores", "path", "hint"),
    [
        ("", "stores.folder.shared", "write shared = true into [stores.folder]"),
        ("[stores.disk]\nkind = 'folder'\nroot = '/x'", "stores.disk.shared", "shared = true into [stores.disk]"),
        ("[stores.disk]\nkind = 'folder'\nshared = false", "stores.disk.shared", "mounted it at the same path"),
        ("[stores.disk]\nkind = 'folder'\nshared = 1", "stores.disk.shared", "mounted it at the same path"),
        (
            "[stores.b]\nkind = 's3'\nunsafe_overwrite_check = 'head'",
            "stores.b.unsafe_overwrite_check",
            "Use a server that refuses to overwrite",
        ),
        (
            "[plugins.s3]\nunsafe_overwrite_check = 'head'\n[stores.b]\nkind = 's3'",
            "stores.b.unsafe_overwrite_check",
            "leave unsafe_overwrite_check out",
        ),
    ],
)
def test_boxes_that_share_a_log_need_a_store_where_none_overwrites_another(
    tmp_path: Path, stores: str, path: str, hint: str
) -> None:
    refusal = refused(tmp_path, FLEET + stores)
    assert refusal.path == path
    assert "[ledger] shared is set, and [stores." in refusal.message
    assert hint in refusal.hint
    load(tmp_path, stores)


def test_a_folder_that_every_box_has_and_a_bucket_that_keeps_what_it_has_can_be_shared(tmp_path: Path) -> None:
    disk = "[stores.disk]\nkind = 'folder'\nroot = '/x'\nshared = true\n"
    bucket = "[stores.b]\nkind = 's3'\nbucket = 'images'\nunsafe_overwrite_check = ''\n"
    assert set(load(tmp_path, FLEET + disk + bucket).stores) == {"disk", "b"}


@pytest.mark.parametrize(
    ("url", "is_right"),
    [
        ("", True),
        ("http://north.example:8642", True),
        ("https://north.example/comfyledger", True),
        ("north.example:8642", False),
        ("http://", False),
        ("http://me:pass@north.example:8642", False),
        ("http://north.example:8642/?x=1", False),
    ],
)
def test_the_address_of_a_box_is_one_that_other_boxes_can_call(tmp_path: Path, url: str, *, is_right: bool) -> None:
    disk = "[stores.disk]\nkind = 'folder'\nroot = '/x'\nshared = true\n"
    text = f"{FLEET}url = {url!r}\n{disk}"
    if is_right:
        assert load(tmp_path, text).box.url == url
        return
    refusal = refused(tmp_path, text)
    assert refusal.path == "box.url"
    assert "me:pass" not in refusal.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        settings.load(tmp_path / "none.toml")


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        "state_dir = 'state'\n[stores.nas]\nkind = 'folder'\nroot = 'pictures'\n[workflows.mine]\nfile = 'g.json'\n"
        "[workflows.empty-image]\nfile = 'sample:empty-image'",
    )
    assert read.state_path == tmp_path / "state"
    assert read.stores["nas"]["root"] == str(tmp_path / "pictures")
    assert read.workflows["mine"].file == str(tmp_path / "g.json")
    assert read.workflows["empty-image"].file == "sample:empty-image"
    assert read.ledger_path == tmp_path / "state" / "ledger.db"


def test_without_a_configuration_everything_lies_below_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYLEDGER_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    read = settings.load(None)
    assert read.state_path == tmp_path / "comfyledger"
    assert read.stores == {"folder": {"kind": "folder", "root": str(tmp_path / "comfyledger" / "images")}}
    assert list(read.comfyui) == ["main"]


def test_the_state_folder_comes_from_command_then_file_then_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYLEDGER_STATE_DIR", str(tmp_path / "environment"))
    path = tmp_path / "config.toml"
    path.write_text("state_dir = 'file'")
    assert settings.load(path, tmp_path / "asked").state_path == tmp_path / "asked"
    assert settings.load(path).state_path == tmp_path / "file"
    path.write_text("")
    assert settings.load(path).state_path == tmp_path / "environment"


def test_options_of_a_plugin_apply_unless_its_store_has_its_own(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        "[plugins.odd]\nroot = 'all'\nsize = 3\n[stores.a]\nkind = 'odd'\n[stores.b]\nkind = 'odd'\nsize = 4\n",
    )
    root = str(tmp_path / "all")
    assert read.stores == {"a": {"kind": "odd", "root": root, "size": 3}, "b": {"kind": "odd", "root": root, "size": 4}}


def test_a_plugin_with_options_is_a_store_if_no_store_is_named(tmp_path: Path) -> None:
    assert load(tmp_path, "[plugins.odd]\nsize = 3\n").stores == {"odd": {"kind": "odd", "size": 3}}


def test_no_secret_of_a_plugin_is_in_what_is_printed(tmp_path: Path) -> None:
    secrets = "api_secret = 'hidden-1'\ncloudinary_url = 'hidden-2'\nsecret_access_key = 'hidden-4'\n"
    read = load(tmp_path, f"[plugins.odd]\n{secrets}[stores.a]\nkind = 'odd'\ntoken = 'hidden-3'\n")
    assert read.stores["a"]["api_secret"] == "hidden-1"
    assert "hidden" not in repr(read)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.1:8188/#/", "http://127.0.0.1:8188"),
        ("http://127.0.0.1:8188/?token=s3cret", "http://127.0.0.1:8188"),
        ("http://u:s3cret@box/x?y", "http://***@box/x"),
        ("http://u:s3c/ret@box", "%2F"),
        ("ws://u:s3cret@box", "http://127.0.0.1:8188"),
        ("u:s3cret@box", "http://127.0.0.1:8188"),
        ("http://box:port", "http://127.0.0.1:8188"),
    ],
)
def test_an_invalid_address_of_comfyui_is_refused_without_its_secrets(tmp_path: Path, url: str, hint: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[comfyui.main]\nurl = "{url}"')
    (mistake,) = settings.examine(path, None, {}).mistakes
    assert mistake.path == "comfyui.main.url"
    assert hint in mistake.hint
    assert "s3c" not in str(mistake)


def test_a_configuration_is_shown_without_the_secrets_of_its_urls(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("""
        [comfyui.main]
        url = "http://u:s3cret@box"
        [stores.a]
        kind = "folder"
        mirror = "https://u:s3cret@box/?key=s3cret#s3cret"
        mirrors = ["https://u:s3cret@box"]
        proxy = "u:s3cret@box:3128"
        deep = {address = "https://s3cret@box"}
    """)
    read = settings.examine(path, None, {})
    assert "s3cret" not in showing.as_toml(read)
    assert "http://***@box" in showing.as_toml(read)


# ---- shown


def test_what_is_shown_is_toml_of_the_same_values_whatever_they_are(tmp_path: Path) -> None:
    options = {"text": 'a\x7f\x01\t"\\é', "many": [1, [True, 2.5]], "far": float("inf")}
    options |= {"a b": 1, "deep": {"x.y": "z"}}
    path = tmp_path / "config.toml"
    path.write_text(r"""
        [stores.c]
        kind = "folder"
        text = "a\u007f\u0001\t\"\\é"
        many = [1, [true, 2.5]]
        far = inf
        "a b" = 1
        at = 2026-11-28T01:02:03Z
        [stores.c.deep]
        "x.y" = "z"
        [door]
        unix_mode = 0o640
    """)
    text = as_toml(settings.examine(path, None, {}))
    shown = tomllib.loads(text)["stores"]["c"]
    assert {key: shown[key] for key in options} == options
    assert shown["at"].isoformat() == "2026-11-28T01:02:03+00:00"
    assert "unix_mode = 0o640 # file" in text
    assert tomllib.loads(text)["door"]["unix_mode"] == 0o640
