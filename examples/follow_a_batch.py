"""Ask for images and follow them to their stores: follow_a_batch.py REQUEST_ID USERNAME CHARACTER QUANTITY"""

import asyncio
import sys

from comfyledger.client import Client, events
from comfyledger.wire import LoggedEvent


async def main(request_id: str, username: str, character: str, quantity: str) -> int:
    async with Client(name="my-app", timeout_s=None) as client:
        batch = await client.submit(
            request_id=request_id, username=username, character=character, premade=True, quantity=int(quantity)
        )
        print("numbers", *batch.numbers, flush=True)
        async for event in client.follow(batch):
            match event:
                case LoggedEvent(data=events.ImageUploaded(url=url)):
                    print("stored", url, flush=True)
        end = await client.get_batch(batch.batch_id)
        return 0 if end.stored == end.quantity else 1


sys.exit(asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 5 else __doc__)
