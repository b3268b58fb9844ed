"""The Upload API of the stand-in for Cloudinary: upload, destroy, explicit.

A request is read, its signature and age are checked and its name is cleaned. Then one step that nothing interrupts
checks whether the asset exists, stores it and records that in the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from comfyledger.sim.cloudinary import names
from comfyledger.sim.cloudinary.answers import FIXED, Account, Refused, uploaded
from comfyledger.sim.cloudinary.assets import Asset, Assets, Key, one_transaction
from comfyledger.sim.cloudinary.faults import Visit
from comfyledger.sim.cloudinary.ledger import Ledger
from comfyledger.sim.cloudinary.receive import (
    Chunks,
    Form,
    IncomingFile,
    Seen,
    read_picture,
    read_recording,
    receive,
)
from comfyledger.sim.cloudinary.signing import basic_pair, is_signed, refuse_age, refuse_signature

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_KINDS: Final = frozenset({"image", "video", "raw", "auto"})
_ALTERATION: Final = b"\n"
"""What an altering account appends to a file: it changes the MD5 and leaves the image readable."""


class Shared(msgspec.Struct):
    """What the parts of a running stand-in share."""

    account: Account
    database: sqlite3.Connection
    assets: Assets
    ledger: Ledger
    random: Random
    now: Callable[[], float]
    root: Path
    alters_at_ingest: bool = False


class UploadApi:
    """The calls that change the account. Each takes a visit and returns the answer's body, or raises Refused."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._chunks = Chunks(shared.root / "chunks")

    async def upload(self, visit: Visit) -> dict[str, Any]:
        """Store a file, or answer that it exists."""
        form = await receive(visit, self._shared.root / "incoming")
        try:
            visit.withhold()
            self._check(visit, form.fields)
            return self._accept(visit, form)
        finally:
            if form.file:
                form.file.drop()

    async def destroy(self, visit: Visit) -> dict[str, Any]:
        """Delete an asset."""
        fields = await self._fields(visit)
        is_gone = self._shared.assets.remove(_key(visit, fields))
        visit.entry.is_replaced = is_gone
        visit.entry.answer = "ok" if is_gone else "not found"
        return {"result": visit.entry.answer}

    async def explicit(self, visit: Visit) -> dict[str, Any]:
        """Change the metadata of an asset, never its bytes."""
        fields = await self._fields(visit)
        asset = self._shared.assets.find(_key(visit, fields))
        if asset is None:
            raise Refused(404, f"Resource not found - {fields['public_id']}")
        changed = msgspec.structs.replace(asset, **self._metadata(fields))
        self._shared.assets.put(changed)
        visit.entry.answer = "ok"
        return uploaded(self._shared.account, changed)

    async def _fields(self, visit: Visit) -> dict[str, str]:
        form = await receive(visit, self._shared.root / "incoming")
        if form.file:
            form.file.drop()
        visit.withhold()
        self._check(visit, form.fields)
        if not form.fields.get("public_id"):
            raise Refused(400, "Missing required parameter - public_id")
        return form.fields

    def _check(self, visit: Visit, fields: dict[str, str]) -> None:
        """Raises Refused if the caller does not prove that it has the secret, or if the request is too old."""
        account = self._shared.account
        if visit.request.match_info["cloud"] != account.cloud:
            raise Refused(404, f"Unknown cloud_name {visit.request.match_info['cloud']}")
        pair = basic_pair(visit.request.headers.get("Authorization"))
        if pair is not None:
            check_pair(account, pair)
            return
        signature = fields.get("signature", "")
        if not signature:
            raise Refused(400, "Upload preset must be specified when using unsigned upload")
        if fields.get("api_key") != account.key:
            raise Refused(401, f"Unknown API key {fields.get('api_key', '')}")
        if not is_signed(fields, signature, account.secret):
            raise Refused(401, refuse_signature(fields, signature))
        if not fields.get("timestamp"):
            raise Refused(400, "Missing required parameter - timestamp")
        stale = refuse_age(fields["timestamp"], self._shared.now())
        if stale:
            raise Refused(400, stale)

    def _accept(self, visit: Visit, form: Form) -> dict[str, Any]:
        if form.file is None:
            source = form.fields.get("file")
            raise Refused(400, "Unsupported source URL" if source else "Missing required parameter - file")
        public_id = self._public_id(form)
        if not self._chunks.take(visit.request, form):
            visit.entry.answer = "chunk"
            return {"done": False, "bytes": form.file.size, "public_id": public_id, "kind": "upload"}
        visit.entry.md5 = form.file.md5
        self._check_size(form.file, visit.entry.resource_type)
        kind, seen = _kind(visit.entry.resource_type, form.file)
        self._check_size(form.file, kind)
        visit.entry.resource_type = kind
        if self._shared.alters_at_ingest or visit.has("alter_etag"):
            form.file = _altered(form.file)
        return self._store(visit, form, f"{public_id}_1" if visit.has("rename") else public_id, kind, seen)

    def _check_size(self, incoming: IncomingFile, kind: str) -> None:
        maximum = self._shared.account.bytes_max(kind)
        if incoming.size == 0:
            raise Refused(400, "Empty file")
        if incoming.size > maximum:
            raise Refused(400, f"File size too large. Got {incoming.size}. Maximum is {maximum}.")

    def _public_id(self, form: Form) -> str:
        """The name as it will be stored. Raises Refused for an invalid one."""
        fields = form.fields
        name = names.clean_public_id(fields.get("public_id", "")) or self._random_name(form)
        public_id = "/".join(part for part in (fields.get("folder", "").strip("/"), name) if part)
        refused = names.refuse_public_id(public_id)
        if refused:
            raise Refused(400, refused)
        return public_id

    def _random_name(self, form: Form) -> str:
        stem = names.stem_of(form.filename)
        if not names.is_true(form.fields.get("use_filename")) or not stem:
            return "".join(self._shared.random.choices(_LETTERS, k=20))
        cleaned = names.clean_file_stem(stem)
        if not names.is_true(form.fields.get("unique_filename"), default=True):
            return cleaned
        return f"{cleaned}_{''.join(self._shared.random.choices(_LETTERS, k=6))}"

    def _store(self, visit: Visit, form: Form, public_id: str, kind: str, seen: Seen) -> dict[str, Any]:
        assert form.file is not None  # noqa: S101 - its caller has refused a request without one
        incoming = form.file
        if kind == "raw" and "public_id" not in form.fields and names.extension_of(form.filename):
            public_id = f"{public_id}.{names.extension_of(form.filename)}"
        shared, key = self._shared, (public_id, kind, form.fields.get("type") or "upload")
        before = shared.assets.find(key)
        if before is not None and not names.is_true(form.fields.get("overwrite"), default=True):
            visit.entry.answer = "existing"
            return {**uploaded(shared.account, before), "existing": True}
        asset = self._asset(key, form, incoming, seen, before)
        visit.entry.answer = "overwritten" if before else "new"
        visit.entry.is_stored = True
        visit.entry.public_id = visit.entry.public_id or public_id
        visit.entry.is_replaced = before is not None
        incoming.move(shared.assets.files / asset.file)
        with one_transaction(shared.database):
            shared.assets.put(asset)
            shared.ledger.save(visit.entry)
        return {**uploaded(shared.account, asset), **({"overwritten": True} if before else {})}

    def _asset(self, key: Key, form: Form, incoming: IncomingFile, seen: Seen, before: Asset | None) -> Asset:
        now_s = self._shared.now()
        stem = names.stem_of(form.filename) or names.leaf_of(key[0])
        by_filename = names.is_true(form.fields.get("use_filename_as_display_name"))
        asset = Asset(
            public_id=key[0],
            resource_type=key[1],
            type=key[2],
            asset_id=before.asset_id if before else f"{self._shared.random.getrandbits(128):032x}",
            version=max(int(now_s), before.version + 1 if before else 0),
            format=seen.format if key[1] != "raw" else names.extension_of(key[0]),
            width=seen.width,
            height=seen.height,
            bytes=incoming.size,
            etag=incoming.md5,
            created_at=before.created_at if before else now_s,
            asset_folder=self._folder(key[0], form.fields, before),
            display_name=stem if by_filename else names.leaf_of(key[0]),
            original_filename=stem,
            context={},
            tags=[],
            file=f"{incoming.md5[:2]}/{incoming.md5}",
        )
        return msgspec.structs.replace(asset, **self._metadata(form.fields))

    def _folder(self, public_id: str, fields: dict[str, str], before: Asset | None) -> str:
        """In dynamic mode only an explicit folder counts: without one an asset is in the root, slashes or not."""
        if self._shared.account.folder_mode == FIXED:
            return names.folder_of(public_id)
        return before.asset_folder if before else fields.get("folder", "").strip("/")

    def _metadata(self, fields: dict[str, str]) -> dict[str, Any]:
        """The metadata in the fields, as fields of a record: with fixed folders no folder and no display name."""
        metadata: dict[str, Any] = {}
        if fields.get("context"):
            metadata["context"] = names.parse_context(fields["context"])
        if fields.get("tags"):
            metadata["tags"] = names.parse_tags(fields["tags"])
        if self._shared.account.folder_mode == FIXED:
            return metadata
        if fields.get("asset_folder"):
            metadata["asset_folder"] = fields["asset_folder"].strip("/")
        if fields.get("display_name"):
            metadata["display_name"] = fields["display_name"]
        return metadata


def check_pair(account: Account, pair: tuple[str, str]) -> None:
    """Raises Refused unless these are the account's key and secret."""
    if pair[0] != account.key:
        raise Refused(401, "unknown api_key")
    if pair[1] != account.secret:
        raise Refused(401, "api_secret mismatch")


def _kind(asked: str, incoming: IncomingFile) -> tuple[str, Seen]:
    """The resource type, and what the file is. Raises Refused for a file that is not of the type that was asked for."""
    if asked not in _KINDS:
        raise Refused(400, f"Invalid resource_type {asked}")
    picture = read_picture(incoming.path) if asked in {"image", "auto"} else None
    recording = read_recording(incoming.path) if asked in {"video", "auto"} and picture is None else None
    if asked == "image" and picture is None:
        raise Refused(400, "Invalid image file")
    if asked == "video" and recording is None:
        raise Refused(400, "Unsupported video format or file")
    found = "image" if picture else "video" if recording else "raw"
    return found if asked == "auto" else asked, picture or recording or Seen("")


def _key(visit: Visit, fields: dict[str, str]) -> Key:
    kind = visit.request.match_info.get("resource_type", "image")
    return names.clean_public_id(fields["public_id"]), kind, fields.get("type") or "upload"


def _altered(incoming: IncomingFile) -> IncomingFile:
    altered = IncomingFile(incoming.path.with_name(f"{incoming.path.name}-altered"))
    altered.write(incoming.path.read_bytes() + _ALTERATION)
    altered.close()
    incoming.drop()
    return altered
