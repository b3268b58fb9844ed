"""What a box tells the other boxes of its fleet about itself, as JSON beside the log."""

from __future__ import annotations

import msgspec

from comfyledger import wire


class About(msgspec.Struct, frozen=True):
    """Its version, and its ComfyUIs as it sees them. `no_secrets`: those that get no workflow with secrets. `delivers`:
    whether it delivers the webhooks. `digests`: of what has to be the same on all boxes, by part of the configuration.
    `place`: a digest of machine and state folder, by which a daemon knows what it said itself.
    `at_s`: the time of its clock, in seconds since 1970.
    """

    version: str = ""
    backends: list[wire.BackendInfo] = []
    no_secrets: list[str] = []
    delivers: bool = False
    digests: dict[str, str] = {}
    place: str = ""
    at_s: float = 0.0

    def encoded(self) -> str:
        return msgspec.json.encode(self).decode()


_about = msgspec.json.Decoder(About)


def read_about(text: str) -> About:
    """What a box said; nothing if a newer version said it in another form."""
    try:
        return _about.decode(text)
    except msgspec.MsgspecError:
        return About()
