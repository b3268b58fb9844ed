"""Requests about ComfyUIs that clients add while the daemon runs. Those of the configuration are not changed here."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.requests.parts import Message

NAME_PATTERN = r"^([a-z0-9][a-z0-9_-]{0,15}\.)?[a-z0-9][a-z0-9_-]{0,31}$"
"""In a fleet, the name of the box may come first."""
BackendName = Annotated[str, Meta(pattern=NAME_PATTERN, description="The name of the ComfyUI.", examples=["gpu-7"])]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]


class AddBackend(Message, frozen=True):
    """Adds a ComfyUI that the configuration does not name, or gives one that was added other values. Repeat the request
    before `ttl_s` is over to keep it; with equal values, that writes no event. Its address must fit `[backends]
    allowed` (`backend_not_allowed`). A name of the configuration, and an address that another name has, are refused as
    `backend_exists`. In a fleet it becomes a ComfyUI of the box that is asked, and its name begins with the name of
    that box, whether the request says so or not."""

    name: BackendName
    url: Annotated[
        str,
        Meta(
            max_length=300,
            description="Its address: http:// or https://, a host, perhaps a port and a path; no user.",
            examples=["http://gpu-7.example:8188"],
        ),
    ]
    tags: Annotated[
        list[Tag],
        Meta(
            max_length=32,
            description="What it can do, in words of yours, which workflows and requests may need.",
            examples=[["flux"]],
        ),
    ] = []
    ttl_s: Annotated[
        int,
        Meta(
            ge=0,
            le=604_800,
            description="Seconds after which it is removed, and its prompts go to others; 0 for never.",
            examples=[60],
        ),
    ] = 0
    queue_depth: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Our prompts in its queue; 0 leaves it to the daemon, as in the configuration.",
            examples=[2],
        ),
    ] = 0


class RemoveBackend(Message, frozen=True):
    """Removes a ComfyUI that a client added. While it has prompts, this is refused as `backend_busy` unless `move` is
    true; then the prompts go to others. One that nobody added is `unknown_backend`."""

    name: BackendName
    move: Annotated[bool, Meta(description="Whether its prompts go to others.")] = False
