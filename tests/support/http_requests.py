"""Requests of the websocket, as HTTP sends them by the table of routes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from yarl import URL

from comfyledger.wire.routes import Route


def as_http(route: Route, data: dict[str, Any]) -> tuple[URL, dict[str, Any] | None] | None:
    """Path, query and body of a request; None if the route has no place for one of its fields."""
    rest = dict(data)
    fields = {parameter: route.renamed.get(parameter, parameter) for parameter in route.in_path}
    if not set(fields.values()) <= set(rest) or not set(rest) <= {*fields.values(), *route.fields.values()}:
        return None
    path = route.path.format(**{parameter: quote(str(rest.pop(field))) for parameter, field in fields.items()})
    if route.has_body:
        return URL(path, encoded=True), rest
    outside = {field: parameter for parameter, field in route.fields.items()}
    words = {outside[field]: str(value).lower() if value is True else str(value) for field, value in rest.items()}
    return URL(path, encoded=True).with_query(words), None
