"""`webhook`: what each command asks for and says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.cli.commands import webhook as commands
from comfyledger.cli.main import cli
from comfyledger.errors import Refused

URL = "https://shop.example/hooks/images"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KINDS = ["image_uploaded", "batch_settled"]
WORKS = wire.WebhookInfo("shop", URL, KINDS, "added", "working", 14, delivered_ms=1_795_377_407_458)
FAILS = replace(
    WORKS,
    name="app",
    state="failing",
    behind=3,
    behind_s=3700.0,
    failing_ms=1_795_377_400_000,
    code="http_503",
    text="The endpoint answered 503.",
)
ASIDE = replace(
    WORKS,
    owed=22,
    owed_first=[wire.OwedDelivery(9, "b1", 2, 1, "http_422"), wire.OwedDelivery(11, "b1", 0, 0, "")],
    delivered_ms=0,
)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.time, "time", lambda: 1_795_377_500.0)


def test_one_is_added_and_its_secret_stands_alone_in_a_line(door: Any, run: Any) -> None:
    door.answers["add_webhook"] = wire.AddedWebhook("shop", URL, KINDS, SECRET)
    said = run("webhook", "add", "shop", URL, "--kinds", "image_uploaded, batch_settled", "--kinds", "image_parked")
    assert said.stdout.splitlines() == [
        f"shop delivers image_uploaded, batch_settled to {URL}.",
        "Its secret, for the receiver:",
        SECRET,
        "`comfyledger webhook test shop` sends a first request.",
    ]
    assert door.requests("add_webhook") == [{"name": "shop", "url": URL, "kinds": [*KINDS, "image_parked"]}]


def test_one_that_is_added_again_is_said_to_be_there(door: Any, run: Any) -> None:
    door.answers["add_webhook"] = wire.AddedWebhook("shop", URL, KINDS, SECRET, changed=False)
    assert run("webhook", "add", "shop", URL).stdout.startswith("shop delivers already image_uploaded")
    assert json.loads(run("webhook", "add", "shop", URL, "--json").stdout)["secret"] == SECRET
    assert door.requests("add_webhook")[0] == {"name": "shop", "url": URL}


def test_the_list_says_what_is_wrong_and_what_helps(door: Any, run: Any) -> None:
    states = ("paused", "gone", "dead", "not_allowed")
    stopped = [replace(WORKS, name=f"w-{state}", state=state) for state in states]
    door.answers["list_webhooks"] = wire.Webhooks([FAILS, *stopped, WORKS])
    said = run("webhook", "list").stdout
    assert [line.split()[:4] for line in said.splitlines()[:2]] == [
        ["WEBHOOK", "STATE", "WAITING", "ASIDE"],
        ["app", "failing", "1", "h"],
    ]
    assert "app: The endpoint answered 503. It has been so since 20" in said
    for name in ("w-paused", "w-gone", "w-dead"):
        assert f"`comfyledger webhook resume {name}` ends that." in said
    assert "webhooks_allowed does not describe" in said
    assert "resume w-not_allowed" not in said
    assert "shop:" not in said


def test_what_is_put_aside_is_shown_with_when_it_is_tried_again(door: Any, run: Any) -> None:
    later = replace(ASIDE.owed_first[0], next_ms=1_795_377_590_000)
    door.answers["list_webhooks"] = wire.Webhooks([replace(ASIDE, owed_first=[later, ASIDE.owed_first[1]])])
    assert "22 events put aside, the first at position 9 (http_422)" in run("webhook", "list").stdout
    said = run("webhook", "list", "shop").stdout
    assert [line.split()[-1] for line in said.splitlines() if line.endswith("b1")] == ["b1", "b1"]
    assert "in 1 min 30 s" in said
    assert "after the one before" in said
    assert "and 20 more" in said
    assert "never" in said


def test_one_in_detail_and_json_are_what_the_daemon_said(door: Any, run: Any) -> None:
    door.answers["list_webhooks"] = wire.Webhooks([FAILS, WORKS])
    assert "3 behind the log" in run("webhook", "list", "app").stdout
    assert [one["name"] for one in json.loads(run("webhook", "list", "--json").stdout)["webhooks"]] == ["app", "shop"]
    assert json.loads(run("webhook", "list", "shop", "--json").stdout)["url"] == URL
    unknown = run("webhook", "list", "shap")
    assert (unknown.exit_code, "Known: app, shop." in unknown.stderr) == (1, True)


def test_none_is_said_with_how_to_add_one(door: Any, run: Any) -> None:
    door.answers["list_webhooks"] = wire.Webhooks([])
    assert run("webhook", "list").stdout.startswith("There is no webhook. See `comfyledger webhook add --help`")


def test_a_test_that_is_not_taken_ends_with_one(door: Any, run: Any) -> None:
    door.answers["test_webhook"] = wire.WebhookTested(taken=True, took_s=0.05)
    assert run("webhook", "test", "shop").stdout == "shop took it within 0.05 s.\n"
    door.answers["test_webhook"] = wire.WebhookTested(False, 5.0, "timeout", "The endpoint did not answer within 10 s.")
    failed = run("webhook", "test", "shop")
    assert (failed.exit_code, failed.stderr) == (1, "timeout: The endpoint did not answer within 10 s.\n")
    as_json = run("webhook", "test", "shop", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["code"]) == (1, "timeout")


@pytest.mark.parametrize(
    ("since", "asked"),
    [
        ("1200", {"since_position": 1200}),
        ("0", {"since_position": 0}),
        ("2026-11-22T03:00+00:00", {"since_ms": 1_795_316_400_000}),
    ],
)
def test_a_replay_is_counted_first(door: Any, run: Any, since: str, asked: dict[str, int]) -> None:
    door.answers["replay_webhook"] = wire.WebhookReplayed(1199, 36)
    said = run("webhook", "replay", "shop", "--since", since, "--yes").stdout
    assert said.startswith("On the way to shop again: 36 events from position 1200 on.")
    assert door.requests("replay_webhook") == [
        {"name": "shop", **asked, "dry_run": True},
        {"name": "shop", **asked},
    ]


def test_a_replay_changes_nothing_without_a_yes(door: Any, run: Any, tmp_path: Any) -> None:
    door.answers["replay_webhook"] = wire.WebhookReplayed(1199, 1, dry_run=True)
    said = run("webhook", "replay", "shop", "--since", "1200", "--dry-run").stdout
    assert said == "Would be delivered again to shop: 1 event from position 1200 on.\n"
    words = ["--state-dir", str(tmp_path), "webhook", "replay", "shop", "--since", "1200"]
    refused = CliRunner().invoke(cli, words, input="n\n")
    assert (refused.exit_code, "1 event from position 1200 on. Do it?" in refused.stderr) == (1, True)
    assert all(one["dry_run"] for one in door.requests("replay_webhook"))


def test_since_is_a_position_or_a_time(run: Any, door: Any) -> None:
    said = run("webhook", "replay", "shop", "--since", "yesterday")
    assert (said.exit_code, "neither a position nor a time" in said.stderr) == (2, True)
    assert door.requests("replay_webhook") == []


def test_a_pause_names_what_undoes_it(door: Any, run: Any) -> None:
    door.answers |= {"pause": wire.ChangedCount(0), "resume": wire.ChangedCount(0)}
    door.answers["list_webhooks"] = wire.Webhooks([WORKS])
    assert "`comfyledger webhook resume shop`" in run("webhook", "pause", "shop").stdout
    assert run("webhook", "resume", "shop").stdout == "shop delivers again, from where it was.\n"
    assert door.requests("pause") == door.requests("resume") == [{"scope": "webhook:shop"}]


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_one_that_is_not_there_is_neither_paused_nor_resumed(door: Any, run: Any, command: str) -> None:
    door.answers["list_webhooks"] = wire.Webhooks([WORKS])
    said = run("webhook", command, "shap")
    assert (said.exit_code, said.stderr) == (1, "unknown_webhook: There is no webhook 'shap'.\n  Known: shop.\n")
    assert door.requests(command) == []


def test_the_table_fits_into_a_terminal(door: Any, run: Any) -> None:
    door.answers["list_webhooks"] = wire.Webhooks([replace(FAILS, owed=22), replace(WORKS, state="not_allowed")])
    table = run("webhook", "list").stdout.splitlines()[:3]
    assert max(map(len, table)) <= 80
    assert table[2].split("  ")[-1] == "shop.example"


def test_a_removal_asks_if_something_waits_and_says_how_to_undo_it(door: Any, run: Any, tmp_path: Any) -> None:
    door.answers |= {"list_webhooks": wire.Webhooks([ASIDE, FAILS]), "remove_webhook": wire.RemovedWebhook("shop")}
    words = ["--state-dir", str(tmp_path), "webhook", "remove", "app"]
    assert CliRunner().invoke(cli, words, input="n\n").exit_code == 1
    assert door.requests("remove_webhook") == []
    said = run("webhook", "remove", "shop", "--yes").stdout.splitlines()
    assert said == [
        "shop is removed.",
        "To undo that, with a new secret:",
        f"  comfyledger webhook add shop {URL} --kinds image_uploaded,batch_settled",
        "  comfyledger webhook replay shop --since 9",
    ]


def test_what_nobody_added_is_not_removed(door: Any, run: Any) -> None:
    def answer(_: dict[str, Any]) -> Any:
        raise Refused("unknown_webhook", "There is no webhook 'x' that was added.", hint="See the list.")

    door.answers |= {"list_webhooks": wire.Webhooks([]), "remove_webhook": answer}
    said = run("webhook", "remove", "x")
    assert (said.exit_code, said.stderr.startswith("unknown_webhook: There is no webhook 'x'")) == (1, True)


def test_a_batch_names_its_webhook(door: Any, run: Any) -> None:
    door.answers["submit_batch"] = wire.BatchAccepted("b", 1, 1, [], False)
    run("submit", "Areg", "Opal Fever", "--webhook", f"{URL}/7")
    assert door.requests("submit_batch")[0]["webhook"] == f"{URL}/7"


# ---- `status`


def told(door: Any, *webhooks: wire.WebhookInfo) -> None:
    door.answers["list_batches"] = wire.Batches([], more=False)
    info = wire.Info("0.1.0", 1, "l1", "e1", 9, False, 60, {}, [], [], [], [], [])
    door.answers["server_info"] = replace(info, webhooks=list(webhooks))


def test_status_shows_webhooks_and_why_one_fails(door: Any, run: Any) -> None:
    told(door, FAILS, WORKS)
    said = run("status").stdout
    assert "WEBHOOK  STATE" in said
    assert "app: The endpoint answered 503." in said
    assert json.loads(run("status", "--json").stdout)["webhooks"][0]["code"] == "http_503"
    told(door)
    assert "WEBHOOK" not in run("status").stdout


def test_status_counts_many_webhooks(door: Any, run: Any) -> None:
    told(door, *(replace(WORKS, name=f"w{n}") for n in range(8)), FAILS)
    assert "9 webhooks: 8 working, 1 failing; `comfyledger webhook list` lists them" in run("status").stdout
