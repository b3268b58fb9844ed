"""`[webhooks.NAME]` and `webhooks_allowed`: what is used, what is a mistake, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfyledger import settings
from comfyledger.errors import Refused
from comfyledger.settings.mistakes import Mistake
from comfyledger.settings.showing import as_toml
from comfyledger.startup.usable import mistakes_of
from comfyledger.workers.webhooks.target import configured
from support.receiver import SECRET

GOOD = 'url = "https://shop.example/hooks?key=hidden"\nsecret = "file:shop.secret"'


def examined(folder: Path, section: str, top: str = "") -> settings.Read:
    (folder / "config.toml").write_text(f"{top}\n[webhooks.shop]\n{section}")
    return settings.examine(folder / "config.toml", environ={})


def mistakes(folder: Path, section: str, top: str = "") -> list[Mistake]:
    return list(examined(folder, section, top).mistakes)


def test_a_webhook_has_the_default_kinds_and_the_key_of_its_secret(tmp_path: Path) -> None:
    (tmp_path / "shop.secret").write_text(f"{SECRET}\n")
    found = examined(tmp_path, GOOD)
    assert found.mistakes == ()
    (target,) = configured(found.settings.webhooks, {}).values()
    assert target.kinds == {"image_uploaded", "image_failed", "image_parked", "batch_settled"}
    assert (target.is_configured, target.only_named, len(target.key)) == (True, False, 24)


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ('secret = "env:X"', "url"),
        ('url = "shop.example"\nsecret = "env:X"', "url"),
        ('url = "ftp://shop.example"\nsecret = "env:X"', "url"),
        ('url = "https://me:pass@shop.example"\nsecret = "env:X"', "url"),
        ('url = "http://shop.example"\nsecret = "env:X"', "url"),
        ('url = "https://shop.example/?a=1"\nsecret = "env:X"\nper_batch = true', "url"),
        ('url = "https://shop.example"', "secret"),
        ('url = "https://shop.example"\nsecret = "whsec_typed"', "secret"),
        (f'{GOOD}\nkinds = ["webhook_added"]', "kinds"),
        (f'{GOOD}\nkinds = ["nothing"]', "kinds"),
        (f"{GOOD}\nurls = 1", "urls"),
    ],
)
def test_what_could_not_be_used_is_a_mistake_with_its_place_and_without_its_secret(
    tmp_path: Path, section: str, path: str
) -> None:
    (found,) = mistakes(tmp_path, section)
    assert found.path == f"webhooks.shop.{path}"
    assert found.hint
    assert not {"pass", "typed"} & set(f"{found.message} {found.hint}".replace("@", " ").replace(":", " ").split())


def test_http_is_used_only_where_the_operator_says_so(tmp_path: Path) -> None:
    assert mistakes(tmp_path, 'url = "http://127.0.0.1:1/hook"\nhttp = true\nsecret = "env:X"') == []


def test_what_may_be_added_must_describe_addresses(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, GOOD, 'webhooks_allowed = ["https://*.app.example/hooks", "app.example"]')
    assert found.path == "webhooks_allowed"


def test_a_name_has_no_dot(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[webhooks."a.b"]\n{GOOD}')
    assert [one.path for one in settings.examine(tmp_path / "config.toml", environ={}).mistakes] == ["webhooks.a.b"]


@pytest.mark.parametrize("text", ["whsec_short", "c2VjcmV0", "whsec_" + "A" * 200])
def test_a_secret_that_is_none_stops_the_start_and_is_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.secret").write_text(text)
    with pytest.raises(Refused) as refused:
        configured(examined(tmp_path, GOOD).settings.webhooks, {})
    assert refused.value.code == "config_invalid"
    assert text not in str(refused.value)


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("whsec_short", "cannot be used")])
def test_a_check_of_the_configuration_finds_a_secret_that_cannot_be_used(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "shop.secret").write_text(text)
    found = mistakes_of(examined(tmp_path, GOOD, f'state_dir = "{tmp_path}/state"').settings, {})
    assert [one.path for one in found] == ["webhooks.shop.secret"]
    assert said in found[0].message


def test_neither_the_secret_nor_the_query_of_an_address_is_shown(tmp_path: Path) -> None:
    (tmp_path / "shop.secret").write_text(SECRET)
    found = examined(tmp_path, GOOD)
    (target,) = configured(found.settings.webhooks, {}).values()
    for shown in (as_toml(found), repr(target), repr(found.settings.webhooks)):
        assert SECRET not in shown
    assert "hidden" not in as_toml(found) + repr(target)
