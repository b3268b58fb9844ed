"""The house of the whole-system tests with a bucket instead of a folder: moto's S3 as a process.

What became of each image is read from moto itself, never from what the daemon says.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from support.object_servers import KEY_ID, REGION, SECRET, Moto
from support.processes import Doomed, House
from support.wire_app import Frame

BUCKET = "pictures"
PREFIX = "below/here"
STEM = f"{PREFIX}/Areg/characters/opal-fever/images/Areg_opal-fever_image_"


class BucketHouse(House):
    """A daemon whose one store is a bucket. `options` are further keys of the store's section."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server, self.options = Moto(folder), ""
        self.daemon = Doomed(self)

    async def begin(self, config: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start what does not run yet."""
        self.begin_server()
        await super().begin(config, seconds_per_image, depth)

    def begin_server(self) -> None:
        if not self.server.url:
            self.server.begin()
            self.server.add_bucket(BUCKET)

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        super().configure(config, depth, url, comfyui)
        path, secret = self.folder / "config.toml", self.folder / "secret"
        secret.write_text(SECRET)
        kept, _, _ = path.read_text().partition("[stores.folder]")
        path.write_text(
            kept
            + f"""
            [stores.bucket]
            kind = "s3"
            bucket = "{BUCKET}"
            prefix = "{PREFIX}"
            endpoint = "{self.server.url}"
            access_key_id = "{KEY_ID}"
            secret_access_key_file = "{secret}"
            {self.options}
            """
        )

    def end(self) -> None:
        super().end()
        self.server.end()

    @property
    def direct(self) -> Any:
        """The bucket, without our store."""
        client = {"allow_http": True, "timeout": "60s"}
        who = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "region": REGION}
        return S3Store(BUCKET, endpoint=self.server.url, config=who, client_options=client)  # type: ignore[arg-type]

    def objects(self) -> dict[str, str]:
        """The MD5 of the bytes of each object, by key."""
        store = self.direct
        return {key: _md5(bytes(obstore.get(store, key).bytes())) for key in self.keys()}

    def keys(self) -> set[str]:
        return {meta["path"] for part in obstore.list(self.direct) for meta in part}

    def put(self, key: str, content: bytes) -> dict[str, str]:
        """Somebody else's object; its MD5 by its key."""
        obstore.put(self.direct, key, content)
        return {key: _md5(content)}

    def delete(self, key: str) -> None:
        obstore.delete(self.direct, key)

    def wanted(self, *batches: Frame) -> dict[str, str]:
        """What the bucket must hold of these batches: the bytes that the spool has."""
        found = {}
        for batch in batches:
            for image in batch["images"]:
                path = self.state / "spool" / batch["batch_id"] / f"{image['index']}.{image['extension']}"
                assert _md5(path.read_bytes()) == image["md5"]
                found[f"{PREFIX}/{image['public_id']}.{image['extension']}"] = image["md5"]
        return found


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
