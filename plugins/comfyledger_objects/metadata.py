"""What is said of a file beside its bytes: the attributes of an upload, and what is read back from them. PURE.

The metadata are `sha256`, `md5` and `image`, names that every server can keep: Azure takes letters and digits only. An
etag is the MD5 of the bytes at some servers, for some objects, so it is believed only if it says that the bytes are
ours, never if it says that they differ.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from comfyledger.plugin_api import Deposit, Held, ImageFault, Stored, medium_of, mime_type_of
from comfyledger_objects.options import Options

BYTES: Final = "application/octet-stream"
_DIGEST_BYTES: Final = {"sha256": 32, "md5": 16}
_MD5: Final = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as the server describes it. `said`: its metadata, empty where a listing does not have them."""

    key: str
    size_bytes: int
    etag: str
    version: str
    modified_at_ms: int
    said: Mapping[str, str]


def attributes_of(deposit: Deposit, options: Options) -> dict[str, str]:
    """The attributes of an upload. A document is sent as bytes, because a browser could run what is in it."""
    content_type = mime_type_of(deposit.extension) if medium_of(deposit.extension) != "file" else BYTES
    given = {"Cache-Control": options.cache_control, "Storage-Class": options.storage_class}
    own = {"sha256": deposit.sha256, "md5": deposit.md5, "image": deposit.image_id}
    return {"Content-Type": content_type, **{name: value for name, value in given.items() if value}, **own}


def found_from(meta: Mapping[str, Any], attributes: Mapping[str, str] | None = None) -> Found:
    """From what obstore says. Servers may change the case of names of metadata."""
    modified = meta.get("last_modified")
    return Found(
        key=str(meta["path"]),
        size_bytes=int(meta["size"]),
        etag=str(meta.get("e_tag") or ""),
        version=str(meta.get("version") or ""),
        modified_at_ms=int(modified.timestamp() * 1_000) if isinstance(modified, datetime) else 0,
        said={name.lower(): str(value) for name, value in (attributes or {}).items()},
    )


def md5_by_etag(found: Found) -> str:
    """The etag if it looks like an MD5. Objects that were sent in parts or are encrypted have another one."""
    etag = found.etag.strip('"').lower()
    return etag if _MD5.fullmatch(etag) else ""


def said_digest(found: Found, name: Literal["sha256", "md5"]) -> str:
    """A digest from the metadata in lower-case hex, which other programs write in other ways; empty if it is none."""
    said, count = found.said.get(name, "").strip(), _DIGEST_BYTES[name]
    if re.fullmatch(f"[0-9a-fA-F]{{{2 * count}}}", said):
        return said.lower()
    try:
        content = base64.b64decode(said, validate=True)
    except ValueError:
        return ""
    return content.hex() if len(content) == count else ""


def held(found: Found, public_id: str, extension: str) -> Held:
    """As it was looked at. An object that says nothing of itself is another program's: its etag is better than that."""
    md5 = said_digest(found, "md5") or md5_by_etag(found)
    return msgspec.structs.replace(listed(found, public_id, extension), md5=md5)


def listed(found: Found, public_id: str, extension: str) -> Held:
    """As a list has it, without metadata."""
    return Held(
        public_id=public_id,
        extension=extension,
        size_bytes=found.size_bytes,
        sha256=said_digest(found, "sha256"),
        image_id=found.said.get("image", ""),
        created_at_ms=found.modified_at_ms,
    )


Likeness = Literal["ours", "other", "unknown"]


def likeness(found: Found, size_bytes: int, sha256: str, md5: str) -> Likeness:
    """Whether an object has these bytes. `unknown`: only its bytes can tell."""
    if found.size_bytes != size_bytes:
        return "other"
    said = said_digest(found, "sha256")
    if said:
        return "ours" if said == sha256 else "other"
    return "ours" if md5 and md5_by_etag(found) == md5 else "unknown"


def replayed(deposit: Deposit, url: str) -> Stored:
    """The bytes were there. At a first attempt, this is worth a line of the log."""
    return Stored(url, replayed=True, details={"first_attempt": 1} if deposit.first_attempt else {})


def collision(deposit: Deposit, found: Found) -> ImageFault:
    said = said_digest(found, "sha256") or f"etag {found.etag}"
    text = (
        f"{found.key} exists already and has other content ({found.size_bytes:,} bytes, {said}; ours has "
        f"{deposit.size_bytes:,} bytes, {deposit.sha256})."
    )
    return ImageFault("collision", text)
