"""Houses of the whole-system tests with a bucket instead of a folder: moto's S3, or the stand-in for object stores.

What became of each image is read from these servers, never from what the daemon says.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import obstore
from obstore.store import GCSStore, S3Store

from support.google_account import account_file, made_key
from support.object_servers import KEY_ID, REGION, SECRET, Moto
from support.objects_process import Objects
from support.processes import Doomed, House
from support.wire_app import Frame

BUCKET = "pictures"
PREFIX = "below/here"
STEM = f"{PREFIX}/Areg/characters/opal-fever/images/Areg_opal-fever_image_"
PLAIN: Any = {"allow_http": True, "timeout": "60s"}


class StoreHouse(House):
    """A daemon whose one store is a bucket. `options` are further keys of the store's section."""

    def __init__(self, folder: Path, server: Moto | Objects, name: str) -> None:
        super().__init__(folder)
        self._server, self._name, self.options = server, name, ""
        self.daemon = Doomed(self)

    async def begin(self, config: str = "", seconds_per_image: float = 0.0, depth: int = 3) -> None:
        """Start what does not run yet."""
        self.begin_server()
        await super().begin(config, seconds_per_image, depth)

    def begin_server(self) -> None:
        if not self._server.url:
            self._server.begin()

    @abstractmethod
    def section(self) -> Mapping[str, str | Path]:
        """What the section of the store says."""

    def configure(self, config: str = "", depth: int = 3, url: str = "", comfyui: str = "") -> None:
        super().configure(config, depth, url, comfyui)
        path = self.folder / "config.toml"
        kept, _, _ = path.read_text().partition("[stores.folder]")
        said = "".join(f'{key} = "{value}"\n' for key, value in self.section().items())
        path.write_text(f"{kept}[stores.{self._name}]\n{said}{self.options}\n")

    def secret_file(self, text: str) -> Path:
        file = self.folder / "secret"
        file.write_text(text)
        return file

    def end(self) -> None:
        super().end()
        self._server.end()

    def kept(self, batches: tuple[Frame, ...], prefix: str = "") -> dict[str, bytes]:
        """The bytes that the spool has of these batches, by the key that the bucket must have them under."""
        found = {}
        for batch in batches:
            for image in batch["images"]:
                path = self.state / "spool" / batch["batch_id"] / f"{image['index']}.{image['extension']}"
                found[f"{prefix}{image['public_id']}.{image['extension']}"] = path.read_bytes()
                assert _md5(path.read_bytes()) == image["md5"]
        return found


class BucketHouse(StoreHouse):
    """A bucket of moto's S3, with a prefix."""

    def __init__(self, folder: Path) -> None:
        self.server = Moto(folder)
        super().__init__(folder, self.server, "bucket")

    def begin_server(self) -> None:
        if not self.server.url:
            self.server.begin()
            self.server.add_bucket(BUCKET)

    def section(self) -> Mapping[str, str | Path]:
        place = {"bucket": BUCKET, "prefix": PREFIX, "endpoint": self.server.url}
        secret = self.secret_file(SECRET)
        return {"kind": "s3", **place, "access_key_id": KEY_ID, "secret_access_key_file": secret}

    @property
    def direct(self) -> Any:
        """The bucket, without our store."""
        who = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "region": REGION}
        return S3Store(BUCKET, endpoint=self.server.url, config=who, client_options=PLAIN)  # type: ignore[arg-type]

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
        return {key: _md5(content) for key, content in self.kept(batches, f"{PREFIX}/").items()}


class ObjectHouse(StoreHouse):
    """The bucket of the stand-in, which has every version of every object that ever was."""

    def __init__(self, folder: Path, dialect: str = "s3") -> None:
        self.objects = Objects(folder, dialect)
        super().__init__(folder, self.objects, "objects")
        self._account = account_file(folder, made_key()) if dialect == "gcs" else None

    def section(self) -> Mapping[str, str | Path]:
        place = {"bucket": BUCKET, "endpoint": self.objects.url}
        if self._account is not None:
            return {"kind": "gcs", **place, "service_account_file": self._account}
        secret = self.secret_file(self.objects.secret)
        return {"kind": "s3", **place, "access_key_id": self.objects.key_id, "secret_access_key_file": secret}

    def see_missing(self, key: str) -> None:
        """Ask for an object that is not there, as a proxy that caches would remember it."""
        url = self.objects.url
        who = {"access_key_id": self.objects.key_id, "secret_access_key": self.objects.secret, "region": REGION}
        direct: Any = (
            GCSStore(BUCKET, service_account=str(self._account), base_url=url, client_options=PLAIN)
            if self._account is not None
            else S3Store(BUCKET, endpoint=url, config=who, client_options=PLAIN)  # type: ignore[arg-type]
        )
        with contextlib.suppress(FileNotFoundError):
            raise AssertionError(f"{key} is there: {obstore.head(direct, key)}")

    def check_objects(self, *batches: Frame, foreign: dict[str, str] | None = None) -> None:
        """Exactly one version of one object for each image, with the bytes that were kept; nothing was ever replaced.

        `foreign`: what was there before, by key, with its SHA-256.
        """
        kept = {key: hashlib.sha256(content).hexdigest() for key, content in self.kept(batches).items()}
        wanted = {**(foreign or {}), **kept}
        versions = [one for one in self.objects.versions() if not one["key"].startswith(".comfyledger-probe/")]
        assert {one["key"]: one["sha256"] for one in versions if one["ended"] is None} == wanted
        assert len(versions) == len(wanted), "an object was overwritten or deleted"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
