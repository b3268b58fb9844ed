"""The boxes of a fleet, kept by any ledger."""

from __future__ import annotations

from msgspec.structs import replace

from comfyledger.core.boxes import BoxRow
from comfyledger.core.commands import GiveUpBox, JoinBox, LeaveBox
from comfyledger.core.decide.recorder import Policy
from comfyledger.core.reports import WebhookProgressed
from comfyledger.core.results import BoxKnown
from comfyledger.core.webhooks import WebhookProgress
from comfyledger.errors import Refused
from comfyledger.ledger.commit_group import decide_group
from support.ledger_builders import NOW_MS
from support.ledger_kinds import TERMS, Kind, together


def test_every_box_is_among_the_open_rows_also_one_that_left(kind: Kind) -> None:
    with kind.opened() as ledger:
        together(ledger, [JoinBox("app", "south"), JoinBox("app", "north"), JoinBox("app", "north")], NOW_MS)
        together(ledger, [LeaveBox("app", "south", 1, "lease"), GiveUpBox("cli", "south")], NOW_MS + 1)
    with kind.opened() as ledger:
        assert [row for row in ledger.open_rows() if isinstance(row, BoxRow)] == [
            BoxRow("north", 2, present=True, since_ms=NOW_MS),
            BoxRow("south", 1, present=False, since_ms=NOW_MS + 1, given_up=True),
        ]


def test_messages_of_one_group_see_the_term_of_the_one_before(kind: Kind) -> None:
    with kind.opened() as ledger:
        messages = [JoinBox("app", "north"), JoinBox("app", "north"), LeaveBox("app", "north", 1, "stopped")]
        first, second, late = together(ledger, messages, NOW_MS)
    assert [one.answer for one in (first, second)] == [BoxKnown("north", term, changed=True) for term in (1, 2)]
    assert late.answer == BoxKnown("north", 2, changed=False)


async def test_a_box_that_was_declared_left_saves_no_progress_of_webhooks(kind: Kind) -> None:
    at_north = replace(TERMS, policy=Policy(box="north", term=1))
    came, late = (WebhookProgressed(WebhookProgress("shop", "e", position), 1) for position in (3, 5))
    with kind.opened() as ledger:
        together(ledger, [JoinBox("app", "north")], NOW_MS)
        (saved,), _ = decide_group(ledger, [came], at_north)
        together(ledger, [LeaveBox("app", "north", 1, "lease")], NOW_MS)
        (refused,), _ = decide_group(ledger, [late], at_north)
    assert saved.error is None
    assert isinstance(refused.error, Refused)
    assert refused.error.code == "fenced"
    async with kind.reading() as reader:
        assert [one.position for one in await reader.webhook_progress()] == [3]
