"""The kinds of image file that comfyledger keeps: one table of extensions and MIME types.

Two tables stay apart on purpose. `comfyui.messages` has the MIME types of ComfyUI's previews, which are part of its
protocol and are shared with the stand-ins. The stand-ins import nothing of the core.
"""

from __future__ import annotations

from typing import Final

MIME_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
"""By the extension that a kept file gets, without a dot."""
EXTENSIONS: Final = tuple(MIME_TYPES)
IMAGE_EXTENSIONS: Final = frozenset({*EXTENSIONS, "jpeg"})
"""Lower-case extensions under which somebody else may have stored the same kinds of file."""
