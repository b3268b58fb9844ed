"""Laws of the table of media: whatever the spool keeps has an extension, a MIME type and a check of its bytes."""

from __future__ import annotations

from comfyledger.core.media import EXTENSIONS, IMAGE_EXTENSIONS, KINDS, MIME_TYPES
from comfyledger.plugin_api import IMAGE_EXTENSIONS as SEEN_BY_PLUGINS
from comfyledger.workers.media.media_file import DECODES, WALKS

CONTAINERS = {"movie": {"mp4", "mov"}, "matroska": {"webm", "mkv"}}


def test_every_kind_of_file_that_is_kept_is_checked_and_has_a_mime_type() -> None:
    walked = {extension for kind in WALKS for extension in CONTAINERS.get(kind, {kind})}
    assert set(EXTENSIONS) == walked == set(MIME_TYPES)
    assert set(DECODES) < set(EXTENSIONS)


def test_a_mime_type_says_the_medium() -> None:
    assert {extension for extension, kind in KINDS.items() if not kind.mime_type.startswith(f"{kind.medium}/")} == set()


def test_plugins_see_the_same_pictures_and_every_spelling_of_them() -> None:
    assert SEEN_BY_PLUGINS == IMAGE_EXTENSIONS == {"png", "jpg", "jpeg", "webp", "gif"}
