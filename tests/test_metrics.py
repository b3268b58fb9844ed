"""The metrics: what commits add to them, and that document, dashboard and alerts know each and no other."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
import structlog

from comfyledger.core.events import (
    KIND_OF,
    BackendRemoved,
    BatchReopened,
    BatchRequested,
    BatchSettled,
    Event,
    ImageCancelled,
    ImageFailed,
    ImageForgotten,
    ImageKept,
    ImageLost,
    ImageParked,
    ImageRenumbered,
    ImageUploaded,
    LanePaused,
    PromptFailed,
    PromptMoved,
    PromptSubmitting,
    StoreDropped,
    stream_of,
)
from comfyledger.core.rows import BatchRow, ImageRow, PromptRow, Row, row_id
from comfyledger.core.scheduling.demand import Demanded, Need
from comfyledger.core.scheduling.effects import FollowPrompt, SubmitPrompt
from comfyledger.core.scheduling.open_work_summary import OpenWorkSummary, summary_of
from comfyledger.core.values import ImageNamed, OutputNamed, PromptFixed, StoreRef
from comfyledger.ledger.eventlog import Line, encode
from comfyledger.ledger.observers import Committed, notify_observers
from comfyledger.metrics import LAG_EVERY_S, Metrics
from comfyledger.metrics.gauges import DiskNow, FleetNow, Now
from comfyledger.wire import BackendInfo, BackendWork, WebhookInfo
from comfyledger.workers.batch_log import BatchLog
from support.documents import ROOT, rows
from support.waiting import DEADLINE_S

MONITORING = ROOT / "monitoring"
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text("utf-8")
ALERTS = (MONITORING / "comfyledger-alerts.yml").read_text("utf-8")
DASHBOARD = (MONITORING / "comfyledger-dashboard.json").read_text("utf-8")

HOOK = WebhookInfo("shop", "https://shop.example", [], "added", "dead", 7, behind=3, behind_s=61.5, owed=2)
NAMED = tuple(ImageNamed(index, index, "f", f"s_{index}", 1) for index in (1, 2, 3))
REQUESTED = BatchRequested(
    "b", "app", "r", "d", "Areg", "areg", "Opal", False, "f/s_", "w", "t", {}, NAMED,
    (PromptFixed(1, (1, 2, 3), 7, "main"),), (StoreRef("folder", "folder:/x"),),
    outputs=(OutputNamed("9", "image", "f/s_"),),
)  # fmt: skip


def line(event: Event, at_ms: int = 0) -> Line:
    return Line(1, stream_of(event), KIND_OF[type(event)], 1, at_ms, encode(event), b"")


def image(index: int, state: Any, size_bytes: int = 0) -> ImageRow:
    return ImageRow("b", index, index, "f", f"s_{index}", 1, "areg", state, size_bytes=size_bytes)


def batch(**more: Any) -> BatchRow:
    stores = (StoreRef("folder", "folder:/x"),)
    row = BatchRow("b", "app", "r", "Areg", "areg", "Opal", False, "f/s_", "w", 1, "t", {}, stores, 1, 1, 1_000)
    return msgspec.structs.replace(row, **more)


def commit(metrics: Metrics, *events: Event, rows: tuple[Row, ...] = (), messages: int = 1) -> None:
    metrics.committed([line(event) for event in events], {row_id(row): row for row in rows}, messages, 0.02)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"comfyledger_{name}", labels)


def kept(index: int, size_bytes: int, extension: str = "png") -> ImageKept:
    return ImageKept("b", 1, 1, index, f"f/s_{index}", "s", "m", size_bytes, 8, 8, extension)


def uploaded(index: int, store: str = "folder", *, replayed: bool = False) -> ImageUploaded:
    return ImageUploaded("b", index, f"f/s_{index}", store, "u", replayed)


# ---- what commits add


def test_numbers_and_images_are_counted_as_they_are_given_and_move() -> None:
    metrics = Metrics()
    commit(metrics, REQUESTED)
    commit(metrics, kept(1, 100), kept(2, 50), rows=(image(1, "kept"), image(2, "kept")))
    commit(metrics, uploaded(1), rows=(image(1, "stored", 100),))
    commit(metrics, ImageParked("b", 2, "f/s_2", "folder", "refused"), rows=(image(2, "parked", 50),))
    commit(metrics, ImageFailed("b", (3,), (1,), "poison"))
    states = ("pending", "kept", "stored", "parked", "failed", "cancelled", "forgotten")
    counts = {state: value(metrics, "images_total", state=state) for state in states}
    assert counts == {
        "pending": 3, "kept": 2, "stored": 1, "parked": 1, "failed": 1, "cancelled": 0, "forgotten": 0
    }  # fmt: skip
    assert value(metrics, "numbers_given_total") == 3
    assert value(metrics, "kept_bytes_total") == 150
    assert value(metrics, "uploaded_bytes_total", store="folder") == 100
    commit(metrics, ImageRenumbered("b", "f/s_", 1, 9, "f", "s_9", "f/s_1", "app"))
    assert value(metrics, "numbers_given_total") == 4


def test_bytes_are_counted_by_what_the_files_are() -> None:
    metrics = Metrics()
    commit(metrics, kept(1, 100), kept(2, 5_000, "mp4"), kept(3, 7, "latent"), kept(4, 30, "glb"))
    media = ("image", "video", "audio", "model", "file")
    assert [value(metrics, "kept_media_bytes_total", medium=one) for one in media] == [100, 5_000, 0, 30, 7]
    assert value(metrics, "kept_bytes_total") == 5_137


def test_an_image_is_stored_once_however_many_stores_it_has() -> None:
    metrics = Metrics()
    commit(metrics, uploaded(1, "one"), rows=(image(1, "kept", 10),))
    assert value(metrics, "images_total", state="stored") == 0
    commit(metrics, uploaded(1, "two"), uploaded(1, "three"), rows=(image(1, "stored", 10),))
    assert value(metrics, "images_total", state="stored") == 1
    assert [value(metrics, "uploads_total", store=store, outcome="stored") for store in ("one", "two")] == [1, 1]


def test_what_a_store_had_before_costs_no_bytes() -> None:
    metrics = Metrics()
    commit(metrics, uploaded(1, replayed=True), rows=(image(1, "stored", 10),))
    assert value(metrics, "uploads_total", store="folder", outcome="found") == 1
    assert value(metrics, "uploaded_bytes_total", store="folder") is None


def test_what_is_taken_up_again_is_counted_again() -> None:
    metrics = Metrics()
    commit(metrics, BatchReopened("b", "app", (1,), (1, 2), (3,)), ImageLost("b", (3,), (1,)))
    commit(metrics, ImageCancelled("b", (1, 2), (1,)), ImageForgotten("b", (3,), (1,), False, "app"))
    commit(metrics, StoreDropped("b", "folder", (1, 2), "app"), rows=(image(1, "stored"), image(2, "parked")))
    found = [value(metrics, "images_total", state=one) for one in ("pending", "kept", "cancelled", "forgotten")]
    assert found == [3, 1, 2, 1]
    assert [value(metrics, "images_total", state=one) for one in ("stored", "parked")] == [1, 0]


def test_users_lanes_are_one_lane() -> None:
    metrics = Metrics()
    commit(metrics, LanePaused("user/areg", "person", ""), LanePaused("store/folder", "trouble", "full"))
    assert value(metrics, "lane_pauses_total", lane="user", cause="person") == 1
    assert value(metrics, "lane_pauses_total", lane="store/folder", cause="trouble") == 1


def test_the_pauses_of_an_added_comfyui_go_with_it() -> None:
    metrics = Metrics()
    commit(metrics, LanePaused("backend/gpu-7", "trouble", "x"), LanePaused("backend/gpu-8", "person", ""))
    commit(metrics, BackendRemoved("gpu-7", "expired"))
    assert "gpu-7" not in metrics.page(Now()).decode()
    assert value(metrics, "lane_pauses_total", lane="backend/gpu-8", cause="person") == 1


def test_a_commit_is_measured_also_without_events() -> None:
    metrics = Metrics()
    commit(metrics, messages=7)
    assert value(metrics, "commit_duration_seconds_count") == 1
    assert value(metrics, "commit_messages_sum") == 7
    commit(metrics, messages=0)
    assert value(metrics, "commit_duration_seconds_count") == 1


def test_every_kind_of_event_is_there_from_the_start() -> None:
    metrics = Metrics()
    commit(metrics, PromptFailed("b", 1, 1, "oom", True))
    assert value(metrics, "events_total", kind="prompt_failed") == 1
    assert {value(metrics, "events_total", kind=kind) for kind in KIND_OF.values()} == {0, 1}
    assert value(metrics, "prompt_attempts_total", outcome="failed") == 1


async def test_a_loop_that_is_held_up_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfyledger.metrics.LAG_EVERY_S", LAG_EVERY_S / 100)
    metrics = Metrics()
    task = asyncio.create_task(metrics.watch_loop())
    async with asyncio.timeout(DEADLINE_S):
        while not value(metrics, "event_loop_lag_seconds_count"):
            await asyncio.sleep(0)
    task.cancel()


async def test_the_lag_of_the_event_loop_is_measured_and_never_negative() -> None:
    """A loop whose clock a test moves: late by a quarter of a second, in time, and early, as clocks round."""
    metrics = Metrics()
    lates = [0.25, 0.0, -0.001]
    seen: list[float] = []
    now = 100.0

    class Loop:
        def time(self) -> float:
            return now

    async def sleep(seconds: float) -> None:
        nonlocal now
        seen.append(value(metrics, "event_loop_lag_seconds_sum") or 0.0)
        if not lates:
            raise asyncio.CancelledError
        now += seconds + lates.pop(0)

    with patch("comfyledger.metrics.asyncio") as fake:
        fake.get_running_loop = Loop
        fake.sleep = sleep
        with pytest.raises(asyncio.CancelledError):
            await metrics.watch_loop()
    assert seen == [0.0, pytest.approx(0.25), pytest.approx(0.25), pytest.approx(0.25)]
    assert value(metrics, "event_loop_lag_seconds_count") == 3


def test_one_who_looks_on_and_dies_stops_nobody() -> None:
    seen: list[Committed] = []

    def dies(_: Committed) -> None:
        raise ValueError("no")

    committed = Committed([], {}, 1, 0.0)
    with structlog.testing.capture_logs() as logs:
        notify_observers([dies, seen.append], committed)
    assert seen == [committed]
    assert [fact["event"] for fact in logs] == ["engine.observer_died"]


# ---- how things stand


def test_the_oldest_owed_image_is_of_a_batch_that_owes_and_is_not_held() -> None:
    batches = [
        batch(batch_id="held", at_ms=1, pending=1, held="person"),
        batch(batch_id="done", at_ms=2, stored=1, settled=True),
        batch(batch_id="new", at_ms=4, pending=2),
        batch(batch_id="old", at_ms=3, kept=1),
    ]
    prompts = [PromptRow("new", 1, (1,), 7), PromptRow("new", 2, (2,), 7, "main", state="accepted")]
    prompts.append(PromptRow("new", 3, (3,), 7, "main", state="finished"))
    running = [
        FollowPrompt("new", 2, 1, "main", "p", (2,)),
        SubmitPrompt("new", 1, 1, "other"),
        SubmitPrompt("new", 2, 1, "main"),
    ]
    standing = summary_of(batches, prompts, running, ["store/x"], {"spool": "full"})
    assert standing.oldest_ms == 3
    assert standing.running == {"follow": 1, "submit": 2}
    assert (standing.at_backends, standing.fetching) == ({"main": 1, "other": 1}, {"main": 1})
    assert standing.batches == {"open": 2, "held": 1}
    assert standing.images == {"pending": 3, "kept": 1}
    assert [standing.why(lane) for lane in ("spool", "store/x", "store/y")] == ["full", "person", ""]


def test_moves_are_counted_by_reason_each_from_0() -> None:
    metrics = Metrics()
    commit(metrics, PromptMoved("b", 1, 1, "main", "away"), PromptMoved("b", 2, 1, "main", "away"))
    assert value(metrics, "prompts_moved_total", reason="away") == 2
    assert value(metrics, "prompts_moved_total", reason="person") == 0


def test_what_a_backend_has_done_and_has_left_is_shown() -> None:
    work = BackendWork(2, images=7, busy_s=12.5, model_changes=3, strays=1, unfit=2)
    page = Metrics().page(Now(backends=(BackendInfo("a", "u", connected=True, work=work),))).decode()
    found = dict(re.findall(r'^comfyledger_comfyui_(\w+)\{backend="a"\} ([0-9.]+)$', page, re.MULTILINE))
    wanted = {"busy_seconds_total": "12.5", "images_total": "7.0", "model_changes_total": "3.0"}
    wanted |= {"strays": "1.0", "unfit": "2.0"}
    assert {name: found[name] for name in wanted} == wanted


def test_each_backend_has_its_places_and_its_runs_by_outcome() -> None:
    work = BackendWork(3, 1, 1, 4, {"finished": 7, "failed": 0}, 5.0)
    over = BackendWork(1, 1, 1)
    backends = (BackendInfo("a", "u", connected=True, work=work), BackendInfo("b", "u", connected=True, work=over))
    page = Metrics().page(Now(backends=backends)).decode()
    found = dict(re.findall(r"^comfyledger_(comfyui_(?:places|prompts_total)\{.*\}) ([0-9.]+)$", page, re.MULTILINE))
    assert found == {
        'comfyui_places{backend="a",state="running"}': "1.0",
        'comfyui_places{backend="a",state="waiting"}': "1.0",
        'comfyui_places{backend="a",state="free"}': "1.0",
        'comfyui_places{backend="b",state="running"}': "1.0",
        'comfyui_places{backend="b",state="waiting"}': "1.0",
        'comfyui_places{backend="b",state="free"}': "0.0",
        'comfyui_prompts_total{backend="a",outcome="finished"}': "7.0",
        'comfyui_prompts_total{backend="a",outcome="failed"}': "0.0",
    }


def test_tries_of_webhooks_are_counted_by_a_few_outcomes_whatever_an_endpoint_answers() -> None:
    metrics = Metrics()
    codes = {"delivered": 5, "http_503": 1, "http_599": 2, "http_422": 1, "http_302": 1, "http_101": 1, "busy": 1}
    metrics.page(Now(webhooks=(HOOK,), deliveries={"shop": {**codes, "tls": 4}}))
    outcomes = ("delivered", "http_5xx", "http_4xx", "http_3xx", "internal", "tls", "timeout")
    found = [value(metrics, "webhook_deliveries_total", webhook="shop", outcome=one) for one in outcomes]
    assert found == [5, 3, 1, 1, 2, 4, 0]
    assert value(metrics, "webhook_deliveries_total", webhook="shop", outcome="http_503") is None


def test_a_webhook_that_delivers_nothing_is_shown_with_what_waits() -> None:
    metrics = Metrics()
    metrics.page(Now(webhooks=(HOOK,)))
    found = [value(metrics, f"webhook_{one}", webhook="shop") for one in ("lag_events", "lag_seconds", "put_aside")]
    assert found == [3, 61.5, 2]
    causes = {one: value(metrics, "webhook_paused", webhook="shop", cause=one) for one in ("dead", "gone", "paused")}
    assert causes == {"dead": 1, "gone": 0, "paused": 0}


def test_what_waits_is_shown_by_need_and_seconds_only_where_they_are_known() -> None:
    demand = (
        Demanded("48gb+flux", Need("", ("48gb", "flux")), 12, 2, 90.5, 2),
        Demanded("any", Need("", ()), 3, 0, None, 1),
    )
    page = Metrics().page(Now(standing=OpenWorkSummary(demand=demand))).decode()
    found = dict(re.findall(r"^comfyledger_((?:queued|backends)_\w+\{.*\}) ([0-9.]+)$", page, re.MULTILINE))
    assert found == {
        'queued_prompts{needs="48gb+flux"}': "12.0",
        'queued_prompts{needs="any"}': "3.0",
        'queued_seconds{needs="48gb+flux"}': "90.5",
        'backends_wanted{needs="48gb+flux"}': "2.0",
        'backends_wanted{needs="any"}': "1.0",
    }


# ---- the line of a batch


def settled_line(*lines: Line) -> dict[str, Any]:
    settling = BatchLog()
    done = batch(settled=True, stored=2, failed=1)
    with structlog.testing.capture_logs() as logs:
        for one in lines:
            settling(Committed([one], {row_id(done): done}, 1, 0.0))
    (fact,) = [fact for fact in logs if fact["event"] == "batch.settled"]
    assert settling._times == {}
    return dict(fact)


def test_a_batch_that_settles_is_one_line_with_counts_ids_and_times() -> None:
    sent = PromptSubmitting("b", 1, 1, "p", "main")
    end = BatchSettled("b", 2, 0, 1, 0)
    fact = settled_line(
        line(REQUESTED, 1_000), line(sent, 1_500), line(sent, 2_000), line(kept(1, 9), 4_500), line(end, 5_000)
    )
    times = {name: fact.pop(name) for name in ("took_s", "wait_s", "render_s", "store_s")}
    assert times == {"took_s": 4.0, "wait_s": 0.5, "render_s": 3.0, "store_s": 0.5}
    ids = {"batch_id": "b", "request_id": "r", "client": "app", "workflow": "w", "position": 1, "images": 3}
    counts = {"stored": 2, "parked": 0, "failed": 1, "cancelled": 0, "forgotten": 0}
    assert fact == {"event": "batch.settled", "log_level": "info", **ids, **counts}


def test_what_was_not_seen_of_a_batch_is_left_out() -> None:
    fact = settled_line(line(BatchSettled("b", 2, 0, 1, 0), 61_000))
    assert fact["took_s"] == 60.0
    assert not {"wait_s", "render_s", "store_s"} & set(fact)


# ---- the documents


FLEET = FleetNow(is_member=True, present=2, behind=3)


def full() -> Metrics:
    """Metrics of which each has a sample."""
    metrics = Metrics()
    commit(metrics, REQUESTED, uploaded(1), LanePaused("spool", "trouble", "x"), rows=(image(1, "stored", 1),))
    demand = (Demanded("any", Need("", ()), 4, 1, 20.0, 1),)
    standing = OpenWorkSummary({"open": 1}, {"kept": 1}, {}, {"upload": 1}, oldest_ms=5, demand=demand)
    backend = BackendInfo("main", "u", connected=True, work=BackendWork(2, ended={"finished": 1}))
    now = Now(
        "1", 1, standing, {"report": 1}, ("spool",), (backend,), {"folder": True}, 1, True, {"spool": DiskNow(1, 9, 2)}
    )
    now = msgspec.structs.replace(now, webhooks=(HOOK,), deliveries={"shop": {"delivered": 1}}, fleet=FLEET)
    metrics.page(msgspec.structs.replace(now, removals={"inputs": 1}, input_uploads={"main": (2, 9)}))
    return metrics


def families() -> dict[str, tuple[str, str]]:
    """Type and labels of each metric, by the name under which it is asked for."""
    found = {}
    for family in full().registry.collect():
        assert family.samples, family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, ", ".join(f"`{label}`" for label in sorted(labels)))
    return found


def test_every_metric_is_documented_and_no_other() -> None:
    documented = {row[0].strip("`"): (row[1], row[2]) for row in rows(DOCUMENT)}
    assert documented == families()
    assert all(row[3].endswith(".") for row in rows(DOCUMENT))


def test_the_help_of_a_metric_is_its_documented_meaning() -> None:
    page = Metrics().page(Now()).decode()
    given = dict(re.findall(r"^# HELP (comfyledger_\w+) (.*)$", page, re.MULTILINE))
    documented = {row[0].strip("`"): row[3].replace("`", "") for row in rows(DOCUMENT)}
    assert given == {name: documented[name] for name in given}
    assert len(given) > 30


def test_names_and_units_follow_prometheus() -> None:
    for name, (kind, _) in families().items():
        assert re.fullmatch(r"(comfyledger|process)_[a-z][a-z_]*", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|millis|minutes|hours|kb|mb|percent)(_|$)", name), name


def asked(expression: str) -> set[str]:
    """The metrics that an expression names, without what a histogram adds."""
    names = set(re.findall(r"\b(?:comfyledger|process)_[a-z_]+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def expressions(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["expr"]] if isinstance(found.get("expr"), str) else []
        return own + [expression for part in found.values() for expression in expressions(part)]
    return [expression for part in found for expression in expressions(part)] if isinstance(found, list) else []


def labels_asked(expression: str) -> set[tuple[str, str]]:
    """Metric and label of each selector."""
    selectors = re.findall(r"\b(comfyledger_[a-z_]+)\{([^}]*)\}", expression)
    return {(name, label) for name, inner in selectors for label in re.findall(r"([a-z_]+)\s*[=!]", inner)}


def test_every_metric_of_the_dashboard_exists() -> None:
    shown = expressions(json.loads(DASHBOARD))
    assert len(shown) >= 15
    for expression in shown:
        assert asked(expression) <= set(families()), expression
        for name, label in labels_asked(expression):
            known = families()[asked(name).pop()][1]
            assert label in {"instance", "job"} or f"`{label}`" in known, expression


def test_the_dashboard_shows_what_each_comfyui_does_and_what_waits_for_them() -> None:
    shown = {name for expression in expressions(json.loads(DASHBOARD)) for name in asked(expression)}
    about = re.compile(r"comfyledger_(comfyui_(?!input)|queued_|backends_|prompts_moved)")
    assert {name for name in families() if about.match(name)} - shown == set()


def test_no_panel_of_the_dashboard_covers_another() -> None:
    panels = json.loads(DASHBOARD)["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len(panels) == len({panel["id"] for panel in panels})


def alerts() -> dict[str, str]:
    """The expression of each alert."""
    return dict(re.findall(r"^ {6}- alert: (\w+)\n {8}expr: (.+)$", ALERTS, re.MULTILINE))


def test_every_metric_of_the_alerts_exists() -> None:
    assert len(alerts()) == ALERTS.count("- alert:") >= 8
    for expression in alerts().values():
        assert asked(expression) or expression.startswith("up{"), expression
        assert asked(expression) <= set(families())
        for name, label in labels_asked(expression):
            assert label in {"instance", "job"} or f"`{label}`" in families()[asked(name).pop()][1], expression


def test_every_alert_is_documented_and_no_other() -> None:
    told = set(re.findall(r"^- \*\*(\w+)\*\*", DOCUMENT, re.MULTILINE))
    assert told == set(alerts())
