"""Requests about input files: what apps give for workflows to load. The bytes themselves come with `PUT /v1/inputs`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.requests.parts import Message
from comfyledger.wire.requests.reading import PageSize

Cursor = Annotated[str, Meta(max_length=128)]
InputName = Annotated[
    str,
    Meta(
        max_length=128,
        description="The input file, as an answer named it: `sha256:` and its digest.",
        examples=["sha256:478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
    ),
]


class AddInput(Message, frozen=True):
    """Has the daemon fetch an input file, once. A server that `[inputs] url_hosts` does not name is refused as
    `url_not_allowed`. To send a file of your own, use `PUT /v1/inputs`."""

    url: Annotated[
        str,
        Meta(
            max_length=4_096,
            description="Its address. Redirects are not followed.",
            examples=["https://images.example/portrait.png"],
        ),
    ]


class ListInputs(Message, frozen=True):
    """The input files that can be used, newest first, page by page."""

    before: Annotated[
        Cursor | None,
        Meta(
            description="Continue after an earlier page, with the `next_cursor` of its answer.",
            examples=["1795377407458-478d6690f57d48cb0779a01262388399b555aa8816db7a080461ac4ad74e2a15"],
        ),
    ] = None
    limit: PageSize = 50


class ForgetInput(Message, frozen=True):
    """Gives up an input file. No new batch of this client may use it. It is erased once no other client has it and no
    open batch needs it, here and at every ComfyUI."""

    input: InputName
    all_labels: Annotated[
        bool, Meta(description="Also for all other clients that have it. This needs the right `admin`.")
    ] = False
