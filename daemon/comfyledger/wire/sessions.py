"""Sessions of the web page, over HTTP only: what begins one, and what answers."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

SESSIONS: Final = "/v1/sessions"
LINKS: Final = "/v1/sessions/links"
"""Neither is a request of the websocket, so they are not in the table of routes."""

Moment = Annotated[
    int, Meta(description="When it ends, in milliseconds since 1970, UTC.", examples=[1_795_942_200_000])
]


class BeginSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Begins a session: of the token in the header, or of a one-time code."""

    code: Annotated[
        str,
        Meta(
            max_length=128,
            description="A one-time code, in place of a token.",
            examples=["Zr5yS0b2mVqkq3l2v8V0nJ1b8q0m2sQm0y8b3fXW1uE"],
        ),
    ] = ""
    base_path: Annotated[
        str,
        Meta(
            max_length=200,
            pattern=r"^(/[A-Za-z0-9._~-]+)*\Z",
            description="The path prefix of a proxy below which the page lies. Addresses of files begin with it.",
            examples=["/ledger"],
        ),
    ] = ""


class SessionBegun(msgspec.Struct, frozen=True):
    """A session. Its key works wherever a token does."""

    key: Annotated[
        str,
        Meta(
            description="Sent in place of a token.",
            examples=["session.WyJteS1hcHAiLDE3OTU5NDIyMDAwMDAsIiJd.l1xq0m2sQm0y8b3fXW1uEZr5yS0b2mVqkq3l2v8V0nI"],
        ),
    ]
    expires_at_ms: Moment
    label: Annotated[
        str,
        Meta(description="Of the token. Empty for the daemon's own, which may choose one.", examples=["my-app"]),
    ]
    right: Annotated[str, Meta(description="What the token may do.", examples=["operate"])]
    read_all: Annotated[bool, Meta(description="Whether it sees the work of all labels.")]


class SessionLink(msgspec.Struct, frozen=True):
    """An address that opens the page and begins a session. It works once."""

    url: Annotated[
        str,
        Meta(
            description="The page's address, with a one-time code behind `#`, which no browser sends to a server.",
            examples=["http://127.0.0.1:9831/#code=Zr5yS0b2mVqkq3l2v8V0nJ1b8q0m2sQm0y8b3fXW1uE"],
        ),
    ]
    expires_at_ms: Moment
