"""What a webhook says about an event can be made of every kind of event."""

from __future__ import annotations

import msgspec
import pytest

from comfyledger.core.events import KIND_OF, Event
from comfyledger.ledger.eventlog import encode
from comfyledger.queries.webhook_payload import _About
from core.test_evolve import of_each_kind


@pytest.mark.parametrize("event", of_each_kind(), ids=lambda event: KIND_OF[type(event)])
def test_the_images_and_the_text_of_every_kind_of_event_can_be_told(event: Event) -> None:
    about = msgspec.json.decode(encode(event), type=_About)
    assert about.image == getattr(event, "image", 0)
    assert about.words == getattr(event, "words", None)
