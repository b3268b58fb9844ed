"""The answers of the stand-in for Cloudinary: a stored record as each API shows it, and the errors.

Pure: records in, plain values out. The account's folder mode decides which keys an answer has. URLs lead to the
stand-in itself, so that a file can be fetched from there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from comfyledger.sim.cloudinary.assets import Asset
from comfyledger.sim.cloudinary.names import folder_of
from comfyledger.sim.cloudinary.signing import sign_answer

DYNAMIC: Final = "dynamic"
FIXED: Final = "fixed"
_AUDIO: Final = frozenset({"flac", "mp3", "ogg", "wav", "m4a"})
"""Formats of sound alone, which Cloudinary keeps as videos."""


class Account(msgspec.Struct):
    """The account of the stand-in. `url` is its address; `folder_mode` is `dynamic` or `fixed`."""

    cloud: str
    key: str
    secret: str
    folder_mode: str
    file_bytes_max: int
    url: str = ""

    def bytes_max(self, resource_type: str) -> int:
        """The plan's limit for one file: `file_bytes_max`, and ten times as much for video and audio."""
        return self.file_bytes_max * (10 if resource_type in {"video", "auto"} else 1)


class Refused(Exception):
    """An answer that is an error: its status, its text and its headers."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def error_body(message: str) -> dict[str, Any]:
    """The shape of every error."""
    return {"error": {"message": message}}


def instant(at_s: float) -> str:
    """Seconds since 1970 in the form of the answers."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def uploaded(account: Account, asset: Asset) -> dict[str, Any]:
    """A record as the Upload API answers with it."""
    return {
        **_common(account, asset),
        "version_id": f"{asset.asset_id[:24]}{asset.version & 0xFFFFFFFF:08x}",
        "signature": sign_answer(asset.public_id, asset.version, account.secret),
        "tags": asset.tags,
        "etag": asset.etag,
        "placeholder": False,
        "original_filename": asset.original_filename,
        "api_key": account.key,
        **({"context": {"custom": asset.context}} if asset.context else {}),
    }


def listed(account: Account, asset: Asset, *, with_context: bool, with_tags: bool) -> dict[str, Any]:
    """A record as the Admin API lists it: context and tags on request only."""
    return {
        **_common(account, asset),
        "etag": asset.etag,
        **({"context": {"custom": asset.context}} if with_context and asset.context else {}),
        **({"tags": asset.tags} if with_tags else {}),
    }


def found(account: Account, asset: Asset) -> dict[str, Any]:
    """A record as the Search API shows it."""
    return {
        **listed(account, asset, with_context=True, with_tags=True),
        "format": asset.format,
        "filename": asset.display_name,
        "uploaded_at": instant(asset.created_at),
        "status": "active",
    }


def _common(account: Account, asset: Asset) -> dict[str, Any]:
    return {
        "asset_id": asset.asset_id,
        "public_id": asset.public_id,
        "version": asset.version,
        **({"format": asset.format} if asset.format and asset.resource_type != "raw" else {}),
        **({"is_audio": asset.format in _AUDIO} if asset.resource_type == "video" else {}),
        **({"width": asset.width, "height": asset.height} if asset.resource_type == "image" else {}),
        "resource_type": asset.resource_type,
        "created_at": instant(asset.created_at),
        "bytes": asset.bytes,
        "type": asset.type,
        "url": _url(account, asset),
        "secure_url": _url(account, asset),
        "access_mode": "public",
        **_folders(account, asset),
    }


def _folders(account: Account, asset: Asset) -> dict[str, Any]:
    if account.folder_mode == FIXED:
        return {"folder": folder_of(asset.public_id)}
    return {"asset_folder": asset.asset_folder, "display_name": asset.display_name}


def _url(account: Account, asset: Asset) -> str:
    ending = f".{asset.format}" if asset.resource_type != "raw" else ""
    path = f"{account.cloud}/{asset.resource_type}/{asset.type}/v{asset.version}/{quote(asset.public_id)}{ending}"
    return f"{account.url}/{path}"
