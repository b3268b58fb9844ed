"""How far webhooks have come: whoever delivers saves it with the log, and each replica has it a little later."""

from __future__ import annotations

from pathlib import Path

from comfyledger.core.reports import WebhookProgressed
from comfyledger.core.webhooks import OwedDelivery, WebhookProgress
from comfyledger.ledger.commit_group import decide_group
from comfyledger.ledger.sqlite.reader import Reader
from support.fleet_boxes import Box
from support.ledger_kinds import NEEDS_POSTGRES, TERMS
from support.postgres import shared_cluster

pytestmark = NEEDS_POSTGRES


async def known_to(box: Box) -> list[WebhookProgress]:
    reader = Reader(box.path)
    found = await reader.webhook_progress()
    await reader.close()
    return found


async def test_a_replica_has_what_another_box_saved_of_webhooks_as_far_as_it_has_the_log(tmp_path: Path) -> None:
    address = shared_cluster().database()
    north, south = Box(tmp_path / "north", address).init(), Box(tmp_path / "south", address)
    south.join(north)
    north.submit("r1", "a cat")
    with north.ledger() as ledger:
        come = WebhookProgress("shop", ledger.epoch, ledger.head.position, owed=(OwedDelivery(1, "b1", 2),))
        beyond = WebhookProgress("later", ledger.epoch, ledger.head.position + 1)
        decide_group(ledger, [WebhookProgressed(come), WebhookProgressed(beyond)], TERMS)
    south.catch_up()
    assert await known_to(south) == [come]
