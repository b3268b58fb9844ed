"""The bucket of `demo --store s3`: a stand-in for S3, the section of the store, and images read back with obstore."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Final

from comfyledger.cli.demo_processes import DemoFailed, Processes, quoted

BUCKET: Final = "pictures"
OBJECT: Final = f"s3://{BUCKET}/"
KEY_ID: Final = "a-key-for-the-demo"
SECRET: Final = "a-secret-for-the-demo"  # noqa: S105 - it guards nothing
_URL: Final = "s3.url"
_READ_S: Final = "30s"


def start_bucket(processes: Processes) -> str:
    """Start the stand-in. Returns the section of the store that uses it. Raises DemoFailed without obstore."""
    if importlib.util.find_spec("obstore") is None:
        raise DemoFailed("The package obstore is not installed; pip install 'comfyledger[objects]'")
    root = processes.folder / "s3"
    account = ("--bucket", BUCKET, "--key-id", KEY_ID, "--secret", SECRET)
    processes.start("s3", ("comfyledger.sim", "objects", "--port", "0", "--root", str(root), *account))
    url = processes.url_of("s3", processes.output("s3"))
    (processes.folder / _URL).write_text(json.dumps(url), encoding="utf-8")
    values = {"kind": "s3", "bucket": BUCKET, "endpoint": url, "access_key_id": KEY_ID, "secret_access_key": SECRET}
    return "[stores.s3]\n" + "".join(f"{key} = {quoted(value)}\n" for key, value in values.items())


def save_object(folder: Path, url: str, target: Path) -> None:
    """Write an object of the bucket, named as the store records it, into a file. Raises what obstore raises."""
    from obstore import get
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=json.loads((folder / _URL).read_text(encoding="utf-8")),
        region="us-east-1",
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        client_options={"allow_http": True, "timeout": _READ_S},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(bytes(get(store, url.removeprefix(OBJECT)).bytes()))
