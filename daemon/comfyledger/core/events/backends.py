"""What became of backends that clients add while the daemon runs. Those of the configuration have no events."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import By, CausedBy, Event

BackendName = Annotated[str, Meta(description="The name of the ComfyUI.", examples=["gpu-7"])]
BackendUrl = Annotated[str, Meta(description="Its address, without a user.", examples=["http://gpu-7.example:8188"])]
BackendTags = Annotated[
    tuple[str, ...], Meta(description="Its tags, which workflows and requests may need.", examples=[["flux"]])
]
BackendTtl = Annotated[
    int, Meta(description="Seconds after which it is removed unless it is added again; 0 for never.", examples=[60])
]
BackendDepth = Annotated[
    int,
    Meta(description="Our prompts in its queue; 0 leaves it to the daemon, as in the configuration.", examples=[2]),
]
Ended = Literal["expired", "not_allowed", "configured"]
"""Why a backend ends that nobody removed."""


class BackendAdded(Event, frozen=True):
    """A client added a ComfyUI, or gave one that it had added other values. Adding it again with the same values
    renews its time, and is no event."""

    name: BackendName
    url: BackendUrl
    by: By
    tags: BackendTags = ()
    ttl_s: BackendTtl = 0
    queue_depth: BackendDepth = 0


class BackendRemoved(Event, frozen=True):
    """A ComfyUI that a client had added is used no more. Its prompts go to others."""

    name: BackendName
    reason: Annotated[
        Literal["person", "expired", "not_allowed", "configured"],
        Meta(
            description="Why: `person`, `expired` (its time ended), `not_allowed` (`[backends] allowed` does not name "
            "its address any more), or `configured` (the configuration has its name or its address now)."
        ),
    ]
    by: CausedBy = ""
