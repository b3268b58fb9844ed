"""What the metrics say after a batch is what the stand-in, the store and the log say."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from support.processes import House
from support.waiting import DEADLINE_S, until
from support.wire_app import coloured

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def fetched(house: House, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {house.daemon.token}"}
    with urllib.request.urlopen(
        urllib.request.Request(house.daemon.url + path, headers=headers), timeout=DEADLINE_S
    ) as answer:
        return bytes(answer.read())


def scraped(house: House) -> Samples:
    families = text_string_to_metric_families(fetched(house, "/metrics").decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"comfyledger_{name}", frozenset(labels.items())]


async def test_numbers_after_a_batch_equal_the_ledgers_of_both_sides(house: House) -> None:
    await house.begin()
    async with house.app("shop") as app:
        asked = await app.submit("r1", images=coloured(6))
        (batch,) = await app.settled(asked["batch_id"])
        log = await app.log()
    files = house.stored()
    paid = sum(path.stat().st_size for path in files.values())
    for image in batch["images"]:
        assert fetched(house, "/images/" + image["public_id"]) == files[image["public_id"]].read_bytes()
    await until(lambda: value(scraped(house), "log_position") == log[-1]["position"], "all is counted")
    samples = scraped(house)
    assert value(samples, "numbers_given_total") == len(asked["numbers"]) == 6
    assert value(samples, "prompt_attempts_total", outcome="finished") == len(house.comfyui.posted())
    assert house.comfyui.ended() == ["execution_success"] * len(house.comfyui.posted())
    for state in ("pending", "kept", "stored"):
        assert value(samples, "images_total", state=state) == len(files)
    assert value(samples, "uploads_total", store="folder", outcome="stored") == len(files)
    assert value(samples, "kept_bytes_total") == value(samples, "uploaded_bytes_total", store="folder") == paid
    for kind in {event["kind"] for event in log}:
        assert value(samples, "events_total", kind=kind) == sum(event["kind"] == kind for event in log)
    assert value(samples, "commit_duration_seconds_count") > 0
    assert not [name for name, _ in samples if name == "comfyledger_oldest_owed_image_timestamp_seconds"]
    await until(lambda: "batch.settled" in house.daemon.last_words(), "the batch is logged")
    (fact,) = [fact for fact in house.daemon.facts() if fact["event"] == "batch.settled"]
    assert (fact["batch_id"], fact["client"], fact["images"], fact["stored"]) == (asked["batch_id"], "shop", 6, 6)
    assert fact["took_s"] >= fact["render_s"] >= 0
