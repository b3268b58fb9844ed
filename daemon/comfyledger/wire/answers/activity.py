"""What happened in each span of time."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from comfyledger.wire.answers.parts import Answer


class ActivityBucket(Answer, frozen=True):
    """What happened within one step. The waits are right within 5 %."""

    at_ms: Annotated[
        int, Meta(description="When it begins, in milliseconds since 1970, UTC.", examples=[1_795_377_600_000])
    ]
    requested: Annotated[int, Meta(description="Images that were asked for.", examples=[8])]
    stored: Annotated[
        int,
        Meta(description="Images that the first store of their batch took.", examples=[7]),
    ]
    failed: Annotated[int, Meta(description="Images that failed.", examples=[0])]
    parked: Annotated[
        int, Meta(description="Uploads that a store refused, and images that wait for a person's choice.", examples=[0])
    ]
    wait_ms_median: Annotated[
        int | None,
        Meta(
            description="From the request to the first attempt of a prompt that began here: half of them waited less,"
            " in milliseconds; null if none began.",
            examples=[1_200],
        ),
    ] = None
    wait_ms_p95: Annotated[int | None, Meta(description="The same for 95 of 100 prompts.", examples=[8_500])] = None
    backends: Annotated[
        dict[str, int], Meta(description="Images that each ComfyUI rendered.", examples=[{"main": 7}])
    ] = {}


class Activity(Answer, frozen=True):
    """What happened, step by step."""

    step_s: Annotated[int, Meta(description="The length of a step, in seconds.", examples=[3_600])]
    buckets: Annotated[list[ActivityBucket], Meta(description="Every step, oldest first.")]
    more: Annotated[
        bool,
        Meta(description="The log was too long to be read at once: older steps are missing. Ask again to have them."),
    ] = False
