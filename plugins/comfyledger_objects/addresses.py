"""The address of an object: the one that is recorded, and the one that people get. PURE."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

from comfyledger_objects.options import Kind, Options

SCHEMES: Final[dict[Kind, str]] = {"s3": "s3", "gcs": "gs", "azure": "az"}


def recorded_url(options: Options, key: str) -> str:
    """The public address by the template, else one that names bucket and key for the provider's own tools."""
    if options.url_template:
        return options.url_template.removesuffix("{key}") + quote(key)
    return f"{_own(options)}{key}"


def key_of_url(options: Options, url: str) -> str:
    """The key that an upload recorded in this way; empty if it is an address of another place."""
    if url.startswith(_own(options)):
        return url.removeprefix(_own(options))
    begin = options.url_template.removesuffix("{key}")
    return unquote(url.removeprefix(begin)) if begin and url.startswith(begin) else ""


def _own(options: Options) -> str:
    return f"{SCHEMES[options.kind]}://{options.bucket}/"
