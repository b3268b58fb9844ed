"""The size that a month of work has, in half a minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from support.processes import House
from support.wire_app import check_gap_free, of_kind

CLIENTS = 50
BATCHES_EACH = 4
QUANTITY = 5
USERS = 5
PEAK_BYTES_MAX = 150 * 1024 * 1024


async def test_a_thousand_images_of_fifty_clients_have_each_number_once(house: House) -> None:
    await house.begin()

    async def client(number: int) -> list[str]:
        async with house.app(f"client-{number}") as app:
            wanted = (app.submit(f"r{k}", f"User{number % USERS}", QUANTITY) for k in range(BATCHES_EACH))
            asked = [one["batch_id"] for one in await asyncio.gather(*wanted)]
            ended = await app.settled(*asked, deadline_s=100.0)
            assert all(batch["stored"] == QUANTITY for batch in ended)
            return [image["public_id"] for batch in ended for image in batch["images"]]

    began = time.monotonic()
    names = [name for names in await asyncio.gather(*map(client, range(CLIENTS))) for name in names]
    took_s = time.monotonic() - began
    print(f"{len(names) / took_s:.0f} images/s, peak {house.daemon.peak_bytes() / 2**20:.0f} MB")
    each = CLIENTS * BATCHES_EACH * QUANTITY // USERS
    assert set(Counter(names).values()) == {1}
    assert set(names) == {
        f"User{user}/characters/opal-fever/images/User{user}_opal-fever_image_{number}"
        for user in range(USERS)
        for number in range(1, each + 1)
    }
    assert set(house.stored()) == set(names)
    assert house.daemon.peak_bytes() < PEAK_BYTES_MAX
    async with house.app() as app:
        check_gap_free(await app.log())


async def test_a_hundred_copies_of_one_request_make_one_batch(house: House) -> None:
    await house.begin()
    async with house.app("app") as one, house.app("app") as two:
        answers = await asyncio.gather(*(app.submit("same") for app in [one, two] * 50))
        assert len(answers) == 100
        assert len({answer["batch_id"] for answer in answers}) == 1
        assert {tuple(answer["numbers"]) for answer in answers} == {(1, 2, 3)}
        assert [answer.get("repeated", False) for answer in answers].count(False) == 1
        await one.settled(answers[0]["batch_id"])
        assert len(of_kind(await one.log(), "batch_requested")) == 1
    assert len(house.stored()) == 3
