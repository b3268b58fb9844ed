"""The Upload API of the stand-in for Cloudinary: upload, destroy, explicit.

A request is read, its signature and age are checked, its name is cleaned, and then one step that nothing interrupts
looks whether the asset is there, stores it and writes that into the ledger.
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
from comfyledger.sim.cloudinary.assets import Asset, Assets, Key, together
from comfyledger.sim.cloudinary.faults import Visit
from comfyledger.sim.cloudinary.ledger import Ledger
from comfyledger.sim.cloudinary.receive import Chunks, Form, Picture, Spool, read_picture, receive
from comfyledger.sim.cloudinary.signing import basic_pair, is_signed, refuse_age, refuse_signature

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_KINDS: Final = frozenset({"image", "raw", "auto"})
_ALTERATION: Final = b"\n"
"""What an altering account adds to a file: enough for another MD5, harmless to a picture."""


class Room(msgspec.Struct):
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

    def __init__(self, room: Room) -> None:
        self._room = room
        self._chunks = Chunks(room.root / "chunks")

    async def upload(self, visit: Visit) -> dict[str, Any]:
        """Store a file, or say that one is there."""
        form = await receive(visit, self._room.root / "incoming")
        try:
            visit.withhold()
            self._check(visit, form.fields)
            return self._take_in(visit, form)
        finally:
            if form.spool:
                form.spool.drop()

    async def destroy(self, visit: Visit) -> dict[str, Any]:
        """Drop an asset."""
        fields = await self._fields(visit)
        is_gone = self._room.assets.remove(_key(visit, fields))
        visit.entry.is_replaced = is_gone
        visit.entry.answer = "ok" if is_gone else "not found"
        return {"result": visit.entry.answer}

    async def explicit(self, visit: Visit) -> dict[str, Any]:
        """Change what is said about an asset, never its bytes."""
        fields = await self._fields(visit)
        asset = self._room.assets.find(_key(visit, fields))
        if asset is None:
            raise Refused(404, f"Resource not found - {fields['public_id']}")
        changed = msgspec.structs.replace(asset, **self._said(fields))
        self._room.assets.put(changed)
        visit.entry.answer = "ok"
        return uploaded(self._room.account, changed)

    async def _fields(self, visit: Visit) -> dict[str, str]:
        form = await receive(visit, self._room.root / "incoming")
        if form.spool:
            form.spool.drop()
        visit.withhold()
        self._check(visit, form.fields)
        if not form.fields.get("public_id"):
            raise Refused(400, "Missing required parameter - public_id")
        return form.fields

    def _check(self, visit: Visit, fields: dict[str, str]) -> None:
        """Raise Refused for a caller who cannot show the secret, or whose request is too old."""
        account = self._room.account
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
        stale = refuse_age(fields["timestamp"], self._room.now())
        if stale:
            raise Refused(400, stale)

    def _take_in(self, visit: Visit, form: Form) -> dict[str, Any]:
        if form.spool is None:
            source = form.fields.get("file")
            raise Refused(400, "Unsupported source URL" if source else "Missing required parameter - file")
        public_id = self._public_id(form)
        if not self._chunks.take(visit.request, form):
            visit.entry.answer = "chunk"
            return {"done": False, "bytes": form.spool.size, "public_id": public_id}
        visit.entry.md5 = form.spool.md5
        self._check_size(form.spool)
        if self._room.alters_at_ingest or visit.has("alter_etag"):
            form.spool = _altered(form.spool)
        return self._store(visit, form, form.spool, f"{public_id}_1" if visit.has("rename") else public_id)

    def _check_size(self, spool: Spool) -> None:
        maximum = self._room.account.file_bytes_max
        if spool.size == 0:
            raise Refused(400, "Empty file")
        if spool.size > maximum:
            raise Refused(400, f"File size too large. Got {spool.size}. Maximum is {maximum}.")

    def _public_id(self, form: Form) -> str:
        """The name as it will be stored. Raises Refused for one that cannot be."""
        fields = form.fields
        name = names.clean_public_id(fields.get("public_id", "")) or self._made_up(form)
        public_id = "/".join(part for part in (fields.get("folder", "").strip("/"), name) if part)
        refused = names.refuse_public_id(public_id)
        if refused:
            raise Refused(400, refused)
        return public_id

    def _made_up(self, form: Form) -> str:
        stem = names.stem_of(form.filename)
        if not names.is_true(form.fields.get("use_filename")) or not stem:
            return "".join(self._room.random.choices(_LETTERS, k=20))
        cleaned = names.clean_file_stem(stem)
        if not names.is_true(form.fields.get("unique_filename"), default=True):
            return cleaned
        return f"{cleaned}_{''.join(self._room.random.choices(_LETTERS, k=6))}"

    def _store(self, visit: Visit, form: Form, spool: Spool, public_id: str) -> dict[str, Any]:
        picture = read_picture(spool.path)
        kind = _kind(visit, picture)
        if kind == "raw" and "public_id" not in form.fields and names.extension_of(form.filename):
            public_id = f"{public_id}.{names.extension_of(form.filename)}"
        room, key = self._room, (public_id, kind, form.fields.get("type") or "upload")
        before = room.assets.find(key)
        if before is not None and not names.is_true(form.fields.get("overwrite"), default=True):
            visit.entry.answer = "existing"
            return {**uploaded(room.account, before), "existing": True}
        asset = self._asset(key, form, spool, picture, before)
        visit.entry.answer = "overwritten" if before else "new"
        visit.entry.is_stored = True
        visit.entry.public_id = visit.entry.public_id or public_id
        visit.entry.is_replaced = before is not None
        spool.move(room.assets.files / asset.file)
        with together(room.database):
            room.assets.put(asset)
            room.ledger.save(visit.entry)
        return {**uploaded(room.account, asset), **({"overwritten": True} if before else {})}

    def _asset(self, key: Key, form: Form, spool: Spool, picture: Picture | None, before: Asset | None) -> Asset:
        now_s = self._room.now()
        raw_format = names.extension_of(form.filename or key[0])
        seen = picture if picture and key[1] == "image" else Picture(raw_format, 0, 0)
        stem = names.stem_of(form.filename) or names.leaf_of(key[0])
        by_filename = names.is_true(form.fields.get("use_filename_as_display_name"))
        asset = Asset(
            public_id=key[0],
            resource_type=key[1],
            type=key[2],
            asset_id=before.asset_id if before else f"{self._room.random.getrandbits(128):032x}",
            version=max(int(now_s), before.version + 1 if before else 0),
            format=seen.format,
            width=seen.width,
            height=seen.height,
            bytes=spool.size,
            etag=spool.md5,
            created_at=before.created_at if before else now_s,
            asset_folder=self._folder(key[0], form.fields, before),
            display_name=stem if by_filename else names.leaf_of(key[0]),
            original_filename=stem,
            context={},
            tags=[],
            file=f"{spool.md5[:2]}/{spool.md5}",
        )
        return msgspec.structs.replace(asset, **self._said(form.fields))

    def _folder(self, public_id: str, fields: dict[str, str], before: Asset | None) -> str:
        """In dynamic mode only what was asked for: an asset with slashes in its name lies in the root without."""
        if self._room.account.folder_mode == FIXED:
            return names.folder_of(public_id)
        return before.asset_folder if before else fields.get("folder", "").strip("/")

    def _said(self, fields: dict[str, str]) -> dict[str, Any]:
        """What the fields say about an asset, as fields of a record; fixed folders know no words of their own."""
        said: dict[str, Any] = {}
        if fields.get("context"):
            said["context"] = names.parse_context(fields["context"])
        if fields.get("tags"):
            said["tags"] = names.parse_tags(fields["tags"])
        if self._room.account.folder_mode == FIXED:
            return said
        if fields.get("asset_folder"):
            said["asset_folder"] = fields["asset_folder"].strip("/")
        if fields.get("display_name"):
            said["display_name"] = fields["display_name"]
        return said


def check_pair(account: Account, pair: tuple[str, str]) -> None:
    """Raise Refused unless these are the account's key and secret."""
    if pair[0] != account.key:
        raise Refused(401, "unknown api_key")
    if pair[1] != account.secret:
        raise Refused(401, "api_secret mismatch")


def _kind(visit: Visit, picture: Picture | None) -> str:
    asked = visit.request.match_info.get("resource_type", "image")
    if asked not in _KINDS:
        raise Refused(400, f"Invalid resource_type {asked}")
    if asked == "image" and picture is None:
        raise Refused(400, "Invalid image file")
    return asked if asked != "auto" else "image" if picture else "raw"


def _key(visit: Visit, fields: dict[str, str]) -> Key:
    kind = visit.request.match_info.get("resource_type", "image")
    return names.clean_public_id(fields["public_id"]), kind, fields.get("type") or "upload"


def _altered(spool: Spool) -> Spool:
    altered = Spool(spool.path.with_name(f"{spool.path.name}-altered"))
    altered.write(spool.path.read_bytes() + _ALTERATION)
    altered.close()
    spool.drop()
    return altered
