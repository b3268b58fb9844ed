"""The OpenAPI document of HTTP `/v1`: valid, complete, and made of the table of routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from comfyledger.errors import CODES
from comfyledger.server.listen import LINE_BYTES_MAX
from comfyledger.wire.answers import RESULTS
from comfyledger.wire.problems import status_of
from comfyledger.wire.routes import ABOUT_PARTS, FILE, INPUTS, ROUTES, THUMBNAIL, Route
from comfyledger.wire.schema.openapi import TAGS, openapi
from comfyledger.wire.sessions import LINKS, SESSIONS
from comfyledger.wire.zips import ZIP, ZIPS

DOCUMENT = openapi("0.1.0")
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return found


def checker(part: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**part, "components": DOCUMENT["components"]})


def contents(body: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = next(iter(body["content"].values()))
    return content


def test_the_document_is_valid_openapi() -> None:
    assert [str(fault) for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_path_and_method_of_the_routes_is_there_and_no_other() -> None:
    said = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert said == {(route.path, route.method.lower()) for route in ROUTES} | {
        (FILE, "get"),
        (THUMBNAIL, "get"),
        (INPUTS, "put"),
        (SESSIONS, "post"),
        (LINKS, "post"),
        (ZIPS, "post"),
        (ZIP, "get"),
    }


@ROUTE
def test_every_field_of_a_request_has_one_place(route: Route) -> None:
    said = operation(route)
    places = {name: route.renamed.get(name, name) for name in route.in_path}
    wanted = {field.name for field in msgspec.structs.fields(route.request)}
    if route.part:
        wanted &= set(ABOUT_PARTS.get(route.part, ()))
    if not route.has_body:
        places |= route.fields
    if route.stream:
        places |= route.as_stream.fields
        wanted |= {field.name for field in msgspec.structs.fields(route.as_stream.request)}
    fields = [places[given["name"]] for given in said["parameters"] if given["name"] in places]
    if "requestBody" in said:
        body = schema(contents(said["requestBody"])["schema"]["$ref"].rpartition("/")[2])
        fields += body["properties"]
        assert body["additionalProperties"] is False
    assert sorted(fields) == sorted(wanted)
    assert len(said["parameters"]) == len({(one["in"], one["name"]) for one in said["parameters"]})


@ROUTE
def test_every_answer_of_a_route_is_there(route: Route) -> None:
    said = operation(route)["responses"]
    answer = contents(said[str(route.status)])["schema"]
    if route.part:
        assert set(answer["properties"]) == {route.part}
    else:
        assert answer["$ref"].endswith(f"/{RESULTS[route.kind].__name__}")
    assert said["default"] == {"$ref": "#/components/responses/Problem"}
    assert ("text/event-stream" in said[str(route.status)]["content"]) == bool(route.stream)


def test_every_operation_has_an_id_of_its_own_and_a_tag_that_is_described() -> None:
    ids = [one["operationId"] for one in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert {tag for one in OPERATIONS for tag in one["tags"]} == set(TAGS)


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of a parameter, a body and the problem, with its schema."""
    for one in OPERATIONS:
        for given in one["parameters"]:
            if "example" in given:
                yield f"{one['operationId']} {given['name']}", given["schema"], given["example"]
        if "requestBody" in one and "schema" in (content := contents(one["requestBody"])):
            yield f"{one['operationId']} body", content["schema"], content["example"]
    content = contents(DOCUMENT["components"]["responses"]["Problem"])
    yield "problem", content["schema"], content["example"]


def test_every_example_fits_its_schema() -> None:
    for name, part, shown in examples():
        assert list(checker(part).iter_errors(shown)) == [], name


def test_every_parameter_says_what_it_is() -> None:
    said = [(one["operationId"], given) for one in OPERATIONS for given in one["parameters"]]
    assert [(name, given["name"]) for name, given in said if not given["description"].endswith(".")] == []


def test_the_longest_address_that_the_document_allows_is_one_that_the_server_reads() -> None:
    longest = {one["operationId"]: sum(map(encoded_bytes_max, one["parameters"])) for one in OPERATIONS}
    assert {name: size for name, size in longest.items() if size > LINE_BYTES_MAX - 1_000} == {}


def encoded_bytes_max(parameter: dict[str, Any]) -> int:
    """In a query or path, a character takes up to four bytes, each of three letters."""
    found = parameter["schema"]
    lengths = [alternative.get("maxLength", 0) for alternative in found.get("anyOf", [found])]
    return 0 if parameter["in"] == "header" else len(parameter["name"]) + 2 + 12 * max(lengths)


def test_a_refusal_names_every_code_with_its_status() -> None:
    text = DOCUMENT["components"]["responses"]["Problem"]["description"]
    lines = {int(line[2:5]): line for line in text.splitlines() if line.startswith("- ")}
    assert [code for code in CODES if f"`{code}`" not in lines[status_of(code)]] == []


def test_no_schema_is_there_that_no_operation_reaches() -> None:
    assert "Hello" not in DOCUMENT["components"]["schemas"]
    assert {"BatchInfo", "ImageInfo", "Problem", "ErrorCode"} <= set(DOCUMENT["components"]["schemas"])


def test_what_may_be_left_out_is_optional_for_every_tool() -> None:
    fields = [
        field for one in DOCUMENT["components"]["schemas"].values() for field in one.get("properties", {}).values()
    ]
    assert [field for field in fields if "default" in field] == []
    assert schema("SubmitBatchBody")["properties"]["priority"]["description"].endswith(' Default: `"normal"`.')


def test_a_batch_is_asked_for_with_a_body_although_no_field_alone_is_required() -> None:
    said = {route.kind: operation(route).get("requestBody", {}) for route in ROUTES if route.method == "POST"}
    assert said["submit_batch"]["required"] is True
    assert said["cancel"]["required"] is False
