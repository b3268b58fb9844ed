"""Ask for images and save them in a folder: submit_and_save.py REQUEST_ID USERNAME CHARACTER QUANTITY FOLDER"""

import sys

from comfyledger.client.sync import SyncClient
from comfyledger.wire import BatchInfo


def show(batch: BatchInfo) -> None:
    print(f"{batch.stored} of {batch.quantity} stored", flush=True)


def main(request_id: str, username: str, character: str, quantity: str, folder: str) -> int:
    with SyncClient(name="my-script", timeout_s=None) as client:
        batch = client.submit(
            request_id=request_id, username=username, character=character, premade=True, quantity=int(quantity)
        )
        end = client.wait(batch, on_progress=show)
        for image in end.images:
            if image.state == "stored":
                print("saved", client.save_file(image.public_id, folder), flush=True)
            else:
                print(image.name, image.state, image.code, image.text, flush=True)
        return 0 if end.stored == end.quantity else 1


sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 6 else __doc__)
