"""The query of a GET below `/v1`, read as the request that it stands for."""

from __future__ import annotations

import pytest

from comfyledger.errors import Refused
from comfyledger.wire import ListBatches, ListImages, Message, ReadLog
from comfyledger.wire.routes import ROUTES, read_query

PATHS = {ListBatches: "/v1/batches", ListImages: "/v1/images", ReadLog: "/v1/events"}


def read(kind: type[Message], *query: tuple[str, str]) -> Message:
    (route,) = [route for route in ROUTES if route.method == "GET" and route.path == PATHS[kind]]
    return read_query(route, {}, list(query))


def test_a_query_is_read_as_its_request() -> None:
    asked = read(ReadLog, ("after", "7"), ("kinds", "image_kept,image_lost"), ("reverse", "true"))
    assert asked == ReadLog(after=7, kinds=["image_kept", "image_lost"], reverse=True)
    assert read(ListBatches, ("cursor", "b"), ("username", "null")) == ListBatches(before="b", username="null")


@pytest.mark.parametrize("text", ["null", "NULL"])
@pytest.mark.parametrize(("kind", "name"), [(ReadLog, "upto"), (ReadLog, "since_ms"), (ListImages, "state")])
def test_null_in_a_query_is_refused_instead_of_ignored(kind: type[Message], name: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        read(kind, (name, text))
    assert (refused.value.code, refused.value.path) == ("invalid_field", f"query.{name}")


def test_a_parameter_that_is_unknown_or_twice_is_refused() -> None:
    for query, code in (((("x", "1"),), "unknown_field"), ((("limit", "1"), ("limit", "1")), "invalid_field")):
        with pytest.raises(Refused) as refused:
            read(ListBatches, *query)
        assert refused.value.code == code
