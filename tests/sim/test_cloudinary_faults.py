"""The faults of the stand-in for Cloudinary: each strikes where its name says, and the ledger tells what was stored."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from support.cloudinary_calls import HTTP, Cloud, md5, picture, running, signed
from support.waiting import DEADLINE_S, until_without_a_loop

RESETS = ("reset_before_body", "reset_mid_body", "reset_after_body")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path / "root") as cloud:
        yield cloud


def stored(cloud: Cloud) -> list[bool]:
    return [entry["is_stored"] for entry in cloud.ledger()]


@pytest.mark.parametrize("fault", [*RESETS, "store_then_reset"])
def test_a_reset_leaves_no_answer_and_stores_only_when_it_says_so(cloud: Cloud, fault: str) -> None:
    cloud.control(faults=[{"fault": fault, "match": {"public_id": "a"}}])
    with pytest.raises(HTTPError, match=r"reset by peer|Broken pipe"):
        cloud.upload(picture(size=(300, 300)), public_id="a", overwrite="false")
    is_stored = fault == "store_then_reset"
    until_without_a_loop(lambda: cloud.ledger()[0]["answer"] == ("new" if is_stored else "cut"))
    assert stored(cloud) == [is_stored]
    assert cloud.ledger()[0]["status"] == 0
    again = cloud.upload(picture(size=(300, 300)), public_id="a", overwrite="false").json()
    assert ("existing" in again) is is_stored
    assert len(cloud.assets()) == 1
    assert list((cloud.root / "incoming").iterdir()) == []


def test_each_reset_strikes_at_its_place_in_the_body(cloud: Cloud) -> None:
    content = picture(size=(700, 700), kind="BMP")
    for fault in RESETS:
        cloud.control(faults=[{"fault": fault, "match": {"public_id": "a"}}])
        with pytest.raises(HTTPError):
            cloud.upload(content, public_id="a")
    until_without_a_loop(lambda: all(entry["answer"] for entry in cloud.ledger()))
    none, some, whole = (entry["received_bytes"] for entry in cloud.ledger())
    assert none == 0
    assert len(content) // 2 <= some <= len(content)
    assert whole == len(content)


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_hanging_request_hangs_until_it_is_let_go(cloud: Cloud, is_stored: bool) -> None:
    cloud.control(faults=[{"fault": "store_then_hang" if is_stored else "hang"}])
    seen: list[Exception] = []

    def send() -> None:
        try:
            cloud.upload(picture(), public_id="a")
        except HTTPError as error:
            seen.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    until_without_a_loop(lambda: cloud.state()["hanging"] == 1)
    assert (stored(cloud), seen) == ([is_stored], [])
    cloud.control(clear_faults=True)
    thread.join(DEADLINE_S)
    assert len(seen) == 1


@pytest.mark.parametrize("prefix", ["", "store_then_"])
def test_an_answer_is_cut_off_in_the_middle(cloud: Cloud, prefix: str) -> None:
    cloud.control(faults=[{"fault": f"{prefix}truncate"}])
    with pytest.raises(HTTPError):
        cloud.upload(picture(), public_id="a")
    assert stored(cloud) == [bool(prefix)]


@pytest.mark.parametrize("prefix", ["", "store_then_"])
def test_a_502_comes_in_html(cloud: Cloud, prefix: str) -> None:
    cloud.control(faults=[{"fault": f"{prefix}html_502"}])
    answer = cloud.upload(picture(), public_id="a")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert stored(cloud) == [bool(prefix)]
    assert cloud.ledger()[0]["status"] == 502


@pytest.mark.parametrize("prefix", ["", "store_then_"])
@pytest.mark.parametrize("status", [420, 423, 429, 499, 500, 503])
def test_an_error_is_answered_as_it_was_asked_for(cloud: Cloud, prefix: str, status: int) -> None:
    headers = {"Retry-After": "7"}
    cloud.control(faults=[{"fault": f"{prefix}answer", "status": status, "message": "m", "headers": headers}])
    answer = cloud.upload(picture(), public_id="a")
    assert (answer.status, answer.json()) == (status, {"error": {"message": "m"}})
    assert (answer.headers["X-Cld-Error"], answer.headers["Retry-After"]) == ("m", "7")
    assert stored(cloud) == [bool(prefix)]


def test_a_throttled_account_names_the_time_to_try_again(cloud: Cloud) -> None:
    cloud.control(faults=[{"fault": "answer", "status": 420}])
    text = cloud.upload(picture(), public_id="a").json()["error"]["message"]
    assert text.startswith("Rate Limit Exceeded. Limit of 500 api operations reached. Try again on ")


@pytest.mark.parametrize("prefix", ["", "store_then_"])
def test_a_pending_answer_has_no_etag(cloud: Cloud, prefix: str) -> None:
    cloud.control(faults=[{"fault": f"{prefix}pending"}])
    answer = cloud.upload(picture(), public_id="a").json()
    assert (answer["status"], "etag" in answer) == ("pending", False)
    assert stored(cloud) == [bool(prefix)]


def test_an_altered_etag_is_that_of_other_bytes(cloud: Cloud) -> None:
    cloud.control(faults=[{"fault": "alter_etag"}])
    answer = cloud.upload(picture(), public_id="a").json()
    assert answer["etag"] != md5(picture())
    assert answer["etag"] == md5(HTTP.request("GET", answer["secure_url"]).data)


def test_a_renamed_asset_is_stored_under_the_other_name(cloud: Cloud) -> None:
    cloud.control(faults=[{"fault": "rename"}])
    assert cloud.upload(picture(), public_id="a").json()["public_id"] == "a_1"
    assert (list(cloud.assets()), cloud.ledger()[0]["public_id"]) == (["a_1"], "a")


def test_latency_delays_the_true_answer(cloud: Cloud) -> None:
    cloud.control(faults=[{"fault": "latency", "seconds": 0.05, "times": 0}])
    before = time.monotonic()
    assert cloud.upload(picture(), public_id="a").status == 200
    assert time.monotonic() - before >= 0.05


def test_a_rule_strikes_from_its_nth_request_on_for_its_times(cloud: Cloud) -> None:
    match = {"public_id": "a", "nth": 2}
    cloud.control(faults=[{"fault": "answer", "status": 503, "match": match, "times": 2}])
    assert cloud.upload(picture(), public_id="b").status == 200
    assert [cloud.upload(picture(), public_id="a").status for _ in range(4)] == [200, 503, 503, 200]
    (rule,) = cloud.state()["faults"]
    assert (rule["seen"], rule["struck"]) == (4, 2)


def test_rules_choose_by_prefix_path_and_method(cloud: Cloud) -> None:
    cloud.control(
        faults=[
            {"fault": "answer", "status": 423, "match": {"prefix": "a/"}, "times": 0},
            {"fault": "answer", "status": 503, "match": {"path": "/ping", "method": "GET"}, "times": 0},
        ]
    )
    assert [cloud.upload(picture(), public_id=name).status for name in ("a/x", "b/x")] == [423, 200]
    assert [cloud.admin(path).status for path in ("ping", "usage")] == [503, 200]


def test_a_signature_is_checked_before_a_fault_can_store(cloud: Cloud) -> None:
    cloud.control(faults=[{"fault": "store_then_html_502"}])
    fields = signed({"public_id": "a"}, "wrong")
    assert cloud.post("upload", [*fields.items(), ("file", ("a.png", picture()))]).status == 502
    assert stored(cloud) == [False]


def test_who_does_not_listen_refuses_and_is_back_on_the_same_port(cloud: Cloud) -> None:
    cloud.upload(picture(), public_id="a")
    cloud.control(listening=False)
    with pytest.raises(HTTPError):
        cloud.upload(picture(), public_id="b")
    with pytest.raises(HTTPError, match="refused"), urllib3.PoolManager(retries=False) as pool:
        pool.request("GET", cloud.url)
    cloud.control(listening=True)
    assert cloud.upload(picture(), public_id="b").status == 200


def test_connections_and_bytes_are_counted(cloud: Cloud) -> None:
    with urllib3.PoolManager(num_pools=1, maxsize=1) as pool:
        for name in ("a", "b"):
            fields: Any = [*signed({"public_id": name}).items(), ("file", ("a.png", picture()))]
            pool.request("POST", f"{cloud.url}/v1_1/demo/image/upload", fields=fields)
        state = cloud.state()
    assert (state["connections_max"], state["connections_total"]) == (1, 1)
    assert state["received_bytes"] == 2 * len(picture())
    assert cloud.control(reset_counters=True)["received_bytes"] == 0


def test_a_client_that_goes_away_in_the_body_leaves_nothing(cloud: Cloud) -> None:
    fields: Any = [*signed({"public_id": "a"}).items(), ("file", ("a.png", picture(size=(300, 300), kind="BMP")))]
    body, kind = urllib3.encode_multipart_formdata(fields)
    head = f"POST /v1_1/demo/image/upload HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    host, port = cloud.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-100_000])
        until_without_a_loop(lambda: [entry["public_id"] for entry in cloud.ledger()] == ["a"])
    until_without_a_loop(lambda: cloud.ledger()[0]["answer"] == "cut")
    assert (stored(cloud), cloud.assets()) == ([False], {})
    assert list((cloud.root / "incoming").iterdir()) == []


def test_an_unknown_fault_is_refused(cloud: Cloud) -> None:
    answer = HTTP.request("POST", f"{cloud.control_url}/control", body=b'{"faults":[{"fault":"explode"}]}')
    assert answer.status == 400
    assert cloud.state()["faults"] == []
