"""Files of many images as one zip, over HTTP only: what asks for its address, and what answers."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from comfyledger.wire.requests.reading import ImageName

ZIPS: Final = "/v1/zips"
ZIP: Final = f"{ZIPS}/{{zip}}"
"""Neither is a request of the websocket, so they are not in the table of routes."""
IMAGES_MAX: Final = 5_000


class ZipAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the address of a zip."""

    images: Annotated[
        list[ImageName],
        Meta(
            min_length=1,
            max_length=IMAGES_MAX,
            description="The images: each by its public id or as `<batch_id>/<index>`.",
            examples=[["01M82DA9EJBQZAAZJR4D2RM95D/1"]],
        ),
    ]


class ZipReady(msgspec.Struct, frozen=True):
    """Where a zip can be read, without a token. It is made while it is read."""

    url: Annotated[
        str,
        Meta(
            description="The signed address.",
            examples=["http://127.0.0.1:9831/v1/zips/5hV0nJ1b8q0m2sQm?expires=1795985280&signature=5f0c"],
        ),
    ]
    expires_at_ms: Annotated[
        int, Meta(description="When it ends, in milliseconds since 1970, UTC.", examples=[1_795_985_280_000])
    ]
