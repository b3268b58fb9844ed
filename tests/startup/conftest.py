"""The doors of `support.door` as fixtures."""

from support.door import door, lasting_door, open_door

__all__ = ["door", "lasting_door", "open_door"]
