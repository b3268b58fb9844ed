"""What people and faults did to lanes and to the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.core.events.event import CausedBy, Event, Words
from comfyledger.core.values import Evidence


class LanePaused(Event, frozen=True):
    """A store, a backend, a user, the spool or everything is paused. A trouble is logged once when it begins, however
    many calls fail until it ends."""

    lane: Annotated[
        str,
        Meta(
            description="The lane: `everything`, `backend/NAME`, `store/NAME`, `user/NAME`, or `spool` while its disk"
            " has no room for new prompts. In a fleet, the trouble of a box with a store or its disk has the name of"
            " the box: `store/NAME@BOX`, `spool@BOX`.",
            examples=["backend/main"],
        ),
    ]
    cause: Annotated[
        Literal["person", "trouble"], Meta(description="Who paused it: a person, or the lane's own trouble.")
    ]
    code: Annotated[
        str,
        Meta(
            description="Why: `person`, or the trouble: `not_reached`, `throttled`, `full`, `http_503` and others.",
            examples=["not_reached"],
        ),
    ]
    words: Words = None
    by: CausedBy = ""


class LaneResumed(Event, frozen=True):
    """A lane works again."""

    lane: Annotated[
        str,
        Meta(
            description="The lane, as in `lane_paused`.",
            examples=["backend/main"],
        ),
    ]
    cause: Annotated[
        Literal["person", "trouble"],
        Meta(description="Which pause has ended: that of a person, or that for the lane's own trouble."),
    ]
    by: CausedBy = ""


class LedgerRestored(Event, frozen=True):
    """The ledger was restored from a backup. A new epoch begins here, and positions of the earlier one are no longer
    valid. `series_raised` follows for every known series. What happened after the backup is not in this log."""

    epoch_before: Annotated[str, Meta(description="The epoch of the backup.", examples=["01M7ZZZZZZ24WA3CWZEFZYJASQ"])]
    epoch: Annotated[str, Meta(description="The epoch that begins here.", examples=["01M82DA8V724WA3CWZEFZYJASQ"])]
    position_before: Annotated[int, Meta(description="The last position of the backup.", examples=[1200])]
    evidence: Annotated[
        tuple[Evidence, ...],
        Meta(
            description="Where numbers given after the backup were looked for: each store, and `old ledger`, with the"
            " highest number of any series."
        ),
    ]
    margin: Annotated[
        int, Meta(description="How far every series was raised above all numbers found.", examples=[1000])
    ]
    by: Annotated[str, Meta(description="The label of the client that restored it.", examples=["my-app"])]
    first: Annotated[
        int,
        Meta(
            description="The first number of a series that the backup does not know and that no store holds. It is "
            "above 1 if numbers of such a series may have been given after the backup.",
            examples=[1],
        ),
    ] = 1
