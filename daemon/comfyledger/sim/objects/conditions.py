"""What a client asks to hold before its request changes an object, in the words of S3 and of Google. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from comfyledger.sim.objects.answers import Refused
from comfyledger.sim.objects.contents import Version

S3: Final = "s3"
GCS: Final = "gcs"
_NAMES: Final = {S3: ("If-None-Match", "If-Match"), GCS: ("x-goog-if-generation-match",)}


def condition_of(headers: Mapping[str, str], dialect: str) -> str:
    """The condition as the request writes it, `NAME: VALUE`; empty if there is none."""
    return next((f"{name}: {headers[name]}" for name in _NAMES[dialect] if name in headers), "")


def check(condition: str, there: Version | None) -> None:
    """Raises Refused unless the condition holds. `there`: what has the name now."""
    name, _, value = condition.partition(": ")
    match name:
        case "If-None-Match" if value != "*":
            raise Refused("NotImplemented", "If-None-Match takes only * in a request that writes")
        case "If-None-Match" if there is not None:
            raise Refused("PreconditionFailed")
        case "If-Match" if there is None:
            raise Refused("NoSuchKey")
        case "If-Match" if value not in {"*", there.etag if there else ""}:
            raise Refused("PreconditionFailed")
        case "x-goog-if-generation-match" if value != str(there.generation if there else 0):
            raise Refused("PreconditionFailed")
