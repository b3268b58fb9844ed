"""Laws of backends that clients add: one name, one address, one event for each change, and none for a renewal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from comfyledger.core.backends import BackendRow
from comfyledger.core.commands import AddBackend, PauseLane, RemoveBackend
from comfyledger.core.decide import backends
from comfyledger.core.events import BackendAdded, BackendRemoved, LaneResumed, stream_of
from comfyledger.core.reports import BackendEnded
from comfyledger.core.results import BackendKnown
from comfyledger.errors import Refused
from support.core_builders import PlainLedger, given

URL = "http://gpu-7.example:8188"
ADD = AddBackend("app", "gpu-7", URL, ("flux",), 60, 1)


def row_of(ledger: PlainLedger, name: str = "gpu-7") -> BackendRow:
    return ledger.rows["backend", name, ""]  # type: ignore[return-value]


def refusal(ledger: PlainLedger, command: AddBackend | RemoveBackend) -> Refused:
    before = (list(ledger.log), dict(ledger.rows))
    with pytest.raises(Refused) as refused:
        ledger.when(command)
    assert (ledger.log, ledger.rows) == before
    return refused.value


def test_what_is_added_is_an_event_with_all_its_values() -> None:
    ledger = given()
    then = ledger.when(ADD)
    assert then.answer == BackendKnown("gpu-7", changed=True)
    assert then.events == (BackendAdded("gpu-7", URL, "app", ("flux",), 60, 1),)
    assert stream_of(then.events[0]) == "backend/gpu-7"
    assert row_of(ledger) == BackendRow("gpu-7", URL, ("flux",), 60, 1)


def test_adding_it_again_with_the_same_values_is_no_event_whoever_does() -> None:
    ledger = given(ADD)
    for label in ("app", "other"):
        then = ledger.when(replace(ADD, label=label))
        assert (then.answer, then.events) == (BackendKnown("gpu-7", changed=False), ())


@pytest.mark.parametrize("other", [{"tags": ()}, {"ttl_s": 61}, {"queue_depth": 2}, {"url": f"{URL}/comfy"}])
def test_other_values_are_another_event(other: dict[str, object]) -> None:
    ledger = given(ADD)
    changed = replace(ADD, **other)
    assert ledger.when(changed).kinds == ["BackendAdded"]
    assert row_of(ledger) == BackendRow("gpu-7", changed.url, changed.tags, changed.ttl_s, changed.queue_depth)


@pytest.mark.parametrize("url", [URL, f"{URL}/", "http://GPU-7.example.:8188"])
def test_one_address_has_one_name_however_it_is_written(url: str) -> None:
    refused = refusal(given(ADD), replace(ADD, name="gpu-8", url=url))
    assert (refused.code, refused.path) == ("backend_exists", "url")
    assert "gpu-7" in refused.message


def test_the_address_of_one_that_was_removed_is_free() -> None:
    ledger = given(ADD, RemoveBackend("app", "gpu-7"))
    assert ledger.when(replace(ADD, name="gpu-8")).kinds == ["BackendAdded"]
    assert refusal(ledger, ADD).code == "backend_exists"


def test_a_pause_ends_when_a_person_removes_it_and_not_when_its_time_ends() -> None:
    paused = given(ADD, PauseLane("app", "backend/gpu-7"), PauseLane("app", "backend/gpu-8"))
    then = paused.when(RemoveBackend("app", "gpu-7"))
    assert then.events[1:] == (LaneResumed("backend/gpu-7", cause="person", by="app"),)
    expired = given(ADD, PauseLane("app", "backend/gpu-7"))
    assert expired.when(BackendEnded("gpu-7", "expired")).kinds == ["BackendRemoved"]


def test_a_name_that_was_removed_may_be_added_again() -> None:
    ledger = given(ADD, RemoveBackend("app", "gpu-7"))
    then = ledger.when(ADD)
    assert (then.answer, then.kinds) == (BackendKnown("gpu-7", changed=True), ["BackendAdded"])


def test_a_person_removes_what_is_there_once() -> None:
    ledger = given(ADD)
    assert ledger.when(RemoveBackend("cli", "gpu-7")).events == (BackendRemoved("gpu-7", "person", "cli"),)
    assert row_of(ledger) == BackendRow("gpu-7", URL, ("flux",), 60, 1, present=False)
    assert refusal(ledger, RemoveBackend("cli", "gpu-7")).code == "unknown_backend"
    assert refusal(ledger, RemoveBackend("cli", "nowhere")).code == "unknown_backend"


@pytest.mark.parametrize("reason", ["expired", "not_allowed", "configured"])
def test_one_that_ends_by_itself_ends_once_and_nobody_did_it(reason: str) -> None:
    ended = BackendEnded("gpu-7", reason)  # type: ignore[arg-type]
    ledger = given(ADD)
    assert ledger.when(ended).events == (BackendRemoved("gpu-7", reason),)  # type: ignore[arg-type]
    assert ledger.when(ended).events == ()
    assert given().when(ended).events == ()


def test_there_is_a_limit_which_a_change_does_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "ADDED_MAX", 2)
    second = replace(ADD, name="b", url="http://b.example:8188")
    third = replace(ADD, name="c", url="http://c.example:8188")
    ledger = given(ADD, second)
    assert refusal(ledger, third).code == "backends_limit"
    assert ledger.when(replace(second, ttl_s=0)).kinds == ["BackendAdded"]
    ledger.when(RemoveBackend("app", "b"))
    assert ledger.when(third).kinds == ["BackendAdded"]
