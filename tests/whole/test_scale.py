"""Nothing that looks at all images needs memory for all of them. `make scale` shows it for 162,000."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from support.cloudinary_process import CloudHouse
from whole.scale import ADMIN_BUDGET, IMAGES_EACH, PEAK_BYTES_MAX, Scale, Took

FEW, MANY = 10, 100
"""Characters."""
MORE_EACH = 42
"""Images that the account has beyond those of the ledger: more than 10,000 in all."""
GROWTH_BYTES_MAX = 3 * 2**20
AUDIT_GROWTH_BYTES_MAX = 20 * 2**20
"""An audit keeps up to 20,000 rows of its fold in memory; the larger ledger here has 6,400."""


async def looked_at(made: Scale, characters: int) -> dict[str, Took]:
    """What each part took, with what it must have said."""
    opened = await made.open()
    status, images, audited = await asyncio.gather(
        made.run("status", "--json"), made.run("images", "--json", "--limit", "500"), made.audit()
    )
    taken = await made.take_over(MORE_EACH)
    assert made.calls() <= ADMIN_BUDGET
    assert [one.code for one in (status, images, taken)] == [0, 0, 0]
    assert len(json.loads(images.out)["images"]) == 500
    assert {finding["kind"] for finding in json.loads(audited.out)["findings"]} <= {"store_foreign"}
    said = json.loads(taken.out)
    assert (said["files"], said["others"]) == (characters * (IMAGES_EACH + MORE_EACH), 0)
    assert said["raised"] + said["unchanged"] == characters
    after = made.daemon("daemon")
    return {"opened": opened, "status": status, "images": images, "import": taken, "audit": audited, "daemon": after}


async def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    made = Scale(CloudHouse(tmp_path))
    try:
        await made.begin()
        made.fill(FEW)
        few = await looked_at(made, FEW)
        assert made.house.daemon.signal(signal.SIGTERM) == 0
        made.fill(MANY - FEW)
        many = await looked_at(made, MANY)
        assert "10,000 files read" in many["import"].aside, "an import shows how far it is"
        print({name: f"{took.peak_bytes / 2**20:.1f} MiB, {took.seconds:.1f} s" for name, took in many.items()})
    finally:
        made.house.end()
    assert all(took.peak_bytes < PEAK_BYTES_MAX for took in many.values())
    grown = {name: took.peak_bytes - few[name].peak_bytes for name, took in many.items()}
    del grown["opened"]  # How much more a start has done by then differs; "daemon" is the same peak later.
    assert grown.pop("audit") < AUDIT_GROWTH_BYTES_MAX
    assert max(grown.values()) < GROWTH_BYTES_MAX, grown
