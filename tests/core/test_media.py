"""Laws of the table of media: whatever the spool keeps has an extension, a MIME type and a check of its bytes."""

from __future__ import annotations

from comfyledger.core.media import EXTENSIONS, IMAGE_EXTENSIONS, MIME_TYPES
from comfyledger.plugin_api import IMAGE_EXTENSIONS as SEEN_BY_PLUGINS
from comfyledger.workers.media.media_file import WALKS


def test_every_kind_of_file_that_is_kept_is_checked_and_has_a_mime_type() -> None:
    assert set(EXTENSIONS) == set(WALKS) == set(MIME_TYPES)


def test_plugins_see_the_same_extensions_and_every_spelling_of_them() -> None:
    assert SEEN_BY_PLUGINS == IMAGE_EXTENSIONS == {*EXTENSIONS, "jpeg"}
