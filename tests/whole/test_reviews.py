"""A daemon that dies after images were rejected and before they are forgotten: the same request does the rest."""

from __future__ import annotations

from support.doomed_lives import Seen, die
from support.ledger_builders import check_tables
from support.processes import Doomed, House
from support.wire_app import App, Frame, of_kind


async def test_what_was_rejected_is_forgotten_by_the_same_request_after_a_kill(doomed_house: House) -> None:
    house, asked = doomed_house, dict[str, object]()

    async def reject(app: App) -> Frame:
        accepted = await app.submit("r1", quantity=2)
        await app.settled(accepted["batch_id"])
        images = [f"{accepted['batch_id']}/{index}" for index in (1, 2)]
        asked.update(images=images, verdict="rejected", forget=True)
        return await app.ask("review", **asked)

    async def once(app: App) -> None:
        await reject(app)

    await die(house, "review.recorded", Seen(), once)
    house.daemon = Doomed(house)
    await house.daemon.begin()
    async with house.app("app") as app:
        listed = (await app.ask("list_images"))["images"]
        assert [(image["state"], image["verdict"]) for image in listed] == [("stored", "rejected")] * 2
        done = await app.ask("review", **asked)
        assert (done["changed"], done["forgotten"]["images"]) == (0, 2)
        assert [image["state"] for image in done["images"]] == ["forgotten", "forgotten"]
        assert len(of_kind(await app.log(), "image_reviewed")) == 1
    check_tables(house.state / "ledger.db")
