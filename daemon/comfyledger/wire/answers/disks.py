"""What `server_info` says of the disks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from comfyledger.wire.answers.parts import Answer


class DiskInfo(Answer, frozen=True):
    """The disk of one folder that the daemon or a store writes to."""

    use: Annotated[
        Literal["ledger", "spool", "inputs", "store"],
        Meta(
            description="What the folder is for: the ledger, rendered files (`spool`), input files, or the files of a "
            "store that keeps them on a disk of this machine."
        ),
    ]
    store: Annotated[str, Meta(description="The name of the store; empty for the others.", examples=[""])]
    folder: Annotated[str, Meta(description="The path of the folder.", examples=["/var/lib/comfyledger/spool"])]
    free_bytes: Annotated[
        int | None,
        Meta(
            description="How many bytes are free for the daemon; `null` if the disk cannot be read now.",
            examples=[12_884_901_888],
        ),
    ]
    size_bytes: Annotated[
        int | None,
        Meta(description="How many bytes the disk has; `null` if it cannot be read now.", examples=[107_374_182_400]),
    ]
    free_min_bytes: Annotated[
        int,
        Meta(
            description="Nothing new is taken while fewer bytes are free (`free_min_bytes`): no batch for ledger and "
            "spool, no file for inputs. 0 for a store: its uploads pause when the disk is full.",
            examples=[1_073_741_824],
        ),
    ]
    disk: Annotated[
        int | None,
        Meta(
            description="Folders with the same number are on one disk; `null` if that is not known now.", examples=[1]
        ),
    ] = None
